package client_test

import (
	"context"
	"errors"
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
