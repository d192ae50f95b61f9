package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
	"github.com/weftq/weft/pkg/worker"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A waiter goes on once it is notified, with the lock as deep as before and a new token.
func TestCondition(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		k := c.Condition("filled", nil)
		full := false
		done := make(chan error)
		go func() {
			done <- k.Lock().Do(t.Context(), func(ctx context.Context) error {
				return k.Lock().Do(ctx, func(ctx context.Context) error {
					before, err := k.Lock().Token(ctx)
					must(t, err)
					must(t, k.WaitFor(ctx, func(context.Context) (bool, error) { return full, nil }))
					after, err := k.Lock().Token(ctx)
					if err != nil || after <= before {
						t.Errorf("token %d after %d, %v", after, before, err)
					}
					state, err := k.Lock().State(ctx)
					if err != nil || state.GetHolders()[0].GetDepth() != 2 {
						t.Errorf("%v, %v", state, err)
					}
					return nil
				})
			})
		}()
		b.Advance(time.Hour)
		other := b.Client()
		k2 := other.Condition("filled", nil)
		want(t, k2.Notify(t.Context(), 1), client.ErrNotHeld)
		want(t, k2.Wait(t.Context()), client.ErrNotHeld)
		must(t, k2.Lock().Do(t.Context(), func(ctx context.Context) error {
			if err := k2.Notify(ctx, 0); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
				t.Error(err)
			}
			if notified, err := k2.WaitWithin(ctx, time.Second); notified || err != nil {
				t.Errorf("notified %t, %v", notified, err)
			}
			full = true
			return k2.NotifyAll(ctx)
		}))
		must(t, <-done)
	})
}

// A wait that is given up leaves the lock, and Do knows it. One that is refused keeps it.
func TestConditionGivenUp(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		k := c.Condition("k", c.Lock("l"))
		var inner context.Context
		want(t, k.Lock().Do(t.Context(), func(ctx context.Context) error {
			inner = ctx
			short, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			err := k.Wait(short)
			_, held := k.Lock().Token(ctx)
			want(t, held, client.ErrNotHeld)
			return err
		}), context.DeadlineExceeded)
		want(t, context.Cause(inner), context.DeadlineExceeded)
		b.Advance(0)
		must(t, k.Lock().Do(t.Context(), func(ctx context.Context) error {
			if ok, err := k.WaitForWithin(ctx, time.Minute, func(context.Context) (bool, error) { return false, nil }); ok || err != nil {
				t.Errorf("%t, %v", ok, err)
			}
			return nil
		}))
		must(t, k.Lock().Shared().Do(t.Context(), func(ctx context.Context) error {
			want(t, k.Wait(ctx), client.ErrNotHeld)
			_, err := k.Lock().Token(ctx)
			return err
		}))
	})
}

// A Do that returns while another goroutine of its holder waits at the condition has nothing to release yet: its level
// is released as the lock comes back, and no other one.
func TestConditionOutlivesDo(t *testing.T) {
	for _, levels := range []int{1, 2} {
		wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
			k := b.Client().Condition("k", nil)
			ctx := client.NewHolder(t.Context(), "two goroutines")
			if levels == 2 {
				_, err := k.Lock().Acquire(ctx)
				must(t, err)
			}
			done := make(chan error)
			must(t, k.Lock().Do(ctx, func(context.Context) error {
				go func() { done <- k.Wait(ctx) }()
				synctest.Wait()
				return nil
			}))
			other := b.Client().Condition("k", nil)
			must(t, other.Lock().Do(t.Context(), func(ctx context.Context) error { return other.NotifyAll(ctx) }))
			if err := <-done; levels == 1 {
				want(t, err, client.ErrNotHeld)
			} else {
				must(t, err)
				must(t, k.Lock().Release(ctx))
			}
			state, err := k.Lock().State(t.Context())
			if err != nil || state.GetHoldersCount() != 0 {
				t.Errorf("%v, %v", state, err)
			}
			want(t, k.Lock().Release(ctx), client.ErrNotHeld)
		})
	}
}

// One holder gives up one wait after the other, each while the one before is still being abandoned: it waits for one
// thing at a time, and is told of its own context alone.
func TestAbandonedInARow(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		others := b.Client().Lock("l")
		held, err := others.Acquire(t.Context())
		must(t, err)
		l := b.Client().Lock("l")
		impatient := client.NewHolder(t.Context(), "impatient")
		for range 200 {
			ctx, cancel := context.WithTimeout(impatient, 3*time.Millisecond)
			_, err := l.Acquire(ctx)
			cancel()
			want(t, err, context.DeadlineExceeded)
		}
		must(t, others.Release(held))
		must(t, l.Do(impatient, func(context.Context) error { return nil }))
	})
}

