package worker

import (
	"context"
	"fmt"
	"slices"

	"github.com/weftq/weft/pkg/task"
)

// Handler runs tasks of a kind in this process, as [Handle] makes it of a typed function. ctx is done when the
// attempt has to stop.
type Handler func(ctx context.Context, in task.Payload) (task.Payload, error)

// Middleware wraps handlers: what it returns runs in place of next. task.Current(ctx) tells the attempt.
type Middleware func(next Handler) Handler

// Handle has a worker run tasks of a kind by a function. ctx is done when the attempt has to stop, and
// context.Cause(ctx) says why; task.Current(ctx) is the attempt: its checkpoint, its progress. An error ends the
// attempt as failed: as a *task.Error it arrives as it is, as task.Permanent(err) it is not tried again. A panic is
// an error with reason "panic". An input that does not fit the kind's type is a permanent error with reason
// "payload". The result must not be changed afterwards.
//
// It panics if the kind has a handler already, if the function is nil, or after Run.
func Handle[In, Out any](w *Worker, kind task.Kind[In, Out], fn func(ctx context.Context, in In) (Out, error)) {
	if fn == nil {
		panic(fmt.Sprintf("worker: no handler for kind %q", kind.Name()))
	}
	w.handle(kind.Name(), func(ctx context.Context, p task.Payload) (task.Payload, error) {
		in, err := kind.DecodeInput(p)
		if err != nil {
			return task.Payload{}, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return task.Payload{}, err
		}
		return kind.EncodeOutput(out)
	})
}

// Use adds middleware around every handler of the worker, also those that it has: the first one added is the
// outermost. Commands do not pass through it. It panics after Run.
func (w *Worker) Use(middleware ...Middleware) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started {
		panic("worker: Use after Run")
	}
	w.middleware = append(w.middleware, middleware...)
}

// handle sets the handler of a kind.
func (w *Worker) handle(kind string, handler Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch _, taken := w.handlers[kind]; {
	case w.started:
		panic("worker: Handle after Run")
	case kind == "":
		panic("worker: a kind that was not made by task.Define")
	case taken:
		panic(fmt.Sprintf("worker: a second handler for kind %q", kind))
	}
	w.handlers[kind] = handler
}

// wrapHandlers puts the middleware around the handlers; the caller holds w.mu.
func (w *Worker) wrapHandlers() {
	for kind, handler := range w.handlers {
		for _, wrap := range slices.Backward(w.middleware) {
			handler = wrap(handler)
		}
		w.handlers[kind] = handler
	}
}
