package lockservice

import (
	"cmp"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// HolderView is a holder as listed.
type HolderView struct {
	Name      string
	Token     uint64
	Mode      Mode
	Depth     uint32
	Permits   int64
	Since     pure.Wall
	Published string
}

// WaiterView is a waiter as listed.
type WaiterView struct {
	Name      string
	Mode      Mode
	Permits   int64
	Since     pure.Wall
	Condition string
}

// LockView is a lock as listed; a semaphore's and a barrier's has the same parts.
type LockView struct {
	Name         string
	Holders      []HolderView
	HoldersCount int
	Waiters      []WaiterView
	WaitersCount int
}

// SemaphoreView is a semaphore as listed.
type SemaphoreView struct {
	LockView
	Spec      SemaphoreSpec
	Available int64
}

// BarrierView is a barrier as listed.
type BarrierView struct {
	LockView
	State BarrierState
}

func (c *Core) viewHeld(l *heldBy, n string) LockView {
	v := LockView{Name: n, HoldersCount: len(l.grants), WaitersCount: l.queue.Len()}
	v.Holders = c.viewGrants(l.grants)
	walk := l.queue.Walk()
	for range min(objectsListed, l.queue.Len()) {
		w, _, _ := walk.Peek()
		v.Waiters = append(v.Waiters, c.viewWaiter(w))
		walk.Step()
	}
	return v
}

func (c *Core) viewGrants(grants []*Grant) (out []HolderView) {
	for _, g := range grants[:min(objectsListed, len(grants))] {
		out = append(out, c.viewGrant(g))
	}
	slices.SortFunc(out, func(a, b HolderView) int { return cmp.Compare(a.Token, b.Token) })
	return out
}

func (c *Core) viewGrant(g *Grant) HolderView {
	return HolderView{
		Name: c.nameOf(g.Holder, g.Label), Token: g.Token, Mode: g.Mode, Depth: g.Depth, Permits: g.Permits, Since: g.Since,
		Published: g.Published,
	}
}

func (c *Core) viewWaiter(w *Waiter) WaiterView {
	v := WaiterView{Name: c.nameOf(w.Holder, w.Label), Mode: w.Mode, Permits: w.Permits, Since: w.Since}
	if w.Kind == KindCondition {
		v.Condition = w.Name
	}
	return v
}

// Lock returns a lock. One that nobody has or waits for is free.
func (c *Core) Lock(namespace, lockName string) LockView {
	if l := c.locks.byName[name{namespace, lockName}]; l != nil {
		return c.viewHeld(&l.heldBy, lockName)
	}
	return LockView{Name: lockName}
}

// LockHolder returns who has a lock exclusively, and whether anybody has.
func (c *Core) LockHolder(namespace, lockName string) (HolderView, bool) {
	l := c.locks.byName[name{namespace, lockName}]
	if l == nil || len(l.grants) == 0 || l.grants[0].Mode != Exclusive {
		return HolderView{}, false
	}
	return c.viewGrant(l.grants[0]), true
}

// Locks returns a page of a namespace's locks, those after a number, and the number to go on from, 0 at the end.
func (c *Core) Locks(namespace string, after uint64, n int) (out []LockView, next uint64) {
	bytes := 0
	next = c.locks.list(after, func(l *lock) bool {
		if l.name.namespace != namespace {
			return true
		}
		if len(out) == n || bytes >= pageBytes {
			return false
		}
		out = append(out, c.viewHeld(&l.heldBy, l.name.name))
		for _, h := range out[len(out)-1].Holders {
			bytes += len(h.Published)
		}
		return true
	})
	return out, next
}

// Semaphores is [Core.Locks] of semaphores.
func (c *Core) Semaphores(namespace string, after uint64, n int) (out []SemaphoreView, next uint64) {
	next = c.semaphores.list(after, func(s *semaphore) bool {
		if s.Namespace != namespace {
			return true
		}
		if len(out) == n {
			return false
		}
		out = append(out, SemaphoreView{c.viewHeld(&s.heldBy, s.Name), s.Spec, s.left()})
		return true
	})
	return out, next
}

// Barriers is [Core.Locks] of barriers.
func (c *Core) Barriers(namespace string, after uint64, n int) (out []BarrierView, next uint64) {
	next = c.barriers.list(after, func(b *barrier) bool {
		if b.Namespace != namespace {
			return true
		}
		if len(out) == n {
			return false
		}
		v := BarrierView{LockView: LockView{Name: b.Name, WaitersCount: len(b.parties)}, State: b.BarrierState}
		for _, w := range b.parties[:min(objectsListed, len(b.parties))] {
			v.Waiters = append(v.Waiters, c.viewWaiter(w))
		}
		out = append(out, v)
		return true
	})
	return out, next
}

// Events is [Core.Locks] of events.
func (c *Core) Events(namespace string, after uint64, n int) (out []EventState, next uint64) {
	next = c.events.list(after, func(e *event) bool {
		if e.Namespace != namespace {
			return true
		}
		if len(out) == n {
			return false
		}
		out = append(out, e.EventState)
		return true
	})
	return out, next
}

// pageBytes is where a page of values ends.
const pageBytes = 1 << 20

// Values is [Core.Locks] of values.
func (c *Core) Values(namespace string, after uint64, n int) (out []ValueState, next uint64) {
	bytes := 0
	next = c.values.list(after, func(v *value) bool {
		if v.Namespace != namespace {
			return true
		}
		if len(out) == n || bytes >= pageBytes {
			return false
		}
		out = append(out, v.ValueState)
		bytes += len(v.Data.Text)
		return true
	})
	return out, next
}

// LockChanged says that somebody else may have a lock, or shows something else.
type LockChanged struct{ Namespace, Name string }

// ValueChanged says that a value has changed.
type ValueChanged struct{ Namespace, Name string }

func (c *Core) lockChanged(k Kind, n name) {
	if k == KindLock && c.watchers.locks[n] > 0 {
		c.watchers.changed = append(c.watchers.changed, LockChanged{n.namespace, n.name})
	}
}

func (c *Core) valueChanged(n name) {
	if c.watchers.values[n] > 0 {
		c.watchers.changed = append(c.watchers.changed, ValueChanged{n.namespace, n.name})
	}
}

// Changed calls fn for each [LockChanged] and [ValueChanged] since the last call, once.
func (c *Core) Changed(fn func(any)) {
	changed := c.watchers.changed
	c.watchers.changed = changed[:0]
	for i, ch := range changed {
		if !slices.Contains(changed[:i], ch) {
			fn(ch)
		}
	}
	clear(changed)
}
