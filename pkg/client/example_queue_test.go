package client_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// Producer and consumer: put, get, done, join.
func ExampleQueue() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	orders := c.Queue("orders")
	if err := orders.Create(ctx, client.MaxSize(2), client.Order(client.FIFO)); err != nil {
		panic(err)
	}
	done := make(chan error, 1)
	go func() { // the consumer, on another machine perhaps
		for {
			h, err := orders.Get(ctx) // waits for a task
			if err != nil {
				done <- err
				return
			}
			fmt.Println("got", h.Payload())
			if err := h.Done(ctx); err != nil {
				done <- err
				return
			}
		}
	}()
	for _, order := range []string{"tea", "milk", "sugar"} {
		if _, err := orders.Put(ctx, client.Spec{Payload: task.Text(order)}); err != nil { // waits for room
			panic(err)
		}
	}
	if err := orders.Join(ctx); err != nil { // until all of them are done
		panic(err)
	}
	if err := orders.Close(ctx); err != nil { // the consumer's Get ends
		panic(err)
	}
	fmt.Println(errors.Is(<-done, client.ErrQueueClosed))
	// Output:
	// got tea
	// got milk
	// got sugar
	// true
}

// What does not wait says why.
func ExampleQueue_TryPut() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	q := c.Queue("small")
	if err := q.Create(ctx, client.MaxSize(1)); err != nil {
		panic(err)
	}
	_, err = q.TryGet(ctx)
	fmt.Println(errors.Is(err, client.ErrEmpty))
	for range 2 {
		_, err = q.TryPut(ctx, client.Spec{Payload: task.Text("x")})
		fmt.Println(errors.Is(err, client.ErrFull))
	}
	// Output:
	// true
	// false
	// true
}

// A task that failed for good is a dead letter, and can be tried again.
func ExampleHeld_Fail() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	q := c.Queue("orders")
	if err := q.Create(ctx); err != nil {
		panic(err)
	}
	if _, err := q.Put(ctx, client.Spec{Payload: task.Text("unicorn")}); err != nil {
		panic(err)
	}
	h, err := q.Get(ctx)
	if err != nil {
		panic(err)
	}
	if err := h.Fail(ctx, &task.Error{Reason: "no_stock", Message: "sold out"}); err != nil {
		panic(err)
	}
	t, err := c.Get(ctx, h.TaskID())
	if err != nil {
		panic(err)
	}
	fmt.Println(t.GetState(), t.GetOutcome().GetError().GetReason())
	retried, err := q.RetryFailed(ctx, "")
	if err != nil {
		panic(err)
	}
	fmt.Println(retried, "again")
	// Output:
	// TASK_STATE_FAILED no_stock
	// 1 again
}

// A task that is after others runs once they have succeeded.
func ExampleAfter() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	call := c.NewCall()
	defer call.Close()
	upper := func(text string, after ...*client.SpecFuture) *client.SpecFuture {
		f, err := call.Submit(ctx, client.Spec{Kind: "upper", Payload: task.Text(text), After: client.After(after...)})
		if err != nil {
			panic(err)
		}
		return f
	}
	a, empty := upper("a"), upper("")
	both, never := upper("b", a), upper("c", a, empty) // "upper" fails when there is nothing to do
	for _, f := range []*client.SpecFuture{both, never} {
		outcome, err := f.Wait(ctx)
		if err != nil {
			panic(err)
		}
		fmt.Println(outcome.State, outcome.Payload)
	}
	// Output:
	// TASK_STATE_SUCCEEDED B
	// TASK_STATE_CANCELLED
}
