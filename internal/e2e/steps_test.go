//go:build linux

package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// stepsKind is work of several steps. It emits each, says how far it is and writes a line, and leaves a checkpoint
// after it, from which another attempt goes on.
var stepsKind = task.Define[stepsOf, int]("steps")

// stepsOf is its input.
type stepsOf struct {
	Task  int
	Steps int
	Pause time.Duration // a step's
}

// partial is the partial result of a step.
func (s stepsOf) partial(step int) string { return fmt.Sprintf("%d/%d", s.Task, step) }

// line is what a step writes.
func (s stepsOf) line(step int) string { return fmt.Sprintf("task %d, step %d\n", s.Task, step) }

// steps is the handler.
func steps(ctx context.Context, s stepsOf) (int, error) {
	a, step := task.Current(ctx), 0
	if _, err := a.Load(&step); err != nil {
		return 0, err
	}
	for ; step < s.Steps; step++ {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		a.Progress(int64(step+1), int64(s.Steps))
		if _, err := a.Output().Write([]byte(s.line(step))); err != nil {
			return 0, err
		}
		if err := a.Emit(s.partial(step)); err != nil {
			return 0, err
		}
		if err := a.Save(step + 1); err != nil {
			return 0, err
		}
		if s.Pause > 0 {
			timer := time.NewTimer(s.Pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
	return step, nil
}
