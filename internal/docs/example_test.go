package docs_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// Example is the README's Go code, with a broker of its own.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	addr, stop := brokertest.MustStart()
	workerDone := make(chan error, 1)
	go func() { workerDone <- serve(ctx, addr) }()
	if err := count(ctx, addr); err != nil {
		fmt.Println(err)
	}
	cancel()
	if err := <-workerDone; err != nil {
		fmt.Println(err)
	}
	stop()
	// Output:
	// to be 2
	// or 1
	// not to be 3
}

// countWords is what both programs share.
var countWords = task.DefineWith("count", task.TextCodec(), task.JSONCodec[int]())

// serve is a worker.
func serve(ctx context.Context, addr string) error {
	w, err := worker.New(worker.Config{Broker: addr, Slots: 8})
	if err != nil {
		return err
	}
	worker.Handle(w, countWords, func(_ context.Context, line string) (int, error) {
		return len(strings.Fields(line)), nil
	})
	return w.Run(ctx) // until ctx is done; then it drains
}

// count is a client.
func count(ctx context.Context, addr string) error {
	c, err := client.Dial(addr) // empty is $WEFT_BROKER, else 127.0.0.1:9338
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Ping(ctx); err != nil { // everything else waits for a broker that is not there
		return err
	}
	lines := []string{"to be", "or", "not to be"}
	for r := range client.Map(ctx, c, countWords, slices.Values(lines)) { // in order; each outcome is durable
		if r.Err != nil {
			return r.Err // a *task.Error if the task failed
		}
		fmt.Println(r.In, r.Out)
	}
	return nil
}
