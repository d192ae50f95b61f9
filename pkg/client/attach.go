package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// attached is what a future has that follows a task from beside its call.
type attached struct {
	client *Client
	ofCall bool // it is told of by a callFollower, which has no partial results
	mu     sync.Mutex
}

// Attach is the future of a task that was submitted elsewhere, by the broker's name for it: to wait for it from
// another process, or after a restart. It follows the task, on a stream of its own, until that ends, ctx ends, or the
// client is closed; what ended it otherwise is the future's error. That the task is not there, is of another namespace
// ([ErrTaskNotFound]) or of another kind is told by the future as well. The name of a task is what [Client.Enqueue] and
// [SpecFuture.ID] return, and what commands print. Nothing is acknowledged by it.
func Attach[In, Out any](ctx context.Context, c *Client, kind task.Kind[In, Out], taskID string) *Future[Out] {
	if err := checkKind(kind); err != nil {
		f := c.newAttached(taskID)
		f.endAttached(nil, err)
		return &Future[Out]{SpecFuture: f, decode: decodeWith(kind)}
	}
	return &Future[Out]{SpecFuture: c.attach(ctx, taskID, kind.Name()), decode: decodeWith(kind)}
}

// AttachTask is [Attach] for a task of any kind, or a command.
func (c *Client) AttachTask(ctx context.Context, taskID string) *SpecFuture {
	return c.attach(ctx, taskID, "")
}

func (c *Client) newAttached(taskID string) *SpecFuture {
	return &SpecFuture{taskID: taskID, attached: &attached{client: c}}
}

// attach begins to follow a task.
func (c *Client) attach(ctx context.Context, taskID, kind string) *SpecFuture {
	f := c.newAttached(taskID)
	if !c.begin() {
		f.endAttached(nil, ErrClosed)
		return f
	}
	go func() {
		defer c.background.Done()
		ctx, cancel := c.within(ctx)
		defer cancel()
		f.follow(ctx, kind)
	}()
	return f
}

// within is a context that ends with the client too.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// follow watches the task to its end. It has to be of a kind, unless that is empty.
func (f *SpecFuture) follow(ctx context.Context, kind string) {
	request := &weftv1.WatchTaskRequest{TaskId: f.taskID, Partials: true}
	for e, err := range f.attached.client.watch(ctx, request) {
		switch {
		case err != nil:
			f.endAttached(nil, err)
			return
		case e.Partial != nil:
			f.attached.mu.Lock()
			x := f.more()
			x.takePartials(uint32(len(x.partials)), []*weftv1.Payload{e.Partial})
			f.attached.mu.Unlock()
		case kind != "" && e.Task.GetSpec().GetKind() != kind:
			f.endAttached(nil, otherKind(e.Task, kind))
			return
		case e.Task != nil:
			if f.takeTask(e.Task) {
				return
			}
		}
	}
	f.endAttached(nil, ErrClosed)
}

// otherKind says that a task is of another kind.
func otherKind(t *weftv1.Task, kind string) error {
	return fmt.Errorf("client: task %s is of kind %q, not %q", t.GetId(), t.GetSpec().GetKind(), kind)
}

// takeTask takes the news of a task, and reports whether it was the last.
func (f *SpecFuture) takeTask(t *weftv1.Task) (ended bool) {
	f.takeProgressOf(t)
	if t.GetOutcome() == nil {
		return false
	}
	f.endAttached(OutcomeFromProto(t.GetOutcome()))
	return true
}

func (f *SpecFuture) takeProgressOf(t *weftv1.Task) {
	if p := t.GetProgress(); p != nil {
		f.attached.mu.Lock()
		f.more().takeProgress(p, t.GetAttempt().GetToken())
		f.attached.mu.Unlock()
	}
}

// endAttached ends the future, once.
func (f *SpecFuture) endAttached(outcome *Outcome, err error) {
	f.attached.mu.Lock()
	defer f.attached.mu.Unlock()
	if f.ended() {
		return
	}
	if f.err = err; err == nil {
		f.outcome = *outcome
	}
	f.state = futureResolved
	f.end()
	f.tellEnd()
}

// cancelAttached asks the broker in the background: whether it heard, the task's end tells.
func (f *SpecFuture) cancelAttached(grace time.Duration) {
	c := f.attached.client
	if f.ended() || !c.begin() {
		return
	}
	go func() {
		defer c.background.Done()
		_, _ = c.CancelTask(c.ctx, f.TaskID(), grace)
	}()
}

// client is the one that the future is of.
func (f *SpecFuture) client() *Client {
	if f.call == nil {
		return f.attached.client
	}
	return f.call.client
}
