package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// lockBroker is a broker whose streams of the lock service follow a script.
type lockBroker struct {
	weftv1.UnimplementedLockServiceServer
	weftv1.UnimplementedSessionServiceServer
	t       *testing.T
	streams atomic.Int32
	script  func(n int, s *lockStream) error
	down    chan struct{} // the test is over

	mu     sync.Mutex
	closed []string
}

// lockStream is the broker's end of a stream.
type lockStream struct {
	stream   grpc.BidiStreamingServer[weftv1.SynchronizeRequest, weftv1.SynchronizeResponse]
	down     chan struct{}
	hello    *weftv1.SynchronizeHello
	commands []*weftv1.SynchronizeCommand
	frames   []*weftv1.SynchronizeRequest
	below    uint64
	mute     *atomic.Bool                // answers no heartbeat
	lease    func() *durationpb.Duration // what the session has left; nil is not told
}

const lockTTL = time.Minute

// pass lets time of the bubble pass.
func pass(d time.Duration) { <-time.After(d) }

// inBubble runs a test with a client of the scripts in a bubble.
func inBubble(t *testing.T, script func(n int, s *lockStream) error, test func(t *testing.T, b *lockBroker, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &lockBroker{t: t, script: script, down: make(chan struct{})}
		listener := bufconn.Listen(1 << 20)
		server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Nanosecond}))
		weftv1.RegisterLockServiceServer(server, b)
		weftv1.RegisterSessionServiceServer(server, b)
		gone := make(chan struct{})
		go func() { defer close(gone); _ = server.Serve(listener) }()
		c, err := Dial("passthrough:///locks", WithSessionTTL(lockTTL), WithGRPC(
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) })))
		if err != nil {
			t.Fatal(err)
		}
		test(t, b, c)
		close(b.down)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		<-gone
	})
}

func (b *lockBroker) CloseSession(_ context.Context, r *weftv1.CloseSessionRequest) (*weftv1.CloseSessionResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, r.GetSessionId())
	return &weftv1.CloseSessionResponse{}, nil
}

func (b *lockBroker) Synchronize(stream grpc.BidiStreamingServer[weftv1.SynchronizeRequest, weftv1.SynchronizeResponse]) error {
	n := int(b.streams.Add(1))
	return scriptedEnd(func() error { return b.script(n, &lockStream{stream: stream, down: b.down}) })
}

func scriptedEnd(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			end, ok := r.(scriptEnd)
			if !ok {
				panic(r)
			}
			err = end.err
		}
	}()
	return fn()
}

// welcome receives the hello and answers it.
func (s *lockStream) welcome() *weftv1.SynchronizeHello {
	m, err := s.stream.Recv()
	if err != nil {
		panic(scriptEnd{err})
	}
	s.hello = m.GetHello()
	s.send(&weftv1.SynchronizeResponse{Welcome: &weftv1.SynchronizeWelcome{SessionId: "session", SessionTtl: durationpb.New(lockTTL)}})
	return s.hello
}

func (s *lockStream) send(m *weftv1.SynchronizeResponse) {
	if err := s.stream.Send(m); err != nil {
		panic(scriptEnd{err})
	}
}

func (s *lockStream) answer(as ...*weftv1.SynchronizeAnswer) {
	s.send(&weftv1.SynchronizeResponse{Answers: as})
}

// recv receives a frame, and answers its heartbeat.
func (s *lockStream) recv() *weftv1.SynchronizeRequest {
	m, err := s.stream.Recv()
	if err != nil {
		panic(scriptEnd{err})
	}
	s.frames = append(s.frames, m)
	s.commands = append(s.commands, m.GetCommands()...)
	s.below = max(s.below, m.GetAcknowledgedBelow())
	if m.GetHeartbeat() != 0 && (s.mute == nil || !s.mute.Load()) {
		answer := &weftv1.SynchronizeResponse{Heartbeat: m.GetHeartbeat()}
		if s.lease != nil {
			answer.Lease = s.lease()
		}
		s.send(answer)
	}
	if m.GetGoodbye() {
		panic(scriptEnd{})
	}
	return m
}

