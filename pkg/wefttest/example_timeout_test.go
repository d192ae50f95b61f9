package wefttest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
	"github.com/weftq/weft/pkg/worker"
)

var train = task.Define[int, string]("train")

// In a program this is TestTimeout.
func testTimeout(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		b.Worker(worker.Config{}, func(w *worker.Worker) {
			worker.Handle(w, train, func(ctx context.Context, epochs int) (string, error) {
				select {
				case <-time.After(time.Duration(epochs) * time.Hour):
					return "trained", nil
				case <-ctx.Done():
					return "", context.Cause(ctx)
				}
			})
		})
		c := b.Client()
		within := client.With(client.Spec{Timeout: 3 * time.Hour})
		short, err := client.Submit(t.Context(), c, train, 2, within)
		if err != nil {
			t.Fatal(err)
		}
		long, err := client.Submit(t.Context(), c, train, 10, within)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := short.Wait(t.Context()); err != nil || out != "trained" {
			t.Errorf("%q, %v", out, err)
		}
		var failed *task.Error
		if _, err := long.Wait(t.Context()); !errors.As(err, &failed) || failed.Reason != task.ReasonTimeout {
			t.Errorf("%v", err)
		}
	})
}

// A task that takes longer than its timeout of three hours.
func ExampleRun_timeout() {
	var t *testing.T // that of TestTimeout
	testTimeout(t)
}
