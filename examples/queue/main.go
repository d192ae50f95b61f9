// Command queue has producers and consumers share a queue. In Python it is
//
//	q = queue.Queue(maxsize=10)
//	def consume():
//	    while True:
//	        try: item = q.get()
//	        except queue.ShutDown: return
//	        handle(item); q.task_done()
//	…
//	for item in items: q.put(item)      # waits while the queue is full
//	q.join(); q.shutdown()
//
// Here the queue is durable and the others may be anywhere: what a consumer had got when it died comes back to the
// queue by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

func main() {
	if err := run(context.Background(), "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run puts a hundred numbers by two producers and has three consumers add them up.
func run(ctx context.Context, broker string, out io.Writer) error {
	c, err := dial(ctx, broker)
	if err != nil {
		return err
	}
	defer c.Close()
	q := c.Queue("numbers")
	if err := q.Create(ctx, client.MaxSize(10), client.Order(client.FIFO)); err != nil {
		return err
	}

	var total atomic.Int64
	var group sync.WaitGroup
	errC := make(chan error, 5)
	for range 3 {
		group.Go(func() { errC <- consume(ctx, q, &total) })
	}
	for producer := range 2 {
		group.Go(func() { errC <- produce(ctx, q, 50*producer, 50) })
	}
	for range 2 { // nil errors are the producers': consumers go on until the queue is closed
		if err := <-errC; err != nil {
			return err
		}
	}
	if err := q.Join(ctx); err != nil { // every number is done
		return err
	}
	if err := q.Close(ctx); err != nil { // the consumers go home
		return err
	}
	group.Wait()
	for range 3 {
		if err := <-errC; err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "the sum is", total.Load())
	return q.Delete(ctx, false)
}

// produce puts n numbers. It waits whenever ten are in the queue already.
func produce(ctx context.Context, q *client.Queue, first, n int) error {
	for i := first; i < first+n; i++ {
		if _, err := q.Put(ctx, client.Spec{Payload: task.Text(strconv.Itoa(i))}); err != nil {
			return err
		}
	}
	return nil
}

// consume adds numbers until the queue is closed and empty.
func consume(ctx context.Context, q *client.Queue, total *atomic.Int64) error {
	for {
		held, err := q.Get(ctx)
		switch {
		case errors.Is(err, client.ErrQueueClosed):
			return nil
		case err != nil:
			return err
		}
		n, err := strconv.ParseInt(held.Payload().String(), 10, 64)
		if err != nil {
			return errors.Join(err, held.Fail(ctx, task.ErrorFrom(task.Permanent(err)))) // a dead letter
		}
		total.Add(n)
		if err := held.Complete(ctx, task.Payload{}); err != nil { // Python's task_done()
			return err
		}
	}
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
