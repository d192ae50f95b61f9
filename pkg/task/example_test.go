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

// Plain JSON passes over what a type does not have; strict JSON does not.
func ExampleStrictJSON() {
	type Photo struct{ Path string }
	type Invoice struct{ Number int }
	resize := task.Define[Photo, task.Payload]
	wrong, err := task.JSON(Invoice{Number: 7})
	if err != nil {
		panic(err)
	}

	photo, err := resize("resize").DecodeInput(wrong)
	fmt.Printf("%+v %v\n", photo, err)

	strict := task.DefineWith("resize", task.StrictJSON[Photo](), task.RawCodec())
	_, err = strict.DecodeInput(wrong)
	fmt.Println(err)
	// Output:
	// {Path:} <nil>
	// task: payload: the input of a task of kind resize: task: decode JSON into task_test.Photo: json: unknown field "Number"
}

// A handler's own reason arrives at the client as it is, and with it what was wrapped around.
func ExampleError() {
	inHandler := fmt.Errorf("charge the card: %w", &task.Error{Reason: "no_funds", Message: "balance is 3"})

	atClient := error(task.ErrorFrom(inHandler))
	if failed, ok := errors.AsType[*task.Error](atClient); ok {
		fmt.Println(failed.Reason)
		fmt.Println(failed.Message)
	}
	// Output:
	// no_funds
	// charge the card: balance is 3
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
