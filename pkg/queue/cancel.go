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

// CancelIndexes cancels tasks of a call.
func (c *Core) CancelIndexes(step *pure.Step, callID uint64, r pure.Range, grace time.Duration) {
	k := c.calls[callID]
	if k == nil {
		return
	}
	k.Accepted.Overlap(r.First, r.Last, func(in pure.Range) {
		k.Acknowledged.Gaps(in.First, in.Last, func(gap pure.Range) {
			for i := gap.First; ; i++ {
				if t := k.byIndex[i]; t != nil {
					c.cancel(step, t, grace)
				}
				if i == gap.Last {
					break
				}
			}
		})
	})
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