// untilCommands receives until so many commands have come.
func (s *lockStream) untilCommands(n int) {
	for len(s.commands) < n {
		s.recv()
	}
}

// untilAbandoned receives until a command is abandoned.
func (s *lockStream) untilAbandoned() uint64 {
	for {
		if m := s.recv(); len(m.GetAbandoned()) > 0 {
			return m.GetAbandoned()[0]
		}
	}
}

func (s *lockStream) drain() error {
	for {
		s.recv()
	}
}

// granted is the answer to an acquire.
func lockGranted(number, token uint64) *weftv1.SynchronizeAnswer {
	return &weftv1.SynchronizeAnswer{Number: number, Answer: &weftv1.SynchronizeAnswer_AcquireLock{
		AcquireLock: &weftv1.AcquireLockResponse{Acquired: true, Grant: &weftv1.Grant{Token: token, Depth: 1}},
	}}
}

func lockReleased(number uint64) *weftv1.SynchronizeAnswer {
	return &weftv1.SynchronizeAnswer{Number: number, Answer: &weftv1.SynchronizeAnswer_ReleaseLock{
		ReleaseLock: &weftv1.ReleaseLockResponse{},
	}}
}

func eventSet(number uint64) *weftv1.SynchronizeAnswer {
	return &weftv1.SynchronizeAnswer{Number: number, Answer: &weftv1.SynchronizeAnswer_SetEvent{SetEvent: &weftv1.SetEventResponse{}}}
}

// crossings are answers to commands that are abandoned at the same moment.
var crossings = map[string]struct {
	acquire func(context.Context, *Client) error
	answer  func(number uint64) *weftv1.SynchronizeAnswer
}{
	"lock": {
		func(ctx context.Context, c *Client) error { _, err := c.Lock("l").Acquire(ctx); return err },
		func(n uint64) *weftv1.SynchronizeAnswer { return lockGranted(n, 17) },
	},
	"re-entrant": {
		func(ctx context.Context, c *Client) error { _, err := c.Lock("l").Reentrant().Acquire(ctx); return err },
		func(n uint64) *weftv1.SynchronizeAnswer {
			a := lockGranted(n, 17)
			a.GetAcquireLock().Grant.Depth = 2
			return a
		},
	},
	"free permit": {
		func(ctx context.Context, c *Client) error {
			_, err := c.Semaphore("s", 1, Free()).Acquire(ctx, 1)
			return err
		},
		func(n uint64) *weftv1.SynchronizeAnswer {
			return &weftv1.SynchronizeAnswer{Number: n, Answer: &weftv1.SynchronizeAnswer_AcquireSemaphore{
				AcquireSemaphore: &weftv1.AcquireSemaphoreResponse{Acquired: true},
			}}
		},
	},
	"refused": {
		func(ctx context.Context, c *Client) error { return c.Event("e").Wait(ctx) },
		func(n uint64) *weftv1.SynchronizeAnswer {
			return &weftv1.SynchronizeAnswer{Number: n, Answer: &weftv1.SynchronizeAnswer_Refused{
				Refused: &weftv1.SynchronizeRefusal{Reason: weftv1.ErrorReason_ERROR_REASON_STATE_FULL},
			}}
		},
	},
}

func lockAbandoned(number uint64) *weftv1.SynchronizeAnswer {
	return &weftv1.SynchronizeAnswer{Number: number, Answer: &weftv1.SynchronizeAnswer_Abandoned{Abandoned: true}}
}

