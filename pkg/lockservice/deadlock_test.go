package lockservice

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// arena is a core, and an account of its own of who has what and who waits, made of the records alone.
type arena struct {
	t       testing.TB
	core    *Core
	counter uint64
	lease   pure.Lease
	book    book
	refused map[uint64]*pure.Refusal // waiters that a deadlock ended, in the step under way
	granted map[uint64]uint64        // tokens by waiter
	pending []any
}

func newArena(t testing.TB) *arena {
	a := &arena{t: t, lease: 1, book: newBook(), granted: map[uint64]uint64{}, refused: map[uint64]*pure.Refusal{}}
	a.core = New(Config{
		Alive:       func(session.ID) bool { return true },
		SessionName: func(id session.ID) string { return fmt.Sprintf("s%d", id[0]) },
	})
	a.core.Serve(1)
	return a
}

// Record implements pure.Sink.
func (a *arena) Record(rec any) int {
	a.pending = append(a.pending, rec)
	return 100
}

// do takes a step, and holds those whom it refuses to the account at the moment of the refusal.
func (a *arena) do(fn func(step *pure.Step)) {
	a.t.Helper()
	a.pending = a.pending[:0]
	clear(a.refused)
	step := &pure.Step{Wall: pure.Wall(a.lease), Lease: a.lease, Seq: 1, Sink: a, Counter: &a.counter}
	fn(step)
	for _, e := range step.Effects {
		r := e.(*Resolved)
		if r.Err != nil {
			if r.Err.Reason != pure.Deadlock {
				a.t.Fatalf("waiter %d: %v", r.Waiter, r.Err)
			}
			a.refused[r.Waiter] = r.Err
		} else if r.Answer.Token != 0 {
			a.granted[r.Waiter] = r.Answer.Token
		}
	}
	for _, rec := range a.pending {
		if w, ok := rec.(*WaiterEnded); ok && a.refused[w.ID] != nil {
			a.justified(w.ID, a.refused[w.ID])
		}
		a.book.apply(rec)
	}
}

// justified holds the refusal of a waiter to the account.
func (a *arena) justified(id uint64, refusal *pure.Refusal) {
	a.t.Helper()
	w := a.book.waiters[id]
	if w.Back {
		a.t.Fatalf("waiter %d comes back from a condition and is refused: %v", id, refusal)
	}
	if !a.book.stuck(true)[id] {
		a.t.Fatalf("waiter %d is refused and could go on: %v\n%s", id, refusal, a.book.text())
	}
}

// asked holds the answer to a request, which would have been a waiter, to the account.
func (a *arena) asked(st WaiterState, d Decision, err error) {
	a.t.Helper()
	refusal, _ := errors.AsType[*pure.Refusal](err)
	if refusal == nil || refusal.Reason != pure.Deadlock {
		return
	}
	st.ID, st.Order = 1<<60, 1<<60
	a.book.waiters[st.ID] = st
	stuck := a.book.stuck(true)[st.ID]
	delete(a.book.waiters, st.ID)
	if !stuck {
		a.t.Fatalf("%+v is refused and could go on: %v\n%s", st, refusal, a.book.text())
	}
}

// missed holds the state to there being nobody who waits for ever.
func (a *arena) missed(strict bool) {
	a.t.Helper()
	if stuck := a.book.stuck(strict); len(stuck) > 0 {
		a.t.Fatalf("%v are stuck, and nobody was refused\n%s", stuck, a.book.text())
	}
}

func (a *arena) lock(h uint64, n string, mode Mode, wait Wait) (Decision, error) {
	a.t.Helper()
	var d Decision
	var err error
	a.do(func(step *pure.Step) {
		d, err = a.core.AcquireLock(step, &AcquireLock{Request: Request{Namespace: "n", Name: n, Holder: who(h), Wait: wait}, Mode: mode})
	})
	a.asked(WaiterState{Kind: KindLock, Namespace: "n", Name: n, Holder: who(h), Mode: mode, Wait: wait}, d, err)
	return d, err
}

