package queue

import (
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
)

// Cancel begins the cancel ladder for a task and returns its state after; grace below 0 is the task's own.
func (c *Core) Cancel(step *pure.Step, namespace string, id uint64, grace time.Duration) (State, error) {
	t, err := c.find(namespace, id)
	if err != nil {
		return 0, err
	}
	c.cancel(step, t, grace)
	return t.State, nil
}

// callCancelsMax bounds the cancellations of ranges of one call that are under way.
const callCancelsMax = 1000

// CancelIndexes cancels tasks of a call that are known now, or of these the ones that wait. They follow in bulk work: there may be more of
// them than one entry of the journal takes. No intent is recorded, as nothing is answered: a client that
// lost its stream asks again. It is refused while too much of that is under way.
func (c *Core) CancelIndexes(step *pure.Step, callID uint64, r pure.Range, grace time.Duration, waitingOnly bool) *pure.Refusal {
	k := c.calls[callID]
	if k == nil {
		return nil
	}
	if k.cancelling >= callCancelsMax {
		return pure.Refuse(pure.Overloaded, "too many cancellations of the call are under way", "limit", callCancelsMax)
	}
	c.cancelWaiting(k, r)
	k.cancelling++
	c.sweep(&sweep{call: k, indexes: &indexCancel{left: r, upTo: *step.Counter, grace: grace, waitingOnly: waitingOnly}})
	return nil
}

// indexCancel is the cancellation of a range of indexes.
type indexCancel struct {
	left  pure.Range
	upTo  uint64 // the last task's id: the client may submit more behind its request
	grace time.Duration

	waitingOnly bool // what runs goes on
}

// sweepIndexes goes on with the cancellation of a range, and tells whether it came to the end.
func (c *Core) sweepIndexes(step *pure.Step, k *call, x *indexCancel) (done bool) {
	done = true
	k.Accepted.Overlap(x.left.First, x.left.Last, func(in pure.Range) {
		k.Acknowledged.Gaps(in.First, in.Last, func(gap pure.Range) {
			for i := gap.First; done; i++ {
				if c.full(step) {
					x.left.First, done = i, false
					return
				}
				step.Look()
				if t := k.byIndex[i]; t != nil && t.ID <= x.upTo && (t.State.Waits() || !x.waitingOnly) {
					c.cancelCalled(step, t, x.grace)
				}
				if i == gap.Last {
					break
				}
			}
		})
	})
	if done {
		k.cancelling--
	}
	return done
}

// cancelWaiting cancels tasks of a call that wait for room in their queues: they are accepted, and cancelled, in
// bulk work.
func (c *Core) cancelWaiting(k *call, r pure.Range) {
	var indexes []uint64
	for i, p := range k.waiting {
		if i >= r.First && i <= r.Last && !p.cancelled {
			p.cancelled = true
			indexes = append(indexes, i)
		}
	}
	if len(indexes) > 0 {
		slices.Sort(indexes)
		c.sweep(&sweep{call: k, waiting: indexes})
	}
}

// sweepWaiting goes on with that, and tells whether it came to the end.
func (c *Core) sweepWaiting(step *pure.Step, s *sweep) bool {
	for len(s.waiting) > 0 {
		if c.full(step) {
			return false
		}
		step.Look()
		p := s.call.waiting[s.waiting[0]]
		s.waiting = s.waiting[1:]
		if p != nil && p.cancelled {
			c.unwait(p)
			c.putCancelled(step, p)
		}
	}
	c.finishIfDue(step, s.call)
	return true
}

// putCancelled accepts a task that waited for room and was cancelled meanwhile.
func (c *Core) putCancelled(step *pure.Step, p *putter) {
	k, index := p.call, p.task.Index
	q, refusal := p.queue, (*pure.Refusal)(nil)
	if q == nil {
		q, refusal = c.findQueue(step, p.namespace, p.task.Queue)
	}
	switch {
	case c.calls[k.ID] != k:
		return
	case refusal != nil:
		c.tellEnqueued(step, k, &p.task, refusal)
		c.follow(p)
		return
	}
	c.putState = TaskState{
		Spec: p.task.Spec, ID: step.Next(), Queue: q.ID, Call: k.ID, Index: index, CreatedAt: step.Wall,
		State: Cancelled, Outcome: &Outcome{State: Cancelled, Error: cancelledError, FinishedAt: step.Wall},
	}
	c.putState.Extra = &Extra{Joined: c.putState.ID} // it stands for itself: without its payload it is never tried again
	c.putState.Options, c.putState.Payload = q.options(p.task.Spec.options()), Payload{}
	c.rec.put = TaskPut{State: &c.putState}
	c.emit(step, &c.rec.put)
	c.tellEnqueued(step, k, &p.task, nil)
	c.follow(p)
	if k.attached {
		t := c.tasks[c.putState.ID]
		step.Tell(&Finished{Call: k.ID, Index: index, ID: t.ID, Outcome: t.Outcome})
	}
}

// cancelCalled is cancel for a call's part in a task: what others have joined goes on for them.
func (c *Core) cancelCalled(step *pure.Step, t *task, grace time.Duration) {
	if !t.State.Final() && t.call != nil && t.followed() {
		c.detach(step, t)
		return
	}
	c.cancel(step, t, grace)
}

func (c *Core) cancel(step *pure.Step, t *task, grace time.Duration) {
	if grace < 0 {
		grace = t.Options.Grace
	}
	switch t.State {
	case Scheduled, Blocked, Ready:
		joined := t.Joined
		c.finish(step, t, &Outcome{State: Cancelled, Error: cancelledError})
		if joined != 0 {
			c.abandoned(step, joined)
		}
	case Running:
		c.stop(step, t, grace, false)
	case Cancelling:
		if grace < t.CancelGrace {
			c.stop(step, t, grace, t.Expiring)
		}
	}
}

var expiredError = &Error{Reason: "expired", Message: "the task's deadline passed"}

// expire ends a task whose deadline has passed, by the same ladder as a cancellation.
func (c *Core) expire(step *pure.Step, t *task) {
	if t.State == Running {
		c.stop(step, t, t.Options.Grace, true)
		return
	}
	joined := t.Joined
	c.finish(step, t, &Outcome{State: Expired, Error: expiredError})
	if joined != 0 {
		c.abandoned(step, joined)
	}
}

// stopped is the outcome of a task that was told to stop and did.
func (t *task) stopped(end End) *Outcome {
	if t.Expiring {
		return &Outcome{State: Expired, End: end, Error: expiredError}
	}
	return &Outcome{State: Cancelled, End: end, Error: cancelledError}
}

// stop asks a running attempt to end, and gives it the grace and a margin to say so.
func (c *Core) stop(step *pure.Step, t *task, grace time.Duration, expiring bool) {
	c.emit(step, &TaskCancelling{ID: t.ID, Grace: grace, Expiring: expiring})
	if !t.Options.Exclusive { // that one waits for its worker's word, or its end
		t.timeoutAt = step.Lease.Add(grace + reportMargin)
		c.patience(t)
	}
	step.Tell(&Stop{Session: t.Session, Token: t.Token, Reason: EndKilled, Grace: grace})
	c.tellUpdate(step, t)
}
