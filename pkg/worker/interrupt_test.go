package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// onInterrupt says what the broker does with interrupts.
func (b *fakeBroker) onInterrupt(do func(*weftv1.InterruptSubmitterRequest) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.interrupt = do
}

func calledTask(token uint64) *weftv1.Assignment {
	asg := payloadTask(token, "gate", "")
	asg.Called = true
	return asg
}

func TestInterrupt(t *testing.T) {
	attempting(t, calledTask(1), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		var got *weftv1.InterruptSubmitterRequest
		b.onInterrupt(func(r *weftv1.InterruptSubmitterRequest) error { got = r; return nil })
		do(t, a.Interrupt(t.Context(), "stop \xff"))
		if got.GetTaskId() != "t1" || got.GetToken() != 1 || got.GetMessage() != "stop \uFFFD" {
			t.Errorf("got %v", got)
		}
		// What the broker says is told, and not tried again.
		b.onInterrupt(func(*weftv1.InterruptSubmitterRequest) error { return status.Error(codes.FailedPrecondition, "lost") })
		if err := a.Interrupt(t.Context(), ""); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("got %v", err)
		}
		g.end()
		s.accepted(1)
	})
}

func TestInterruptWithoutASubmitter(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		if err := a.Interrupt(t.Context(), ""); !errors.Is(err, task.ErrNoSubmitter) {
			t.Errorf("got %v", err)
		}
		g.end()
		s.accepted(1)
	})
}

// A broker that is away is waited for: it arrives once it is back.
func TestInterruptWaitsForTheBroker(t *testing.T) {
	asg := calledTask(1)
	attempting(t, asg, func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		pass(time.Minute)
		got, ended := 0, make(chan error, 1)
		b.onInterrupt(func(*weftv1.InterruptSubmitterRequest) error {
			if got++; got < 3 {
				return status.Error(codes.Unavailable, "stopping")
			}
			return nil
		})
		s.drop(errDropped)
		synctest.Wait()
		go func() { ended <- a.Interrupt(t.Context(), "") }()
		synctest.Wait()
		pass(time.Second) // the stream is open, and not welcomed
		select {
		case err := <-ended:
			t.Fatalf("without a broker: %v", err)
		default:
		}
		s = b.welcome(t)
		do(t, <-ended)
		if got != 3 {
			t.Errorf("%d requests", got)
		}
		g.end()
		s.accepted(1)
	})
}

func TestInterruptThatEnds(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(s *fakeStream, cancel context.CancelCauseFunc)
		want error
	}{
		"context": {func(_ *fakeStream, cancel context.CancelCauseFunc) { cancel(errDropped) }, errDropped},
		"attempt": {func(s *fakeStream, _ context.CancelCauseFunc) { s.cancel(1, lost, 0) }, task.ErrLeaseLost},
	} {
		t.Run(name, func(t *testing.T) {
			attempting(t, calledTask(1), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
				b.onInterrupt(func(*weftv1.InterruptSubmitterRequest) error { return status.Error(codes.Unavailable, "stopping") })
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				ended := make(chan error, 1)
				go func() { ended <- a.Interrupt(ctx, "") }()
				pass(time.Minute)
				end.do(s, cancel)
				if err := <-ended; !errors.Is(err, end.want) {
					t.Errorf("got %v", err)
				}
				g.end()
			})
		})
	}
}

// While a request is under way, the cause of its context is the error, not gRPC's word for it.
func TestInterruptUnderWayThatEnds(t *testing.T) {
	attempting(t, calledTask(1), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		answer := make(chan struct{})
		b.onInterrupt(func(*weftv1.InterruptSubmitterRequest) error { <-answer; return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Interrupt(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(answer)
		g.end()
		s.accepted(1)
	})
}
