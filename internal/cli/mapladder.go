package cli

import (
	"context"
	"errors"
	"os"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// ladder climbs with each signal, as run does, until the returned function is called.
func (m *mapping) ladder(parent context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(parent)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case s := <-m.app.Signal:
				m.climb(s)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-gone
	}
}

// climb is the cancel ladder: ask, kill, leave. The tasks of a named map are left at once: they go on.
func (m *mapping) climb(s os.Signal) {
	m.mu.Lock()
	m.interrupts++
	step, call, none := m.interrupts, m.call, len(m.inputs) == 0
	m.mu.Unlock()
	switch {
	case m.flags.name != "", call == nil, none && step == 1, step > 2:
		m.stop(left(s))
	case step == 1:
		m.say("cancelling what has not ended; interrupt again to kill what runs")
		call.Cancel(0)
	default:
		m.say("killing what runs; interrupt again to leave it")
		call.Cancel(client.KillNow)
	}
}

// cancelLate cancels a task that was on its way when the map was interrupted, and tells whether it was.
func (m *mapping) cancelLate() bool {
	m.mu.Lock()
	step, call := m.interrupts, m.call
	m.mu.Unlock()
	switch {
	case step == 0:
		return false
	case m.flags.name != "":
	case step == 1:
		call.Cancel(0)
	default:
		call.Cancel(client.KillNow)
	}
	return true
}

// stopped tells whether a result is that of a task which was cancelled because the map was interrupted.
func (m *mapping) stopped(r *client.SpecResult) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.interrupts == 0 {
		return false
	}
	if r.Outcome != nil {
		return r.Outcome.State == weftv1.TaskState_TASK_STATE_CANCELLED
	}
	_, refused := errors.AsType[*client.Error](r.Err)
	return refused
}

// wasInterrupted tells whether a person has interrupted the map.
func (m *mapping) wasInterrupted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.interrupts > 0
}

// interrupted says what becomes of the tasks.
func (m *mapping) interrupted(err error) error {
	m.mu.Lock()
	rest := len(m.inputs)
	m.mu.Unlock()
	switch {
	case m.flags.name != "":
		m.say("interrupted; the tasks go on: run the same again to meet them, or: %s cancel %s", m.app.Name, m.flags.name)
	case rest > 0:
		m.say("interrupted; what had not ended is being cancelled")
	default:
		m.say("interrupted; what had not ended is cancelled")
	}
	if _, ok := errors.AsType[*ExitError](err); ok {
		return err
	}
	return errInterrupted
}
