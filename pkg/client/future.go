package client

import (
	"context"
	"sync/atomic"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// futureState is where a future is on its way.
type futureState uint8

const (
	futureQueued   futureState = iota // waits to be sent
	futureSent                        // on the current stream, not known to be durable
	futureAccepted                    // durable at the broker
	futureResolved                    // has its outcome or its error
	futureSettled                     // and the broker may forget it: acknowledged, refused or never sent
)

// SpecFuture is a client's view of a task's outcome. It ends, in any case: with the outcome, or with the
// error that the broker refused the task with, or with the error that ended its call.
type SpecFuture struct {
	call  *Call // nil if attached
	index uint64

	attached *attached // a future of its own, beside any call
	spec     *Spec     // a map's input

	after        []*SpecFuture // tasks of the call that have to end first
	runOnFailure bool          // in whatever way
	sentSure     bool          // it was sent when the broker had all of those

	// Guarded by call.mu.
	state     futureState
	cancelled bool          // a cancel was asked for, and is repeated after a reconnect
	grace     time.Duration // the cancel's
	encoded   []byte        // until the task was accepted
	size      int           // bytes that it counts in the window
	taskID    string
	extra     *more // nil for most

	// Written before done is signalled, and never after.
	outcome Outcome
	err     error

	done atomic.Pointer[signal]
}

// signal is a channel that is closed once. Most futures never need one.
type signal struct{ c chan struct{} }

// signalled is the signal of every future that has ended.
var signalled = func() *signal {
	s := &signal{make(chan struct{})}
	close(s.c)
	return s
}()

// Index is the task's place in its call.
func (f *SpecFuture) Index() uint64 { return f.index }

// TaskID is the broker's name for the task as far as it is known here: once the task has ended, has begun in a call with
// [OnUpdate], or [SpecFuture.ID] was called; empty before.
func (f *SpecFuture) TaskID() string {
	f.mu().Lock()
	defer f.mu().Unlock()
	return f.taskID
}

// ID returns the broker's name for the task once the broker has it, durably: what another process needs for [Attach].
// Where [SpecFuture.TaskID] does not know it yet the broker is asked. The error is ctx's, or what ended the future
// without the broker's having had the task: its refusal, the end of its call.
func (f *SpecFuture) ID(ctx context.Context) (string, error) {
	if f.call == nil {
		return f.taskID, nil
	}
	if _, err := f.news(ctx, func(*more) bool { return f.taskID != "" || f.state >= futureAccepted }); err != nil {
		return "", err
	}
	if id := f.TaskID(); id != "" {
		return id, nil
	}
	if f.ended() {
		return "", f.Err() // it has an error: what succeeds has a name
	}
	for e, err := range f.call.client.watch(ctx, &weftv1.WatchTaskRequest{CallId: f.call.ID(), CallIndex: f.index}) {
		id := e.Task.GetId()
		f.call.mu.Lock()
		if f.taskID == "" && f.state < futureResolved {
			f.taskID = id
		}
		known := f.taskID
		f.call.mu.Unlock()
		if known != "" || err != nil {
			if known != "" { // it may have ended meanwhile, and be gone
				err = nil
			}
			return known, err
		}
	}
	return "", f.Err()
}

// Done returns a channel that is closed when the future has ended.
func (f *SpecFuture) Done() <-chan struct{} {
	if s := f.done.Load(); s != nil {
		return s.c
	}
	s := &signal{make(chan struct{})}
	if f.done.CompareAndSwap(nil, s) {
		return s.c
	}
	return f.done.Load().c // another waiter's, or the end's
}

// ended reports whether outcome and err may be read.
func (f *SpecFuture) ended() bool { return f.done.Load() == signalled }

// end publishes outcome and err.
func (f *SpecFuture) end() {
	if s := f.done.Swap(signalled); s != nil {
		close(s.c)
	}
}

// tellEnd tells those who asked to be called; the caller holds the mutex.
func (f *SpecFuture) tellEnd() {
	if f.extra == nil {
		return
	}
	for _, fn := range f.extra.onEnd {
		fn()
	}
	f.extra.onEnd = nil
	f.extra.tell()
}

// Wait returns the outcome, also of a task that failed (see [Outcome.Err]). The error is ctx's if that
// ends first, which stops nobody but the waiter; an [*Error] if the task was refused; or the one that
// ended the call.
func (f *SpecFuture) Wait(ctx context.Context) (*Outcome, error) {
	if !f.ended() {
		select {
		case <-f.Done():
		case <-ctx.Done():
			if !f.ended() {
				return nil, context.Cause(ctx)
			}
		}
	}
	return f.Outcome()
}

// Outcome returns what Wait would, at once; nil and nil when the future has not ended.
func (f *SpecFuture) Outcome() (*Outcome, error) {
	switch {
	case !f.ended():
		return nil, nil
	case f.err != nil:
		return nil, f.err
	default:
		return &f.outcome, nil
	}
}

// Cancel begins the cancel ladder: a task that waits ends at once, one that runs is told to stop and
// killed after the grace; zero is the task's own grace, [KillNow] none. The worker's report decides, so
// a task that was about to succeed may still succeed. It may be repeated with a shorter grace.
func (f *SpecFuture) Cancel(grace time.Duration) {
	if f.call == nil {
		f.cancelAttached(grace)
		return
	}
	f.call.cancelOne(f, grace)
}

// Ack lets the broker forget the outcome; only needed in a call with [ExplicitAck], elsewhere it was
// done on delivery. An attached future has nothing to acknowledge. It may be repeated; a future that has not ended is left alone.
func (f *SpecFuture) Ack() {
	c := f.call
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.state != futureResolved {
		return
	}
	c.acknowledge(f)
	if c.acksDue() {
		c.wake()
	}
}
