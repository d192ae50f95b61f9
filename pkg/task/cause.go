package task

import (
	"context"
	"errors"
)

// Why an attempt was stopped: context.Cause returns one of these in a handler whose context is done.
// errors.Is also takes them for what they are to a context: ErrTimeout for context.DeadlineExceeded,
// the others for context.Canceled.
var (
	// ErrCancelled: the task was cancelled.
	ErrCancelled error = &cause{"task: cancelled", context.Canceled}
	// ErrTimeout: the attempt outlived the task's timeout.
	ErrTimeout error = &cause{"task: timeout", context.DeadlineExceeded}
	// ErrLeaseLost: the attempt is no longer this worker's. Its result would be refused, and it may
	// be running elsewhere already.
	ErrLeaseLost error = &cause{"task: lease lost", context.Canceled}
	// ErrDrained: the worker shuts down. The task will be run again, elsewhere.
	ErrDrained error = &cause{"task: drained", context.Canceled}
)

type cause struct {
	text string
	kind error
}

func (c *cause) Error() string { return c.text }

func (c *cause) Is(target error) bool { return errors.Is(c.kind, target) }
