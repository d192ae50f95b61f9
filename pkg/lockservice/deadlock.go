package lockservice

import (
	"fmt"
	"strings"

	"github.com/weftq/weft/internal/pure"
)

// The wait-for graph has the holders as its nodes. A holder that waits for a lock waits for all who have it in a way
// that keeps it out, and for the one at the head of the queue before it: nobody of them may be stuck. A holder
// that waits for a semaphore is stuck only if all who have permits are. A wait that has a time resolves
// itself, and so does everything else that is waited for.
//
// Whoever can reach no holder that runs is stuck for ever. That is the largest set of waiters in which each is
// stuck if the others are; it is found by taking out, again and again, who is not (the OR-model and AND-model of
// Chandy, Misra and Haas 1983, in one place and at one moment).

// search is one look at the graph.
type search struct {
	c       *Core
	found   []*Waiter // that may be stuck
	virtual *Waiter   // a request that is not yet a waiter
}

// stuckable returns what a holder waits for if that may be for ever.
func (s *search) stuckable(h *holder, id HolderID) *Waiter {
	if s.virtual != nil && s.virtual.Holder == id {
		return s.virtual
	}
	if h == nil || h.waits == nil || h.gone || !eternal(h.waits) {
		return nil
	}
	return h.waits
}

// eternal tells whether a waiter waits for a lock or a semaphore with no time.
func eternal(w *Waiter) bool {
	return w.Back || !w.Wait.Timed && (w.Kind == KindLock || w.Kind == KindSemaphore)
}

// blockers calls fn for the holders who keep a waiter from what it wants, until fn says no.
func (s *search) blockers(w *Waiter, fn func(HolderID, *holder) bool) {
	if w.Kind == KindSemaphore {
		if sem := s.c.semaphores.byName[name{w.Namespace, w.Name}]; sem != nil && !sem.Spec.Free {
			for _, g := range sem.grants {
				if !fn(g.Holder, g.holder) {
					return
				}
			}
		}
		return
	}
	l := s.c.locks.byName[w.lockName()]
	if l == nil {
		return
	}
	for _, g := range l.grants {
		if (w.Mode == Exclusive || g.Mode == Exclusive) && !fn(g.Holder, g.holder) {
			return
		}
	}
	if head, _, ok := l.queue.Min(); ok && head != w && w.Mode == Shared && head.Mode == Exclusive && eternal(head) {
		fn(head.Holder, head.holder)
	}
}

// stuck tells whether a waiter waits for ever if those marked do.
func (s *search) stuck(w *Waiter) bool {
	all := w.Kind == KindSemaphore
	any, blocked := false, all
	s.blockers(w, func(id HolderID, h *holder) bool {
		any = true
		next := s.stuckable(h, id)
		marked := next != nil && next.mark == s.c.epoch
		if all {
			blocked = marked
			return marked
		}
		blocked = marked
		return !marked
	})
	return any && blocked
}

// collect marks everyone whom a waiter depends on.
func (s *search) collect(start *Waiter) {
	s.c.epoch++
	start.mark = s.c.epoch
	s.found = append(s.found, start)
	for i := 0; i < len(s.found); i++ {
		s.blockers(s.found[i], func(id HolderID, h *holder) bool {
			if next := s.stuckable(h, id); next != nil && next.mark != s.c.epoch {
				next.mark = s.c.epoch
				s.found = append(s.found, next)
			}
			return true
		})
	}
}

// cycle returns the waiters of a cycle that a waiter is stuck in or behind, nil if it is not stuck.
func (s *search) cycle(start *Waiter) []*Waiter {
	s.collect(start)
	for changed := true; changed && start.mark == s.c.epoch; {
		changed = false
		for _, w := range s.found {
			if w.mark == s.c.epoch && !s.stuck(w) {
				w.mark, changed = 0, true
			}
		}
	}
	if start.mark != s.c.epoch {
		return nil
	}
	return s.walk(start)
}

// walk follows those who are stuck, until one comes again: the shortest way back to the first one if there is one.
func (s *search) walk(start *Waiter) []*Waiter {
	from := map[*Waiter]*Waiter{}
	queue := []*Waiter{start}
	for i := 0; i < len(queue); i++ {
		w := queue[i]
		closed := false
		s.blockers(w, func(id HolderID, h *holder) bool {
			next := s.stuckable(h, id)
			if next == start {
				closed = true
				return false
			}
			if next != nil && next.mark == s.c.epoch && from[next] == nil {
				from[next] = w
				queue = append(queue, next)
			}
			return true
		})
		if closed {
			return path(from, start, w)
		}
	}
	// It is behind a cycle, not in it.
	last := queue[len(queue)-1]
	return path(from, start, last)
}

