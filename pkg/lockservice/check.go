package lockservice

import (
	"errors"
	"fmt"

	"github.com/weftq/weft/internal/pure"
)

// Check returns every invariant that does not hold.
func (c *Core) Check() error {
	return errors.Join(c.checkAges(), c.checkLocks(), c.checkSemaphores(), c.checkWaiters(), c.checkHolders(), c.checkMemory(),
		c.checkBarriers(), c.deadlines.Check(), c.forget.Check(), c.claims.Check(), c.watchers.deadlines.Check())
}

func (c *Core) checkAges() (broken error) {
	aged, bytes, base := 0, int64(0), uint64(0)
	for n := c.ages.Oldest(); n != nil; n = c.ages.Next(n) {
		aged++
		bytes += n.weight
		if n.age.Base() < base {
			broken = errors.Join(broken, fmt.Errorf("a %T has base %d after %d", n.entity, n.age.Base(), base))
		}
		base = n.age.Base()
	}
	windows := 0
	for _, p := range c.peers {
		windows += len(p.windows)
	}
	entities := len(c.grants) + len(c.waiters) + len(c.semaphores.byName) + len(c.events.byName) + len(c.barriers.byName) +
		len(c.values.byName) + len(c.requests) + windows
	if aged != entities || c.Len() != entities || bytes != c.bytes {
		broken = errors.Join(broken, fmt.Errorf("%d entities, %d by age, %d counted; %d bytes, %d counted", entities, aged, c.Len(), bytes, c.bytes))
	}
	return broken
}

func (c *Core) checkLocks() (broken error) {
	for n, l := range c.locks.byName {
		for i, g := range l.grants {
			if g.inObject != i || c.grants[g.Token] != g || g.Name != n.name || g.Kind != KindLock {
				broken = errors.Join(broken, fmt.Errorf("lock %s: grant %d is out of place", n.name, g.Token))
			}
			if len(l.grants) > 1 && g.Mode != Shared {
				broken = errors.Join(broken, fmt.Errorf("lock %s: %d holders, one of them exclusive", n.name, len(l.grants)))
			}
		}
		w, _, waits := l.queue.Min()
		if len(l.grants) == 0 && !waits {
			broken = errors.Join(broken, fmt.Errorf("lock %s: nobody is there", n.name))
		}
		if waits && l.compatible(w.Mode) && !c.sent[errand{KindLock, n}] {
			broken = errors.Join(broken, fmt.Errorf("lock %s: waiter %d could have it", n.name, w.ID))
		}
		broken = errors.Join(broken, l.queue.Check())
	}
	for n, k := range c.conditions {
		if k.queue.Len() == 0 {
			broken = errors.Join(broken, fmt.Errorf("condition %s: nobody waits", n.name))
		}
		k.queue.Each(func(w *Waiter, _ pure.Key) {
			if w.Back || w.Lock != k.lock || w.Name != n.name {
				broken = errors.Join(broken, fmt.Errorf("condition %s: waiter %d does not belong", n.name, w.ID))
			}
		})
	}
	return broken
}

func (c *Core) checkSemaphores() (broken error) {
	for n, s := range c.semaphores.byName {
		permits := int64(0)
		for i, g := range s.grants {
			permits += g.Permits
			if g.inObject != i || g.Kind != KindSemaphore {
				broken = errors.Join(broken, fmt.Errorf("semaphore %s: grant %d is out of place", n.name, g.Token))
			}
		}
		if permits != s.permits || s.left() < 0 || s.Spec.Free && len(s.grants) > 0 {
			broken = errors.Join(broken, fmt.Errorf("semaphore %s: %d permits held, %d counted, %d left", n.name, permits, s.permits, s.left()))
		}
		if w, _, waits := s.queue.Min(); waits && w.Permits <= s.left() && !c.sent[errand{KindSemaphore, n}] {
			broken = errors.Join(broken, fmt.Errorf("semaphore %s: waiter %d could have %d of %d", n.name, w.ID, w.Permits, s.left()))
		}
		if s.idle() {
			broken = errors.Join(broken, fmt.Errorf("semaphore %s: idle, and kept", n.name))
		}
	}
	return broken
}

