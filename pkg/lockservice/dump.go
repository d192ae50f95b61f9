package lockservice

import (
	"fmt"
	"slices"
)

// Dump returns the durable state, a line an entity: what a replay of the journal must give again.
func (c *Core) Dump() []string {
	var lines []string
	add := func(what string, state any) { lines = append(lines, fmt.Sprintf("%s %+v", what, state)) }
	for _, g := range c.grants {
		add("grant", g.GrantState)
	}
	for _, w := range c.waiters {
		st := w.WaiterState
		st.Origin.Below = 0 // of the moment when it came
		add("waiter", st)
	}
	for _, s := range c.semaphores.byName {
		add("semaphore", s.SemaphoreState)
	}
	for _, e := range c.events.byName {
		add("event", e.EventState)
	}
	for _, b := range c.barriers.byName {
		add("barrier", b.BarrierState)
	}
	for _, v := range c.values.byName {
		add("value", v.ValueState)
	}
	for _, r := range c.requests {
		add("request", fmt.Sprintf("%v %x %+v", r.key, r.hash, r.answer))
	}
	for _, p := range c.peers {
		for _, w := range p.windows {
			add("window", w.state())
		}
	}
	slices.Sort(lines)
	return lines
}

// Leftovers names what is in memory beside the durable state; "" is nothing.
func (c *Core) Leftovers() string {
	if n := len(c.watchers.byID) + len(c.watchers.locks) + len(c.watchers.values) + len(c.leaving) + len(c.errands); n > 0 {
		return fmt.Sprintf(" %d watchers, %d locks and %d values followed, %d holders leave, %d errands", len(c.watchers.byID),
			len(c.watchers.locks), len(c.watchers.values), len(c.leaving), len(c.errands))
	}
	return ""
}
