package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// pid follows the standard output of a command that begins by printing its number.
func (s *fakeStream) pid(token uint64) int {
	s.t.Helper()
	s.send(&weftv1.WorkResponse{OutputRequests: []*weftv1.OutputRequest{{Token: token, Stream: stdout, BytesMax: 100}}})
	pid := 0
	s.until("the command's number", func() bool {
		n := 0
		for _, chunk := range s.chunks {
			for _, digit := range chunk.GetData() {
				if digit == '\n' {
					pid = n
				}
				n = 10*n + int(digit-'0')
			}
		}
		return pid != 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks = nil
	return pid
}

func TestCancelOfAHandler(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""))
	a := g.enter(t)
	s.cancel(1, killed, time.Hour)
	r := s.accepted(1)
	if r.GetEnd() != killed || r.GetError().GetReason() != "cancelled" {
		t.Errorf("got %v", r)
	}
	if cause := context.Cause(&a.ctx); !errors.Is(cause, task.ErrCancelled) || !errors.Is(a.ctx.Err(), context.Canceled) {
		t.Errorf("cause %v, err %v", cause, a.ctx.Err())
	}
}

func TestASuccessStaysASuccess(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, false)
	s.assign(payloadTask(1, "gate", ""))
	a := g.enter(t)
	s.cancel(1, killed, time.Hour)
	awaitDone(&a.ctx, t)
	g.leave <- nil
	if r := s.accepted(1); r.GetEnd() != succeeded {
		t.Errorf("got %v", r)
	}
	s.cancel(1, killed, time.Hour) // after the end, for nothing
	s.sync()
}

func TestCancelAfterTheReport(t *testing.T) {
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, false)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	g.leave <- nil
	s.report(1)
	s.cancel(1, killed, 0)
	s.sync()
	s.drop(errDropped)
	s = b.welcome(t)
	if r := s.accepted(1); r.GetEnd() != succeeded {
		t.Errorf("got %v", r)
	}
}

func TestCancelRacesTheEnd(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	w.handle("upper", upper)
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	for token := uint64(1); token <= 60; token += 2 {
		s.send(&weftv1.WorkResponse{
			Assignments: []*weftv1.Assignment{payloadTask(token, "upper", "x"), commandTask(token+1, shell("exit 0"))},
		})
		s.cancel(token, killed, 0)
		s.cancel(token+1, killed, 0)
		for _, r := range []*weftv1.AttemptReport{s.accepted(token), s.accepted(token + 1)} {
			if r.GetEnd() != succeeded && r.GetEnd() != killed {
				t.Errorf("got %v", r)
			}
		}
	}
	s.until("all credits", func() bool { return s.credits == 60 })
}

func TestWorkerLostIsNotReported(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	g := newGate(true)
	w.handle("gate", g.handle)
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(payloadTask(1, "gate", ""), commandTask(2, shell("echo $$; trap '' TERM; while :; do sleep 0.01; done")))
	a := g.enter(t)
	group := s.pid(2)
	s.cancel(1, lost, time.Hour)
	s.cancel(2, lost, time.Hour) // it is stopped at once all the same
	awaitDone(&a.ctx, t)
	if cause := context.Cause(&a.ctx); !errors.Is(cause, task.ErrLeaseLost) {
		t.Errorf("cause %v", cause)
	}
	s.until("both slots", func() bool { return s.credits == 2 })
	checkGroupGone(t, group)
	s.mu.Lock()
	if len(s.reports) != 0 {
		t.Errorf("reports %v", s.reports)
	}
	s.mu.Unlock()
	s.drop(errDropped)
	if held := b.welcome(t).held(); len(held) != 0 {
		t.Errorf("held %v", held)
	}
}

func TestCancelOfACommand(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(
		commandTask(1, shell("echo $$; sleep 1000 & sleep 1000")),
		commandTask(2, shell("trap '' TERM; echo $$; while :; do sleep 0.01; done")),
		commandTask(3, shell("trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done")),
	)
	group1, group2, group3 := s.pid(1), s.pid(2), s.pid(3)
	s.cancel(1, killed, time.Hour)
	if r := s.accepted(1); r.GetEnd() != killed || r.GetCommand().GetSignal() != "SIGTERM" {
		t.Errorf("got %v", r)
	}
	s.cancel(2, killed, time.Hour)
	s.cancel(2, killed, 10*time.Millisecond) // the shorter one takes over
	if r := s.accepted(2); r.GetEnd() != killed || r.GetCommand().GetSignal() != "SIGKILL" {
		t.Errorf("got %v", r)
	}
	s.cancel(3, killed, time.Hour)
	if r := s.accepted(3); r.GetEnd() != succeeded {
		t.Errorf("got %v", r)
	}
	for _, group := range []int{group1, group2, group3} {
		checkGroupGone(t, group)
	}
}

func TestTimeoutOfAHandler(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	g, _, s := gated(t, b.config(), b, true)
	asg := payloadTask(1, "gate", "")
	asg.Timeout = durationpb.New(time.Second)
	s.assign(asg)
	a := g.enter(t)
	if _, ok := a.ctx.Deadline(); !ok {
		t.Error("the context has no deadline")
	}
	r := s.accepted(1)
	if r.GetEnd() != timedOut || r.GetError().GetReason() != "timeout" {
		t.Errorf("got %v", r)
	}
	if !errors.Is(a.ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(&a.ctx), task.ErrTimeout) {
		t.Errorf("err %v, cause %v", a.ctx.Err(), context.Cause(&a.ctx))
	}
}

func TestTimeoutByTheBroker(t *testing.T) {
	b := newFakeBroker(t)
	_, _, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""))
	s.cancel(1, timedOut, time.Hour)
	if r := s.accepted(1); r.GetEnd() != timedOut {
		t.Errorf("got %v", r)
	}
}

func TestTimeoutOfACommandEndsItsGroup(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	asg := commandTask(1, shell("echo $$; sleep 1000 & sleep 1000"))
	asg.Timeout = durationpb.New(1500 * time.Millisecond)
	stubborn := commandTask(2, shell("trap '' TERM; echo $$; while :; do sleep 0.01; done"))
	stubborn.Timeout, stubborn.Grace = durationpb.New(1500*time.Millisecond), durationpb.New(10*time.Millisecond)
	s.assign(asg)
	group := s.pid(1)
	r := s.accepted(1)
	if r.GetEnd() != timedOut || r.GetError().GetReason() != "timeout" || r.GetCommand().GetSignal() != "SIGTERM" || r.GetCommand().GetStdout().GetBytesTotal() == 0 {
		t.Errorf("got %v", r)
	}
	checkGroupGone(t, group)
	s.assign(stubborn)
	group = s.pid(2)
	if r := s.accepted(2); r.GetEnd() != timedOut || r.GetCommand().GetSignal() != "SIGKILL" {
		t.Errorf("got %v", r)
	}
	checkGroupGone(t, group)
}

// A timeout that is over before the command was started must not leave it running.
func TestTimeoutBeforeTheStart(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	asg := commandTask(1, shell("sleep 1000"))
	asg.Timeout, asg.Grace = durationpb.New(time.Nanosecond), durationpb.New(time.Second)
	s.assign(asg)
	if r := s.accepted(1); r.GetEnd() != timedOut {
		t.Errorf("got %v", r)
	}
}
