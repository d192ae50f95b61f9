package queue

import (
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

// CancelIndexes cancels tasks of a call that are known now. They follow in bulk work: there may be more of
// them than one entry of the journal takes. No intent is recorded, as nothing is answered: a client that
// lost its stream asks again. It is refused while too much of that is under way.
func (c *Core) CancelIndexes(step *pure.Step, callID uint64, r pure.Range, grace time.Duration) *pure.Refusal {
	k := c.calls[callID]
	if k == nil {
		return nil
	}
	if k.cancelling >= callCancelsMax {
		return pure.Refuse(pure.Overloaded, "too many cancellations of the call are under way", "limit", callCancelsMax)
	}
	k.cancelling++
	c.sweeps = append(c.sweeps, sweep{call: k, indexes: &indexCancel{left: r, upTo: *step.Counter, grace: grace}})
	return nil
}

// indexCancel is the cancellation of a range of indexes.
type indexCancel struct {
	left  pure.Range
	upTo  uint64 // the last task's id: the client may submit more behind its request
	grace time.Duration
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
				if t := k.byIndex[i]; t != nil && t.ID <= x.upTo {
					c.cancel(step, t, x.grace)
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

func (c *Core) cancel(step *pure.Step, t *task, grace time.Duration) {
	if grace < 0 {
		grace = t.Options.Grace
	}
	switch t.State {
	case Scheduled, Ready:
		c.finish(step, t, &Outcome{State: Cancelled, Error: cancelledError})
	case Running:
		c.stop(step, t, grace)
	case Cancelling:
		if grace < t.CancelGrace {
			c.stop(step, t, grace)
		}
	}
}

// stop asks a running attempt to end, and gives it the grace and a margin to say so.
func (c *Core) stop(step *pure.Step, t *task, grace time.Duration) {
	c.emit(step, &TaskCancelling{ID: t.ID, Grace: grace})
	t.timeoutAt = step.Lease.Add(grace + reportMargin)
	c.patience(t)
	step.Tell(&Stop{Session: t.Session, Token: t.Token, Reason: EndKilled, Grace: grace})
	c.tellUpdate(step, t)
}
