// Command event has four runners wait for one signal. In Python it is
//
//	go = threading.Event()
//	def runner(): go.wait(); run()
//	go.set()
//
// Here the runners may be on other machines. An event that is set and cleared at once still wakes all who waited.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftq/weft/pkg/client"
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const runners = 4

// run has the runners wait, and sets the event when all of them are there.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	start := c.Event("start")
	if err := start.Clear(ctx); err != nil {
		return err
	}
	var gone atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, runners)
	ready := c.Barrier("start/ready", runners+1) // the starter waits for all of them
	for range runners {
		group.Go(func() {
			if _, err := ready.Wait(ctx); err != nil {
				errs <- err
				return
			}
			err := start.Wait(ctx)
			gone.Add(1)
			errs <- err
		})
	}
	if _, err := ready.Wait(ctx); err != nil {
		return err
	}
	set, err := start.IsSet(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "on your marks; set:", set, "gone:", gone.Load())
	if err := start.Set(ctx); err != nil {
		return err
	}
	group.Wait()
	for range runners {
		if err := <-errs; err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "gone:", gone.Load())
	return start.Clear(ctx)
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
