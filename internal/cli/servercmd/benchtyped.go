package servercmd

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// benchInput is what tasks of `bench tasks --typed` carry, as JSON; so many bytes of it are the values' names.
type benchInput struct {
	At   int64  `json:"at"` // nanoseconds since the start
	Text string `json:"text"`
}

const benchInputBytes = len(`{"at":1234567890,"text":""}`)

// benchOutput is what comes back.
type benchOutput struct {
	At int64 `json:"at"`
}

// benchTyped is their kind.
var benchTyped = task.Define[benchInput, benchOutput]("weft.bench.typed")

// handleBench gives a worker the benchmark's handlers.
func handleBench(w *worker.Worker) {
	worker.Handle(w, task.Raw(benchKind), func(context.Context, task.Payload) (task.Payload, error) { return task.Payload{}, nil })
	worker.Handle(w, benchTyped, func(_ context.Context, in benchInput) (benchOutput, error) { return benchOutput{in.At}, nil })
}

// runTyped is run by the typed API: inputs and results go through JSON.
func (b *benchRun) runTyped(ctx context.Context, c *client.Client, start time.Time) error {
	measure := start.Add(b.flags.warmup)
	end := measure.Add(b.flags.duration)
	opts := []client.MapOption{client.InFlight(b.flags.inFlight), client.Unordered()}
	for r := range client.Map(ctx, c, benchTyped, b.inputs(start, end), opts...) {
		if ended, err := b.count(start, r.In.At, r.TaskID, r.Err); ended {
			return err
		}
	}
	return context.Cause(ctx)
}

// inputs gives inputs until the end.
func (b *benchRun) inputs(start, end time.Time) iter.Seq[benchInput] {
	text := strings.Repeat("x", max(b.flags.payload-benchInputBytes, 0))
	return func(yield func(benchInput) bool) {
		for now := time.Now(); !now.After(end); now = time.Now() {
			if !yield(benchInput{At: now.Sub(start).Nanoseconds(), Text: text}) {
				return
			}
		}
	}
}
