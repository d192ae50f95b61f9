package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Exit codes, apart from the command's own.
const (
	ExitNo          = 1   // the answer is no: a value that has changed, a barrier that is broken
	ExitUsage       = 2   // the command line is wrong
	ExitClosed      = 3   // the queue is closed
	ExitLost        = 75  // what the command ran under is lost
	ExitMapMax      = 101 // map: so many tasks failed, or more
	ExitTimeout     = 124 // the task's timeout is over
	ExitWeft        = 125 // Weft failed
	ExitRefused     = 126 // the worker does not run such a thing
	ExitNotFound    = 127 // the worker has no such program
	ExitSignal      = 128 // and the signal's number
	ExitInterrupted = 130 // the person at the keyboard ended it
)

// ExitError is an end with a code of its own. A nil Err says nothing more to the person.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Usage is a mistake in the command line.
func Usage(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// exit ends with a code and without a word.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

// ExitCode is the code that an error ends the process with: 125 unless it has its own, or the broker refused a
// value that the command line gave.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Code
	case refusedField(err):
		return ExitUsage
	default:
		return ExitWeft
	}
}

// refusedField tells whether the broker refused a value, which is then one of the command line.
func refusedField(err error) bool {
	reason, _ := reasonOf(err)
	return reason == weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD
}

// outcomeExit is the code of a task that has ended: the command's own if it has one.
func outcomeExit(o *client.Outcome) int {
	reason := ""
	if o.Error != nil {
		reason = o.Error.Reason
	}
	switch {
	case o.State == weftv1.TaskState_TASK_STATE_SUCCEEDED:
		return int(o.Command.GetExitCode())
	case o.End == weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT || reason == task.ReasonTimeout,
		o.State == weftv1.TaskState_TASK_STATE_EXPIRED:
		return ExitTimeout
	case o.State == weftv1.TaskState_TASK_STATE_CANCELLED:
		return ExitInterrupted
	case reason == task.ReasonRefused:
		return ExitRefused
	case reason == task.ReasonNotFound:
		return ExitNotFound
	case o.Command.GetSignal() != "":
		return signalExit(o.Command.GetSignal())
	case o.Command.GetExitCode() > 0:
		return int(o.Command.GetExitCode())
	default:
		return ExitWeft
	}
}

// saysItself reports whether a failure needs no sentence of Weft's: the command ran and exited, and
// what it had to say is on its standard error.
func saysItself(o *client.Outcome) bool {
	return o.End != weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT &&
		o.State != weftv1.TaskState_TASK_STATE_CANCELLED && o.Command.GetExitCode() > 0
}

// signals are Linux's names and numbers, which is where most workers are.
var signals = strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM " +
	"STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")

// signalExit is the code of a command that a signal ended.
func signalExit(name string) int {
	for i, s := range signals {
		if name == "SIG"+s {
			return ExitSignal + i + 1
		}
	}
	return ExitWeft
}

// no is an answer that is no error of Weft's: exit code 1.
func no(err error) error { return &ExitError{Code: ExitNo, Err: err} }

// noOf gives refusals that are answers their exit code.
func noOf(err error) error {
	for _, r := range []weftv1.ErrorReason{
		weftv1.ErrorReason_ERROR_REASON_BARRIER_BROKEN, weftv1.ErrorReason_ERROR_REASON_VALUE_CHANGED,
		weftv1.ErrorReason_ERROR_REASON_SEMAPHORE_FULL,
	} {
		if client.HasReason(err, r) {
			return no(err)
		}
	}
	return err
}
