package queue

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Report is the end of an attempt, by the word of the one who held it.
type Report struct {
	ID      uint64
	Token   uint64
	End     End
	Result  Payload
	Error   *Error
	Spooled bool

	taken bool // by whoever got it
}

var cancelledError = &Error{Reason: "cancelled", Message: "the task was cancelled"}

// Report records the ends of attempts that a session held, and tells it for each whether it counted.
// A report that finished the task counts again and changes nothing.
func (c *Core) Report(step *pure.Step, id session.ID, reports []Report) {
	for i := range reports {
		r := &reports[i]
		t := c.tasks[r.ID]
		accepted := true
		switch {
		case t == nil || t.Token != r.Token || t.Session != id:
			accepted = false
		case t.State.Final():
			accepted = t.endedBy(r)
		case t.peer == nil || t.peer.dead:
			accepted = false
		default:
			c.end(step, t, r)
		}
		step.Tell(&Answered{Session: id, Token: r.Token, Accepted: accepted})
	}
}

// ReportOne records the end of an attempt by whoever knows its token, and returns the task's state after.
func (c *Core) ReportOne(step *pure.Step, namespace string, r Report) (State, error) {
	t, err := c.find(namespace, r.ID)
	if err != nil {
		return 0, err
	}
	if t.State.Final() && t.endedBy(&r) {
		return t.State, nil
	}
	if err := t.heldBy(r.Token); err != nil {
		return 0, err
	}
	r.taken = true
	c.end(step, t, &r)
	return t.State, nil
}

// endedBy tells whether a report is the one that made the outcome: with its token, and to the same end. The
// broker itself may have ended the attempt otherwise meanwhile.
func (t *task) endedBy(r *Report) bool {
	return t.Token == r.Token && t.Token != 0 && t.Outcome.End == r.End
}

func (t *task) heldBy(token uint64) error {
	if t.peer == nil || t.peer.dead || t.Token != token {
		return pure.Refuse(pure.LeaseLost, "another attempt holds the task, or none",
			"task_id", FormatID(t.ID), "token", token)
	}
	return nil
}

// Lease returns the session that holds a task by a token. A task that is being cancelled is not to be
// prolonged.
func (c *Core) Lease(namespace string, id, token uint64) (session.ID, error) {
	t, err := c.find(namespace, id)
	if err != nil {
		return session.ID{}, err
	}
	if err := t.heldBy(token); err != nil {
		return session.ID{}, err
	}
	if t.State == Cancelling {
		return session.ID{}, pure.Refuse(pure.LeaseLost, "the task is being cancelled",
			"task_id", FormatID(t.ID), "token", token)
	}
	return t.Session, nil
}

// end decides what follows from a report.
func (c *Core) end(step *pure.Step, t *task, r *Report) {
	switch {
	case r.End == EndSucceeded:
		c.finish(step, t, &Outcome{State: Succeeded, End: r.End, Result: r.Result, Spooled: r.Spooled, Taken: r.taken})
	case t.State == Cancelling:
		o := t.stopped(r.End)
		o.Result, o.Spooled, o.Taken = r.Result, r.Spooled, r.taken
		c.finish(step, t, o)
	case r.End == EndError || r.End == EndTimeout:
		c.fail(step, t, r)
	case r.End == EndKilled && t.Options.FailOnWorkerLost:
		// Its worker stopped it without being asked: the broker was away, or the worker ends.
		c.finish(step, t, &Outcome{State: Failed, End: r.End, Error: lostError(1)})
	default:
		c.retry(step, t, EndReleased, 0, t.Tries, nil)
	}
}

// fail charges an attempt and retries the task or finishes it.
func (c *Core) fail(step *pure.Step, t *task, r *Report) {
	tries := t.Tries + 1
	if permanent := r.Error != nil && r.Error.Permanent; !permanent && tries < t.Options.AttemptsMax {
		next := step.Wall.Add(backoff(t.Options, tries, step.Random()))
		c.retry(step, t, r.End, max(next, 1), tries, r.Error)
		return
	}
	c.finishTried(step, t, tries, &Outcome{State: Failed, End: r.End, Result: r.Result, Error: r.Error, Spooled: r.Spooled})
}

