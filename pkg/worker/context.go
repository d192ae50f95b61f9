package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// attemptContext is the context of an attempt. Most handlers that are short never ask it anything, so
// the real context inside of it is made when somebody does: making one costs as much as a no-op task.
type attemptContext struct {
	mu       sync.Mutex
	over     bool  // cancelled, or the attempt has ended
	cause    error // of the first cancel; nil at the end of an attempt that was never cancelled
	inner    context.Context
	stop     context.CancelCauseFunc // of inner
	deadline time.Time               // zero without a timeout
	attempt  *task.Attempt           // that it belongs to
	leaseEnd *atomic.Int64           // Worker.leaseEnd
	timer    *time.Timer             // cancels at the deadline
}

// setDeadline gives the context a timeout, before anybody else has it.
func (c *attemptContext) setDeadline(deadline time.Time) {
	c.mu.Lock() // the timer may fire at once
	defer c.mu.Unlock()
	c.deadline = deadline
	c.timer = time.AfterFunc(time.Until(deadline), func() { c.cancel(task.ErrTimeout) })
}

// cancel ends the context; the first cause holds. With nil the attempt has ended by itself.
func (c *attemptContext) cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over, c.cause = true, cause
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.inner != nil {
		c.stop(cause)
	}
}

// stopped returns the cause of the first cancel, nil if there was none.
func (c *attemptContext) stopped() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

func (c *attemptContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.stop = context.WithCancelCause(context.Background())
		if c.over {
			c.stop(c.cause)
		}
	}
	return c.inner
}

// Deadline implements context.Context.
func (c *attemptContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements context.Context.
func (c *attemptContext) Done() <-chan struct{} { return c.real().Done() }

// Err implements context.Context. It does not rely on timers alone: a process that was stopped for longer than its
// lease, and goes on, finds its context done before any timer has fired.
func (c *attemptContext) Err() error {
	if c.leaseEnd != nil && leaseOver(c.leaseEnd) {
		c.cancel(task.ErrLeaseLost)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.over:
		return nil
	case errors.Is(c.cause, task.ErrTimeout):
		return context.DeadlineExceeded
	default:
		return context.Canceled
	}
}

// Value implements context.Context: the attempt, and what the real context has. By it the standard library finds the real context, its cause, and a
// way to follow it without a goroutine.
func (c *attemptContext) Value(key any) any {
	if key == task.AttemptKey() {
		return c.attempt
	}
	return c.real().Value(key)
}
