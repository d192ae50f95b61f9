package worker

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// control does what a handler asks of its attempt.
type control struct{ a *attempt }

var _ task.Runtime = control{}

// usable is why an attempt cannot tell any more; the caller holds Worker.mu.
func (a *attempt) usable() error {
	switch {
	case a.advance.err != nil:
		return a.advance.err
	case a.report != nil:
		return errOver
	case a.lost || a.worker.attempts[a.Token] != a:
		return task.ErrLeaseLost
	}
	return nil
}

// Progress implements task.Runtime.
func (c control) Progress(done, total int64, message string) {
	a, w := c.a, c.a.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.attempts[a.Token] != a || a.report != nil {
		return // nobody waits for it
	}
	v := &a.advance
	v.progress, v.untold = &weftv1.Progress{Done: done, Total: total, Message: message}, true
	switch wait := progressEvery - time.Since(v.toldAt); {
	case wait <= 0:
		w.tellAdvance(a)
		w.wakeSender()
	case v.timer == nil:
		v.timer = time.AfterFunc(wait, c.progressDue)
	}
}

// progressDue tells a progress that had to wait.
func (c control) progressDue() {
	a, w := c.a, c.a.worker
	w.mu.Lock()
	a.advance.timer = nil
	if a.advance.untold && a.report == nil {
		w.tellAdvance(a)
	}
	w.mu.Unlock()
	w.wakeSender()
}

// Save implements task.Runtime.
func (c control) Save(state task.Payload) error {
	a, w := c.a, c.a.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := a.usable(); err != nil {
		return err
	}
	a.told.Store(true)
	v := &a.advance
	v.state, v.stateAt, v.hasState, v.own = state, v.next, true, true
	v.checkpoint = &weftv1.Checkpoint{State: state.Proto(), PartialsCount: v.next}
	if v.unsent(false) {
		w.tellAdvance(a)
		w.wakeSender()
	}
	return nil
}

// Saved implements task.Runtime.
func (c control) Saved() (task.Payload, bool) {
	w := c.a.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	v := &c.a.advance
	if v.hasState && !v.own {
		v.next, v.own = v.stateAt, true
	}
	return v.state, v.hasState
}

// Emit implements task.Runtime.
func (c control) Emit(partial task.Payload) error {
	a, w := c.a, c.a.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := a.usable(); err != nil {
		return err
	}
	a.told.Store(true)
	if err := a.advance.emit(partial); err != nil {
		return err
	}
	if a.advance.unsent(false) {
		w.tellAdvance(a)
		w.wakeSender()
	}
	return nil
}

// Flush implements task.Runtime. An attempt that is told to stop may still be acknowledged, one that is lost is not.
func (c control) Flush(ctx context.Context) error { return c.flush(ctx, nil) }

// flush is Flush, which is given up as well when cut is closed.
func (c control) flush(ctx context.Context, cut <-chan struct{}) error {
	a, w := c.a, c.a.worker
	for {
		w.mu.Lock()
		v := &a.advance
		err, pending := a.usable(), v.pending()
		if v.answered == nil {
			v.answered = make(chan struct{})
		}
		answered := v.answered
		w.mu.Unlock()
		if err != nil || !pending {
			return err
		}
		select {
		case <-answered:
		case <-cut:
			return errOver
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Err implements task.Runtime.
func (c control) Err() error {
	if c.a.ctx.Err() == nil {
		return nil
	}
	return c.a.ctx.stopped()
}

// Interrupt implements task.Runtime.
func (c control) Interrupt(ctx context.Context, message string) error {
	a, w := c.a, c.a.worker
	if !a.called {
		return task.ErrNoSubmitter
	}
	req := &weftv1.InterruptSubmitterRequest{
		Namespace: w.cfg.Namespace, TaskId: a.TaskID, Token: a.Token, Message: message,
	}
	for attempt := 0; ; attempt++ {
		if conn := w.connection(); conn != nil {
			_, err := weftv1.NewTaskServiceClient(conn).InterruptSubmitter(ctx, req)
			switch code := status.Code(err); {
			case err != nil && ctx.Err() != nil:
				return context.Cause(ctx)
			case code != codes.Unavailable && code != codes.Canceled:
				return err
			}
		}
		timer := time.NewTimer(redialWait(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-a.ctx.Done():
			timer.Stop()
			return context.Cause(&a.ctx)
		}
	}
}

// Output implements task.Runtime.
func (c control) Output() io.Writer {
	w := c.a.worker
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.handlerOutput(c.a); k != nil {
		return k.sink
	}
	return io.Discard
}

// expectOutput makes a place for the output of a handler that somebody reads: it may write later.
func (w *Worker) expectOutput(token uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.attempts[token]; a != nil {
		w.handlerOutput(a)
	}
}

// handlerOutput makes a place for a handler's output, if it runs; the caller holds w.mu.
func (w *Worker) handlerOutput(a *attempt) *keptOutput {
	if a.output == nil && !a.sealed && a.report == nil && a.command == nil && w.attempts[a.Token] == a {
		a.output = w.outputs.expectSink(a.Token)
	}
	return a.output
}
