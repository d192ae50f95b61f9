package docs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Example_tasks is the Go code of docs/tasks.md, with a broker and a worker of its own.
func Example_tasks() {
	ctx, cancel := context.WithCancel(context.Background())
	addr, stop := brokertest.MustStart()
	workerDone := make(chan error, 1)
	go func() { workerDone <- serve(ctx, addr) }()
	if err := tasks(ctx, addr); err != nil {
		fmt.Println(err)
	}
	cancel()
	if err := <-workerDone; err != nil {
		fmt.Println(err)
	}
	stop()
	// Output:
	// 2
	// <nil> true
	// TASK_STATE_SUCCEEDED 2
	// no_kind No worker of queue default handles kind train; the kinds there are count.
	// train no driver
	// 0 to go, 0 failed
}

func tasks(ctx context.Context, addr string) error {
	c, err := client.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := singles(ctx, c); err != nil {
		return err
	}
	if err := dependents(ctx, c); err != nil {
		return err
	}
	if err := explained(ctx, c); err != nil {
		return err
	}
	h, err := c.Queue("").Get(ctx, client.Kinds("train"), client.WithLabels(map[string]string{"gpu": "a100"}))
	if err != nil {
		return err
	}
	if err := h.Fail(ctx, &task.Error{Reason: "error", Message: "no driver"}); err != nil {
		return err
	}
	if err := deadLetters(ctx, c); err != nil {
		return err
	}
	return watched(ctx, c)
}

func singles(ctx context.Context, c *client.Client) error {
	id, err := c.Enqueue(ctx, client.Spec{Kind: "count", Payload: task.Text("a b")}, client.RequestID("mine"))
	if err != nil {
		return err
	}
	ended, err := c.WaitTask(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println(ended.GetOutcome().GetPayload().GetText())
	batch, err := c.EnqueueAll(ctx, []client.Spec{{Kind: "count"}, {Kind: "count", Queue: "nowhere"}})
	if err != nil {
		return err // of the whole batch
	}
	fmt.Println(batch[0].Err, errors.Is(batch[1].Err, client.ErrQueueNotFound))
	return nil
}

func dependents(ctx context.Context, c *client.Client) error {
	call := c.NewCall()
	defer call.Close()
	first, err := call.Submit(ctx, client.Spec{Kind: "count", Payload: task.Text("one")})
	if err != nil {
		return err
	}
	second, err := call.Submit(ctx, client.Spec{Kind: "count", Payload: task.Text("one two"), After: client.After(first)})
	if err != nil {
		return err
	}
	outcome, err := second.Wait(ctx)
	if err != nil {
		return err
	}
	fmt.Println(outcome.State, outcome.Payload)
	return nil
}

func explained(ctx context.Context, c *client.Client) error {
	id, err := c.Enqueue(ctx, client.Spec{Kind: "train", WorkerLabels: map[string]string{"gpu": "a100"}})
	if err != nil {
		return err
	}
	why, err := c.Explain(ctx, id)
	if err != nil {
		return err
	}
	fmt.Println(why.Reason, why.Message)
	return nil
}

func deadLetters(ctx context.Context, c *client.Client) error {
	for letter, err := range c.List(ctx, client.Filter{States: []weftv1.TaskState{weftv1.TaskState_TASK_STATE_FAILED}}) {
		if err != nil {
			return err
		}
		fmt.Println(letter.GetSpec().GetKind(), letter.GetOutcome().GetError().GetMessage())
		if err := c.Retry(ctx, letter.GetId()); err != nil {
			return err
		}
	}
	return nil
}

func watched(ctx context.Context, c *client.Client) error {
	specs := []client.Spec{{Kind: "count", Payload: task.Text("one")}, {Kind: "count", Payload: task.Text("one two")}}
	for r := range client.MapSpecs(ctx, c, slices.Values(specs), client.Name("pages")) {
		if r.Err != nil {
			return r.Err
		}
	}
	for e, err := range c.WatchCall(ctx, "pages") {
		if err != nil {
			return err
		}
		for _, t := range e.Tasks {
			fmt.Println(t.GetId(), t.GetState(), t.GetProgress().GetMessage())
		}
		fmt.Println(e.Unfinished(), "to go,", e.Failed(), "failed")
	}
	return nil
}
