package lockservice

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Apply applies a record, a new one or one of the journal.
func (c *Core) Apply(rec any, seq uint64) {
	switch rec := rec.(type) {
	case *GrantPut:
		c.applyGrant(&rec.State, seq)
	case *GrantChanged:
		if g := known(c, c.grants[rec.Token]); g != nil {
			g.Depth, g.Published = rec.Depth, rec.Published
			c.lockChanged(g.Kind, name{g.Namespace, g.Name})
		}
	case *GrantDropped:
		if g := known(c, c.grants[rec.Token]); g != nil {
			c.applyGrantDropped(g)
		}
	case *WaiterPut:
		c.applyWaiter(&rec.State, seq)
	case *WaiterEnded:
		if w := known(c, c.waiters[rec.ID]); w != nil {
			c.removeWaiter(w)
		}
	case *WaiterMoved:
		if w := known(c, c.waiters[rec.ID]); w != nil {
			c.applyWaiterMoved(w, rec)
		}
	case *Answered:
		c.remember(rec, seq)
	case *WindowPut:
		c.applyWindow(&rec.State, seq)
	case *WindowDropped:
		if w := known(c, c.window(rec.Channel)); w != nil {
			c.applyWindowDropped(w)
		}
	case *RequestsDropped:
		c.applyRequestsDropped(rec)
	case *session.Ended:
		c.dropWindows(rec.ID)
	default:
		c.applyObject(rec, seq)
	}
}

func (c *Core) applyObject(rec any, seq uint64) {
	switch rec := rec.(type) {
	case *SemaphorePut:
		c.applySemaphore(&rec.State, seq)
	case *SemaphoreDropped:
		n := name{rec.Namespace, rec.Name}
		if s := known(c, c.semaphores.byName[n]); s != nil {
			c.semaphores.remove(n, s.number)
			c.lose(&s.node)
		}
	case *EventPut:
		c.applyEvent(&rec.State, seq)
	case *EventDropped:
		n := name{rec.Namespace, rec.Name}
		if e := known(c, c.events.byName[n]); e != nil {
			c.events.remove(n, e.number)
			c.lose(&e.node)
		}
	case *BarrierPut:
		c.applyBarrier(&rec.State, seq)
	case *BarrierDropped:
		if b := known(c, c.barriers.byName[name{rec.Namespace, rec.Name}]); b != nil {
			c.applyBarrierDropped(b)
		}
	case *ValuePut:
		c.applyValue(&rec.State, seq)
	case *ValueDropped:
		n := name{rec.Namespace, rec.Name}
		if v := known(c, c.values.byName[n]); v != nil {
			c.values.remove(n, v.number)
			c.lose(&v.node)
			c.valueChanged(n)
		}
	}
}

// known notes that a record is about what is not there, which only a replay below the floor may meet.
func known[T any](c *Core, entity *T) *T {
	if entity == nil {
		c.Strangers++
	}
	return entity
}

func (c *Core) applyGrant(st *GrantState, seq uint64) {
	g := c.grants[st.Token]
	if g == nil {
		g = &Grant{GrantState: *st}
		c.grants[g.Token] = g
		g.holder = c.holder(g.Holder)
		g.inHolder = len(g.holder.grants)
		g.holder.grants = append(g.holder.grants, g)
		held := c.held(g.Kind, name{g.Namespace, g.Name})
		g.inObject = len(held.grants)
		held.grants = append(held.grants, g)
		held.permits += g.Permits
	}
	g.GrantState = *st
	c.touch(&g.node, g, g.Namespace, grantWeight(g), seq)
	c.lockChanged(g.Kind, name{g.Namespace, g.Name})
}

func grantWeight(g *Grant) int64 {
	return int64(192 + len(g.Namespace) + len(g.Name) + len(g.Label) + len(g.Published))
}

