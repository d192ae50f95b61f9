package lockservice

import (
	"github.com/weftq/weft/pkg/session"
)

// rules hold the records of every step to what may not happen, whatever the requests were: tokens rise, nobody overtakes, and
// a notification is lost with nobody.
type rules struct {
	w     *world
	book  book
	token uint64
	owed  map[string]int // notifications of waiters that ended with nothing, by condition
	moved map[string]int // waiters that were notified in this step
	lost  map[string]int // notifications that a session which ends in this step has not heard of

	waited bool // the last record was the end of a waiter
}

func newRules(w *world) *rules {
	return &rules{w: w, book: newBook(), owed: map[string]int{}, moved: map[string]int{}}
}

// step takes the records of a step. told is how many waiters the step's request says to have notified.
func (r *rules) step(records []entry, told int) {
	r.w.t.Helper()
	clear(r.owed)
	r.waited = false
	for condition, n := range r.lost {
		r.owed[condition] += n
	}
	r.lost = nil
	clear(r.moved)
	for i, e := range records {
		var next any
		if i+1 < len(records) {
			next = records[i+1].rec
		}
		r.record(e.rec, next)
		r.book.apply(e.rec)
		_, r.waited = e.rec.(*WaiterEnded)
	}
	for condition, owed := range r.owed {
		if passed := r.moved[condition] - told; passed < owed && r.waitsAt(condition) {
			r.w.t.Fatalf("condition %s: %d notifications are lost, and somebody waits", condition, owed-passed)
		}
	}
}

func (r *rules) record(rec, next any) {
	r.w.t.Helper()
	switch rec := rec.(type) {
	case *GrantPut:
		if _, known := r.book.grants[rec.State.Token]; !known {
			if rec.State.Token <= r.token {
				r.w.t.Fatalf("token %d is granted after %d", rec.State.Token, r.token)
			}
			r.token = rec.State.Token
			if !r.waited {
				r.first(1<<63, rec.State.Kind, rec.State.Name)
			}
		}
	case *WaiterEnded:
		st := r.book.waiters[rec.ID]
		grant, granted := next.(*GrantPut)
		granted = granted && grant.State.Holder == st.Holder
		if granted {
			r.first(st.Order, st.heldKind(), st.lockName().name)
		} else if st.Notified {
			r.owed[st.Name]++
		}
	case *WaiterMoved:
		st := r.book.waiters[rec.ID]
		if rec.Notified {
			r.moved[st.Name]++
			for id, other := range r.book.waiters {
				if other.Kind == KindCondition && other.Name == st.Name && !other.Back && other.Order < st.Order {
					r.w.t.Fatalf("waiter %d is notified before waiter %d", rec.ID, id)
				}
			}
		}
	}
}

// first holds a grant to the queue: nobody is before it. One that had no waiter is for nobody who comes behind others.
func (r *rules) first(order uint64, kind Kind, object string) {
	r.w.t.Helper()
	for id, other := range r.book.waiters {
		atCondition := other.Kind == KindCondition && !other.Back
		if !atCondition && other.Kind != KindBarrier && other.heldKind() == kind && other.lockName().name == object && other.Order < order {
			r.w.t.Fatalf("a grant of %s %s overtakes waiter %d", kind, object, id)
		}
	}
}

// waitsAt tells whether somebody who lives waits at a condition.
func (r *rules) waitsAt(condition string) bool {
	for _, w := range r.book.waiters {
		if w.Kind == KindCondition && w.Name == condition && !w.Back && !r.w.core.dead(w.Holder) {
			return true
		}
	}
	return false
}

// unheard is how many notifications a session that ends was told of and has not acknowledged, by condition. Who has used the
// grant since has heard.
func (r *rules) unheard(id session.ID) map[string]int {
	out := map[string]int{}
	if p := r.w.core.peers[id]; p != nil {
		for _, w := range p.windows {
			for _, k := range w.answers {
				if k.Answer.Notified && k.Number >= max(w.told, w.below) && r.w.core.grants[k.Answer.Token] != nil {
					out[k.Object]++
				}
			}
		}
	}
	return out
}
