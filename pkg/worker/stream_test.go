package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// gate is a handler that tests hold in their hands: it tells of each attempt, and goes on when told how.
type gate struct {
	entered chan *attempt
	leave   chan error // nil: succeed
	heed    bool       // also end when the context is done
}

func newGate(heed bool) *gate {
	return &gate{entered: make(chan *attempt, 100), leave: make(chan error), heed: heed}
}

func (g *gate) handle(ctx context.Context, _ task.Payload) (task.Payload, error) {
	g.entered <- task.Current(ctx).Runtime.(control).a
	done := ctx.Done()
	if !g.heed {
		done = nil
	}
	select {
	case err := <-g.leave:
		return task.Payload{}, err
	case <-done:
		return task.Payload{}, context.Cause(ctx)
	}
}

func (g *gate) enter(t testing.TB) *attempt {
	t.Helper()
	select {
	case a := <-g.entered:
		return a
	case <-time.After(patience):
		t.Fatal("no attempt began")
		return nil
	}
}

// gated is a worker with a gate for kind "gate" on a welcomed stream.
func gated(t testing.TB, cfg Config, b *fakeBroker, heed bool) (*gate, *running, *fakeStream) {
	t.Helper()
	g := newGate(heed)
	w := newWorker(t, cfg)
	w.handle("gate", g.handle)
	r := run(t, w)
	return g, r, b.welcome(t)
}

func awaitDone(ctx context.Context, t testing.TB) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("the context is not done")
	}
}

func TestHello(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Namespace, cfg.Queues, cfg.Labels = "ns", []string{"q1", "q2"}, map[string]string{"a": "b"}
	cfg.Slots, cfg.SessionTTL = 3, 5*time.Second
	w := newWorker(t, cfg)
	w.handle("b", upper)
	w.handle("a", upper)
	allowCommands(t, w)
	run(t, w)
	h := b.welcome(t).hello
	if h.GetNamespace() != "ns" || len(h.GetQueues()) != 2 || h.GetWorker() != "test" || h.GetLabels()["a"] != "b" ||
		h.GetSlots() != 3 || h.GetCredits() != 3 || h.GetSessionTtl().AsDuration() != 5*time.Second ||
		h.GetSessionId() != "" || len(h.GetAttempts()) != 0 {
		t.Errorf("got %v", h)
	}
	if k := h.GetKinds(); len(k) != 3 || k[0] != "a" || k[1] != "b" || k[2] != "command" {
		t.Errorf("kinds %v", k)
	}
}

func TestCreditsAreFreeSlots(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, false)
	if c := s.hello.GetCredits(); c != 4 {
		t.Fatalf("%d credits at first", c)
	}
	for token := range uint64(4) {
		s.assign(payloadTask(1+token, "gate", ""))
		g.enter(t)
	}
	g.leave <- nil
	s.until("a credit", func() bool { return s.credits == 1 && len(s.reports) == 1 })
	s.mu.Lock()
	if frame := s.frames[len(s.frames)-1]; frame.GetCredits() > 0 && len(frame.GetReports()) == 0 {
		t.Error("the credit came without the report")
	}
	s.mu.Unlock()

	s.drop(errDropped)
	s = b.welcome(t)
	if c := s.hello.GetCredits(); c != 1 {
		t.Errorf("%d credits after the reconnect", c)
	}
	for range 3 {
		g.leave <- nil
	}
	s.until("all credits", func() bool { return s.credits == 3 && len(s.reports) == 4 })
	s.acceptAll()
}

func TestMoreThanTheCreditsIsGivenBack(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, false)
	for token := range uint64(5) {
		s.assign(payloadTask(1+token, "gate", ""))
	}
	if r := s.accepted(5); r.GetEnd() != released || r.GetError() != nil {
		t.Errorf("got %v", r)
	}
	for range 4 {
		g.leave <- nil
	}
	s.until("the credits of the others", func() bool { return s.credits == 4 })
	s.acceptAll()
}