// held is what has the grants of a lock or a semaphore.
func (c *Core) held(k Kind, n name) *heldBy {
	if k == KindSemaphore {
		return &c.semaphoreOf(n).heldBy
	}
	return &c.lock(n).heldBy
}

// heldBy is what can be held.
type heldBy struct {
	grants  []*Grant
	permits int64 // of all
	queue   pure.Heap[*Waiter]
}

func newQueue() pure.Heap[*Waiter] { return pure.NewHeap(func(w *Waiter) *int32 { return &w.place }) }

func (c *Core) applyGrantDropped(g *Grant) {
	delete(c.grants, g.Token)
	h := g.holder
	last := h.grants[len(h.grants)-1]
	h.grants[g.inHolder], last.inHolder = last, g.inHolder
	h.grants[len(h.grants)-1] = nil
	h.grants = h.grants[:len(h.grants)-1]
	n := name{g.Namespace, g.Name}
	held := c.held(g.Kind, n)
	last = held.grants[len(held.grants)-1]
	held.grants[g.inObject], last.inObject = last, g.inObject
	held.grants[len(held.grants)-1] = nil
	held.grants = held.grants[:len(held.grants)-1]
	held.permits -= g.Permits
	c.lose(&g.node)
	c.lockChanged(g.Kind, n)
	c.tidyHolder(h)
	c.tidyLock(g.Kind, n)
}

func (c *Core) applyWaiter(st *WaiterState, seq uint64) {
	w := c.waiters[st.ID]
	if w == nil {
		w = &Waiter{WaiterState: *st}
		c.waiters[w.ID] = w
		w.holder = c.holder(w.Holder)
		w.holder.waits = w
		if key, ok := keyOf(w.Namespace, &w.Origin); ok {
			c.origins[key] = w
		}
		c.enqueue(w)
		c.armWaiter(c.now, w)
		if w.Origin.Number != 0 {
			c.lower(w.Namespace, &w.Origin, seq)
		}
	}
	w.WaiterState = *st
	c.touch(&w.node, w, w.Namespace, waiterWeight(w), seq)
}

func waiterWeight(w *Waiter) int64 {
	return int64(320 + len(w.Namespace) + len(w.Name) + len(w.Lock) + len(w.Label) + len(w.Published) + len(w.Origin.RequestID))
}

// enqueue puts a waiter where it waits, at its place.
func (c *Core) enqueue(w *Waiter) {
	if w.Kind == KindBarrier {
		c.barrierOf(name{w.Namespace, w.Name}).add(w)
		return
	}
	c.queueOf(w).Set(w, pure.Key{A: int64(w.Order)})
}

// dequeue takes a waiter from where it waits.
func (c *Core) dequeue(w *Waiter) {
	n := name{w.Namespace, w.Name}
	if w.Kind == KindBarrier {
		c.barrierOf(n).remove(w)
		return
	}
	c.queueOf(w).Remove(w)
	switch {
	case w.atLock():
		c.tidyLock(KindLock, w.lockName())
	case w.Kind == KindCondition:
		c.tidyCondition(n)
	}
}

// queueOf is the queue of what a waiter waits for, if that is no barrier.
func (c *Core) queueOf(w *Waiter) *pure.Heap[*Waiter] {
	n := name{w.Namespace, w.Name}
	switch {
	case w.atLock():
		return &c.lock(w.lockName()).queue
	case w.Kind == KindCondition:
		return &c.condition(n, w.Lock).queue
	}
	return &c.semaphoreOf(n).queue
}

// removeWaiter takes a waiter out, which is resolved.
func (c *Core) removeWaiter(w *Waiter) {
	c.dequeue(w)
	delete(c.waiters, w.ID)
	if key, ok := keyOf(w.Namespace, &w.Origin); ok {
		delete(c.origins, key)
	}
	c.deadlines.Remove(w)
	c.claims.Remove(w)
	c.lose(&w.node)
	w.holder.waits = nil
	c.tidyHolder(w.holder)
}
