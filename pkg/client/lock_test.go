package client_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/wefttest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v, not %v", err, target)
	}
}

// One holder has the lock, the next one waits for it, and tokens rise.
func TestLock(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		stock := b.Client().Lock("stock")
		held, err := stock.Acquire(ctx)
		must(t, err)
		first, err := stock.Token(held)
		must(t, err)
		if _, ok, err := stock.TryAcquire(ctx); ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
		begun := time.Now()
		if _, ok, err := stock.AcquireWithin(ctx, time.Minute); ok || err != nil || time.Since(begun) != time.Minute {
			t.Errorf("acquired %t, %v after %v", ok, err, time.Since(begun))
		}
		_, err = stock.Acquire(held)
		want(t, err, client.ErrDeadlock)
		done := make(chan error)
		go func() {
			done <- b.Client().Lock("stock").Do(ctx, func(ctx context.Context) error {
				second, err := stock.Token(ctx) // the holder is another client's
				if err == nil {
					t.Errorf("token %d", second)
				}
				return nil
			})
		}()
		b.Advance(time.Minute)
		must(t, stock.Check(ctx, first))
		must(t, stock.Release(held))
		must(t, <-done)
		if held.Err() == nil {
			t.Error("what was released goes on")
		}
		want(t, stock.Release(held), client.ErrNotHeld)
		want(t, stock.Check(ctx, first), client.ErrTokenStale)
	})
}

// A lock that is re-entrant has one token on all its levels, and many share one.
func TestLockModes(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		c := b.Client()
		l := c.Lock("l").Reentrant()
		must(t, l.Do(ctx, func(ctx context.Context) error {
			outer, err := l.Token(ctx)
			must(t, err)
			return l.Do(ctx, func(ctx context.Context) error {
				if inner, err := l.Token(ctx); inner != outer || err != nil {
					t.Errorf("token %d inside of %d, %v", inner, outer, err)
				}
				if state, err := l.State(ctx); err != nil || state.GetHolders()[0].GetDepth() != 2 {
					t.Errorf("%v, %v", state, err)
				}
				return nil
			})
		}))
		shared := c.Lock("l").Shared()
		one, err := shared.Acquire(ctx)
		must(t, err)
		two, ok, err := shared.TryAcquire(client.NewHolder(ctx, "two"))
		must(t, err)
		if !ok {
			t.Error("not shared")
		}
		if _, ok, _ := l.TryAcquire(ctx); ok {
			t.Error("exclusive beside shared")
		}
		must(t, shared.Release(one))
		must(t, shared.Release(two))
		if state, err := l.State(ctx); err != nil || state.GetHoldersCount() != 0 {
			t.Errorf("%v, %v", state, err)
		}
	})
}

// Two holders who wait for each other: the later one is told, with the cycle.
func TestDeadlock(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		ann, bob := client.NewHolder(t.Context(), "ann"), client.NewHolder(t.Context(), "bob")
		annA, err := c.Lock("a").Acquire(ann)
		must(t, err)
		bobB, err := c.Lock("b").Acquire(bob)
		must(t, err)
		done := make(chan error)
		go func() { done <- c.Lock("b").Do(annA, func(context.Context) error { return nil }) }()
		b.Advance(time.Minute)
		_, err = c.Lock("a").Acquire(bobB)
		want(t, err, client.ErrDeadlock)
		t.Log(err)
		must(t, c.Lock("b").Release(bobB))
		must(t, <-done)
	})
}

// Do releases when its function panics, and when its context has ended, and nothing after a function that did so itself.
func TestDoReleases(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		l := b.Client().Lock("l")
		func() {
			defer func() { _ = recover() }()
			_ = l.Do(t.Context(), func(context.Context) error { panic("no") })
		}()
		ctx, cancel := context.WithCancel(t.Context())
		want(t, l.Do(ctx, func(ctx context.Context) error {
			cancel()
			return context.Cause(ctx)
		}), context.Canceled)
		must(t, l.Do(t.Context(), l.Release))
		if _, ok, err := l.TryAcquire(t.Context()); !ok || err != nil {
			t.Errorf("acquired %t, %v", ok, err)
		}
	})
}

// A wait that is given up leaves nothing behind.
func TestAcquireGivenUp(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		l := c.Lock("l")
		held, err := l.Acquire(t.Context())
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.Acquire(ctx)
		want(t, err, context.DeadlineExceeded)
		b.Advance(time.Second)
		if state, err := l.State(t.Context()); err != nil || state.GetWaitersCount() != 0 {
			t.Errorf("%v, %v", state, err)
		}
		must(t, l.Release(held))
	})
}

