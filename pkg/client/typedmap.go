package client

import (
	"context"
	"iter"

	"github.com/weftq/weft/pkg/task"
)

// Result is the end of one input of a [Map].
type Result[In, Out any] struct {
	// Index is the input's place, from 0.
	Index uint64
	// In is the input.
	In In
	// Out is the result, if Err is nil.
	Out Out
	// TaskID is the broker's name for the task; empty if it was never taken.
	TaskID string
	// Outcome is how the task ended; nil when Err is not the task's own.
	Outcome *Outcome
	// Err is nil for a success; a *task.Error for a task that did not succeed; an [*Error] for one that was refused;
	// that of an input or a result that does not fit the kind; else what ended the whole map, and then it is the
	// last result and In is none.
	Err error
}

// badInput is an input that cannot be encoded.
type badInput struct {
	input any
	err   error
}

// Map submits a task of a kind for each input and gives their results, in the order of the inputs unless
// [Unordered]. What [MapSpecs] says of memory, of names and of breaking the loop holds here too: memory is flat for any
// number of inputs, and breaking the loop cancels the rest unless the map has a [Name]. An input that cannot be encoded
// is a result with its error; the others go on. The refusal of a task for what all of them have in common (the queue, an
// option of [With]) ends the map.
func Map[In, Out any](
	ctx context.Context, c *Client, kind task.Kind[In, Out], inputs iter.Seq[In], opts ...MapOption,
) iter.Seq[Result[In, Out]] {
	if inputs == nil {
		panic("client: Map of no inputs: the sequence is nil")
	}
	cfg := newMapConfig(opts)
	cfg.typed = true
	if err := checkKind(kind); err != nil {
		return func(yield func(Result[In, Out]) bool) { yield(Result[In, Out]{Err: err}) }
	}
	specs := func(yield func(Spec) bool) {
		for in := range inputs {
			spec, err := fillSpec(cfg.template, kind, in)
			if spec.input = in; err != nil {
				spec.input = badInput{in, err}
			}
			if !yield(spec) {
				return
			}
		}
	}
	return func(yield func(Result[In, Out]) bool) {
		for r := range mapSpecs(ctx, c, specs, cfg) {
			if !yield(typedResult(kind, &r)) {
				return
			}
		}
	}
}

// typedResult reads a result.
func typedResult[In, Out any](kind task.Kind[In, Out], r *SpecResult) Result[In, Out] {
	out := Result[In, Out]{Index: r.Index, TaskID: r.TaskID, Outcome: r.Outcome, Err: r.Err}
	switch in := r.Spec.input.(type) {
	case badInput:
		out.In, _ = in.input.(In)
	case In:
		out.In = in
	}
	if r.Err == nil {
		out.Out, out.Err = kind.DecodeOutput(r.Outcome.Payload)
	}
	return out
}
