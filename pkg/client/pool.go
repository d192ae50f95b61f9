package client

import (
	"context"
	"errors"
)

// Pool is a scope of tasks that belong together, as Python's `with Executor() as pool`: what is submitted to it by
// [Submit] is awaited together by [Pool.Shutdown]. Its tasks run on the workers' slots, wherever they are.
//
//	pool := client.NewPool(c)
//	defer pool.Close()
//	… client.Submit(ctx, pool, Thumb, photo) …
//	err := pool.Shutdown(ctx)
type Pool struct{ call *Call }

// NewPool begins a pool, which has to be closed.
func NewPool(c *Client, opts ...CallOption) *Pool { return &Pool{c.NewCall(opts...)} }

func (p *Pool) submitter() *Call { return p.call }

// Call is the call that has the pool's tasks.
func (p *Pool) Call() *Call { return p.call }

// Join waits until every task that was submitted so far, and while it waits, has ended. The error is ctx's, or the
// one that ended the pool.
func (p *Pool) Join(ctx context.Context) error { return p.call.Join(ctx) }

// ShutdownOption changes [Pool.Shutdown].
type ShutdownOption struct{ cancelPending bool }

// CancelPending cancels the tasks that have not begun, as Python's cancel_futures; those that run are awaited.
func CancelPending() ShutdownOption { return ShutdownOption{cancelPending: true} }

// Shutdown takes no more tasks ([ErrFinished]) and waits until all have ended. The error is ctx's, which leaves the
// rest running and may be followed by another Shutdown, or the one that ended the pool; failed tasks are none: their
// futures tell.
func (p *Pool) Shutdown(ctx context.Context, opts ...ShutdownOption) error {
	p.call.Finish()
	for _, o := range opts {
		if o.cancelPending {
			p.call.CancelPending()
		}
	}
	return p.Join(ctx)
}

// Close gives the pool up: futures that have not ended get [ErrClosed]; their tasks go on, daemon tasks apart. After
// Shutdown it costs nothing. It may be repeated.
func (p *Pool) Close() { p.call.Close() }

// Join waits until every task that was submitted has ended, also those that are submitted meanwhile. The error is
// ctx's, or the one that ended the call before.
func (c *Call) Join(ctx context.Context) error {
	for {
		c.mu.Lock()
		if c.waiting == 0 || c.err != nil {
			err := c.err
			c.mu.Unlock()
			if errors.Is(err, errDone) {
				err = nil
			}
			return err
		}
		if c.idleC == nil {
			c.idleC = make(chan struct{})
		}
		idleC := c.idleC
		c.mu.Unlock()
		select {
		case <-idleC:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// CancelPending cancels the tasks that have not begun. Those that run go on, and so does the call.
func (c *Call) CancelPending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	for _, list := range [][]*SpecFuture{c.queue.all(), c.refill, c.held} {
		for _, f := range list {
			if !c.met.has(f.index) { // that one may run
				c.markCancelled(f, 0)
			}
		}
	}
	c.dropCancelled()
	if c.waiting > 0 {
		c.withdrawn, c.withdrawnBeat = c.next, 0
		c.cancels = append(c.cancels, cancelRequest{first: 0, last: c.next - 1, waitingOnly: true})
		c.wake()
	}
}