func (a *arena) permits(h uint64, n string, spec SemaphoreSpec, permits int64, wait Wait) (Decision, error) {
	a.t.Helper()
	var d Decision
	var err error
	a.do(func(step *pure.Step) {
		d, err = a.core.AcquireSemaphore(step, &AcquireSemaphore{
			Request: Request{Namespace: "n", Name: n, Holder: who(h), Wait: wait}, Spec: spec, Permits: permits,
		})
	})
	a.asked(WaiterState{Kind: KindSemaphore, Namespace: "n", Name: n, Holder: who(h), Mode: Exclusive, Permits: permits, Wait: wait}, d, err)
	return d, err
}

// has has a holder be granted a lock at once.
func (a *arena) has(h uint64, n string, mode Mode, wait Wait) {
	a.t.Helper()
	if d, err := a.lock(h, n, mode, wait); err != nil || d.Answer.Token == 0 {
		a.t.Fatalf("holder %d is not granted %s: %+v, %v", h, n, d, err)
	}
}

// hasPermits has a holder be granted permits at once.
func (a *arena) hasPermits(h uint64, n string, spec SemaphoreSpec, permits int64, wait Wait) {
	a.t.Helper()
	if d, err := a.permits(h, n, spec, permits, wait); err != nil || d.Waiter != 0 {
		a.t.Fatalf("holder %d is not granted %s: %+v, %v", h, n, d, err)
	}
}

// release gives up everything that a holder has of something.
func (a *arena) release(h uint64, n string) {
	a.t.Helper()
	for _, g := range a.book.grants {
		if g.Holder == who(h) && g.Name == n {
			a.releaseGrant(g)
		}
	}
}

func (a *arena) releaseGrant(g GrantState) {
	a.t.Helper()
	a.do(func(step *pure.Step) {
		var err error
		if g.Kind == KindSemaphore {
			_, err = a.core.ReleaseSemaphore(step, &ReleaseSemaphore{
				Namespace: "n", Name: g.Name, Spec: a.book.semaphores[g.Name].Spec, Session: g.Holder.Session, Token: g.Token,
			})
		} else {
			_, err = a.core.ReleaseLock(step, &ReleaseLock{Namespace: "n", Name: g.Name, Session: g.Holder.Session, Token: g.Token, All: true})
		}
		if err != nil {
			a.t.Fatal(err)
		}
	})
}

func (a *arena) pass(d time.Duration) {
	a.t.Helper()
	a.lease = a.lease.Add(d)
	for a.core.Due(a.lease) {
		a.do(a.core.Advance)
	}
}

func (a *arena) at(h uint64, n string) *At {
	for _, g := range a.book.grants {
		if g.Holder == who(h) && g.Name == n {
			return &At{Namespace: "n", Condition: n + "!", Lock: n, Session: g.Holder.Session, Token: g.Token}
		}
	}
	a.t.Fatalf("holder %d does not have %s", h, n)
	return nil
}

func (a *arena) waitCondition(h uint64, n string, wait Wait) {
	a.t.Helper()
	at := a.at(h, n)
	a.do(func(step *pure.Step) {
		if _, err := a.core.WaitCondition(step, at, wait, Origin{}); err != nil {
			a.t.Fatal(err)
		}
	})
}

func (a *arena) notify(h uint64, n string, count int) {
	a.t.Helper()
	at := a.at(h, n)
	a.do(func(step *pure.Step) {
		if _, err := a.core.Notify(step, at, count, Origin{}); err != nil {
			a.t.Fatal(err)
		}
	})
}

func who(h uint64) HolderID { return HolderID{session.ID{byte(h), 1}, h + 1} }

var forEver Wait

func timed(d time.Duration) Wait { return Wait{Timed: true, For: d} }

func isDeadlock(err error) bool {
	refusal, ok := errors.AsType[*pure.Refusal](err)
	return ok && refusal.Reason == pure.Deadlock
}

// held has a request be granted.
func held(t *testing.T, d Decision, err error) {
	t.Helper()
	if err != nil || d.Answer.Token == 0 {
		t.Fatalf("not granted: %+v, %v", d, err)
	}
}

// waits has a request wait.
func waits(t *testing.T, d Decision, err error) uint64 {
	t.Helper()
	if err != nil || d.Waiter == 0 {
		t.Fatalf("does not wait: %+v, %v", d, err)
	}
	return d.Waiter
}

