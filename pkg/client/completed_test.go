package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

func submit[In, Out any](t *testing.T, s client.Submitter, kind task.Kind[In, Out], in In) *client.Future[Out] {
	t.Helper()
	f, err := client.Submit(t.Context(), s, kind, in)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAsCompleted(t *testing.T) {
	ctx, c := typed(t)
	var futures []*client.Future[int]
	for n := range 100 {
		futures = append(futures, submit(t, c, square, n))
	}
	futures = append(futures, futures[7]) // once all the same
	seen := map[*client.Future[int]]bool{}
	for f, err := range client.AsCompleted(ctx, futures...) {
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-f.Done():
		default:
			t.Error("it has not ended")
		}
		if seen[f] {
			t.Error("twice")
		}
		seen[f] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d futures", len(seen))
	}
	for _, err := range client.AsCompleted(ctx, futures...) {
		if err != nil {
			t.Error(err)
		}
		break // what is left is nobody's
	}
}

func TestWaitModes(t *testing.T) {
	ctx, c := typed(t)
	pool := client.NewPool(c)
	defer pool.Close()
	never := submit(t, pool, wait, "")
	good, bad := submit(t, pool, thumb, photo{"cat", 1}), submit(t, pool, thumb, photo{})
	done, pending, err := client.Wait(ctx, client.FirstError, good, bad)
	if err != nil || !slices.Contains(done, bad) || slices.Contains(pending, bad) {
		t.Errorf("first error: %d done, %d pending, %v", len(done), len(pending), err)
	}
	if done, pending, err = client.Wait(ctx, client.AllCompleted, good, bad); len(done) != 2 || len(pending) != 0 || err != nil {
		t.Errorf("all: %d done, %d pending, %v", len(done), len(pending), err)
	}
	// Futures of different types are waited for by what is under them.
	specs, left, err := client.Wait(ctx, client.FirstCompleted, never.SpecFuture, good.SpecFuture)
	if err != nil || !slices.Equal(specs, []*client.SpecFuture{good.SpecFuture}) || !slices.Equal(left, []*client.SpecFuture{never.SpecFuture}) {
		t.Errorf("first: %v, %v, %v", specs, left, err)
	}
	// A timeout stops nobody but the waiter.
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, pending, err := client.Wait(short, client.AllCompleted, never); len(pending) != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d pending, %v", len(pending), err)
	}
	if _, err := never.WaitFor(time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	never.Terminate()
	if _, err := never.Wait(ctx); err == nil || never.Err() == nil {
		t.Error("a cancelled task has no error")
	}
}

func TestPoolShutdown(t *testing.T) {
	ctx, c := typed(t)
	pool := client.NewPool(c)
	defer pool.Close()
	var futures []*client.Future[int]
	for n := range 1000 {
		futures = append(futures, submit(t, pool, square, n))
	}
	if err := pool.Join(ctx); err != nil {
		t.Fatal(err)
	}
	if err := pool.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for n, f := range futures {
		if out, err := f.Wait(ctx); out != n*n || err != nil {
			t.Fatalf("%d: %d, %v", n, out, err)
		}
	}
	if _, err := client.Submit(ctx, pool, square, 1); !errors.Is(err, client.ErrFinished) {
		t.Errorf("after the end: %v", err)
	}
}

// What runs is awaited, what waits is cancelled: in the broker, and what has not left this process.
func TestPoolCancelsPending(t *testing.T) {
	ctx, c := typed(t)
	pool := client.NewPool(c)
	defer pool.Close()
	call := pool.Call()
	holder := submit(t, pool, count, 3)
	for _, err := range holder.Progress(ctx) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	var running, waiting []*client.Future[string]
	for range 8 {
		running = append(running, submit(t, pool, wait, ""))
	}
	if err := call.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, f := range running {
		awaitRunning(t, c, call, f)
	}
	for range 500 {
		waiting = append(waiting, submit(t, pool, wait, ""))
	}
	shut := make(chan error, 1)
	go func() { shut <- pool.Shutdown(ctx, client.CancelPending()) }()
	for _, f := range waiting {
		if _, err := f.Wait(ctx); err == nil {
			t.Error("a task that waited was not cancelled")
		}
	}
	for _, f := range running {
		if f.Err() != nil {
			t.Error("one that ran was")
		}
		f.Cancel(0)
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

// awaitRunning returns once an attempt holds the task.
func awaitRunning(t *testing.T, c *client.Client, call *client.Call, f *client.Future[string]) {
	t.Helper()
	for {
		for task, err := range c.List(t.Context(), client.Filter{CallID: call.ID()}) {
			if err != nil {
				t.Fatal(err)
			}
			if task.GetCallIndex() == f.Index() && task.GetAttempt() != nil {
				return
			}
		}
	}
}

func TestSubmitAfterTheEnd(t *testing.T) {
	ctx, c := typed(t)
	pool := client.NewPool(c)
	pool.Close()
	if _, err := client.Submit(ctx, pool, square, 1); !errors.Is(err, client.ErrClosed) {
		t.Errorf("of a pool: %v", err)
	}
	_ = c.Close()
	if _, err := client.Submit(ctx, c, square, 1); !errors.Is(err, client.ErrClosed) {
		t.Errorf("of a client: %v", err)
	}
	if _, err := client.Submit(ctx, c, task.Kind[int, int]{}, 1); err == nil {
		t.Error("a kind that was never defined")
	}
	if _, err := client.Submit(ctx, c, square, 1, client.With(client.Spec{Kind: "other"})); err == nil {
		t.Error("two kinds")
	}
	if _, err := client.Attach(ctx, c, square, "t1").Wait(ctx); !errors.Is(err, client.ErrClosed) {
		t.Errorf("attached: %v", err)
	}
}
