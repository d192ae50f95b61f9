package client_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/wefttest"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestValue(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		ctx := t.Context()
		c := b.Client()
		n := client.NewValue[int64](c, "n")
		if x, version, err := n.Get(ctx); x != 0 || version != 0 || err != nil {
			t.Errorf("%d, version %d, %v", x, version, err)
		}
		reached := make(chan int64)
		go func() {
			x, err := client.NewValue[int64](b.Client(), "n").WaitUntil(ctx, client.AtLeast[int64](8))
			must(t, err)
			reached <- x
		}()
		b.Advance(time.Second)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if i%2 == 0 {
					_, err := client.Add(ctx, n, 1)
					must(t, err)
					return
				}
				_, err := n.Update(ctx, func(x int64) int64 { return x + 1 })
				must(t, err)
			})
		}
		all.Wait()
		if x := <-reached; x != 8 {
			t.Errorf("reached at %d", x)
		}
		x, version, err := n.Get(ctx)
		if x != 8 || err != nil {
			t.Errorf("%d, %v", x, err)
		}
		_, err = n.CompareAndSet(ctx, version-1, 3)
		want(t, err, client.ErrValueChanged)
		_, err = client.Add(ctx, n, math.MaxInt64)
		want(t, err, client.ErrValueRange)
		_, _, err = client.NewValue[string](c, "n").Get(ctx)
		want(t, err, client.ErrValueType)
		if x, ok, err := n.WaitUntilWithin(ctx, time.Minute, client.AtMost[int64](7)); x != 8 || ok || err != nil {
			t.Errorf("%d, %t, %v", x, ok, err)
		}
		must(t, n.Delete(ctx))
		text := client.NewValue[string](c, "n")
		_, err = text.Set(ctx, "now a text")
		must(t, err)
		if x, err := text.WaitUntil(ctx, client.Equals("now a text")); x != "now a text" || err != nil {
			t.Errorf("%q, %v", x, err)
		}
		bytes := client.NewValue[[]byte](c, "bytes", client.WithLock(nil))
		if _, err := bytes.Set(ctx, make([]byte, 64<<10+1)); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD) {
			t.Error(err)
		}
		_, err = bytes.Set(ctx, []byte{1})
		must(t, err)
		if bytes.Lock() != nil || n.Lock().Name() != "n" {
			t.Error("locks")
		}
	})
}

// A change that is guarded by a lock is refused once the lock is another's.
func TestValueGuarded(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		n := client.NewValue[int64](b.Client(), "n")
		must(t, n.Lock().Do(t.Context(), func(ctx context.Context) error {
			_, err := client.Add(ctx, n, 1, client.Guarded(n.Lock()))
			return err
		}))
		_, err := n.Set(t.Context(), 2, client.Guarded(n.Lock()))
		want(t, err, client.ErrNotHeld)
	})
}

// A put that is guarded goes through while the lock is held, does not wait for room, and says that the lock is lost.
func TestPutGuarded(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		q, lock := c.Queue("q"), c.Lock("l")
		must(t, q.Create(t.Context(), client.MaxSize(1)))
		held, err := lock.Acquire(t.Context())
		must(t, err)
		_, err = q.Put(held, client.Spec{}, client.Guarded(lock), client.RequestID("once"))
		must(t, err)
		_, err = q.Put(held, client.Spec{}, client.Guarded(lock))
		want(t, err, client.ErrFull)
		must(t, lock.Release(held))
		_, err = q.Put(held, client.Spec{}, client.Guarded(lock))
		want(t, err, client.ErrNotHeld)
		n, err := q.Len(t.Context())
		must(t, err)
		if n != 1 {
			t.Errorf("%d tasks", n)
		}
	})
}

func TestValueWatch(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		n := client.NewValue[int64](b.Client(), "n")
		last := int64(0)
		for x, err := range client.NewValue[int64](b.Client(), "n").Watch(t.Context()) {
			must(t, err)
			if x != last {
				t.Errorf("%d after %d", x, last-1)
			}
			if last == 3 {
				break
			}
			last++
			_, err := client.Add(t.Context(), n, 1)
			must(t, err)
			if last == 2 {
				b.Disconnect()
			}
		}
	})
}

func TestElection(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		one, two := b.Client().Election("e"), b.Client().Election("e")
		held, err := one.Campaign(t.Context(), "one")
		must(t, err)
		want(t, two.Publish(t.Context(), "two"), client.ErrNotHeld)
		go func() {
			held, err := two.Campaign(t.Context(), "two")
			must(t, err)
			must(t, two.Resign(held))
		}()
		b.Advance(time.Second)
		var seen []string
		for leader, err := range b.Client().Election("e").Observe(t.Context()) {
			must(t, err)
			seen = append(seen, leader.Published)
			b.Advance(time.Second)
			switch leader.Published {
			case "one":
				must(t, one.Publish(held, "one, again"))
			case "one, again":
				must(t, one.Resign(held))
			}
			if leader.Token == 0 {
				break
			}
		}
		if len(seen) < 3 || seen[0] != "one" || seen[1] != "one, again" || seen[len(seen)-1] != "" {
			t.Errorf("%q", seen)
		}
		if leader, ok, err := one.Leader(t.Context()); ok || err != nil {
			t.Errorf("%v, %v", leader, err)
		}
	})
}
