package lockservice

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// barrier is there from the first party that waits until nobody does, or while it is broken.
type barrier struct {
	BarrierState
	parties []*Waiter // by order
	number  uint64
	node    node // without an entity only while a replay has not met its state
}

func (c *Core) barrierOf(n name) *barrier {
	b := c.barriers.byName[n]
	if b == nil {
		b = &barrier{BarrierState: BarrierState{Namespace: n.namespace, Name: n.name}}
		b.number = c.barriers.add(n, b)
	}
	return b
}

func (b *barrier) add(w *Waiter) {
	at, _ := slices.BinarySearchFunc(b.parties, w.Order, compareOrder)
	b.parties = slices.Insert(b.parties, at, w)
}

func (b *barrier) remove(w *Waiter) {
	if at, found := slices.BinarySearchFunc(b.parties, w.Order, compareOrder); found {
		b.parties = slices.Delete(b.parties, at, at+1)
	}
}

func compareOrder(w *Waiter, order uint64) int { return cmp.Compare(w.Order, order) }

func (c *Core) applyBarrier(st *BarrierState, seq uint64) {
	b := c.barrierOf(name{st.Namespace, st.Name})
	c.unact(b)
	b.BarrierState = *st
	if b.Acting {
		h := c.holder(b.Actor)
		h.acts = append(h.acts, b)
	}
	c.touch(&b.node, b, st.Namespace, int64(192+len(st.Namespace)+len(st.Name)), seq)
}

// unact takes a barrier from the holder that runs its action.
func (c *Core) unact(b *barrier) {
	if !b.Acting {
		return
	}
	h := c.holders[b.Actor]
	h.acts = slices.DeleteFunc(h.acts, func(x *barrier) bool { return x == b })
	c.tidyHolder(h)
}

func (c *Core) applyBarrierDropped(b *barrier) {
	c.unact(b)
	c.barriers.remove(name{b.Namespace, b.Name}, b.number)
	c.lose(&b.node)
}

func broken(barrierName string) *pure.Refusal {
	return pure.Refuse(pure.BarrierBroken, "the barrier "+barrierName+" is broken", "barrier", barrierName)
}

// WaitBarrier is a party's coming to a barrier.
type WaitBarrier struct {
	Request
	Parties uint32
	Action  bool // it runs the action if it is the last to come
}

// WaitBarrier has a party wait at a barrier until all have come. It is resolved at once if it is the last.
func (c *Core) WaitBarrier(step *pure.Step, a *WaitBarrier) (Decision, error) {
	if d, known, err := c.recall(a.Namespace, &a.Origin); known {
		if err == nil && d.Waiter == 0 && d.Answer.Outcome == Broken {
			return d, broken(a.Name)
		}
		return d, err
	}
	n := name{a.Namespace, a.Name}
	waiting := 0
	if b := c.barriers.byName[n]; b != nil {
		c.buryParties(step, b)
	}
	if b := c.barriers.byName[n]; b != nil {
		switch {
		case b.Broken:
			return Decision{}, broken(a.Name)
		case b.Parties != a.Parties:
			return Decision{}, pure.Refuse(pure.BarrierMismatch, fmt.Sprintf("others wait at the barrier %s for %d parties", a.Name, b.Parties),
				"barrier", a.Name, "parties", b.Parties)
		}
		waiting = len(b.parties)
	}
	if a.Wait.Try() && waiting+1 < int(a.Parties) && !c.acting(n) { // its time is over before the others come
		if err := c.roomFor(n.namespace, &a.Origin, objectBytes); err != nil {
			return Decision{}, err
		}
		if b := c.barriers.byName[n]; b != nil {
			c.breakBarrier(step, b)
		} else {
			c.emit(step, &BarrierPut{BarrierState{Namespace: n.namespace, Name: n.name, Parties: a.Parties, Broken: true}})
		}
		c.record(step, n.namespace, &a.Origin, Answer{Outcome: Broken}, "")
		return Decision{}, broken(a.Name)
	}
	d, err := c.wait(step, &WaiterState{
		Kind: KindBarrier, Namespace: a.Namespace, Name: a.Name, Holder: a.Holder, Label: a.Label, Action: a.Action,
		Wait: a.Wait, Origin: a.Origin,
	}, waiting)
	if err != nil {
		return d, err
	}
	b := c.barriers.byName[n]
	if b.Parties == 0 {
		c.emit(step, &BarrierPut{BarrierState{Namespace: n.namespace, Name: n.name, Parties: a.Parties}})
	}
	c.meet(step, b)
	return d, nil
}

// buryParties breaks a barrier at which somebody waits who is gone, or whose action somebody runs who is.
func (c *Core) buryParties(step *pure.Step, b *barrier) {
	if len(c.leaving) == 0 || b.Broken {
		return
	}
	if b.Acting && c.dead(b.Actor) || slices.ContainsFunc(b.parties, func(w *Waiter) bool { return c.dead(w.Holder) && !b.early(w) }) {
		c.breakBarrier(step, b)
	}
}