func (c *Core) checkBarriers() (broken error) {
	for n, b := range c.barriers.byName {
		switch {
		case b.Broken && (len(b.parties) > 0 || b.Acting):
			broken = errors.Join(broken, fmt.Errorf("barrier %s: broken, with %d parties", n.name, len(b.parties)))
		case !b.Broken && !b.Acting && (len(b.parties) == 0 || len(b.parties) >= int(b.Parties)):
			broken = errors.Join(broken, fmt.Errorf("barrier %s: %d of %d parties wait", n.name, len(b.parties), b.Parties))
		case b.Acting && c.holders[b.Actor] == nil:
			broken = errors.Join(broken, fmt.Errorf("barrier %s: nobody runs its action", n.name))
		}
	}
	return broken
}

func (c *Core) checkWaiters() (broken error) {
	queued, origins := 0, 0
	for _, l := range c.locks.byName {
		queued += l.queue.Len()
	}
	for _, k := range c.conditions {
		queued += k.queue.Len()
	}
	for _, s := range c.semaphores.byName {
		queued += s.queue.Len()
	}
	for _, b := range c.barriers.byName {
		queued += len(b.parties)
	}
	for id, w := range c.waiters {
		if w.ID != id || w.holder.waits != w {
			broken = errors.Join(broken, fmt.Errorf("waiter %d: its holder waits for another", id))
		}
		if key, ok := keyOf(w.Namespace, &w.Origin); ok {
			origins++
			if c.origins[key] != w {
				broken = errors.Join(broken, fmt.Errorf("waiter %d is not known by its request", id))
			}
		}
		if timed := w.Wait.Timed && !w.Back && !c.suspended(w); timed != (w.deadline != 0) {
			broken = errors.Join(broken, fmt.Errorf("waiter %d: timed %t, deadline %t", id, timed, w.deadline != 0))
		}
	}
	if queued != len(c.waiters) || origins != len(c.origins) {
		broken = errors.Join(broken, fmt.Errorf("%d waiters, %d queued; %d requests, %d known", len(c.waiters), queued, origins, len(c.origins)))
	}
	return broken
}

func (c *Core) checkHolders() (broken error) {
	grants, waits := 0, 0
	for id, h := range c.holders {
		grants += len(h.grants)
		if h.waits != nil {
			waits++
		}
		for i, g := range h.grants {
			if g.inHolder != i || g.Holder != id {
				broken = errors.Join(broken, fmt.Errorf("holder %d: grant %d is out of place", id.Number, g.Token))
			}
		}
		if len(h.grants) == 0 && h.waits == nil && len(h.acts) == 0 {
			broken = errors.Join(broken, fmt.Errorf("holder %d has nothing", id.Number))
		}
		if p := c.peers[id.Session]; p == nil || p.holders[id.Number] != h {
			broken = errors.Join(broken, fmt.Errorf("holder %d is not its session's", id.Number))
		}
		if !c.cfg.Alive(id.Session) && !h.gone {
			broken = errors.Join(broken, fmt.Errorf("holder %d: its session is over, and nobody gives up what it has", id.Number))
		}
	}
	if grants != len(c.grants) || waits != len(c.waiters) {
		broken = errors.Join(broken, fmt.Errorf("%d grants, %d of holders; %d waiters, %d of holders", len(c.grants), grants, len(c.waiters), waits))
	}
	return broken
}

func (c *Core) checkMemory() (broken error) {
	for id, p := range c.peers {
		if len(p.windows) > 0 && !c.cfg.Alive(id) {
			broken = errors.Join(broken, fmt.Errorf("session %x is over, and its answers are kept", id))
		}
		for _, w := range p.windows {
			for i := range w.answers {
				if i > 0 && w.answers[i].Number <= w.answers[i-1].Number {
					broken = errors.Join(broken, fmt.Errorf("window %d: answers out of order", w.channel.Number))
				}
			}
		}
	}
	if c.forget.Len() != len(c.requests) {
		broken = errors.Join(broken, fmt.Errorf("%d requests, %d to be forgotten", len(c.requests), c.forget.Len()))
	}
	return broken
}

// Complete returns what a finished replay has not given: the state of a semaphore or a barrier that somebody is at.
func (c *Core) Complete() error {
	for n, s := range c.semaphores.byName {
		if s.node.entity == nil {
			return fmt.Errorf("semaphore %s has no state", n.name)
		}
	}
	for n, b := range c.barriers.byName {
		if b.node.entity == nil {
			return fmt.Errorf("barrier %s has no state", n.name)
		}
	}
	return nil
}
