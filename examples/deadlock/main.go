// Command deadlock has two friends wait for each other. In Python it is
//
//	with left:              with right:
//	    with right: …           with left: …      # both wait for ever, and nothing says why
//
// Here the broker sees that the second wait closes a circle, and refuses it with an error that names who has what. The one
// who is told gives up what it has, and the other goes on.
package main

import (
	"context"
	"errors"
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

// run sets the table.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	left, right := c.Lock("left"), c.Lock("right")
	both := c.Barrier("both", 2) // each has one

	var mu sync.Mutex
	var refused error
	eat := func(name string, first, second *client.Lock) error {
		ctx := client.NewHolder(ctx, name)
		return first.Do(ctx, func(ctx context.Context) error {
			if _, err := both.Wait(ctx); err != nil {
				return err
			}
			err := second.Do(ctx, func(context.Context) error { return nil })
			if errors.Is(err, client.ErrDeadlock) {
				mu.Lock()
				defer mu.Unlock()
				refused = errors.Join(refused, err)
				return nil // and first is released, so that the other one gets it
			}
			return err
		})
	}
	var group sync.WaitGroup
	errs := make(chan error, 2)
	group.Go(func() { errs <- eat("Plato", left, right) })
	group.Go(func() { errs <- eat("Kant", right, left) })
	group.Wait()
	for range 2 {
		if err := <-errs; err != nil {
			return err
		}
	}
	fmt.Fprintln(out, refused)
	return nil
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
