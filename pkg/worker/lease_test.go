package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/internal/boottime"
	"github.com/weftq/weft/pkg/task"
)

// The lease ends what runs, and what follows it without asking: contexts that are derived from an attempt's. Its result
// is not sent: another worker may have the task.
func TestTheEndOfTheLease(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		child, cancel := context.WithTimeout(&a.ctx, time.Hour)
		defer cancel()
		if err := task.Current(child).Err(); err != nil {
			t.Error(err)
		}
		// The machine sleeps: Go's timers notice nothing.
		defer boottime.Feign(time.Hour)()
		begun := time.Now()
		if child.Err() != nil {
			t.Error("the derived context is done before a timer has fired")
		}
		<-child.Done()
		if took := time.Since(begun); took > leaseLookEvery {
			t.Errorf("it took %v", took)
		}
		if !errors.Is(context.Cause(child), task.ErrLeaseLost) || !errors.Is(task.Current(child).Err(), task.ErrLeaseLost) {
			t.Errorf("cause %v, %v", context.Cause(child), task.Current(child).Err())
		}
		g.end()
		s.drop(errDropped) // which the worker does by itself, once the broker was silent for long enough
		s = b.welcome(t)
		if r := s.accepted(1); r.GetEnd() != released || r.GetOutput() != nil {
			t.Errorf("%v", r)
		}
	})
}

// A result is not sent beyond the lease, also if no timer has fired yet: another worker may have the task. If the broker
// then says that it has not, it is.
func TestAResultBeyondTheLease(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		defer boottime.Feign(time.Hour)()
		s.mute()
		g.end()
		pass(time.Second)
		s.mu.Lock()
		if len(s.reports) > 0 || a.ctx.stopped() != nil {
			t.Errorf("sent %v, cause %v", s.reports, a.ctx.stopped())
		}
		s.mu.Unlock()
		s.drop(errDropped)
		s = b.welcome(t)
		if r := s.accepted(1); r.GetEnd() != succeeded {
			t.Errorf("%v", r)
		}
	})
}
