package wefttest_test

import (
	"context"
	"fmt"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
)

// sum is a handler: it goes on where an earlier attempt was lost.
func sum(ctx context.Context, numbers []int) (int, error) {
	var state struct{ At, Sum int }
	a := task.Current(ctx)
	if _, err := a.Load(&state); err != nil {
		return 0, err
	}
	for ; state.At < len(numbers); state.At++ {
		state.Sum += numbers[state.At]
		a.Progress(int64(state.At+1), int64(len(numbers)))
	}
	return state.Sum, a.Save(state)
}

// A handler is a function: it needs no broker to be tested.
func ExampleRecorder() {
	fmt.Println(sum(context.Background(), []int{1, 2, 3})) // outside of an attempt, what it tells goes nowhere

	recorder := &wefttest.Recorder{}
	ctx := recorder.Context(context.Background(), task.Attempt{Number: 2})
	if err := task.Current(ctx).Save(map[string]int{"At": 2, "Sum": 100}); err != nil { // by the first attempt
		fmt.Println(err)
	}
	fmt.Println(sum(ctx, []int{1, 2, 3}))
	fmt.Println(recorder.Checkpoint, recorder.Done, "of", recorder.Total)
	// Output:
	// 6 <nil>
	// 103 <nil>
	// {"At":3,"Sum":103} 3 of 3
}
