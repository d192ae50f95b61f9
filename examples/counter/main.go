// Command counter loses an update, and then does not. In Python it is
//
//	counter = multiprocessing.Value("i", 0)
//	counter.value += 1                             # a read and a write: not atomic
//	with counter.get_lock(): counter.value += 1    # nobody is in between
//
// Here the first pair of programs is made to meet between reading and writing, so that one of the updates is lost for
// certain. The second pair does the same under the value's lock, and the third needs no lock: Add is one step.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/client"
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run counts by two programs in three ways.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	counter := client.NewValue[int64](c, "counter")

	between := c.Barrier("counter/between", 2)
	lost := func(ctx context.Context) error {
		n, _, err := counter.Get(ctx)
		if err != nil {
			return err
		}
		if _, err := between.Wait(ctx); err != nil { // both have read
			return err
		}
		_, err = counter.Set(ctx, n+1)
		return err
	}
	locked := func(ctx context.Context) error {
		return counter.Lock().Do(ctx, func(ctx context.Context) error {
			n, _, err := counter.Get(ctx)
			if err != nil {
				return err
			}
			_, err = counter.Set(ctx, n+1, client.Guarded(counter.Lock())) // refused if the lock was lost meanwhile
			return err
		})
	}
	atomic := func(ctx context.Context) error {
		_, err := client.Add(ctx, counter, 1)
		return err
	}
	for _, way := range []struct {
		name string
		add  func(context.Context) error
	}{{"without a lock", lost}, {"with its lock", locked}, {"by Add", atomic}} {
		sum, err := twice(ctx, counter, way.add)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "1 + 1 %s: %d\n", way.name, sum)
	}
	return counter.Delete(ctx)
}

// twice adds one from two sides, beginning with 0, and returns the sum.
func twice(ctx context.Context, counter *client.Value[int64], add func(context.Context) error) (int64, error) {
	if _, err := counter.Set(ctx, 0); err != nil {
		return 0, err
	}
	var group sync.WaitGroup
	errs := make(chan error, 2)
	for range 2 {
		group.Go(func() { errs <- add(ctx) })
	}
	group.Wait()
	for range 2 {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	sum, _, err := counter.Get(ctx)
	return sum, err
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
