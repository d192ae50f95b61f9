package lockservice

import (
	"github.com/weftq/weft/internal/pure"
)

func (c *Core) armWaiter(now pure.Lease, w *Waiter) {
	if w.Wait.Timed && !w.Back && !c.suspended(w) {
		c.deadlines.Set(w, pure.Key{A: int64(now.Add(w.Wait.For)), B: w.ID})
		return
	}
	c.deadlines.Remove(w) // a replay learns of the action after the party
}

// armClaim notes a waiter of a request that was cut off by the end of the last term. Without an id nobody can ask for it
// again; otherwise its client has as long as answers are kept.
func (c *Core) armClaim(now pure.Lease, w *Waiter) {
	switch {
	case w.Origin.Number != 0: // a stream's, which ends with its session
	case w.Origin.RequestID == "":
		c.claims.Set(w, pure.Key{A: int64(now), B: w.ID})
	default:
		c.claims.Set(w, pure.Key{A: int64(now.Add(MemoryTime)), B: w.ID})
	}
}

// suspended tells whether a party waits for an action, its own meeting's or the one before: that takes as long as it takes.
func (c *Core) suspended(w *Waiter) bool {
	return w.Kind == KindBarrier && c.acting(name{w.Namespace, w.Name})
}

// NextLease is when something is due.
func (c *Core) NextLease() (at pure.Lease, ok bool) {
	earlier := func(key pure.Key, found bool) {
		if found && (!ok || pure.Lease(key.A) < at) {
			at, ok = pure.Lease(key.A), true
		}
	}
	_, key, found := c.deadlines.Min()
	earlier(key, found)
	_, key, found = c.watchers.deadlines.Min()
	earlier(key, found)
	_, key, found = c.forget.Min()
	earlier(key, found)
	_, key, found = c.claims.Min()
	earlier(key, found)
	return at, ok
}

// Due tells whether something is due.
func (c *Core) Due(now pure.Lease) bool {
	at, ok := c.NextLease()
	return ok && at <= now
}

// Advance does what is due, one step of it.
func (c *Core) Advance(step *pure.Step) {
	due := func(key pure.Key, ok bool) bool {
		return ok && key.A <= int64(step.Lease) && step.Work() < c.cfg.StepRecordsMax
	}
	for {
		w, key, ok := c.deadlines.Min()
		if !due(key, ok) {
			break
		}
		c.timeOut(step, w)
	}
	for {
		w, key, ok := c.claims.Min()
		if !due(key, ok) {
			break
		}
		c.quit(step, w, Abandoned)
	}
	for {
		w, key, ok := c.watchers.deadlines.Min()
		if !due(key, ok) {
			break
		}
		c.present(step, w, TimedOut)
		step.Look()
	}
	for {
		r, key, ok := c.forget.Min()
		if !due(key, ok) {
			break
		}
		c.forgetDue(step, r)
	}
}

// timeOut ends a wait whose time is over. A condition's waiter goes back to the lock.
func (c *Core) timeOut(step *pure.Step, w *Waiter) {
	if w.Kind != KindCondition {
		c.quit(step, w, TimedOut)
		return
	}
	c.emit(step, &WaiterMoved{ID: w.ID, Order: step.Next()})
	c.contend(step, w)
}