// A wait at a condition that is given up leaves the lock also if the broker has refused the wait: the lock of before is
// released behind it, by its own token.
func TestSyncForfeits(t *testing.T) {
	var forfeited atomic.Bool
	script := func(_ int, s *lockStream) error {
		s.welcome()
		s.untilCommands(1)
		s.answer(lockGranted(1, 5))
		s.untilCommands(2)
		if number := s.untilAbandoned(); number != 2 {
			t.Errorf("%d is abandoned", number)
		}
		s.answer(lockAbandoned(2))
		s.untilCommands(3)
		if m := s.commands[2].GetReleaseLock(); m.GetToken() != 5 || !m.GetAll() {
			t.Errorf("after the wait came %v", s.commands[2])
		}
		forfeited.Store(true)
		s.answer(lockReleased(3))
		return s.drain()
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		k := c.Condition("k", nil)
		held, err := k.Lock().Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(held, time.Second)
		defer cancel()
		if err := k.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		pass(lockTTL)
		s, _ := c.syncSession("")
		s.mu.Lock()
		defer s.mu.Unlock()
		if !forfeited.Load() || len(s.current.sent) > 0 {
			t.Errorf("forfeited %t, without an answer: %v", forfeited.Load(), s.current.sent)
		}
	})
}

// No more than 4,096 commands are without an acknowledged answer; those beyond wait for room.
func TestSyncWindow(t *testing.T) {
	const commands = syncWindowMax + 500
	full := make(chan struct{})
	script := func(_ int, s *lockStream) error {
		s.welcome()
		s.untilCommands(syncWindowMax)
		close(full)
		for i := 1; len(s.commands) > 0 && i <= commands; i++ {
			if i > len(s.commands) {
				s.untilCommands(i)
			}
			if n := s.commands[i-1].GetNumber(); n != uint64(i) || n >= max(s.below, 1)+syncWindowMax {
				t.Errorf("number %d at place %d, acknowledged below %d", n, i, s.below)
			}
			s.answer(eventSet(uint64(i)))
		}
		return s.drain()
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		var all sync.WaitGroup
		for range commands {
			all.Go(func() {
				if err := c.Event("e").Set(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		<-full
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = c.Event("e").Set(ctx)
		all.Wait()
	})
}

// heldLock grants one lock and answers heartbeats until it is told otherwise.
func heldLock(mute *atomic.Bool) func(n int, s *lockStream) error {
	return func(_ int, s *lockStream) error {
		s.mute = mute
		s.welcome()
		for {
			for _, cmd := range s.recv().GetCommands() {
				if cmd.GetAcquireLock() != nil {
					s.answer(lockGranted(cmd.GetNumber(), 5))
				}
			}
		}
	}
}

// The answer to a wait at a condition is acknowledged at once: until then the notification counts as unheard.
func TestSyncAcknowledgesNotifications(t *testing.T) {
	acked := make(chan uint64, 1)
	script := func(_ int, s *lockStream) error {
		s.welcome()
		s.untilCommands(1)
		s.answer(lockGranted(1, 5))
		s.untilCommands(2)
		s.answer(&weftv1.SynchronizeAnswer{Number: 2, Answer: &weftv1.SynchronizeAnswer_WaitCondition{
			WaitCondition: &weftv1.WaitConditionResponse{Notified: true, Grant: &weftv1.Grant{Token: 6, Depth: 1}},
		}})
		for s.below < 3 {
			s.recv()
		}
		acked <- s.below
		return s.drain()
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		k := c.Condition("k", nil)
		held, err := k.Lock().Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := k.Wait(held); err != nil {
			t.Fatal(err)
		}
		if n := <-acked; n != 3 || time.Since(begun) != 0 {
			t.Errorf("acknowledged below %d after %v", n, time.Since(begun))
		}
		if token, err := k.Lock().Token(held); token != 6 || err != nil {
			t.Errorf("token %d, %v", token, err)
		}
	})
}

// A session that is refused at its beginning is the broker's error, and no lease that was lost.
func TestSyncRefused(t *testing.T) {
	script := func(_ int, s *lockStream) error {
		if _, err := s.stream.Recv(); err != nil {
			return err
		}
		return weftError(weftv1.ErrorReason_ERROR_REASON_STATE_FULL, nil)
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		err := c.Event("e").Set(t.Context())
		if !HasReason(err, weftv1.ErrorReason_ERROR_REASON_STATE_FULL) || errors.Is(err, ErrLeaseLost) {
			t.Error(err)
		}
	})
}
