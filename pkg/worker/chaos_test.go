package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// chaosBroker has a number of tasks done, and breaks streams off wherever it likes: before and after
// what it was sent counts, with frames on their way in both directions. It assigns exactly as many tasks
// as it has credits for.
type chaosBroker struct {
	weftv1.UnimplementedWorkerServiceServer
	t     *testing.T
	slots int
	done  chan struct{} // closed when all is done and every slot was offered again

	mu      sync.Mutex
	random  *rand.Rand
	ready   []int          // tasks to do
	left    int            // tasks that are not done
	held    map[uint64]int // tasks by the token that holds them
	token   uint64
	stream  int // number of the current stream
	credits int // of the current stream
	breaks  int // streams that will still be broken off
	ended   bool
}

func (c *chaosBroker) Work(rpc weftv1.WorkerService_WorkServer) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	stream, frame, fuse := c.attach(first.GetHello())
	for ; ; fuse-- {
		if fuse == 0 {
			return errDropped
		}
		if err := rpc.Send(frame); err != nil {
			return err
		}
		request, err := rpc.Recv()
		if err != nil || request.GetGoodbye() {
			return err
		}
		if frame = c.frame(stream, request); frame == nil {
			return errDropped
		}
	}
}

// attach compares what the worker has with what it should have, and takes some of it away.
func (c *chaosBroker) attach(hello *weftv1.WorkHello) (stream int, frame *weftv1.WorkResponse, fuse int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	welcome := &weftv1.WorkWelcome{SessionId: "s1", SessionTtl: hello.GetSessionTtl()}
	listed := make(map[uint64]bool)
	for _, a := range hello.GetAttempts() {
		if listed[a.GetToken()] {
			c.t.Errorf("token %d is listed twice", a.GetToken())
		}
		if _, held := c.held[a.GetToken()]; held && c.random.IntN(10) > 0 {
			listed[a.GetToken()] = true
		} else {
			welcome.SupersededTokens = append(welcome.SupersededTokens, a.GetToken())
		}
	}
	for token, n := range c.held {
		if !listed[token] {
			delete(c.held, token)
			c.ready = append(c.ready, n)
		}
	}
	fuse = -1 // never
	if c.breaks > 0 {
		c.breaks--
		fuse = 1 + c.random.IntN(40)
	}
	c.stream++
	c.credits = int(hello.GetCredits())
	frame = &weftv1.WorkResponse{Welcome: welcome}
	c.assign(frame)
	return c.stream, frame, fuse
}

// frame answers a frame; nil if the stream is not the current one.
func (c *chaosBroker) frame(stream int, request *weftv1.WorkRequest) *weftv1.WorkResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	if stream != c.stream {
		return nil
	}
	frame := &weftv1.WorkResponse{Heartbeat: request.GetHeartbeat()}
	for _, r := range request.GetReports() {
		n, held := c.held[r.GetToken()]
		switch {
		case !held: // superseded, or accepted and the answer was lost
			frame.RefusedTokens = append(frame.RefusedTokens, r.GetToken())
			continue
		case r.GetEnd() != succeeded || r.GetResult().GetText() != strconv.Itoa(n):
			c.t.Errorf("task %d: %v", n, r)
		}
		delete(c.held, r.GetToken())
		c.left--
		frame.AcceptedTokens = append(frame.AcceptedTokens, r.GetToken())
	}
	c.credits += int(request.GetCredits())
	if c.credits > c.slots {
		c.t.Errorf("%d credits for %d slots", c.credits, c.slots)
	}
	c.assign(frame)
	if c.left == 0 && c.credits == c.slots && !c.ended {
		c.ended = true
		close(c.done)
	}
	return frame
}

func (c *chaosBroker) assign(frame *weftv1.WorkResponse) {
	for c.credits > 0 && len(c.ready) > 0 {
		n := c.ready[0]
		c.ready = c.ready[1:]
		c.credits--
		c.token++
		c.held[c.token] = n
		frame.Assignments = append(frame.Assignments, payloadTask(c.token, "echo", strconv.Itoa(n)))
	}
}

func TestChaos(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const tasks = 5_000
	c := &chaosBroker{
		t:      t,
		slots:  16,
		done:   make(chan struct{}),
		random: rand.New(rand.NewPCG(seed, 0)),
		left:   tasks,
		held:   make(map[uint64]int),
		breaks: 25,
	}
	for n := range tasks {
		c.ready = append(c.ready, n)
	}
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	weftv1.RegisterWorkerServiceServer(server, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	b := &fakeBroker{listener: listener}
	cfg := b.config()
	cfg.Slots = c.slots
	w := newWorker(t, cfg)
	w.handle("echo", chaosHandler)
	r := run(t, w)
	select {
	case <-c.done:
	case <-time.After(2 * patience):
		c.mu.Lock()
		t.Errorf("%d tasks are left, %d credits", c.left, c.credits)
		c.mu.Unlock()
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

// chaosHandler echoes, sometimes slowly, and says it was stopped if it was.
func chaosHandler(ctx context.Context, in task.Payload) (task.Payload, error) {
	switch rand.IntN(4) {
	case 0:
		runtime.Gosched()
	case 1:
		timer := time.NewTimer(rand.N(5 * time.Millisecond))
		defer timer.Stop()
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, task.ErrLeaseLost) {
				return task.Payload{}, cause
			}
			return task.Payload{}, ctx.Err()
		case <-timer.C:
		}
	}
	return in, nil
}

// TCP that ends without a word, as when a machine is gone, is an end of the stream like any other.
func TestTheConnectionBreaks(t *testing.T) {
	b := newFakeBroker(t)
	conns := make(chan net.Conn, 10)
	cfg := b.config()
	cfg.DialOptions = []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		conn, err := b.listener.DialContext(ctx)
		if err == nil {
			conns <- conn
		}
		return conn, err
	})}
	g, _, s := gated(t, cfg, b, false)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	_ = (<-conns).Close()
	s = b.welcome(t)
	if !s.held()[1] {
		t.Error("the attempt was not kept")
	}
	g.leave <- nil
	s.accepted(1)
}
