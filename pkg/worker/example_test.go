package worker_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// ask submits a task and prints how it ended.
func ask(addr string, spec client.Spec) {
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	call := c.NewCall()
	defer call.Close()
	future, err := call.Submit(context.Background(), spec)
	if err != nil {
		panic(err)
	}
	outcome, err := future.Wait(context.Background())
	if err != nil {
		panic(err)
	}
	if err := outcome.Err(); err != nil {
		fmt.Println(err, "after", outcome.Attempts)
		return
	}
	fmt.Println(strings.TrimSpace(outcome.Payload.String() + outcome.Command.GetStdout().GetText()))
}

// reverse is shared by those who submit and those who run: here, text travels as it is.
var reverse = task.DefineWith("reverse", task.TextCodec(), task.TextCodec())

// A worker with a handler, which drains when its context is done.
func Example() {
	addr, stop := brokertest.MustStart()
	defer stop()

	w, err := worker.New(worker.Config{Broker: addr, Slots: 8, DrainTimeout: 10 * time.Second})
	if err != nil {
		panic(err)
	}
	worker.Handle(w, reverse, func(_ context.Context, text string) (string, error) {
		words := strings.Fields(text)
		for i, j := 0, len(words)-1; i < j; i, j = i+1, j-1 {
			words[i], words[j] = words[j], words[i]
		}
		return strings.Join(words, " "), nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	ask(addr, client.Spec{Kind: "reverse", Payload: task.Text("to be or not")})

	cancel() // takes no more tasks, lets the running ones end, says goodbye
	fmt.Println("ended:", <-done)
	// Output:
	// not or be to
	// ended: <nil>
}

// An error is an outcome. Whether it is tried again is up to the submitter, unless the handler knows that
// it would not help.
func ExampleHandle() {
	addr, stop := brokertest.MustStart()
	defer stop()

	w, err := worker.New(worker.Config{Broker: addr})
	if err != nil {
		panic(err)
	}
	worker.Handle(w, task.Raw("flaky"), func(ctx context.Context, _ task.Payload) (task.Payload, error) {
		if n := task.Current(ctx).Number; n < 3 {
			return task.Payload{}, fmt.Errorf("attempt %d came to nothing", n)
		}
		return task.Text("the third time"), nil
	})
	worker.Handle(w, task.Raw("parse"), func(_ context.Context, in task.Payload) (task.Payload, error) {
		var v map[string]int
		if err := in.Decode(&v); err != nil {
			return task.Payload{}, task.Permanent(&task.Error{Reason: "bad_input", Message: "no JSON"})
		}
		return task.JSON(len(v))
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	retry := client.Retry{Attempts: 5, Backoff: time.Millisecond}
	ask(addr, client.Spec{Kind: "flaky", Retry: retry})
	ask(addr, client.Spec{Kind: "parse", Payload: task.Text("{"), Retry: retry})

	cancel()
	if err := <-done; err != nil {
		panic(err)
	}
	// Output:
	// the third time
	// task: bad_input: no JSON after 1
}

// A worker that runs two programs and no others.
func ExampleWorker_HandleCommands() {
	addr, stop := brokertest.MustStart()
	defer stop()

	w, err := worker.New(worker.Config{Broker: addr})
	if err != nil {
		panic(err)
	}
	if err := w.HandleCommands(command.Policy{Allow: []string{"echo", "wc"}}); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	ask(addr, client.Spec{Command: &weftv1.Command{Argv: []string{"echo", "allowed"}}})
	ask(addr, client.Spec{Command: &weftv1.Command{Argv: []string{"id"}}})

	cancel()
	if err := <-done; err != nil {
		panic(err)
	}
	// Output:
	// allowed
	// task: refused: this worker does not run "id" after 1
}
