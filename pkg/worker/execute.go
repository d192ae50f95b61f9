package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// execute runs an attempt on a slot, from its beginning to its report.
func (w *Worker) execute(a *attempt) {
	var end ending
	defer func() { w.finish(a, &end) }() // also when the handler ends its goroutine
	switch handler := w.handlers[a.Kind]; {
	case a.ctx.stopped() != nil: // before it began
		end.err = task.ErrorFrom(a.ctx.stopped())
	case a.command != nil && w.runner != nil && a.Kind == task.CommandKind:
		w.runCommand(a, &end)
	case a.unreadable != nil:
		end.err = &task.Error{Reason: task.ReasonError, Message: a.unreadable.Error(), Permanent: true}
	case a.command == nil && handler != nil:
		runHandler(a, handler, &end)
	default:
		end.err = &task.Error{
			Reason:    task.ReasonRefused,
			Message:   fmt.Sprintf("the worker has no handler for kind %q", a.Kind),
			Permanent: true,
		}
	}
}

var errGoexit = &task.Error{Reason: task.ReasonPanic, Message: "the handler ended its goroutine (runtime.Goexit)"}

// runHandler calls a handler and notes in end what became of it.
func runHandler(a *attempt, handler Handler, end *ending) {
	end.err = errGoexit
	defer func() {
		if p := recover(); p != nil {
			end.err = &task.Error{Reason: task.ReasonPanic, Message: fmt.Sprint(p), Stack: string(debug.Stack())}
		}
	}()
	result, err := handler(&a.ctx, a.payload)
	end.err = nil // it has returned: what follows is no Goexit of its own
	if err == nil {
		err = a.settle()
	}
	end.result, end.err = result, task.ErrorFrom(err)
}

// settle waits, at the end of a handler that succeeded, until its partial results are durable: one that is refused would
// be missing in a success otherwise. Nobody waits for a checkpoint alone, which a task that has succeeded does not need.
func (a *attempt) settle() error {
	if !a.told.Load() {
		return nil
	}
	w, v := a.worker, &a.advance
	w.mu.Lock()
	unsettled := len(v.partials) > 0 || v.err != nil
	w.mu.Unlock()
	if !unsettled {
		return nil
	}
	// When this is given up, what is left goes with the report, or the attempt is lost.
	given := control{a}.flush(context.Background(), w.stopNow)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case v.refused:
		return v.err
	case given != nil:
		w.log.Warn("an attempt succeeded, and its last news may not be durable", "task", a.TaskID, "token", a.Token, "error", given)
	}
	return nil
}

// runCommand runs a command and notes in end what became of it.
func (w *Worker) runCommand(a *attempt, end *ending) {
	process, err := w.runner.Start(a.command, w.environment(a))
	if err != nil {
		end.err = task.ErrorFrom(err)
		return
	}
	w.mu.Lock()
	a.process = process
	w.mu.Unlock()
	w.outputs.begin(a.output, process)
	// Whatever stops the attempt cancels its context, its timeout alone does nothing else.
	stopWatching := context.AfterFunc(&a.ctx, func() { process.Stop(a.ctx.stopped(), w.stopGrace(a)) })
	<-process.Done()
	stopWatching()

	outcome := process.Outcome()
	end.command, end.err = outcome.Result, outcome.Err
	end.drained = errors.Is(outcome.Cause, task.ErrDrained)
	if outcome.Left {
		w.log.Warn("processes of a command outlived SIGKILL", "task", a.TaskID, "token", a.Token)
	}
}

// environment is what a command is told of its attempt, so that it can speak to the broker for it.
func (w *Worker) environment(a *attempt) map[string]string {
	env := map[string]string{
		task.EnvTaskID: a.TaskID, task.EnvToken: strconv.FormatUint(a.Token, 10),
		task.EnvAttempt: strconv.FormatUint(uint64(a.Number), 10), "WEFT_BROKER": w.cfg.Broker,
	}
	if w.cfg.Conn != nil {
		env["WEFT_BROKER"] = w.cfg.Conn.Target()
	}
	if w.cfg.Namespace != "" {
		env["WEFT_NAMESPACE"] = w.cfg.Namespace
	}
	return env
}

// stopGrace is the grace of an attempt whose context is done.
func (w *Worker) stopGrace(a *attempt) (grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.stopping {
		return a.stopGrace
	}
	return a.grace // its timeout
}

// stop asks a running attempt to end. Of several stops the first cause holds, and the shortest grace.
func (w *Worker) stop(a *attempt, cause error, grace time.Duration) {
	w.mu.Lock()
	if a.report != nil {
		w.mu.Unlock()
		return // the report decides
	}
	if !a.stopping || grace < a.stopGrace {
		a.stopGrace = grace
	}
	a.stopping = true
	if errors.Is(cause, task.ErrLeaseLost) {
		a.lost = true
		a.advance.tellAnswered() // who flushes learns of it
	}
	process := a.process
	w.mu.Unlock()
	a.ctx.cancel(cause)
	if process != nil {
		process.Stop(a.ctx.stopped(), grace)
	}
}

// ending is how an attempt ended by itself; what it was asked to do meanwhile is in its context.
type ending struct {
	result  task.Payload
	command *weftv1.CommandResult
	err     *task.Error // nil for success
	drained bool        // a command that was told to end because the worker shuts down
}
