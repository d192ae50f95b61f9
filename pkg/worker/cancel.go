package worker

import (
	"slices"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// cancelAttempt stops an attempt on the broker's behalf. One that is unknown has ended and was reported,
// or was lost: there is nothing to do.
func (w *Worker) cancelAttempt(c *weftv1.AttemptCancel) {
	w.mu.Lock()
	a := w.attempts[c.GetToken()]
	w.mu.Unlock()
	if a == nil {
		return
	}
	switch grace := c.GetGrace().AsDuration(); c.GetReason() {
	case weftv1.AttemptEnd_ATTEMPT_END_KILLED:
		w.stop(a, task.ErrCancelled, grace)
	case weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT:
		w.stop(a, task.ErrTimeout, grace)
	case weftv1.AttemptEnd_ATTEMPT_END_WORKER_LOST:
		w.lose([]uint64{a.Token})
	default:
		w.log.Warn("the broker cancels for a reason that is none", "token", a.Token, "reason", c.GetReason())
	}
}

// lose stops attempts that are no longer this worker's, at once and without a report.
func (w *Worker) lose(tokens []uint64) {
	for _, token := range tokens {
		if a := w.forget(token); a != nil {
			w.stop(a, task.ErrLeaseLost, 0)
			w.outputs.release(token)
		}
	}
	w.noteProgress()
}

// forget takes an attempt off the list of those at hand, and its report from what is to be sent.
func (w *Worker) forget(token uint64) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.attempts[token]
	delete(w.attempts, token)
	if a != nil {
		a.advance.tellAnswered() // who flushes learns of the end
	}
	if a != nil && a.report != nil {
		w.outbox.reports = slices.DeleteFunc(w.outbox.reports, func(b *attempt) bool { return a == b })
	}
	return a
}
