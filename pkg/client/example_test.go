package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// start starts a broker and a worker with a few handlers, in place of those that run somewhere.
func start() (addr string, stop func()) {
	addr, stopBroker := brokertest.MustStart()
	w, err := worker.New(worker.Config{Broker: addr, Slots: 4})
	if err != nil {
		panic(err)
	}
	upper := task.DefineWith("upper", task.TextCodec(), task.TextCodec())
	worker.Handle(w, upper, func(_ context.Context, text string) (string, error) {
		if text == "" {
			return "", &task.Error{Reason: "empty", Message: "there is nothing to do"}
		}
		return strings.ToUpper(text), nil
	})
	worker.Handle(w, task.Raw("sleep"), func(ctx context.Context, _ task.Payload) (task.Payload, error) {
		<-ctx.Done()
		return task.Payload{}, context.Cause(ctx)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return addr, func() {
		cancel()
		if err := <-done; err != nil {
			panic(err)
		}
		stopBroker()
	}
}

// One task in a call, and its future.
func Example() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr) // empty is $WEFT_BROKER, else 127.0.0.1:9338
	if err != nil {
		panic(err)
	}
	defer c.Close()

	call := c.NewCall()
	defer call.Close()
	future, err := call.Submit(ctx, client.Spec{Kind: "upper", Payload: task.Text("hello")})
	if err != nil {
		panic(err)
	}
	outcome, err := future.Wait(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(outcome.Payload, outcome.Err())
	// Output: HELLO <nil>
}

// A task for each input, with the results in the inputs' order. A failed task is a result too.
func ExampleMapSpecs() {
	addr, stop := start()
	defer stop()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	inputs := slices.Values([]client.Spec{
		{Kind: "upper", Payload: task.Text("one")},
		{Kind: "upper"},
		{Kind: "upper", Payload: task.Text("three")},
	})
	for r := range client.MapSpecs(context.Background(), c, inputs, client.InFlight(100)) {
		var failed *task.Error
		switch {
		case errors.As(r.Err, &failed):
			fmt.Println(r.Index, failed.Reason)
		case r.Err != nil:
			panic(r.Err) // of the map as a whole
		default:
			fmt.Println(r.Index, r.Outcome.Payload)
		}
	}
	// Output:
	// 0 ONE
	// 1 empty
	// 2 THREE
}

// A task of its own can be waited for by whoever has its name, from any process.
func ExampleClient_Enqueue() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	taskID, err := c.Enqueue(ctx, client.Spec{
		Kind: "upper", Payload: task.Text("later"), RunAt: time.Now().Add(20 * time.Millisecond),
		Retry: client.Retry{Attempts: 3}, Timeout: time.Minute,
	})
	if err != nil {
		panic(err)
	}
	t, err := c.WaitTask(ctx, taskID)
	if err != nil {
		panic(err)
	}
	fmt.Println(t.GetState(), t.GetOutcome().GetPayload().GetText())
	// Output: TASK_STATE_SUCCEEDED LATER
}

// A cancelled task has an outcome as every other one has.
func ExampleSpecFuture_Cancel() {
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
	future, err := call.Submit(ctx, client.Spec{Kind: "sleep"})
	if err != nil {
		panic(err)
	}
	future.Cancel(time.Second) // between asking the handler to stop and giving it up
	outcome, err := future.Wait(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(outcome.State)
	// Output: TASK_STATE_CANCELLED
}

// What the broker refuses has a reason for programs.
func ExampleHasReason() {
	addr, stop := start()
	defer stop()

	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	_, err = c.Enqueue(context.Background(), client.Spec{Queue: "orders", Kind: "upper"})
	if client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND) {
		_, err = c.CreateQueue(context.Background(), &weftv1.Queue{Name: "orders"})
		fmt.Println("created:", err)
	}
	// Output: created: <nil>
}