// deadlocked has a request be refused, with words that name all of some things.
func deadlocked(t *testing.T, err error, words ...string) {
	t.Helper()
	if !isDeadlock(err) {
		t.Fatalf("no deadlock: %v", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
}

func TestDeadlockRings(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 10, 30} {
		a := newArena(t)
		for h := range n {
			d, err := a.lock(h, fmt.Sprint("l", h), Exclusive, forEver)
			held(t, d, err)
		}
		for h := range n - 1 {
			d, err := a.lock(h, fmt.Sprint("l", h+1), Exclusive, forEver)
			waits(t, d, err)
		}
		_, err := a.lock(n-1, "l0", Exclusive, forEver)
		deadlocked(t, err, fmt.Sprintf(`s%d/%d waits for lock "l0", which s0/1 has`, n-1, n))
		if n > 2 {
			deadlocked(t, err, `s0/1 waits for lock "l1", which s1/2 has`)
		}
		if n > 20 {
			deadlocked(t, err, "; and 10 more")
		}
		a.missed(true)
		if n > 1 {
			a.release(n-1, fmt.Sprint("l", n-1)) // it goes on all the same
			a.release(n-2, fmt.Sprint("l", n-1))
		}
	}
}

func TestATimedWaitIsNoEdge(t *testing.T) {
	a := newArena(t)
	a.has(1, "a", Exclusive, forEver)
	a.has(2, "b", Exclusive, forEver)
	d, err := a.lock(1, "b", Exclusive, timed(time.Hour))
	waits(t, d, err)
	d, err = a.lock(2, "a", Exclusive, forEver)
	waits(t, d, err)
	a.pass(2 * time.Hour)
	a.release(1, "a")
	a.missed(true)
}

func TestDeadlockThroughSharedLocks(t *testing.T) {
	a := newArena(t)
	a.has(1, "a", Shared, forEver)
	a.has(2, "a", Shared, forEver)
	d, err := a.lock(1, "a", Exclusive, forEver) // itself and the other one are in its way
	deadlocked(t, err, `s1/2 waits for lock "a", which s1/2 has`)
	if d.Waiter != 0 {
		t.Error("it waits")
	}

	a = newArena(t)
	a.has(1, "a", Shared, forEver)
	a.has(2, "a", Shared, forEver)
	a.has(3, "b", Exclusive, forEver)
	d, err = a.lock(3, "a", Exclusive, forEver)
	waits(t, d, err)
	_, err = a.lock(2, "b", Shared, forEver) // one of the readers is enough
	deadlocked(t, err, `lock "b", which s3/4 has`, `lock "a", which s2/3 has`)
}

// A reader waits behind a writer that waits.
func TestDeadlockBehindAWriter(t *testing.T) {
	a := newArena(t)
	a.has(1, "a", Shared, forEver)
	a.has(3, "m", Exclusive, forEver)
	d, err := a.lock(2, "a", Exclusive, forEver)
	waits(t, d, err)
	d, err = a.lock(1, "m", Exclusive, forEver)
	waits(t, d, err)
	_, err = a.lock(3, "a", Shared, forEver)
	deadlocked(t, err, `s3/4 waits for lock "a", which s2/3 waits for first`, `s2/3 waits for lock "a", which s1/2 has`)
	d, err = a.lock(3, "a", Shared, timed(time.Minute))
	waits(t, d, err)
}

// It was no deadlock as long as one with a time was ahead.
func TestDeadlockFormsWhenATimedHeadLeaves(t *testing.T) {
	a := newArena(t)
	a.has(1, "a", Shared, forEver)
	a.has(3, "m", Exclusive, forEver)
	d, err := a.lock(4, "a", Exclusive, timed(time.Second))
	waits(t, d, err)
	d, err = a.lock(2, "a", Exclusive, forEver)
	waits(t, d, err)
	d, err = a.lock(1, "m", Exclusive, forEver)
	waits(t, d, err)
	d, err = a.lock(3, "a", Shared, forEver)
	id := waits(t, d, err)
	a.pass(time.Second)
	if a.refused[id] == nil {
		t.Errorf("the newest was not refused, but %v", a.refused)
	}
	a.missed(true)
}

func TestDeadlockThroughASemaphore(t *testing.T) {
	two := SemaphoreSpec{Permits: 2}
	a := newArena(t)
	a.hasPermits(1, "s", two, 1, forEver)
	a.hasPermits(2, "s", two, 1, forEver)
	a.has(3, "m", Exclusive, forEver)
	d, err := a.permits(3, "s", two, 1, forEver)
	waits(t, d, err)
	d, err = a.lock(1, "m", Exclusive, forEver) // the other permit may come back
	waits(t, d, err)
	_, err = a.lock(2, "m", Exclusive, forEver) // and now neither
	deadlocked(t, err, `s2/3 waits for lock "m", which s3/4 has`, `s3/4 waits for semaphore "s", which s`)

	free := SemaphoreSpec{Permits: 1, Free: true}
	a = newArena(t)
	a.hasPermits(1, "f", free, 1, forEver)
	a.has(2, "m", Exclusive, forEver)
	d, err = a.permits(2, "f", free, 1, forEver)
	waits(t, d, err)
	d, err = a.lock(1, "m", Exclusive, forEver) // anybody may release a free one
	waits(t, d, err)
}

// The last holder that ran gives up too few permits.
func TestDeadlockFormsAtARelease(t *testing.T) {
	three := SemaphoreSpec{Permits: 3}
	a := newArena(t)
	a.hasPermits(1, "s", three, 2, forEver)
	a.hasPermits(2, "s", three, 1, forEver)
	a.has(3, "m", Exclusive, forEver)
	d, err := a.permits(3, "s", three, 2, forEver)
	first := waits(t, d, err)
	d, err = a.lock(1, "m", Exclusive, forEver)
	second := waits(t, d, err)
	a.release(2, "s")
	if a.refused[second] == nil || a.refused[first] != nil {
		t.Errorf("the newest was not refused, but %v", a.refused)
	}
	a.missed(true)
}

// One who waits for few permits gets them as soon as one who waits for many has had no time left.
func TestNoDeadlockBehindATimedWaiter(t *testing.T) {
	two := SemaphoreSpec{Permits: 2}
	a := newArena(t)
	a.hasPermits(1, "s", two, 1, forEver)
	a.has(3, "m", Exclusive, forEver)
	d, err := a.lock(1, "m", Exclusive, forEver)
	waits(t, d, err)
	d, err = a.permits(2, "s", two, 2, timed(time.Second))
	waits(t, d, err)
	d, err = a.permits(3, "s", two, 1, forEver)
	id := waits(t, d, err)
	a.pass(time.Second)
	if a.granted[id] == 0 {
		t.Error("it has no permit")
	}
	_, err = a.permits(3, "s", two, 1, forEver)
	deadlocked(t, err)
}

// Who comes back from a condition is never refused: who keeps it from its lock is, and all of them.
func TestAReacquireIsNeverTheVictim(t *testing.T) {
	a := newArena(t)
	for _, n := range []string{"l", "m", "n"} {
		a.has(1, n, Exclusive, forEver)
	}
	a.waitCondition(1, "l", timed(time.Second))
	a.has(2, "l", Shared, forEver)
	a.has(3, "l", Shared, forEver)
	d, err := a.lock(2, "m", Exclusive, forEver)
	second := waits(t, d, err)
	d, err = a.lock(3, "n", Exclusive, forEver)
	third := waits(t, d, err)
	a.pass(time.Second)
	if a.refused[second] == nil || a.refused[third] == nil {
		t.Errorf("refused: %v", a.refused)
	}
	a.missed(true)
	a.release(2, "l")
	a.release(3, "l")
	a.at(1, "l")
}

// All that a notification moves to the lock may close a cycle, not the first alone; and who is only behind the cycle is not
// refused.
func TestDeadlockFormsAtANotification(t *testing.T) {
	a := newArena(t)
	a.has(1, "l", Exclusive, forEver)
	a.waitCondition(1, "l", forEver)
	a.has(2, "m", Exclusive, forEver)
	a.has(2, "l", Exclusive, forEver)
	a.waitCondition(2, "l", forEver)
	a.has(3, "l", Exclusive, forEver)
	d, err := a.lock(3, "m", Exclusive, forEver) // while another part of holder 3 goes on
	id := waits(t, d, err)
	a.notify(3, "l", 2)
	if a.refused[id] == nil || len(a.refused) != 1 {
		t.Errorf("refused: %v", a.refused)
	}
	a.missed(true)
}
