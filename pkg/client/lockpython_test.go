package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/wefttest"
)

// scene is a broker with two clients, as two processes would be.
type scene struct {
	*testing.T
	ctx  context.Context
	a, b *client.Client
	pass func(time.Duration) // on the bubble's clock
}

// is fails the test unless err is target; nil is no error.
func (s *scene) is(what string, err, target error) {
	s.Helper()
	if !errors.Is(err, target) {
		s.Errorf("%s: %v, want %v", what, err, target)
	}
}

func (s *scene) same(what string, got, want any) {
	s.Helper()
	if got != want {
		s.Errorf("%s: %v, want %v", what, got, want)
	}
}

// refused expects an error that names a field.
func (s *scene) refused(err error, field string) {
	s.Helper()
	if refusal, ok := errors.AsType[*client.Error](err); !ok || refusal.Metadata["field"] != field {
		s.Errorf("%v, want a refusal of %s", err, field)
	}
}

// held acquires a lock by a holder of its own.
func (s *scene) held(l *client.Lock) context.Context {
	s.Helper()
	ctx, err := l.Acquire(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return ctx
}

// python is what Python's tests of threading and multiprocessing ask for, as far as it means something on two machines. The
// names are those of the tests there, or say what the documentation promises.
var python = map[string]func(*scene){
	"Lock/acquire_release": func(s *scene) {
		l := s.a.Lock("l")
		s.is("release", l.Release(s.held(l)), nil)
	},
	"Lock/release_unacquired": func(s *scene) { // RuntimeError there
		s.is("release", s.a.Lock("l").Release(client.NewHolder(s.ctx, "nobody")), client.ErrNotHeld)
	},
	"Lock/try_acquire_contended": func(s *scene) {
		held := s.held(s.a.Lock("l"))
		_, ok, err := s.b.Lock("l").TryAcquire(s.ctx)
		s.is("try", err, nil)
		s.same("acquired", ok, false)
		s.is("release", s.a.Lock("l").Release(held), nil)
		_, ok, _ = s.b.Lock("l").TryAcquire(s.ctx)
		s.same("acquired then", ok, true)
	},
	"Lock/different_thread": func(s *scene) { // any thread may release what another acquired
		l := s.a.Lock("l")
		held := s.held(l)
		errC := make(chan error)
		go func() { errC <- l.Release(held) }()
		s.is("release", <-errC, nil)
		s.is("release by another process", s.b.Lock("l").Release(held), client.ErrNotHeld)
	},
	"Lock/reacquire": func(s *scene) { // there the thread blocks for ever
		l := s.a.Lock("l")
		held := s.held(l)
		_, err := l.Acquire(held)
		s.is("acquire", err, client.ErrDeadlock)
		_, ok, err := l.AcquireWithin(held, time.Second)
		s.is("acquire with a time", err, nil)
		s.same("acquired", ok, false)
	},
	"Lock/timeout": func(s *scene) {
		l := s.a.Lock("l")
		_, _, err := l.AcquireWithin(s.ctx, -100*time.Second)
		s.refused(err, "wait")
		_, _, err = l.AcquireWithin(s.ctx, 25*time.Hour) // TIMEOUT_MAX
		s.refused(err, "wait")
		held := s.held(l)
		begun := time.Now()
		_, ok, err := s.b.Lock("l").AcquireWithin(s.ctx, time.Second)
		s.is("acquire", err, nil)
		s.same("acquired", ok, false)
		s.same("after", time.Since(begun), time.Second)
		s.is("release", l.Release(held), nil)
	},
	"Lock/locked": func(s *scene) {
		l := s.a.Lock("l")
		locked := func() bool {
			state, err := l.State(s.ctx)
			s.is("state", err, nil)
			return state.GetHoldersCount() > 0
		}
		s.same("locked", locked(), false)
		held := s.held(l)
		s.same("locked", locked(), true)
		_, _, _ = s.b.Lock("l").AcquireWithin(s.ctx, time.Second)
		s.is("release", l.Release(held), nil)
		s.same("locked after a wait that timed out, and the release", locked(), false)
	},
	"Lock/with_exception": func(s *scene) {
		l, oops := s.a.Lock("l"), errors.New("oops")
		s.is("with", l.Do(s.ctx, func(context.Context) error { return oops }), oops)
		s.is("again", l.Do(s.ctx, func(context.Context) error { return nil }), nil)
	},
	"RLock/reacquire": func(s *scene) {
		l := s.a.Lock("l").Reentrant()
		held := s.held(l)
		for range 2 {
			_, err := l.Acquire(held)
			s.is("acquire", err, nil)
		}
		for range 2 {
			s.is("release", l.Release(held), nil)
			_, ok, _ := s.b.Lock("l").TryAcquire(s.ctx)
			s.same("another one acquired", ok, false)
		}
		s.is("release", l.Release(held), nil)
		s.is("once more", l.Release(held), client.ErrNotHeld)
	},
	"RLock/different_thread": func(s *scene) { // RuntimeError for a thread that does not own it
		l := s.a.Lock("l").Reentrant()
		s.held(l)
		other := client.NewHolder(s.ctx, "other")
		s.is("release", l.Release(other), client.ErrNotHeld)
		_, ok, _ := l.TryAcquire(other)
		s.same("acquired", ok, false)
	},
	"Condition/unacquired": func(s *scene) { // RuntimeError
		k := s.a.Condition("c", s.a.Lock("l"))
		nobody := client.NewHolder(s.ctx, "nobody")
		s.is("wait", k.Wait(nobody), client.ErrNotHeld)
		s.is("notify", k.Notify(nobody, 1), client.ErrNotHeld)
	},
	"Condition/unacquired_notify_nobody": func(s *scene) {
		l := s.a.Lock("l")
		k := s.a.Condition("c", l)
		held := s.held(l)
		s.is("notify", k.Notify(held, 1), nil)
		s.is("notify", k.NotifyAll(held), nil)
		notified, err := k.WaitWithin(held, time.Second) // there is nothing left over from before
		s.is("wait", err, nil)
		s.same("notified", notified, false)
	},
	"Condition/wait_drops_all_levels": func(s *scene) {
		l := s.a.Lock("l").Reentrant()
		k := s.a.Condition("c", l)
		held := s.held(l)
		_, err := l.Acquire(held)
		s.is("acquire", err, nil)
		old, _ := l.Token(held)
		waited := make(chan error)
		go func() { waited <- k.Wait(held) }()
		synctest.Wait()
		other := s.held(s.b.Lock("l"))
		s.is("notify", s.b.Condition("c", s.b.Lock("l")).Notify(other, 1), nil)
		s.is("release", s.b.Lock("l").Release(other), nil)
		s.is("wait", <-waited, nil)
		token, err := l.Token(held)
		s.is("token", err, nil)
		s.same("a new token", token > old, true)
		s.is("release", l.Release(held), nil)
		s.is("release of the second level", l.Release(held), nil)
		s.is("there are no more", l.Release(held), client.ErrNotHeld)
	},
	"Condition/notify": func(s *scene) { // n at a time, first come, first served, and each comes back with the lock
		l := s.a.Lock("l")
		k := s.a.Condition("c", l)
		var mu sync.Mutex
		var order []int
		for i := range 6 {
			held := s.held(l)
			go func() {
				if err := k.Wait(held); err != nil {
					s.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				if err := l.Release(held); err != nil {
					s.Error(err)
				}
			}()
			synctest.Wait()
		}
		for _, step := range []struct{ n, woken int }{{1, 1}, {2, 3}, {100, 6}} {
			held := s.held(l)
			s.is("notify", k.Notify(held, step.n), nil)
			synctest.Wait()
			mu.Lock()
			s.same("woken before the lock is free", len(order) < step.woken, true)
			mu.Unlock()
			s.is("release", l.Release(held), nil)
			synctest.Wait()
			mu.Lock()
			s.same("woken", fmt.Sprint(order), fmt.Sprint([]int{0, 1, 2, 3, 4, 5}[:step.woken]))
			mu.Unlock()
		}
	},
	"Condition/timeout": func(s *scene) {
		l := s.a.Lock("l")
		held := s.held(l)
		begun := time.Now()
		notified, err := s.a.Condition("c", l).WaitWithin(held, time.Second)
		s.is("wait", err, nil)
		s.same("notified", notified, false)
		s.same("after", time.Since(begun), time.Second)
		s.is("it has the lock", l.Release(held), nil)
	},
	"Condition/waitfor": func(s *scene) {
		l := s.a.Lock("l")
		k := s.a.Condition("c", l)
		var mu sync.Mutex
		state, asked := 0, 0
		ready := func(context.Context) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return state == 4, nil
		}
		held := s.held(l)
		waited := make(chan error)
		go func() { waited <- k.WaitFor(held, ready) }()
		for range 4 {
			synctest.Wait()
			other := s.held(l)
			mu.Lock()
			state++
			mu.Unlock()
			s.is("notify", k.Notify(other, 1), nil)
			s.is("release", l.Release(other), nil)
		}
		s.is("wait", <-waited, nil)
		s.same("asked, once before and after each notification", asked, 5) // no spurious wake-ups
	},
	"Condition/waitfor_timeout": func(s *scene) {
		l := s.a.Lock("l")
		got, err := s.a.Condition("c", l).WaitForWithin(s.held(l), time.Second, func(context.Context) (bool, error) { return false, nil })
		s.is("wait", err, nil)
		s.same("the predicate's last value", got, false)
	},
	"Condition/lost_notify": func(s *scene) {
		// In CPython the first waiter, whose time is over while it waits for the lock again, swallows the notification, and
		// both waiters return False.
		l := s.a.Lock("l")
		k := s.a.Condition("c", l)
		type result struct {
			notified bool
			err      error
		}
		wait := func(d time.Duration) chan result {
			held := s.held(l)
			out := make(chan result, 1)
			go func() {
				notified, err := k.WaitWithin(held, d)
				out <- result{notified, errors.Join(err, l.Release(held))}
			}()
			synctest.Wait()
			return out
		}
		first, second := wait(time.Second), wait(time.Hour)
		held := s.held(l)
		s.pass(2 * time.Second) // the first one's time is over, and it waits for the lock
		s.is("notify", k.Notify(held, 1), nil)
		s.is("release", l.Release(held), nil)
		s.same("the first", <-first, result{})
		s.same("the second", <-second, result{notified: true})
	},
	"Semaphore/constructor": func(s *scene) {
		_, err := s.a.Semaphore("s", -1).Acquire(s.ctx, 1)
		s.refused(err, "spec.permits")
	},
	"Semaphore/try_acquire": func(s *scene) {
		sem := s.a.Semaphore("s", 2)
		for _, want := range []bool{true, true, false} {
			_, ok, err := sem.TryAcquire(s.ctx, 1)
			s.is("try", err, nil)
			s.same("acquired", ok, want)
		}
	},
	"Semaphore/default_free": func(s *scene) { // a release that nobody acquired makes one more
		sem := s.a.Semaphore("s", 0, client.Free())
		_, ok, _ := sem.TryAcquire(s.ctx, 1)
		s.same("acquired", ok, false)
		s.is("release", s.b.Semaphore("s", 0, client.Free()).Release(s.ctx, 3), nil)
		for range 3 {
			_, ok, _ = sem.TryAcquire(s.ctx, 1)
			s.same("acquired", ok, true)
		}
		_, ok, _ = sem.TryAcquire(s.ctx, 1)
		s.same("acquired a fourth", ok, false)
	},
	"Semaphore/multirelease": func(s *scene) {
		sem := s.a.Semaphore("s", 1, client.Free())
		s.refused(sem.Release(s.ctx, 0), "permits")
		s.refused(sem.Release(s.ctx, -1), "permits")
	},
	"BoundedSemaphore/release_unacquired": func(s *scene) { // ValueError
		sem := s.a.Semaphore("s", 2, client.Free(), client.Bounded())
		s.is("release", sem.Release(s.ctx, 1), client.ErrSemaphoreFull)
		_, err := sem.Acquire(s.ctx, 1)
		s.is("acquire", err, nil)
		s.is("release of two", sem.Release(s.ctx, 2), client.ErrSemaphoreFull)
		s.is("release of one", sem.Release(s.ctx, 1), nil)
	},
	"Event/is_set": func(s *scene) {
		e := s.a.Event("e")
		for _, step := range []struct {
			do   func(context.Context) error
			want bool
		}{{e.Clear, false}, {e.Set, true}, {e.Set, true}, {e.Clear, false}, {e.Clear, false}} {
			s.is("set or clear", step.do(s.ctx), nil)
			set, err := s.b.Event("e").IsSet(s.ctx)
			s.is("is set", err, nil)
			s.same("set", set, step.want)
		}
	},
	"Event/timeout": func(s *scene) {
		begun := time.Now()
		set, err := s.a.Event("e").WaitWithin(s.ctx, time.Second)
		s.is("wait", err, nil)
		s.same("set", set, false)
		s.same("after", time.Since(begun), time.Second)
	},
	"Event/set_and_clear": func(s *scene) { // bpo-1502 and 13502: a wait is over, even if the event is clear again
		waited := make(chan bool, 5)
		for range 5 {
			go func() {
				set, err := s.b.Event("e").WaitWithin(s.ctx, time.Hour)
				waited <- set && err == nil
			}()
		}
		synctest.Wait()
		s.is("set", s.a.Event("e").Set(s.ctx), nil)
		s.is("clear", s.a.Event("e").Clear(s.ctx), nil)
		for range 5 {
			s.same("woken", <-waited, true)
		}
	},
}

func TestPythonSynchronization(t *testing.T) {
	tests := maps.Clone(python)
	maps.Copy(tests, pythonBarriers)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
				test(&scene{T: t, ctx: t.Context(), a: b.Client(), b: b.Client(), pass: b.Advance})
			})
		})
	}
}
