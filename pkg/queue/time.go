package queue

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// NextWall is when something is due on the wall clock.
func (c *Core) NextWall() (pure.Wall, bool) {
	_, key, ok := c.wall.Min()
	return pure.Wall(key.A), ok
}

// NextLease is when something is due in lease time.
func (c *Core) NextLease() (pure.Lease, bool) {
	_, key, ok := c.leases.Min()
	if _, rate, waits := c.rates.Min(); waits && (!ok || rate.A < key.A) {
		key, ok = rate, true
	}
	return pure.Lease(key.A), ok
}

// Due tells whether anything is due.
func (c *Core) Due(wall pure.Wall, lease pure.Lease) bool {
	w, okW := c.NextWall()
	l, okL := c.NextLease()
	return okW && w <= wall || okL && l <= lease
}

// Advance does what is due, up to about a thousand records a step.
func (c *Core) Advance(step *pure.Step) {
	for !c.full(step) {
		t, key, ok := c.wall.Min()
		if !ok || key.A > int64(step.Wall) {
			break
		}
		c.wallDue(step, t)
	}
	c.ratesDue(step.Lease)
	for !c.full(step) {
		t, key, ok := c.leases.Min()
		if !ok || key.A > int64(step.Lease) {
			break
		}
		c.leaseDue(step, t)
	}
}

func (c *Core) wallDue(step *pure.Step, t *task) {
	switch deadline := t.Options.Deadline; {
	case !t.State.Final() && deadline != 0 && deadline <= step.Wall:
		c.expire(step, t)
	case t.State == Scheduled && t.queue.purges(t): // which may say nothing of ready ones
		c.purgeOne(step, t)
	case t.State == Scheduled:
		c.emit(step, &TaskReady{ID: t.ID, Since: t.queue.since(step, Ready)})
		c.tellUpdate(step, t)
	case t.call != nil && !t.call.Session.IsZero() && !t.Acknowledged:
		// Its client lives and will take it: a slow reader loses nothing, nor does one that is coming back.
		step.Look()
		c.wall.Set(t, pure.Key{A: int64(step.Wall.Add(RetentionUnacknowledged)), B: t.ID})
	case t.taken() && step.Lease < c.began.Add(RetentionTaken):
		// The broker was away, and with it whoever ended the task: a repetition is still to be answered alike.
		step.Look()
		c.wall.Set(t, pure.Key{A: int64(step.Wall.Add(time.Duration(c.began.Add(RetentionTaken) - step.Lease))), B: t.ID})
	case t.awaited(): // others are being told of its end
		step.Look()
		c.wall.Set(t, pure.Key{A: int64(step.Wall.Add(time.Second)), B: t.ID})
	default:
		c.forgetTask(step, t)
	}
}

func (c *Core) leaseDue(step *pure.Step, t *task) {
	if t.graceAt != 0 && t.graceAt <= step.Lease {
		c.lose(step, t)
		return
	}
	// The worker should have ended the attempt long ago. The broker ends it, and disowns it.
	owner, token := t.Session, t.Token
	c.end(step, t, &Report{End: EndTimeout, Error: &Error{
		Reason: "timeout", Message: "the attempt outlived its time and its worker did not report",
	}})
	step.Tell(&Stop{Session: owner, Token: token, Reason: EndWorkerLost})
}

// Serve begins a term, after the replay: sessions that are not alive give up what they held, and every
// attempt has its whole time again from now. ttl returns a living session's TTL and whether it is one of
// a worker, whose stream is awaited.
func (c *Core) Serve(now pure.Lease, ttl func(session.ID) (d time.Duration, worker, alive bool)) {
	c.began = now
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		c.remember(t)
		if t.State.Final() {
			c.retain(t)
		}
		if !t.State.Held() {
			continue
		}
		c.startPatience(now, t)
		if t.Options.Exclusive {
			continue
		}
		if t.State == Cancelling {
			t.timeoutAt = now.Add(t.CancelGrace + reportMargin)
		}
		if d, worker, alive := ttl(t.Session); alive && worker {
			t.graceAt = now.Add(d)
		}
		c.patience(t)
	}
	c.redepend()
	for _, n := range slices.Sorted(maps.Keys(c.spaces)) {
		c.relieve(c.spaces[n])
	}
	for _, id := range slices.Sorted(maps.Keys(c.queues)) {
		q := c.queues[id]
		q.paced = now.Add(q.ahead()) // the last term may have used it up
		if q.Purged != (Purged{}) || q.Deleting {
			c.sweep(&sweep{purge: q})
		}
	}
	for _, id := range c.peerIDs() {
		if _, _, alive := ttl(id); !alive {
			p := c.peers[id]
			p.dead = true
			c.sweep(&sweep{peer: p})
		}
	}
	for k := c.callAges.Oldest(); k != nil; k = c.callAges.Next(k) {
		if k.CancelledTo > 0 {
			c.sweep(&sweep{call: k, at: len(k.tasks)})
		}
	}
}

// Complete returns an error if the replayed records speak of a queue or a call that never came.
func (c *Core) Complete() error {
	for id, q := range c.queues {
		if q.Name == "" {
			return fmt.Errorf("queue %d has tasks and is not in the journal", id)
		}
	}
	for id, k := range c.calls {
		if k.Name == "" {
			return fmt.Errorf("call %d has tasks and is not in the journal", id)
		}
	}
	return nil
}

// peerIDs returns the known sessions in the order of their ids: a map's order is no order.
func (c *Core) peerIDs() []session.ID {
	ids := make([]session.ID, 0, len(c.peers))
	for id := range c.peers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b session.ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
