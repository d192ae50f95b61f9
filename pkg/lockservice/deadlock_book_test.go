package lockservice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// book is an account of who has what and who waits: what the records say, and nothing else.
type book struct {
	grants     map[uint64]GrantState
	waiters    map[uint64]WaiterState
	semaphores map[string]SemaphoreState
}

func newBook() book {
	return book{map[uint64]GrantState{}, map[uint64]WaiterState{}, map[string]SemaphoreState{}}
}

func (b *book) apply(rec any) {
	switch r := rec.(type) {
	case *GrantPut:
		b.grants[r.State.Token] = r.State
	case *GrantDropped:
		delete(b.grants, r.Token)
	case *WaiterPut:
		b.waiters[r.State.ID] = r.State
	case *WaiterMoved:
		w := b.waiters[r.ID]
		w.Back, w.Order, w.Notified = true, r.Order, r.Notified
		b.waiters[r.ID] = w
	case *WaiterEnded:
		delete(b.waiters, r.ID)
	case *SemaphorePut:
		b.semaphores[r.State.Name] = r.State
	case *SemaphoreDropped:
		delete(b.semaphores, r.Name)
	}
}

// stuck is who waits for ever: whoever is left when everybody who does not wait gives up all, again and again. Who has a
// time, or waits to be notified, goes away. Unless all is set, only those count of whom it is certain already: those behind one
// with a time may hope, and so may a semaphore's waiters as long as one of those who have permits can go on.
func (b *book) stuck(all bool) map[uint64]bool {
	grants, waiters := maps.Clone(b.grants), maps.Clone(b.waiters)
	waiting := map[HolderID]bool{}
	hopeful := map[uint64]bool{}
	for id, w := range waiters {
		if !w.Back && (w.Wait.Timed || w.Kind == KindCondition) {
			delete(waiters, id)
			if !all && w.Kind != KindCondition {
				for other, x := range b.waiters {
					hopeful[other] = hopeful[other] || x.lockName() == w.lockName() && x.heldKind() == w.heldKind() && x.Order > w.Order
				}
			}
			continue
		}
		waiting[w.Holder] = true
	}
	for {
		changed := false
		for token, g := range grants {
			if !waiting[g.Holder] {
				delete(grants, token)
				changed = true
			}
		}
		queue := slices.SortedFunc(maps.Values(waiters), func(x, y WaiterState) int { return cmp.Compare(x.Order, y.Order) })
		blocked := map[string]bool{}
		for _, w := range queue {
			key := fmt.Sprint(w.heldKind(), w.lockName())
			may := hopeful[w.ID] || !all && w.Kind == KindSemaphore && b.gaveBack(grants, w.Name)
			if !may && (blocked[key] || !b.fits(grants, &w)) {
				blocked[key] = true
				continue
			}
			delete(waiters, w.ID)
			delete(waiting, w.Holder)
			changed = true
		}
		if !changed {
			break
		}
	}
	out := map[uint64]bool{}
	for id := range waiters {
		out[id] = true
	}
	return out
}

// gaveBack tells whether somebody who has permits could go on.
func (b *book) gaveBack(grants map[uint64]GrantState, semaphore string) bool {
	for token, g := range b.grants {
		if _, kept := grants[token]; !kept && g.Kind == KindSemaphore && g.Name == semaphore {
			return true
		}
	}
	return false
}

// fits tells whether a waiter at the head of its queue gets what it wants.
func (b *book) fits(grants map[uint64]GrantState, w *WaiterState) bool {
	taken := int64(0)
	for _, g := range grants {
		if g.Kind != w.heldKind() || g.Name != w.lockName().name {
			continue
		}
		if g.Kind == KindLock && (g.Mode == Exclusive || w.Mode == Exclusive) {
			return false
		}
		taken += g.Permits
	}
	return w.Kind != KindSemaphore || taken+w.Permits <= b.semaphores[w.Name].Spec.Permits
}

// lockName is [Waiter.lockName], by the state alone.
func (w *WaiterState) lockName() name { return (&Waiter{WaiterState: *w}).lockName() }
func (w *WaiterState) heldKind() Kind { return (&Waiter{WaiterState: *w}).heldKind() }

func (b *book) text() string {
	var lines []string
	for _, g := range b.grants {
		lines = append(lines, fmt.Sprintf("%d has %s %s, mode %d, %d permits", g.Holder.Number, g.Kind, g.Name, g.Mode, g.Permits))
	}
	for _, w := range b.waiters {
		lines = append(lines, fmt.Sprintf("%d waits (%d) for %s %s, mode %d, %d permits, timed %v, back %v", w.Holder.Number, w.ID,
			w.Kind, w.Name, w.Mode, w.Permits, w.Wait.Timed, w.Back))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
