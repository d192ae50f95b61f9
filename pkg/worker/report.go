package worker

import (
	"errors"
	"fmt"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// makeReport says how an attempt ended. What stopped it counts only if it did not succeed; but a timeout
// counts always, and a drain always for a command: who exits with 0 on SIGTERM has not done its work. Beyond its lease
// an attempt has no result: another may have the task, and if none has, this one gives it back.
func makeReport(a *attempt, end *ending) *weftv1.AttemptReport {
	r := &weftv1.AttemptReport{TaskId: a.TaskID, Token: a.Token}
	cause := a.ctx.stopped()
	switch {
	case errors.Is(cause, task.ErrLeaseLost):
		r.End = weftv1.AttemptEnd_ATTEMPT_END_RELEASED
		return r
	case errors.Is(cause, task.ErrTimeout):
		r.End = weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT
		r.Error = timeoutError(end.err).Proto()
	case end.err == nil && !end.drained:
		r.End = weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED
	case errors.Is(cause, task.ErrCancelled):
		r.End = weftv1.AttemptEnd_ATTEMPT_END_KILLED
		r.Error = cancelledError(end.err).Proto()
	case cause != nil: // drained
		r.End = weftv1.AttemptEnd_ATTEMPT_END_RELEASED
		return r
	default:
		r.End = weftv1.AttemptEnd_ATTEMPT_END_ERROR
		r.Error = end.err.Proto()
	}
	setOutput(r, end)
	return r
}

// setOutput puts in what the attempt brought. A result that is too large turns success into an error.
func setOutput(r *weftv1.AttemptReport, end *ending) {
	switch size := len(end.result.Bytes()); {
	case end.command != nil:
		r.Output = &weftv1.AttemptReport_Command{Command: end.command}
	case r.GetEnd() != weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED || size == 0:
	case size > task.PayloadBytesMax:
		r.End = weftv1.AttemptEnd_ATTEMPT_END_ERROR
		r.Error = &weftv1.TaskError{
			Reason:    task.ReasonPayload,
			Message:   fmt.Sprintf("the result has %d bytes, %d are possible", size, task.PayloadBytesMax),
			Permanent: true,
		}
	default:
		r.Output = &weftv1.AttemptReport_Result{Result: end.result.Proto()}
	}
}

func timeoutError(err *task.Error) *task.Error {
	out := &task.Error{Reason: task.ReasonTimeout, Message: "the attempt outlived its timeout"}
	if err != nil && err.Reason != task.ReasonTimeout {
		out.Message += ": " + err.Message
		out.Stack = err.Stack
	}
	return out
}

func cancelledError(err *task.Error) *task.Error {
	return &task.Error{Reason: task.ReasonCancelled, Message: err.Message, Stack: err.Stack}
}

// spooled tells whether the worker has more of the attempt's output than its report.
func spooled(r *weftv1.AttemptReport) bool {
	return r.GetSpooled() || r.GetCommand().GetStdout().GetTruncated() || r.GetCommand().GetStderr().GetTruncated()
}

// reportBytes is about what a report takes in a frame.
func reportBytes(r *weftv1.AttemptReport) int {
	const overhead = 64
	size := overhead + len(r.GetTaskId())
	switch output := r.GetOutput().(type) {
	case *weftv1.AttemptReport_Result:
		size += len(output.Result.GetText()) + len(output.Result.GetData())
	case *weftv1.AttemptReport_Command:
		size += overhead
		for _, c := range []*weftv1.CapturedOutput{output.Command.GetStdout(), output.Command.GetStderr()} {
			size += len(c.GetText()) + len(c.GetData())
		}
	}
	if e := r.GetError(); e != nil {
		size += len(e.GetMessage()) + len(e.GetStack()) + len(e.GetReason())
	}
	return size
}
