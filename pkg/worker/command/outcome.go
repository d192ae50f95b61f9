//go:build unix

package command

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Outcome is how a command ended.
type Outcome struct {
	// Result is there however it ended. On Linux its memory_bytes_max is never less than the worker's
	// own memory was at the start: the kernel counts a new process's first moments in there too.
	Result *weftv1.CommandResult
	// Err is nil if the command exited with 0 and was not stopped by a timeout. Its reason is
	// "exit", "signal", "timeout" (first Stop with task.ErrTimeout), or "error" when the operating
	// system lost track of the process.
	Err *task.Error
	// Cause is what the first Stop was given, nil if there was none.
	Cause error
	// Left is set when processes of the group are still there, though SIGKILL was sent to them: the
	// kernel holds them (a disk that does not answer), or they belong to another user.
	Left bool
	// Escaped is set when somebody outside of the group kept a pipe open, so that its output was cut.
	Escaped bool
}

// result builds the outcome; the caller holds p.mu.
func (p *Process) result(state *os.ProcessState, waitErr error) Outcome {
	out := Outcome{
		Cause: p.ladder.cause,
		Result: &weftv1.CommandResult{
			Stdout: captured(p.stdout),
			Stderr: captured(p.stderr),
		},
	}
	if waitErr != nil {
		out.Result.ExitCode = -1
		out.Err = &task.Error{Reason: task.ReasonError, Message: "wait for the command: " + waitErr.Error()}
	} else {
		out.Result.UserTime = durationpb.New(state.UserTime())
		out.Result.SystemTime = durationpb.New(state.SystemTime())
		if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
			out.Result.MemoryBytesMax = int64(usage.Maxrss) * maxrssUnit //nolint:unconvert // it is an int32 on some
		}
		out.Err = exitError(state, out.Result)
	}
	if errors.Is(out.Cause, task.ErrTimeout) {
		out.Err = &task.Error{Reason: task.ReasonTimeout, Message: "the command outlived its timeout"}
	}
	return out
}

// exitError notes how the leader exited, and returns nil for success.
func exitError(state *os.ProcessState, result *weftv1.CommandResult) *task.Error {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		result.ExitCode = -1
		result.Signal = signalName(status.Signal())
		return &task.Error{Reason: task.ReasonSignal, Message: "ended by " + result.Signal}
	}
	result.ExitCode = int32(state.ExitCode())
	if result.ExitCode == 0 {
		return nil
	}
	return &task.Error{Reason: task.ReasonExit, Message: fmt.Sprintf("exit status %d", result.ExitCode)}
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(sig)) // a real-time signal
}

// captured is the start of a stream. Where the limit would cut a rune in two, it is cut before it, so
// that text stays text.
func captured(o *Output) *weftv1.CapturedOutput {
	head, total := o.start()
	whole := trimRune(head)
	out := &weftv1.CapturedOutput{BytesTotal: total}
	switch {
	case utf8.Valid(head):
		out.Value = &weftv1.CapturedOutput_Text{Text: string(head)}
	case total > int64(len(head)) && utf8.Valid(whole):
		head = whole
		out.Value = &weftv1.CapturedOutput_Text{Text: string(head)}
	default:
		out.Value = &weftv1.CapturedOutput_Data{Data: append([]byte(nil), head...)}
	}
	out.Truncated = total > int64(len(head))
	return out
}

// trimRune takes an unfinished rune off the end.
func trimRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
