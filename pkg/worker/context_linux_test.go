package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// The lease ends what runs, and what follows it without asking: contexts that are derived from an attempt's. Its result
// is not sent: another worker may have the task.
func TestTheEndOfTheLease(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		child, cancel := context.WithTimeout(&a.ctx, time.Hour)
		defer cancel()
		if err := task.Current(child).Err(); err != nil {
			t.Error(err)
		}
		// The machine sleeps: Go's timers notice nothing.
		slept.Add(int64(time.Hour))
		defer slept.Add(-int64(time.Hour))
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
		g.leave <- nil
		if r := s.accepted(1); r.GetEnd() != released || r.GetOutput() != nil {
			t.Errorf("%v", r)
		}
	})
}

// A handler that returns beyond its lease, before any timer has fired, has no result either.
func TestAResultBeyondTheLease(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		slept.Add(int64(time.Hour))
		defer slept.Add(-int64(time.Hour))
		g.leave <- nil
		synctest.Wait()
		if r := s.accepted(1); r.GetEnd() != released || r.GetOutput() != nil || a.ctx.stopped() != nil {
			t.Errorf("%v, %v", r, a.ctx.stopped())
		}
	})
}
