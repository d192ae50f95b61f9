package task_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/weftq/weft/pkg/task"
)

// A payload is bytes. JSON travels as text, so that people can read it in listings.
func ExampleJSON() {
	p, err := task.JSON(map[string]int{"width": 640})
	if err != nil {
		panic(err)
	}
	fmt.Println(p, p.IsText())

	var size struct{ Width int }
	if err := p.Decode(&size); err != nil {
		panic(err)
	}
	fmt.Println(size.Width)
	// Output:
	// {"width":640} true
	// 640
}

// A handler's own reason arrives at the client as it is.
func ExampleError() {
	inHandler := fmt.Errorf("charge the card: %w", &task.Error{Reason: "no_funds", Message: "balance is 3"})

	atClient := error(task.ErrorFrom(inHandler))
	if failed, ok := errors.AsType[*task.Error](atClient); ok {
		fmt.Println(failed.Reason)
	}
	// Output: no_funds
}

// An error that trying again will not help is not tried again, whatever the retry policy says.
func ExamplePermanent() {
	err := task.ErrorFrom(task.Permanent(errors.New("no such customer")))
	fmt.Println(err.Permanent, err)
	// Output: true task: error: no such customer
}

// A handler learns why it has to stop from its context's cause.
func ExampleErrDrained() {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(task.ErrDrained) // the worker does this

	switch cause := context.Cause(ctx); {
	case errors.Is(cause, task.ErrDrained):
		fmt.Println("save what there is: the task will run again elsewhere")
	case errors.Is(cause, task.ErrCancelled), errors.Is(cause, task.ErrTimeout):
		fmt.Println("stop")
	case errors.Is(cause, task.ErrLeaseLost):
		fmt.Println("stop, and tell nobody: another worker has it")
	}
	// Output: save what there is: the task will run again elsewhere
}
