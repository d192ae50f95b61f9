// Command threadpool sums numbers on a pool of slots. In Python it is
//
//	with ThreadPoolExecutor(max_workers=8) as pool:
//	    parts = [pool.submit(sum, chunk) for chunk in chunks]
//	    for part in as_completed(parts):
//	        total += part.result()
//
// Here the pool is any number of workers on any number of machines: this program starts one of its own, so that
// it needs only a broker (`weft dev`, or `weft broker`).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// sum is what those who submit and those who run share: its types are checked by the compiler.
var sum = task.Define[[]int, int]("sum")

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run is the whole program: a worker, and the client that has it work.
func run(ctx context.Context, broker string, out io.Writer) error {
	w, err := worker.New(worker.Config{Broker: broker, Slots: 8})
	if err != nil {
		return err
	}
	worker.Handle(w, sum, func(_ context.Context, numbers []int) (total int, _ error) {
		for _, n := range numbers {
			total += n
		}
		return total, nil
	})
	working, drain := context.WithCancel(ctx)
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(working) }()

	total, err := add(ctx, broker, 1_000_000)
	drain()
	if workerErr := <-workerC; err == nil {
		err = workerErr
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the sum is", total)
	return nil
}

// add sums the numbers from 1 to n, a thousand in a task.
func add(ctx context.Context, broker string, n int) (total int, err error) {
	c, err := dial(ctx, broker)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	pool := client.NewPool(c)
	defer pool.Close()

	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	var parts []*client.Future[int]
	for chunk := range slices.Chunk(numbers, 1000) {
		part, err := client.Submit(ctx, pool, sum, chunk)
		if err != nil {
			return 0, err
		}
		parts = append(parts, part)
	}
	for part, err := range client.AsCompleted(ctx, parts...) {
		if err != nil {
			return 0, err
		}
		subtotal, err := part.Wait(ctx)
		if err != nil {
			return 0, err
		}
		total += subtotal
	}
	return total, pool.Shutdown(ctx)
}

// dial is a client of a broker that is there: without the Ping, everything else would wait for one.
func dial(ctx context.Context, broker string) (*client.Client, error) {
	c, err := client.Dial(broker) // empty is $WEFT_BROKER, else 127.0.0.1:9338
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.Ping(short); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%w (weft dev starts one)", err)
	}
	return c, nil
}
