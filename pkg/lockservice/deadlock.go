package lockservice

import (
	"fmt"
	"slices"
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
	found   []vertex
	virtual *Waiter // a request that is not yet a waiter
}

// vertex is a waiter that may be stuck.
type vertex struct {
	w    *Waiter
	on   []int // whom it waits for, of those that may be stuck
	by   []int // who waits for it
	left int   // of a lock's waiter: so many of them are stuck, as far as is known
	free bool  // it goes on some time
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

// add returns the vertex of a waiter.
func (s *search) add(w *Waiter) int {
	if w.mark != s.c.epoch {
		w.mark, w.vertex = s.c.epoch, len(s.found)
		s.found = append(s.found, vertex{w: w})
	}
	return w.vertex
}

// collect finds everyone whom a waiter depends on, and returns those who depend on nobody that may be stuck.
func (s *search) collect(start *Waiter) (free []int) {
	s.c.epoch++
	s.add(start)
	for i := 0; i < len(s.found); i++ { //nolint:intrange // it grows
		w, runs := s.found[i].w, false
		s.blockers(w, func(id HolderID, h *holder) bool {
			next := s.stuckable(h, id)
			if next == nil {
				runs = true
				return w.Kind != KindSemaphore // one that runs is enough there
			}
			k := s.add(next)
			s.found[i].on = append(s.found[i].on, k)
			s.found[k].by = append(s.found[k].by, i)
			s.found[i].left++
			return true
		})
		if s.found[i].left == 0 || w.Kind == KindSemaphore && (runs || s.hopes(w)) {
			s.found[i].free = true
			free = append(free, i)
		}
	}
	return free
}

// hopes tells whether a semaphore's waiter gets what it wants even though nobody releases: only one whose time will be over
// is in its way.
func (s *search) hopes(w *Waiter) bool {
	sem := s.c.semaphores.byName[name{w.Namespace, w.Name}]
	if w.Permits > sem.left() {
		return false
	}
	walk := sem.queue.Walk()
	for range sem.queue.Len() {
		ahead, _, _ := walk.Peek()
		if ahead == w {
			break
		}
		if eternal(ahead) && !s.c.dead(ahead.Holder) && ahead.Permits > sem.left() {
			return false
		}
		walk.Step()
	}
	return true
}

// cycle returns the waiters of a cycle that a waiter is stuck in or behind, nil if it is not stuck.
func (s *search) cycle(start *Waiter) []*Waiter {
	free := s.collect(start)
	for len(free) > 0 && !s.found[0].free {
		last := free[len(free)-1]
		free = free[:len(free)-1]
		for _, i := range s.found[last].by {
			v := &s.found[i]
			v.left--
			if !v.free && (v.left == 0 || v.w.Kind == KindSemaphore) {
				v.free = true
				free = append(free, i)
			}
		}
	}
	if s.found[0].free {
		return nil
	}
	return s.walk()
}

// walk returns the shortest way from the start back to it, and the cycle that it is behind if it is in none.
func (s *search) walk() []*Waiter {
	from := map[int]int{}
	queue := []int{0}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, next := range s.found[i].on {
			if next == 0 {
				return s.way(from, i)
			}
			if _, seen := from[next]; !seen && !s.found[next].free {
				from[next] = i
				queue = append(queue, next)
			}
		}
	}
	var way []int
	place := map[int]int{}
	for i := 0; ; {
		if at, again := place[i]; again {
			return s.waiters(way[at:])
		}
		place[i] = len(way)
		way = append(way, i)
		i = s.found[i].on[slices.IndexFunc(s.found[i].on, func(k int) bool { return !s.found[k].free })]
	}
}

// way is how the search came from the start to a waiter.
func (s *search) way(from map[int]int, i int) []*Waiter {
	way := []int{i}
	for i != 0 {
		i = from[i]
		way = append(way, i)
	}
	slices.Reverse(way)
	return s.waiters(way)
}

func (s *search) waiters(of []int) (out []*Waiter) {
	for _, i := range of {
		out = append(out, s.found[i].w)
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

// worthwhile tells whether those who keep a waiter out may all be stuck, or one of them if it waits for a lock.
func (s *search) worthwhile(w *Waiter) (yes bool) {
	s.blockers(w, func(id HolderID, h *holder) bool {
		yes = s.stuckable(h, id) != nil
		return yes == (w.Kind == KindSemaphore)
	})
	return yes
}

// detect looks whether a waiter is stuck now, and if so ends the newest plain request of the cycle, and of the next one
// if there are more. One that comes back from a condition is never ended: its holder counts on the lock.
func (c *Core) detect(step *pure.Step, w *Waiter) {
	for eternal(w) && c.waiters[w.ID] == w {
		s := search{c: c}
		if !s.worthwhile(w) {
			return
		}
		cycle := s.cycle(w)
		victim := newest(cycle)
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
}

// newest is the waiter of a cycle that came last, of those that may be refused.
func newest(cycle []*Waiter) (victim *Waiter) {
	for _, x := range cycle {
		if !x.Back && (victim == nil || x.ID > victim.ID) {
			victim = x
		}
	}
	return victim
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
		fmt.Fprintf(&b, "%s waits for %s, which %s %s", s.c.nameOf(w.Holder, w.Label), wanted(w), s.c.nameOf(next.Holder, next.Label), s.has(w, next))
	}
	return pure.Refuse(pure.Deadlock, "a circle of waits: "+b.String(), "cycle", b.String(), victim.heldKind().String(), victim.lockName().name)
}

// has says how one waiter is in the way of another: it has what the other one waits for, or is ahead of it.
func (s *search) has(w, next *Waiter) string {
	held := s.c.held(w.heldKind(), w.lockName())
	if held.grantOf(s.c, next.Holder) != nil {
		return "has"
	}
	return "waits for first"
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

// What one look at the graph passes over: objects, and waiters of each.
const (
	graphExamined = 100_000
	graphWaiters  = 1000
)

// Graph returns the wait-for graph of a namespace, at most so many edges, and whether there are more.
func (c *Core) Graph(namespace string, most int) (edges []Edge, more bool) {
	s, truncated := search{c: c}, false
	add := func(queue *pure.Heap[*Waiter]) bool {
		walk := queue.Walk()
		for examined := range queue.Len() {
			if examined == graphWaiters {
				truncated = true
				break
			}
			w, _, _ := walk.Peek()
			walk.Step()
			s.blockers(w, func(id HolderID, h *holder) bool {
				if more = len(edges) == most; !more {
					edges = append(edges, Edge{
						Waiter: c.nameOf(w.Holder, w.Label), Object: wanted(w), Holder: c.nameOf(id, labelOf(h)), Timed: !eternal(w),
					})
				}
				return !more
			})
			if more {
				return false
			}
		}
		return true
	}
	examined := 0
	for _, number := range c.locks.order.After(0) {
		if examined++; examined > graphExamined {
			return edges, true
		}
		if l := c.locks.byNo[number]; l != nil && l.name.namespace == namespace && !add(&l.queue) {
			return edges, true
		}
	}
	for _, number := range c.semaphores.order.After(0) {
		if examined++; examined > graphExamined {
			return edges, true
		}
		if x := c.semaphores.byNo[number]; x != nil && x.Namespace == namespace && !add(&x.queue) {
			return edges, true
		}
	}
	return edges, truncated
}

// labelOf is the name that a holder gave itself.
func labelOf(h *holder) string {
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
