// Package middleware has what is often put around the handlers of a worker:
//
//	w.Use(middleware.Log(logger), middleware.Recover(report), middleware.Timeout(time.Minute))
//
// The first one is the outermost. Each is an ordinary worker.Middleware, so one of your own is as easy: it is
// given the next handler and returns the one that runs in its place; task.Current(ctx) is the attempt.
package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// Recover tells report of each panic of a handler, with its stack, before it becomes the attempt's error. The worker
// survives panics without it.
func Recover(report func(ctx context.Context, panicked any, stack []byte)) worker.Middleware {
	return func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, in task.Payload) (out task.Payload, err error) {
			defer func() {
				if p := recover(); p != nil {
					stack := debug.Stack()
					report(ctx, p, stack)
					out, err = task.Payload{}, &task.Error{
						Reason: task.ReasonPanic, Message: fmt.Sprint(p), Stack: string(stack),
					}
				}
			}()
			return next(ctx, in)
		}
	}
}

// Timeout ends the context of a handler that takes longer, with the cause task.ErrTimeout. If it then returns an
// error, that is a *task.Error with the reason "timeout". The timeout of a task (client.Spec) is the broker's as well,
// and stronger.
func Timeout(d time.Duration) worker.Middleware {
	return func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, in task.Payload) (task.Payload, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, d, task.ErrTimeout)
			defer cancel()
			out, err := next(ctx, in)
			if err != nil && errors.Is(context.Cause(ctx), task.ErrTimeout) {
				return out, &task.Error{
					Reason: task.ReasonTimeout, Message: fmt.Sprintf("the handler took longer than %v: %v", d, err),
				}
			}
			return out, err
		}
	}
}

// Log logs the end of each attempt: at level Info if it succeeded, Warn if not, with task, kind, queue, attempt,
// token, took, reason and error; its begin at level Debug. A handler that panics has the reason "panic", whether
// [Recover] is inside of it or around it, or there is none: the panic goes on. Payloads are not logged.
func Log(logger *slog.Logger) worker.Middleware {
	return func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, in task.Payload) (task.Payload, error) {
			a := task.Current(ctx)
			log := logger.With("task", a.TaskID, "kind", a.Kind, "queue", a.Queue, "attempt", a.Number, "token", a.Token)
			log.DebugContext(ctx, "begun")
			begun, returned := time.Now(), false
			failed := func(err error) {
				log.WarnContext(ctx, "failed", "took", time.Since(begun), "reason", task.ErrorFrom(err).Reason, "error", err)
			}
			defer func() {
				if returned {
					return
				}
				p := recover()
				if p == nil {
					failed(&task.Error{Reason: task.ReasonPanic, Message: "the handler ended its goroutine (runtime.Goexit)"})
					return
				}
				failed(&task.Error{Reason: task.ReasonPanic, Message: fmt.Sprint(p)})
				panic(p) // the frames of the handler are still there, for who asks for the stack
			}()
			out, err := next(ctx, in)
			returned = true
			if err != nil {
				failed(err)
			} else {
				log.InfoContext(ctx, "done", "took", time.Since(begun))
			}
			return out, err
		}
	}
}

// Trace is a hook for tracing: start is called before the handler, which runs with the context that it returns, and
// end after it with the handler's error, nil for a success. A panic is an error there too, and goes on.
func Trace(start func(ctx context.Context, a *task.Attempt) (context.Context, func(err error))) worker.Middleware {
	return func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, in task.Payload) (out task.Payload, err error) {
			ctx, end := start(ctx, task.Current(ctx))
			returned := false
			defer func() {
				if !returned {
					err = errors.New("the handler panicked")
				}
				end(err)
			}()
			out, err = next(ctx, in)
			returned = true
			return out, err
		}
	}
}
