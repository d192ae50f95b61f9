package wefttest_test

import (
	"context"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
	"github.com/weftq/weft/pkg/worker"
)

var count = task.Define[int, int]("count")

// counting takes a minute for each step, and says which one it begins with.
func counting(first chan<- int) func(ctx context.Context, steps int) (int, error) {
	return func(ctx context.Context, steps int) (int, error) {
		step := 0
		if _, err := task.Current(ctx).Load(&step); err != nil {
			return 0, err
		}
		first <- step
		for ; step < steps; step++ {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
			if err := task.Current(ctx).Save(step + 1); err != nil {
				return 0, err
			}
		}
		return step, nil
	}
}

// In a program this is TestCheckpoint.
func testCheckpoint(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		first := make(chan int, 2)
		handle := func(w *worker.Worker) { worker.Handle(w, count, counting(first)) }
		w := b.Worker(worker.Config{}, handle)
		future, err := client.Submit(t.Context(), b.Client(), count, 60)
		if err != nil {
			t.Fatal(err)
		}
		b.Advance(20*time.Minute + time.Second)
		w.Kill()
		b.Worker(worker.Config{}, handle) // another one takes over
		if steps, err := future.Wait(t.Context()); err != nil || steps != 60 {
			t.Errorf("%d, %v", steps, err)
		}
		if began, again := <-first, <-first; began != 0 || again != 20 {
			t.Errorf("the attempts began with %d and %d", began, again)
		}
	})
}

// A worker dies, and another one goes on from its last checkpoint.
func ExampleRun_checkpoint() {
	var t *testing.T // that of TestCheckpoint
	testCheckpoint(t)
}