// early tells whether a party is of the meeting after the one whose action runs.
func (b *barrier) early(w *Waiter) bool {
	return b.Acting && slices.Index(b.parties, w) >= int(b.Parties)-1
}

func (c *Core) acting(n name) bool {
	b := c.barriers.byName[n]
	return b != nil && b.Acting
}

// meet lets the parties go on if all have come, and has the last one run the action if it wants to.
func (c *Core) meet(step *pure.Step, b *barrier) {
	for !b.Acting && len(b.parties) >= int(b.Parties) {
		st := b.BarrierState
		st.Generation = step.Next()
		last := b.parties[b.Parties-1]
		if !last.Action {
			c.emit(step, &BarrierPut{st})
			c.pass(step, b, b.Parties)
			continue
		}
		st.Acting, st.Actor = true, last.Holder
		c.emit(step, &BarrierPut{st})
		c.emit(step, &WaiterEnded{ID: last.ID})
		c.resolve(step, last, Answer{Outcome: Done, Index: b.Parties - 1, Act: true, Generation: st.Generation})
		for _, w := range b.parties { // the action takes as long as it takes
			c.deadlines.Remove(w)
		}
		return
	}
	if len(b.parties) == 0 && !b.Acting && !b.Broken {
		c.emit(step, &BarrierDropped{Namespace: b.Namespace, Name: b.Name})
	}
}

// pass lets the first so many go on.
func (c *Core) pass(step *pure.Step, b *barrier, count uint32) {
	for i := range count {
		w := b.parties[0]
		c.emit(step, &WaiterEnded{ID: w.ID})
		c.resolve(step, w, Answer{Outcome: Done, Index: i, Generation: b.Generation})
	}
}

// CompleteBarrier says that the action of a meeting is done.
func (c *Core) CompleteBarrier(step *pure.Step, r *Request, generation uint64) (Decision, error) {
	if d, known, err := c.recall(r.Namespace, &r.Origin); known {
		return d, err
	}
	b := c.barriers.byName[name{r.Namespace, r.Name}]
	switch {
	case b != nil && b.Broken && b.Generation == generation:
		return Decision{}, broken(r.Name)
	case b == nil || !b.Acting || b.Generation != generation || b.Actor != r.Holder:
		return Decision{}, pure.Refuse(pure.NotHeld, "the holder does not run the action of the barrier "+r.Name,
			"barrier", r.Name, "token", generation)
	}
	st := b.BarrierState
	st.Acting, st.Actor = false, HolderID{}
	c.emit(step, &BarrierPut{st})
	c.pass(step, b, b.Parties-1)
	for _, w := range b.parties { // who came meanwhile is of the next meeting
		c.armWaiter(step.Lease, w)
	}
	c.meet(step, b)
	return c.keep(step, r.Namespace, &r.Origin, Answer{Outcome: Done})
}

// AbortBarrier breaks a barrier. One that nobody waits at is broken for those who come.
func (c *Core) AbortBarrier(step *pure.Step, namespace, barrierName string, origin Origin) (Decision, error) {
	if d, known, err := c.recall(namespace, &origin); known {
		return d, err
	}
	if err := c.roomFor(namespace, &origin, objectBytes); err != nil {
		return Decision{}, err
	}
	b := c.barriers.byName[name{namespace, barrierName}]
	switch {
	case b == nil:
		c.emit(step, &BarrierPut{BarrierState{Namespace: namespace, Name: barrierName, Broken: true}})
	case !b.Broken:
		c.breakBarrier(step, b)
	}
	return c.keep(step, namespace, &origin, Answer{Outcome: Done})
}

// ResetBarrier makes a barrier as new.
func (c *Core) ResetBarrier(step *pure.Step, namespace, barrierName string, origin Origin) (Decision, error) {
	if d, known, err := c.recall(namespace, &origin); known {
		return d, err
	}
	if err := c.roomFor(namespace, &origin, 0); err != nil {
		return Decision{}, err
	}
	if b := c.barriers.byName[name{namespace, barrierName}]; b != nil {
		c.refuseParties(step, b)
		c.emit(step, &BarrierDropped{Namespace: namespace, Name: barrierName})
	}
	return c.keep(step, namespace, &origin, Answer{Outcome: Done})
}

// breakBarrier refuses all who wait at a barrier, and those who come until it is reset.
func (c *Core) breakBarrier(step *pure.Step, b *barrier) {
	st := b.BarrierState
	st.Broken, st.Acting, st.Actor = true, false, HolderID{}
	c.emit(step, &BarrierPut{st})
	c.refuseParties(step, b)
}

func (c *Core) refuseParties(step *pure.Step, b *barrier) {
	for len(b.parties) > 0 {
		w := b.parties[0]
		if c.dead(w.Holder) {
			c.bereave(step, w)
			continue
		}
		c.emit(step, &WaiterEnded{ID: w.ID})
		c.record(step, w.Namespace, &w.Origin, Answer{Outcome: Broken}, "")
		step.Tell(&Resolved{Waiter: w.ID, Origin: w.Origin, Err: broken(b.Name)})
	}
}
