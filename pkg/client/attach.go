package client

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// attached is what a future has that follows a task from beside its call.
type attached struct {
	client *Client
	mu     sync.Mutex
}

// Attach is the future of a task that was submitted elsewhere, by the broker's name for it: to wait for it from
// another process, or after a restart. It follows the task until it ends, or the client is closed. That the task is
// not there, is of another namespace ([ErrTaskNotFound]) or of another kind is told by the future. The name of a task
// is what [Client.Submit] returns (with [NewSpec] for a task of a kind), and what commands print. Nothing is acknowledged by it.
func Attach[In, Out any](c *Client, kind task.Kind[In, Out], taskID string) *Future[Out] {
	return &Future[Out]{SpecFuture: c.attach(taskID, kind.Name()), decode: decodeWith(kind)}
}

// AttachTask is [Attach] for a task of any kind, or a command.
func (c *Client) AttachTask(taskID string) *SpecFuture { return c.attach(taskID, "") }

// AttachCall gives the futures of the tasks of a call that the broker has, in the order of their submission, from
// another process than the call's. What the call's client has acknowledged is gone. An error is the last thing given.
func AttachCall[In, Out any](ctx context.Context, c *Client, kind task.Kind[In, Out], callID string) iter.Seq2[*Future[Out], error] {
	return func(yield func(*Future[Out], error) bool) {
		for t, err := range c.List(ctx, Filter{CallID: callID}) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(Attach(c, kind, t.GetId()), nil) {
				return
			}
		}
	}
}

// attach begins to follow a task.
func (c *Client) attach(taskID, kind string) *SpecFuture {
	ctx, cancel := context.WithCancel(c.ctx)
	f := &SpecFuture{taskID: taskID, attached: &attached{client: c}}
	if !c.begin() {
		cancel()
		f.endAttached(nil, ErrClosed)
		return f
	}
	go func() {
		defer c.background.Done()
		defer cancel()
		f.follow(ctx, kind)
	}()
	return f
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
			_, err := x.takePartials(uint32(len(x.partials)), []*weftv1.Payload{e.Partial})
			f.attached.mu.Unlock()
			if err != nil {
				f.endAttached(nil, err)
				return
			}
		case kind != "" && e.Task.GetSpec().GetKind() != kind:
			f.endAttached(nil, fmt.Errorf("client: task %s is of kind %q, not %q", f.taskID, e.Task.GetSpec().GetKind(), kind))
			return
		case e.Task != nil:
			if p := e.Task.GetProgress(); p != nil {
				f.attached.mu.Lock()
				f.more().takeProgress(p)
				f.attached.mu.Unlock()
			}
			if e.Task.GetOutcome() != nil {
				outcome, err := OutcomeFromProto(e.Task.GetOutcome())
				f.endAttached(outcome, err)
				return
			}
		}
	}
	f.endAttached(nil, ErrClosed)
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