// However the end of a wait crosses the grant, and cuts cross both, the permits of a free semaphore are all there in the
// end, and the lock has no holder.
func TestAbandonedUnderCuts(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		const permits, rounds = 3, 60
		var all sync.WaitGroup
		for i := range 2 * permits {
			s, l := b.Client().Semaphore("s", permits, client.Free()), b.Client().Lock("l").Reentrant()
			all.Go(func() {
				holder := client.NewHolder(t.Context(), "")
				for n := range rounds {
					ctx, cancel := context.WithTimeout(holder, time.Duration((n+i)%5)*time.Millisecond)
					if _, err := s.Acquire(ctx, 1); err == nil {
						_, err := l.Acquire(ctx)
						<-time.After(time.Millisecond)
						if err == nil {
							must(t, l.Release(holder))
						}
						must(t, s.Release(holder, 1))
					} else {
						want(t, err, context.DeadlineExceeded)
					}
					cancel()
				}
			})
		}
		stop := make(chan struct{})
		go func() { all.Wait(); close(stop) }()
		for cutting := true; cutting; {
			select {
			case <-stop:
				cutting = false
			case <-time.After(3 * time.Millisecond):
				b.Disconnect()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := b.Client().Semaphore("s", permits, client.Free())
		_, err := s.Acquire(ctx, permits)
		must(t, err)
		if _, ok, err := s.TryAcquire(ctx, 1); ok || err != nil {
			t.Errorf("a permit too many: %t, %v", ok, err)
		}
		must(t, s.Release(ctx, permits))
		must(t, b.Client().Lock("l").Do(ctx, func(context.Context) error { return nil }))
	})
}

// A wait that is given up before the broker heard of it leaves the lock all the same.
func TestConditionGivenUpUnheard(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		k := b.Client().Condition("k", nil)
		want(t, k.Lock().Do(t.Context(), func(ctx context.Context) error {
			return k.Lock().Do(ctx, func(ctx context.Context) error {
				b.Kill()
				short, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				return k.Wait(short)
			})
		}), context.DeadlineExceeded)
		b.Restart()
		must(t, b.Client().Lock("k").Do(t.Context(), func(context.Context) error { return nil }))
	})
}

// A producer and a consumer on a bounded buffer: nothing is lost, however often connections break.
func TestConditionUnderCuts(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		const rounds, size = 50, 3
		var buffer []int
		side := func(step func(n int) bool) func() {
			k := b.Client().Condition("buffer", nil)
			return func() {
				for n := range rounds {
					must(t, k.Lock().Do(t.Context(), func(ctx context.Context) error {
						must(t, k.WaitFor(ctx, func(context.Context) (bool, error) { return step(n), nil }))
						return k.NotifyAll(ctx)
					}))
				}
			}
		}
		var both sync.WaitGroup
		both.Go(side(func(n int) bool {
			if len(buffer) == size {
				return false
			}
			buffer = append(buffer, n)
			return true
		}))
		both.Go(side(func(n int) bool {
			if len(buffer) == 0 {
				return false
			}
			if buffer[0] != n {
				t.Errorf("got %d, not %d", buffer[0], n)
			}
			buffer = buffer[1:]
			return true
		}))
		stop := make(chan struct{})
		go func() { both.Wait(); close(stop) }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(7 * time.Millisecond):
				b.Disconnect()
			}
		}
	})
}

func TestSemaphore(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		c := b.Client()
		s := c.Semaphore("s", 3)
		held, err := s.Acquire(ctx, 2)
		must(t, err)
		held, err = s.Acquire(held, 1)
		must(t, err)
		if _, ok, err := s.TryAcquire(ctx, 1); ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
		if _, ok, err := s.AcquireWithin(ctx, 1, time.Second); ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
		for _, n := range []int{0, -1} {
			if _, err := s.Acquire(ctx, n); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
				t.Error(err)
			}
		}
		if _, err := c.Semaphore("s", -1).Acquire(ctx, 1); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
			t.Error(err)
		}
		if err := s.Release(context.WithoutCancel(held), 4); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
			t.Error(err)
		}
		want(t, s.Release(ctx, 1), client.ErrNotHeld)
		must(t, s.Release(held, 3))
		must(t, s.Do(ctx, 3, func(ctx context.Context) error {
			if _, ok, err := s.TryAcquire(client.NewHolder(ctx, ""), 1); ok || err != nil {
				t.Errorf("acquired %t, %v", ok, err)
			}
			return nil
		}))
		_, ok, err := s.TryAcquire(ctx, 3)
		if !ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
	})
}

func TestFreeSemaphore(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		one, two := b.Client(), b.Client()
		s := one.Semaphore("s", 1, client.Bounded())
		held, err := s.Acquire(ctx, 1)
		must(t, err)
		must(t, one.Close())
		must(t, held.Err()) // a permit is nobody's
		s = two.Semaphore("s", 1, client.Bounded())
		if _, ok, err := s.TryAcquire(ctx, 1); ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
		must(t, s.Release(ctx, 1))
		want(t, s.Release(ctx, 1), client.ErrSemaphoreFull)
		must(t, two.Semaphore("f", 0, client.Free()).Release(ctx, 2))
		must(t, two.Semaphore("f", 0, client.Free()).Do(ctx, 2, func(context.Context) error { return nil }))
	})
}

