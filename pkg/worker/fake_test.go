package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// patience bounds every wait of the tests: what takes longer does not happen.
const patience = 30 * time.Second

// pass lets so much of the time of a test's synctest bubble pass: its clock jumps once nothing else can go on, so
// that this waits for all that is due by then, and for nothing else.
func pass(d time.Duration) { time.Sleep(d) }

var errDropped = status.Error(codes.Unavailable, "the fake broker drops the stream")

// fakeBroker is the broker's end, played by a test: it hands over each stream that a worker opens.
type fakeBroker struct {
	weftv1.UnimplementedWorkerServiceServer
	streams  chan *fakeStream
	listener *bufconn.Listener
	down     chan struct{} // the test is over

	mu        sync.Mutex
	refuse    error // instead of a stream
	opened    int
	interrupt func(*weftv1.InterruptSubmitterRequest) error
}

// fakeTasks are the broker's requests that a worker makes.
type fakeTasks struct {
	weftv1.UnimplementedTaskServiceServer
	broker *fakeBroker
}

func (f fakeTasks) InterruptSubmitter(
	_ context.Context, req *weftv1.InterruptSubmitterRequest,
) (*weftv1.InterruptSubmitterResponse, error) {
	f.broker.mu.Lock()
	interrupt := f.broker.interrupt
	f.broker.mu.Unlock()
	return &weftv1.InterruptSubmitterResponse{}, interrupt(req)
}

func newFakeBroker(t testing.TB) *fakeBroker {
	b := &fakeBroker{
		streams:  make(chan *fakeStream, 100),
		listener: bufconn.Listen(1 << 20),
		down:     make(chan struct{}),
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(16<<20))
	weftv1.RegisterWorkerServiceServer(server, b)
	weftv1.RegisterTaskServiceServer(server, fakeTasks{broker: b})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(b.listener)
	}()
	t.Cleanup(func() {
		close(b.down)
		server.Stop()
		<-served
	})
	return b
}

func (b *fakeBroker) refuseWith(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = err
}

func (b *fakeBroker) openedStreams() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

func (b *fakeBroker) Work(rpc weftv1.WorkerService_WorkServer) error {
	b.mu.Lock()
	b.opened++
	refuse := b.refuse
	b.mu.Unlock()
	if refuse != nil {
		return refuse
	}
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	s := &fakeStream{
		rpc:    rpc,
		hello:  first.GetHello(),
		out:    make(chan *weftv1.WorkResponse, 1000),
		end:    make(chan error, 1),
		ended:  make(chan struct{}),
		change: make(chan struct{}, 1),
	}
	defer close(s.ended)
	b.streams <- s
	go s.receive()
	for {
		select {
		case frame := <-s.out:
			if err := rpc.Send(frame); err != nil {
				return err
			}
		case err := <-s.end:
			for len(s.out) > 0 {
				_ = rpc.Send(<-s.out)
			}
			return err
		case <-rpc.Context().Done():
			return rpc.Context().Err()
		case <-b.down:
			return errDropped
		}
	}
}

// accept waits for the worker's next stream.
func (b *fakeBroker) accept(t testing.TB) *fakeStream {
	t.Helper()
	select {
	case s := <-b.streams:
		s.t = t
		return s
	case <-time.After(patience):
		t.Fatal("no stream was opened")
		return nil
	}
}

// welcome accepts a stream and welcomes the worker to the session "s1".
func (b *fakeBroker) welcome(t testing.TB, superseded ...uint64) *fakeStream {
	t.Helper()
	s := b.accept(t)
	s.send(&weftv1.WorkResponse{Welcome: &weftv1.WorkWelcome{
		SessionId:        "s1",
		SessionTtl:       s.hello.GetSessionTtl(),
		SupersededTokens: superseded,
	}})
	return s
}

// config is a worker's configuration for this broker.
func (b *fakeBroker) config() Config {
	return Config{
		Broker: "passthrough:///fake",
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return b.listener.DialContext(ctx)
		})},
		Name:  "test",
		Slots: 4,
	}
}

// fakeStream is one stream of a worker. What the worker sends is gathered; heartbeats are answered until
// it is muted.
type fakeStream struct {
	t     testing.TB
	rpc   weftv1.WorkerService_WorkServer
	hello *weftv1.WorkHello
	out   chan *weftv1.WorkResponse
	end   chan error
	ended chan struct{}

	mu       sync.Mutex
	change   chan struct{}
	muted    bool
	durable  bool                  // advances are answered as they come
	frames   []*weftv1.WorkRequest // all of them, but for their output
	reports  []*weftv1.AttemptReport
	chunks   []*weftv1.OutputChunk
	credits  int
	beats    int
	draining bool
	goodbye  bool
}