func TestReportsAreKeptUntilTheyAreAcknowledged(t *testing.T) {
	b := newFakeBroker(t)
	g, r, s := gated(t, b.config(), b, false)
	s.assign(payloadTask(1, "gate", ""), payloadTask(2, "gate", ""), payloadTask(3, "gate", ""))
	for range 3 {
		g.enter(t)
	}
	g.leave <- nil
	g.leave <- errors.New("no")
	s.until("two reports", func() bool { return len(s.reports) == 2 })
	first, second := s.reports[0], s.reports[1]
	s.send(&weftv1.WorkResponse{AcceptedTokens: []uint64{first.GetToken()}})
	s.drop(errDropped)

	s = b.welcome(t)
	if s.hello.GetSessionId() != "s1" {
		t.Errorf("session %q", s.hello.GetSessionId())
	}
	if held := s.held(); len(held) != 2 || held[first.GetToken()] {
		t.Errorf("held %v, accepted was %d", held, first.GetToken())
	}
	checkReport(t, s.report(second.GetToken()), second)
	s.drop(errDropped) // once more, unanswered

	s = b.welcome(t)
	checkReport(t, s.report(second.GetToken()), second)
	s.send(&weftv1.WorkResponse{RefusedTokens: []uint64{second.GetToken()}})
	g.leave <- nil
	s.until("the third report", func() bool { return len(s.reports) == 2 })
	s.send(&weftv1.WorkResponse{AcceptedTokens: []uint64{s.reports[1].GetToken()}})
	s.drop(errDropped)
	if s = b.welcome(t); len(s.held()) != 0 {
		t.Errorf("held %v", s.held())
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestSupersededAttempts(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""), payloadTask(2, "gate", ""), payloadTask(3, "gate", ""))
	attempts := map[uint64]*attempt{}
	for range 3 {
		a := g.enter(t)
		attempts[a.Token] = a
	}
	g.leave <- nil
	s.until("a report", func() bool { return len(s.reports) == 1 })
	ended := s.reports[0].GetToken()
	var stays, goes uint64
	for token := range attempts {
		if token != ended {
			stays, goes = goes, token
		}
	}
	s.drop(errDropped)
	s = b.accept(t)
	s.send(&weftv1.WorkResponse{Welcome: &weftv1.WorkWelcome{
		SessionId:        "s2",
		SupersededTokens: []uint64{ended, goes, 999},
	}})
	awaitDone(&attempts[goes].ctx, t)
	if cause := context.Cause(&attempts[goes].ctx); !errors.Is(cause, task.ErrLeaseLost) {
		t.Errorf("cause %v", cause)
	}
	s.until("the slot", func() bool { return s.credits == 1 })
	g.leave <- nil
	s.accepted(stays)
	s.sync()
	s.drop(errDropped)
	s = b.welcome(t)
	if len(s.held()) != 0 || s.hello.GetSessionId() != "s2" || s.hello.GetCredits() != 4 {
		t.Errorf("got %v", s.hello)
	}
}

func TestTheFirstRedialIsQuick(t *testing.T) {
	b := newFakeBroker(t)
	_, _, s := gated(t, b.config(), b, true)
	begun := time.Now()
	s.drop(errDropped)
	b.welcome(t)
	if took := time.Since(begun); took < redialMin || took > time.Second {
		t.Errorf("redialled after %v", took)
	}
}

func TestRedialWaits(t *testing.T) {
	if got := redialWait(0); got != redialMin {
		t.Errorf("first %v", got)
	}
	for failed := 1; failed < 100; failed++ {
		full := min(redialMin<<min(failed, 10), redialMax)
		if got := redialWait(failed); got < full/2 || got > full {
			t.Errorf("after %d failures %v, not within half of %v", failed, got, full)
		}
	}
}

func TestTheWorkerComesBackForEver(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	_, r, s := gated(t, b.config(), b, true)
	b.refuseWith(status.Error(codes.InvalidArgument, "hopeless, but it was welcome before"))
	s.drop(errDropped)
	timeout := time.After(patience)
	for b.openedStreams() < 4 {
		select {
		case <-r.ended:
			t.Fatal("it gave up")
		case <-timeout:
			t.Fatal("it does not redial")
		case <-time.After(time.Millisecond):
		}
	}
	b.refuseWith(nil)
	s = b.welcome(t)
	s.sync()
}

func TestARefusedHelloEndsRun(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented} {
		b := newFakeBroker(t)
		b.refuseWith(status.Error(code, "no"))
		w := newWorker(t, b.config())
		w.handle("a", upper)
		r := run(t, w)
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Fatal("Run goes on")
		}
		if status.Code(r.err) != code {
			t.Errorf("got %v, want %v", r.err, code)
		}
	}
}

func TestASilentBrokerIsRedialled(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.SessionTTL = 2 * time.Second
	g, _, s := gated(t, cfg, b, false)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	s.until("heartbeats", func() bool { return s.beats >= 3 }) // answered, so the stream lives
	if n := b.openedStreams(); n != 1 {
		t.Errorf("%d streams", n)
	}
	s.mute()
	begun := time.Now()
	s2 := b.welcome(t)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if !s2.held()[1] {
		t.Error("the attempt was not kept")
	}
	g.leave <- nil
	s2.accepted(1)
}

func TestABrokerThatNeverWelcomesIsRedialled(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.SessionTTL = time.Second
	w := newWorker(t, cfg)
	w.handle("a", upper)
	run(t, w)
	b.accept(t)
	s := b.welcome(t)
	s.sync()
}

func TestAFirstFrameWithoutWelcomeIsNoBroker(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	w.handle("a", upper)
	run(t, w)
	b.accept(t).assign(payloadTask(1, "a", ""))
	b.welcome(t).sync()
}