func path(from map[*Waiter]*Waiter, start, end *Waiter) []*Waiter {
	var out []*Waiter
	for w := end; w != nil; w = from[w] {
		out = append([]*Waiter{w}, out...)
		if w == start {
			break
		}
	}
	return out
}

// wouldDeadlock refuses a request that would wait for ever.
func (c *Core) wouldDeadlock(st *WaiterState) *pure.Refusal {
	w := &Waiter{WaiterState: *st}
	if !eternal(w) {
		return nil
	}
	s := search{c: c, virtual: w}
	if !s.worthwhile(w) {
		return nil
	}
	if cycle := s.cycle(w); cycle != nil {
		return s.refusal(w, cycle)
	}
	return nil
}

// worthwhile tells whether any of those who keep a waiter out waits for something itself.
func (s *search) worthwhile(w *Waiter) (yes bool) {
	s.blockers(w, func(id HolderID, h *holder) bool {
		yes = s.stuckable(h, id) != nil
		return !yes
	})
	return yes
}

// detect looks whether a waiter is stuck now, and if so ends the newest plain request of the cycle. One that comes back
// from a condition is never ended: its holder counts on the lock.
func (c *Core) detect(step *pure.Step, w *Waiter) {
	if !eternal(w) {
		return
	}
	s := search{c: c}
	if !s.worthwhile(w) {
		return
	}
	cycle := s.cycle(w)
	var victim *Waiter
	for _, x := range cycle {
		if !x.Back && (victim == nil || x.ID > victim.ID) {
			victim = x
		}
	}
	if victim == nil {
		return
	}
	refusal := s.refusal(victim, cycle)
	c.end(step, victim)
	step.Tell(&Resolved{Waiter: victim.ID, Origin: victim.Origin, Err: refusal})
	if victim.Kind == KindSemaphore {
		c.wakeSemaphore(step, c.semaphores.byName[name{victim.Namespace, victim.Name}])
	} else if l := c.locks.byName[victim.lockName()]; l != nil {
		c.wake(step, l)
	}
}

// refusal spells a cycle out.
func (s *search) refusal(victim *Waiter, cycle []*Waiter) *pure.Refusal {
	const spelled = 20
	var b strings.Builder
	for i, w := range cycle {
		if i == spelled {
			fmt.Fprintf(&b, "; and %d more", len(cycle)-spelled)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		next := cycle[(i+1)%len(cycle)]
		fmt.Fprintf(&b, "%s waits for %s, which %s has", s.c.nameOf(w.Holder, w.Label), wanted(w), s.c.nameOf(next.Holder, next.Label))
	}
	kind := KindLock
	if victim.Kind == KindSemaphore {
		kind = KindSemaphore
	}
	return pure.Refuse(pure.Deadlock, "deadlock: "+b.String(), "cycle", b.String(), kind.String(), victim.lockName().name)
}

// wanted is what a waiter waits for, for people.
func wanted(w *Waiter) string {
	switch {
	case w.atLock():
		return fmt.Sprintf("lock %q", w.lockName().name)
	case w.Kind == KindBarrier, w.Kind == KindCondition, w.Kind == KindSemaphore:
		return fmt.Sprintf("%s %q", w.Kind, w.Name)
	}
	return w.Name
}

// Edge says that a holder cannot go on before another one gives something up.
type Edge struct {
	Waiter, Object, Holder string
	Timed                  bool
}

// Graph returns the wait-for graph of a namespace, at most so many edges, and whether there are more.
func (c *Core) Graph(namespace string, most int) (edges []Edge, more bool) {
	s := search{c: c}
	for _, w := range c.sortedWaiters() {
		if w.Namespace != namespace || w.Kind == KindBarrier || w.Kind == KindCondition && !w.Back {
			continue
		}
		s.blockers(w, func(id HolderID, h *holder) bool {
			if more = len(edges) == most; more {
				return false
			}
			edges = append(edges, Edge{
				Waiter: c.nameOf(w.Holder, w.Label), Object: wanted(w), Holder: c.nameOf(id, labelOf(h, w)), Timed: !eternal(w),
			})
			return true
		})
		if more {
			break
		}
	}
	return edges, more
}

// labelOf is the name that a holder gave itself.
func labelOf(h *holder, _ *Waiter) string {
	if h.waits != nil && h.waits.Label != "" {
		return h.waits.Label
	}
	for _, g := range h.grants {
		if g.Label != "" {
			return g.Label
		}
	}
	return ""
}
