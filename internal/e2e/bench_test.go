package e2e

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// BenchmarkMap measures no-op tasks with 256-byte payloads there and back through both SDKs, fsynced:
// broker, worker and client in one process.
func BenchmarkMap(b *testing.B) {
	c := startHere(b, 1000)
	input := client.Spec{Kind: "echo", Payload: task.Text(strings.Repeat("x", 256))}
	inputs := func(yield func(client.Spec) bool) {
		for range b.N {
			if !yield(input) {
				return
			}
		}
	}
	b.ResetTimer()
	n := 0
	for r := range client.MapSpecs(context.Background(), c, iter.Seq[client.Spec](inputs), client.Unordered(), client.InFlight(2000)) {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
		n++
	}
	if n != b.N {
		b.Fatalf("%d results of %d", n, b.N)
	}
}

// BenchmarkOne measures one task at a time.
func BenchmarkOne(b *testing.B) {
	c := startHere(b, 1)
	call := c.NewCall()
	defer call.Close()
	for b.Loop() {
		f, err := call.Submit(context.Background(), client.Spec{Kind: "echo", Payload: task.Text("x")})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// startHere runs a broker and an echo worker in this process until the test ends.
func startHere(tb testing.TB, slots int) *client.Client {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	readyC, doneC := make(chan string, 1), make(chan error, 2)
	go func() {
		doneC <- broker.Run(ctx, broker.Config{
			Listen: "127.0.0.1:0", HTTP: "off", DataDir: tb.TempDir(),
			Ready: func(a broker.Addresses) { readyC <- a.GRPC },
		})
	}()
	var addr string
	select {
	case addr = <-readyC:
	case err := <-doneC:
		tb.Fatal(err)
	}
	w, err := worker.New(worker.Config{Broker: addr, Slots: slots})
	if err != nil {
		tb.Fatal(err)
	}
	worker.Handle(w, task.Raw("echo"), func(_ context.Context, in task.Payload) (task.Payload, error) { return in, nil })
	workerCtx, stopWorker := context.WithCancel(context.Background())
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(workerCtx) }()
	c, err := client.Dial(addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(fmt.Errorf("close: %w", err))
		}
		stopWorker()
		if err := <-workerC; err != nil {
			tb.Error(err)
		}
		cancel()
		if err := <-doneC; err != nil {
			tb.Error(err)
		}
	})
	return c
}