func TestGarbageDoesNoHarm(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""))
	a := g.enter(t)
	const unknown = 12345
	s.send(&weftv1.WorkResponse{})
	s.send(&weftv1.WorkResponse{
		Assignments:    []*weftv1.Assignment{payloadTask(1, "gate", "again"), {}},
		Cancels:        []*weftv1.AttemptCancel{{Token: unknown, Reason: killed}, {Token: 1, Reason: succeeded}, {Token: 1}, {Token: unknown, Reason: lost}},
		AcceptedTokens: []uint64{unknown, 1, 0}, // 1 still runs
		RefusedTokens:  []uint64{unknown, 1},
		OutputRequests: []*weftv1.OutputRequest{
			{Token: unknown, Stream: stdout, BytesMax: 10},
			{Token: 1, Stream: stderr, BytesMax: -1, Offset: -1},
			{Token: 1, Stream: 99},
			{Token: unknown + 1, Stop: true, Stream: stdout},
			{},
		},
		ReleasedTokens: []uint64{unknown, 1},
		Heartbeat:      unknown,
		Welcome:        &weftv1.WorkWelcome{SessionId: "another"},
	})
	s.until("two outputs that are not there", func() bool { return len(s.chunks) >= 2 })
	for _, chunk := range s.taken() {
		// The handler that runs has no standard error.
		if chunk.GetGone() == (chunk.GetToken() == 1) || chunk.GetEnd() != (chunk.GetToken() == 1) || len(chunk.GetData()) > 0 {
			t.Errorf("chunk %v", chunk)
		}
	}
	if a.ctx.Err() != nil {
		t.Error("the attempt was stopped")
	}
	g.leave <- nil
	if r := s.accepted(1); r.GetEnd() != succeeded {
		t.Errorf("got %v", r)
	}
	s.sync()
	s.acceptAll()
	if n := b.openedStreams(); n != 1 {
		t.Errorf("%d streams", n)
	}
}

func TestLocalGrace(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	g := newGate(true)
	stubborn := newGate(false)
	w.handle("gate", g.handle)
	w.handle("stubborn", stubborn.handle)
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(payloadTask(1, "gate", ""), payloadTask(2, "stubborn", ""), commandTask(3, shell("echo $$; sleep 1000 & sleep 1000")), payloadTask(4, "gate", ""))
	a, c := g.enter(t), g.enter(t)
	stub := stubborn.enter(t)
	group := s.pid(3)
	g.leave <- nil
	s.until("a report", func() bool { return len(s.reports) == 1 })
	ended := s.reports[0].GetToken()
	if a.Token == ended {
		a = c
	}
	b.refuseWith(errDropped)
	begun := time.Now()
	s.drop(errDropped)
	awaitDone(&a.ctx, t)
	awaitDone(&stub.ctx, t)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("stopped after %v", took)
	}
	for _, ctx := range []context.Context{&a.ctx, &stub.ctx} {
		if cause := context.Cause(ctx); !errors.Is(cause, task.ErrLeaseLost) {
			t.Errorf("cause %v", cause)
		}
	}
	b.refuseWith(nil)
	s = b.welcome(t)
	if held := s.held(); len(held) != 1 || !held[ended] {
		t.Errorf("held %v, ended was %d", held, ended)
	}
	s.accepted(ended)
	stubborn.leave <- nil // too late for a report, but the slot is free
	s.until("all slots", func() bool { return int(s.hello.GetCredits())+s.credits == 4 })
	checkGroupGone(t, group)
	s.sync()
}

func TestLocalGraceOfAge(t *testing.T) {
	now := time.Now()
	for age, want := range map[time.Duration]time.Duration{
		0:                time.Second,
		9 * time.Second:  time.Second,
		50 * time.Second: 5 * time.Second,
		time.Hour:        10 * time.Second,
	} {
		a := &attempt{begun: now.Add(-age)}
		if got := a.localGrace(now, 10*time.Second); got != want {
			t.Errorf("age %v: %v, want %v", age, got, want)
		}
	}
	s := &sessionState{ttl: 10 * time.Second, dropped: now, renewed: now.Add(-3 * time.Second)}
	old := &attempt{begun: now.Add(-time.Hour)}
	if got := s.deadline(old).Sub(now); got != 7*time.Second {
		t.Errorf("beyond the session's end: %v", got)
	}
}

// An attempt whose local grace is over while a hello lists it must not be forgotten: the broker would
// take it for held for ever.
func TestLocalGraceDuringTheHello(t *testing.T) {
	t.Parallel()
	for _, welcomed := range []bool{true, false} {
		b := newFakeBroker(t)
		g, _, s := gated(t, b.config(), b, true)
		s.assign(payloadTask(1, "gate", ""))
		a := g.enter(t)
		s.drop(errDropped)
		s = b.accept(t)
		if !s.held()[1] {
			t.Fatal("the hello does not list the attempt")
		}
		awaitDone(&a.ctx, t)
		if welcomed {
			s.send(&weftv1.WorkResponse{Welcome: &weftv1.WorkWelcome{SessionId: "s1"}})
			if r := s.accepted(1); r.GetEnd() != released {
				t.Errorf("got %v", r)
			}
			continue
		}
		s.drop(errDropped)
		s = b.welcome(t)
		if s.held()[1] { // it had ended by then, so it could be reported
			if r := s.accepted(1); r.GetEnd() != released {
				t.Errorf("got %v", r)
			}
		}
	}
}
