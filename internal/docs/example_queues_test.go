package docs_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// Example_queues is the Go code of docs/queues.md, with a broker of its own.
func Example_queues() {
	addr, stop := brokertest.MustStart()
	if err := queues(context.Background(), addr); err != nil {
		fmt.Println(err)
	}
	stop()
	// Output:
	// tea
	// 1 tried again
	// true
	// 1 purged
}

func queues(ctx context.Context, addr string) error {
	c, err := client.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	orders := c.Queue("orders")
	if err := orders.Create(ctx, client.Order(client.FIFO), client.MaxSize(3)); err != nil {
		return err
	}
	if err := orders.Update(ctx, client.MaxRunning(10), client.Rate(50, 5)); err != nil { // these and no others
		return err
	}
	if err := puts(ctx, orders); err != nil {
		return err
	}
	if err := gets(ctx, orders); err != nil {
		return err
	}
	if err := letters(ctx, orders); err != nil {
		return err
	}
	return ends(ctx, orders)
}

func puts(ctx context.Context, orders *client.Queue) error {
	_, err := orders.Put(ctx, client.Spec{Payload: task.Text("tea")}) // waits for room until ctx ends
	if err != nil {
		return err
	}
	_, err = orders.Put(ctx, client.Spec{Payload: task.Text("milk")}, client.Within(time.Second))
	if err != nil {
		return err // errors.Is(err, client.ErrFull) after a second
	}
	return nil
}

func gets(ctx context.Context, orders *client.Queue) error {
	h, err := orders.Get(ctx) // waits for a task until ctx ends
	if err != nil {
		return err
	}
	fmt.Println(h.Payload())
	if err := h.Done(ctx); err != nil { // or Fail, or Release
		return err // errors.Is(err, client.ErrLeaseLost): somebody else has it
	}
	return nil
}

func letters(ctx context.Context, orders *client.Queue) error {
	h, err := orders.Get(ctx)
	if err != nil {
		return err
	}
	if err := h.Fail(ctx, &task.Error{Reason: "no_stock", Message: "sold out"}); err != nil {
		return err
	}
	retried, err := orders.RetryFailed(ctx, "") // of every kind
	if err != nil {
		return err
	}
	fmt.Println(retried, "tried again")
	if h, err = orders.Get(ctx); err != nil {
		return err
	}
	return h.Done(ctx)
}

func ends(ctx context.Context, orders *client.Queue) error {
	var err error
	if err := orders.Close(ctx); err != nil { // CloseNow also cancels what waits
		return err
	}
	if err := orders.Join(ctx); err != nil { // until every task has ended
		return err
	}
	_, err = orders.Get(ctx)
	fmt.Println(errors.Is(err, client.ErrQueueClosed))
	if err := orders.Reopen(ctx); err != nil {
		return err
	}
	if _, err := orders.Put(ctx, client.Spec{}); err != nil {
		return err
	}
	purged, err := orders.Purge(ctx) // what waits is cancelled
	if err != nil {
		return err
	}
	fmt.Println(purged, "purged")
	if err := orders.Delete(ctx, true); err != nil {
		return err
	}
	return nil
}
