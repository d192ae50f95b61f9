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

var fetch = task.Define[string, string]("fetch")

// In a program this is TestRetry.
func testRetry(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		b.Worker(worker.Config{}, func(w *worker.Worker) {
			worker.Handle(w, fetch, func(ctx context.Context, url string) (string, error) {
				if task.Current(ctx).Number < 3 {
					return "", errors.New("503")
				}
				return "body of " + url, nil
			})
		})
		begun := time.Now()
		future, err := client.Submit(t.Context(), b.Client(), fetch, "a.example", client.With(client.Spec{
			Retry: client.Retry{Attempts: 5, Backoff: time.Hour, BackoffMax: 24 * time.Hour, Jitter: 0.0001},
		}))
		if err != nil {
			t.Fatal(err)
		}
		body, err := future.Wait(t.Context())
		if err != nil || body != "body of a.example" {
			t.Errorf("%q, %v", body, err)
		}
		if took := time.Since(begun).Round(time.Minute); took != 3*time.Hour { // one, and then two
			t.Errorf("it took %v", took)
		}
	})
}

// A task that is tried again after an hour, and then after two: in a few milliseconds.
func ExampleRun_retry() {
	var t *testing.T // that of TestRetry
	testRetry(t)
}