func (s *fakeStream) receive() {
	for {
		frame, err := s.rpc.Recv()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.reports = append(s.reports, frame.GetReports()...)
		s.chunks = append(s.chunks, frame.GetOutput()...)
		s.credits += int(frame.GetCredits())
		s.draining = s.draining || frame.GetDraining()
		s.goodbye = s.goodbye || frame.GetGoodbye()
		frame.Output = nil
		s.frames = append(s.frames, frame)
		if s.durable {
			s.answerFrame(frame)
		}
		if frame.GetHeartbeat() != 0 {
			s.beats++
			if !s.muted {
				s.out <- &weftv1.WorkResponse{Heartbeat: frame.GetHeartbeat()}
			}
		}
		s.mu.Unlock()
		select {
		case s.change <- struct{}{}:
		default:
		}
		if frame.GetGoodbye() {
			s.end <- nil
		}
	}
}

// answerFrame says that the advances of a frame are durable.
func (s *fakeStream) answerFrame(frame *weftv1.WorkRequest) {
	for _, m := range frame.GetAdvances() {
		s.send(&weftv1.WorkResponse{Advances: []*weftv1.AdvanceAnswer{{Token: m.GetToken(), Sequence: m.GetSequence()}}})
	}
}

// answerAll says that all advances are durable, those that came and those that will.
func (s *fakeStream) answerAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durable = true
	for _, frame := range s.frames {
		s.answerFrame(frame)
	}
}

func (s *fakeStream) send(frame *weftv1.WorkResponse) { s.out <- frame }

// drop ends the stream; frames that were sent before still arrive.
func (s *fakeStream) drop(err error) {
	s.end <- err
	<-s.ended
}

func (s *fakeStream) mute() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = true
}

// until waits until the gathered frames satisfy a condition, which is called with s.mu held.
func (s *fakeStream) until(what string, holds func() bool) {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		ok := holds()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.change:
		case <-timeout:
			over := false
			select {
			case <-s.ended:
				over = true
			default:
			}
			s.t.Fatalf("waited in vain for %s; the stream is over: %v; reports: %.500s", what, over, fmt.Sprint(s.reports))
		}
	}
}

// report waits for the report of an attempt.
func (s *fakeStream) report(token uint64) (report *weftv1.AttemptReport) {
	s.t.Helper()
	s.until("a report", func() bool {
		for _, r := range s.reports {
			if r.GetToken() == token {
				report = r
			}
		}
		return report != nil
	})
	return report
}

// accepted waits for a report and accepts it.
func (s *fakeStream) accepted(token uint64) *weftv1.AttemptReport {
	s.t.Helper()
	r := s.report(token)
	s.send(&weftv1.WorkResponse{AcceptedTokens: []uint64{token}})
	return r
}

// sync returns when the worker has handled everything that was sent so far, a last task included.
func (s *fakeStream) sync() {
	s.t.Helper()
	s.assign(&weftv1.Assignment{TaskId: "tsync", Token: syncToken, Kind: "no such kind"})
	s.accepted(syncToken)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = slices.DeleteFunc(s.reports, func(r *weftv1.AttemptReport) bool { return r.GetToken() == syncToken })
}

// acceptAll accepts every report that has come.
func (s *fakeStream) acceptAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	frame := &weftv1.WorkResponse{}
	for _, r := range s.reports {
		frame.AcceptedTokens = append(frame.AcceptedTokens, r.GetToken())
	}
	s.out <- frame
}

const syncToken = 1 << 40

func (s *fakeStream) assign(assignments ...*weftv1.Assignment) {
	s.send(&weftv1.WorkResponse{Assignments: assignments})
}

func (s *fakeStream) cancel(token uint64, reason weftv1.AttemptEnd, grace time.Duration) {
	s.send(&weftv1.WorkResponse{Cancels: []*weftv1.AttemptCancel{
		{Token: token, Reason: reason, Grace: durationpb.New(grace)},
	}})
}

// held lists the tokens of the hello.
func (s *fakeStream) held() map[uint64]bool {
	held := make(map[uint64]bool)
	for _, a := range s.hello.GetAttempts() {
		held[a.GetToken()] = true
	}
	return held
}

// running is a worker that a test runs.
type running struct {
	*Worker
	t      testing.TB
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

// run runs a worker, and at the test's end sees to it that it ended.
func run(t testing.TB, w *Worker) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Worker: w, t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = w.Run(ctx)
	}()
	t.Cleanup(func() {
		w.Stop()
		_ = r.wait()
	})
	return r
}

func (r *running) wait() error {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience):
		r.t.Error("Run does not return")
		return errors.New("Run does not return")
	}
}

func newWorker(t testing.TB, cfg Config) *Worker {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func payloadTask(token uint64, kind, text string) *weftv1.Assignment {
	return &weftv1.Assignment{
		TaskId:  taskID(token),
		Token:   token,
		Queue:   "default",
		Kind:    kind,
		Work:    &weftv1.Assignment_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Text{Text: text}}},
		Grace:   durationpb.New(time.Hour),
		Attempt: 1,
	}
}

func commandTask(token uint64, cmd *weftv1.Command) *weftv1.Assignment {
	return &weftv1.Assignment{
		TaskId:  taskID(token),
		Token:   token,
		Queue:   "default",
		Kind:    task.CommandKind,
		Work:    &weftv1.Assignment_Command{Command: cmd},
		Grace:   durationpb.New(time.Hour),
		Attempt: 1,
	}
}

func checkReport(t testing.TB, got, want *weftv1.AttemptReport) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("report %v, want %v", got, want)
	}
}