// backoff is the pause after so many tries: exponential, capped, and shortened at random by up to the
// jitter's share.
func backoff(o *Options, tries uint32, random uint64) time.Duration {
	initial, ceiling, multiplier := o.InitialBackoff, o.BackoffMax, o.Multiplier
	if initial == 0 {
		initial = BackoffDefault
	}
	if ceiling == 0 {
		ceiling = BackoffMax
	}
	if multiplier < 1 {
		multiplier = 2
	}
	pause := min(float64(initial)*math.Pow(multiplier, float64(tries-1)), float64(ceiling))
	share := float64(random>>11) / (1 << 53)
	return time.Duration(pause * (1 - o.Jitter*share))
}

func (c *Core) retry(step *pure.Step, t *task, end End, next pure.Wall, tries uint32, err *Error) {
	state := Ready
	if next != 0 {
		state = Scheduled
	}
	c.rec.retried = TaskRetried{
		ID: t.ID, End: end, Next: next, Tries: tries, Error: err, EndedAt: step.Wall, Worker: c.sessionName(t.Session),
		Since: t.queue.since(step, state),
	}
	c.emit(step, &c.rec.retried)
	c.tellUpdate(step, t)
}

// finish records an outcome, once and for ever.
func (c *Core) finish(step *pure.Step, t *task, o *Outcome) { c.finishTried(step, t, t.Tries, o) }

func (c *Core) finishTried(step *pure.Step, t *task, tries uint32, o *Outcome) {
	o.FinishedAt = step.Wall
	if !t.Session.IsZero() {
		o.Worker = c.sessionName(t.Session)
	}
	c.rec.finished = TaskFinished{ID: t.ID, Tries: tries, Outcome: o, Since: t.queue.since(step, o.State)}
	c.emit(step, &c.rec.finished)
	if t.call != nil && t.call.attached {
		step.Tell(&Finished{Call: t.call.ID, Index: t.Index, ID: t.ID, Outcome: o})
	}
	c.tellWatchers(step, t)
	if t.awaited() {
		c.sweep(&sweep{ended: t})
	}
}

// lose ends an attempt whose worker is away: for good if its session ended, else perhaps.
func (c *Core) lose(step *pure.Step, t *task) {
	p := t.peer
	switch {
	case t.State == Cancelling:
		c.finish(step, t, t.stopped(EndWorkerLost))
		return
	case t.Options.FailOnWorkerLost:
		c.finish(step, t, &Outcome{State: Failed, End: EndWorkerLost, Error: lostError(1)})
		return
	case p.closed:
		c.retry(step, t, EndReleased, 0, t.Tries, nil)
		return
	}
	losses, suspects := t.Losses, t.Suspects
	if p.dead {
		losses++
	} else if !slices.Contains(suspects, p.id) {
		suspects = append(slices.Clone(suspects), p.id)
	}
	if losses >= LossesMax {
		c.poison(step, t, losses)
		return
	}
	c.emit(step, &TaskLosses{ID: t.ID, Losses: losses, Suspects: suspects})
	c.retry(step, t, EndWorkerLost, 0, t.Tries, lostError(losses))
}

// convict charges a task with a worker that did not come back.
func (c *Core) convict(step *pure.Step, t *task, p *peer) {
	if c.tasks[t.ID] != t || !slices.Contains(t.Suspects, p.id) {
		return
	}
	losses := t.Losses
	if !p.closed {
		losses++
	}
	switch {
	case losses >= LossesMax && !t.State.Held():
		c.poison(step, t, losses)
		return
	case losses >= LossesMax:
		losses = LossesMax - 1 // another worker runs it: the next loss decides
	}
	c.emit(step, &TaskLosses{ID: t.ID, Losses: losses, Suspects: without(t.Suspects, p.id)})
}

func (c *Core) poison(step *pure.Step, t *task, losses uint32) {
	c.emit(step, &TaskLosses{ID: t.ID, Losses: losses})
	c.finish(step, t, &Outcome{State: Failed, End: EndWorkerLost, Error: lostError(losses)})
}

func lostError(losses uint32) *Error {
	message := "the worker was lost"
	if losses > 1 {
		message = fmt.Sprintf("%d workers were lost with the task", losses)
	}
	return &Error{Reason: "worker_lost", Message: message}
}