func TestEvent(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		e := b.Client().Event("ready")
		if set, err := e.WaitWithin(ctx, time.Hour); set || err != nil {
			t.Errorf("set %t, %v", set, err)
		}
		done := make(chan error)
		go func() { done <- e.Wait(ctx) }()
		b.Advance(time.Minute)
		b.Disconnect() // while it waits; it learns also of what happens meanwhile
		other := b.Client().Event("ready")
		must(t, other.Set(ctx))
		must(t, other.Clear(ctx))
		must(t, <-done)
		if set, err := e.IsSet(ctx); set || err != nil {
			t.Errorf("set %t, %v", set, err)
		}
		go func() { done <- e.Wait(ctx) }()
		b.Advance(time.Minute)
		b.Kill()
		b.Advance(2 * wefttest.SessionTTL) // its session is over: it goes on in another
		b.Restart()
		must(t, other.Set(ctx))
		must(t, <-done)
	})
}

func TestBarrier(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		acted, seen := 0, [3]bool{}
		var mu sync.Mutex
		barriers := make([]*client.Barrier, 3)
		for i := range barriers {
			barriers[i] = b.Client().Barrier("b", 3, client.Action(func(context.Context) error { acted++; return nil }))
		}
		for range 2 {
			var all sync.WaitGroup
			for _, x := range barriers {
				all.Go(func() {
					i, err := x.Wait(ctx)
					must(t, err)
					mu.Lock()
					defer mu.Unlock()
					seen[i] = true
				})
			}
			all.Wait()
		}
		if acted != 2 || seen != [3]bool{true, true, true} {
			t.Errorf("acted %d times, %v", acted, seen)
		}
		_, err := barriers[0].WaitWithin(ctx, time.Second)
		want(t, err, client.ErrBrokenBarrier)
		_, err = barriers[1].Wait(ctx)
		want(t, err, client.ErrBrokenBarrier)
		must(t, barriers[0].Reset(ctx))
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = barriers[0].Wait(short)
		want(t, err, context.DeadlineExceeded)
		b.Advance(0)
		_, err = barriers[1].Wait(ctx)
		want(t, err, client.ErrBrokenBarrier)
		if _, err := b.Client().Barrier("b", 0).Wait(ctx); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
			t.Error(err)
		}
	})
}

// An action that fails, or panics, breaks the barrier for all.
func TestBarrierAction(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		errAction := errors.New("no")
		for _, act := range []func(context.Context) error{
			func(context.Context) error { return errAction },
			func(context.Context) error { panic(errAction) },
		} {
			x := b.Client().Barrier("b", 2, client.Action(act))
			must(t, x.Reset(t.Context()))
			other := make(chan error)
			go func() {
				_, err := b.Client().Barrier("b", 2).Wait(t.Context())
				other <- err
			}()
			b.Advance(time.Second)
			func() {
				defer func() { _ = recover() }()
				_, err := x.Wait(t.Context())
				want(t, err, errAction)
			}()
			want(t, <-other, client.ErrBrokenBarrier)
		}
	})
}

// A handler's context is a holder in the session of the worker, and what it has left is given up at its end.
func TestLockOfAnAttempt(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		kind := task.Define[int, uint64]("locking")
		handler := func(ctx context.Context, _ int) (uint64, error) {
			l := c.Lock("l").Reentrant()
			if err := c.Event("started").Set(ctx); err != nil {
				return 0, err
			}
			held, err := l.Acquire(ctx)
			if err != nil {
				return 0, err
			}
			if _, err := l.Acquire(ctx); err != nil { // by the same holder, which the handler's context is
				return 0, err
			}
			return l.Token(held)
		}
		b.Worker(worker.Config{Name: "w"}, func(w *worker.Worker) { worker.Handle(w, kind, handler) })
		f, err := client.Submit(t.Context(), c, kind, 1)
		must(t, err)
		token, err := f.Wait(t.Context())
		must(t, err)
		want(t, c.Lock("l").Check(t.Context(), token), client.ErrTokenStale)
		must(t, c.Lock("l").Do(t.Context(), func(context.Context) error { return nil }))
	})
}

// A program that is started by a holder acts as that holder.
func TestHolderFromEnv(t *testing.T) {
	b := wefttest.Start(t)
	l := b.Client().Lock("l").Reentrant()
	must(t, l.Do(t.Context(), func(ctx context.Context) error {
		env, err := l.Environ(ctx)
		must(t, err)
		t.Setenv(client.EnvHolder, env[0][len(client.EnvHolder)+1:])
		child, err := client.HolderFromEnv(t.Context())
		must(t, err)
		c := b.Client()
		other := c.Lock("l").Reentrant()
		must(t, other.Do(child, func(child context.Context) error {
			mine, err := l.Token(ctx)
			must(t, err)
			if its, err := other.Token(child); its != mine || err != nil {
				t.Errorf("token %d of %d, %v", its, mine, err)
			}
			return nil
		}))
		must(t, c.Close())
		return ctx.Err() // the session goes on
	}))
	t.Setenv(client.EnvHolder, "nonsense")
	if _, err := client.HolderFromEnv(t.Context()); err == nil {
		t.Error("no error")
	}
}