// A client that is closed gives up what it holds at once.
func TestCloseFreesLocks(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		one := b.Client()
		held, err := one.Lock("l").Acquire(t.Context())
		must(t, err)
		begun := time.Now()
		must(t, one.Close())
		want(t, context.Cause(held), client.ErrClosed)
		want(t, context.Cause(held), client.ErrLeaseLost)
		if _, ok, err := b.Client().Lock("l").TryAcquire(t.Context()); !ok || err != nil || time.Since(begun) != 0 {
			t.Errorf("acquired %t, %v after %v", ok, err, time.Since(begun))
		}
		_, err = one.Lock("l").Acquire(t.Context())
		want(t, err, client.ErrClosed)
	})
}

// Connections that break, and a broker that starts anew, cost nobody the lock or the place in the queue.
func TestLockSurvives(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		l := c.Lock("l")
		held, err := l.Acquire(t.Context())
		must(t, err)
		token, err := l.Token(held)
		must(t, err)
		next := make(chan error)
		go func() { next <- l.Do(t.Context(), func(context.Context) error { return nil }) }()
		b.Advance(time.Minute)
		b.Disconnect()
		b.Advance(time.Minute)
		b.Restart()
		b.Advance(time.Minute)
		must(t, held.Err())
		must(t, l.Check(t.Context(), token))
		must(t, l.Release(held))
		must(t, <-next)
	})
}

// Beyond the lease the holder knows that the lock is lost, and the next use opens a new session.
func TestLockIsLost(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		l := c.Lock("l")
		held, err := l.Acquire(t.Context())
		must(t, err)
		b.Kill()
		b.Advance(wefttest.SessionTTL)
		var lost *client.LeaseLostError
		if err := context.Cause(held); !errors.As(err, &lost) || lost.Object != "lock l" {
			t.Error(err)
		}
		want(t, l.Release(held), client.ErrLeaseLost)
		_, err = l.Token(held)
		t.Log(err)
		b.Restart()
		b.Advance(wefttest.SessionTTL) // it is closed best effort while the broker is away, and expires
		must(t, l.Do(t.Context(), func(context.Context) error { return nil }))
	})
}

// What the broker refuses is an error of that one command.
func TestLockRefused(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		var refused *client.Error
		if _, err := c.Lock("no name!").Acquire(t.Context()); !errors.As(err, &refused) || refused.Metadata["field"] == "" {
			t.Errorf("refused with %v", err)
		}
		if _, _, err := c.Lock("l").AcquireWithin(t.Context(), -1); !errors.As(err, &refused) || refused.Metadata["field"] != "wait" {
			t.Errorf("refused with %v", err)
		}
		must(t, c.Lock("l").Do(t.Context(), func(context.Context) error { return nil }))
	})
}

// A holder waits for one thing at a time, and every context without one is another.
func TestHolders(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		must(t, c.Lock("l").Do(t.Context(), func(context.Context) error {
			ctx, cancel := context.WithCancel(client.NewHolder(t.Context(), "me"))
			done := make(chan error)
			go func() { _, err := c.Lock("l").Acquire(ctx); done <- err }()
			b.Advance(time.Second)
			_, err := c.Lock("l").Acquire(ctx)
			want(t, err, client.ErrHolderWaits)
			if state, err := c.Lock("l").State(ctx); err != nil || state.GetWaitersCount() != 1 {
				t.Errorf("%v, %v", state, err)
			}
			cancel()
			want(t, <-done, context.Canceled)
			return nil
		}))
	})
}

// Contention, cuts and contexts that end at any moment: two are never in it at once, and nothing is left at the end.
func TestLockExcludes(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		var inside atomic.Int32
		var all sync.WaitGroup
		rounds := 0
		for n := range 8 {
			l := b.Client().Lock("l")
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			all.Go(func() {
				for range 30 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(400))*time.Millisecond)
					err := l.Do(ctx, func(ctx context.Context) error {
						if inside.Add(1) != 1 {
							t.Error("two are in it")
						}
						defer inside.Add(-1)
						rounds++
						select {
						case <-ctx.Done():
						case <-time.After(time.Duration(rng.IntN(10)) * time.Millisecond):
						}
						return nil
					})
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				}
			})
		}
		stop := make(chan struct{})
		go func() { all.Wait(); close(stop) }()
		for running := true; running; {
			select {
			case <-stop:
				running = false
			case <-time.After(300 * time.Millisecond):
				b.Disconnect()
			}
		}
		b.Advance(time.Minute)
		if state, err := b.Client().Lock("l").State(t.Context()); err != nil || state.GetHoldersCount() != 0 || state.GetWaitersCount() != 0 {
			t.Errorf("%v, %v", state, err)
		}
		t.Log(rounds, "rounds")
	})
}
