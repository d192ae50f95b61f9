// Command condition has five producers and ten consumers share a stock of at most three. In Python it is
//
//	lock = threading.Lock()
//	filled, emptied = threading.Condition(lock), threading.Condition(lock)
//	with lock:
//	    filled.wait_for(lambda: stock > 0)
//	    stock -= 1
//	    emptied.notify()
//
// Here the stock is a value at the broker, the lock and both conditions are there too, and whoever takes part may be on
// another machine. A consumer that dies while it waits swallows no notification: it goes to the next one.
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

const (
	producers, each = 5, 4
	consumers, take = 10, 2
	room            = 3
)

// shop is what all of them use.
type shop struct {
	lock            *client.Lock
	filled, emptied *client.Condition
	stock           *client.Value[int64]
}

// run has everybody do their work and prints what is left.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	lock := c.Lock("shop")
	s := &shop{
		lock: lock, filled: c.Condition("shop/filled", lock), emptied: c.Condition("shop/emptied", lock),
		stock: client.NewValue[int64](c, "shop/stock"),
	}
	if _, err := s.stock.Set(ctx, 0); err != nil {
		return err
	}

	var made, sold atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, producers+consumers)
	for range producers {
		group.Go(func() { errs <- s.times(ctx, each, room, s.emptied, s.filled, +1, &made) })
	}
	for range consumers {
		group.Go(func() { errs <- s.times(ctx, take, 0, s.filled, s.emptied, -1, &sold) })
	}
	group.Wait()
	for range producers + consumers {
		if err := <-errs; err != nil {
			return err
		}
	}
	left, _, err := s.stock.Get(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d made, %d sold, %d left\n", made.Load(), sold.Load(), left)
	return s.stock.Delete(ctx)
}

// times changes the stock by delta so many times, each as soon as it is not as it must not be: full for a producer, empty
// for a consumer.
func (s *shop) times(ctx context.Context, n int, not int64, wait, notify *client.Condition, delta int64, count *atomic.Int64) error {
	for range n {
		err := s.lock.Do(ctx, func(ctx context.Context) error {
			ready := func(ctx context.Context) (bool, error) {
				stock, _, err := s.stock.Get(ctx)
				return stock != not, err
			}
			if err := wait.WaitFor(ctx, ready); err != nil {
				return err
			}
			if _, err := client.Add(ctx, s.stock, delta, client.Guarded(s.lock)); err != nil {
				return err
			}
			count.Add(1)
			return notify.Notify(ctx, 1)
		})
		if err != nil {
			return err
		}
	}
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
