package task

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Reasons that the SDK itself puts into an [Error]. A handler may use words of its own.
const (
	ReasonError      = "error"       // the handler returned an error
	ReasonExit       = "exit"        // the command exited with a status that is not 0
	ReasonSignal     = "signal"      // a signal ended the command
	ReasonTimeout    = "timeout"     // the attempt outlived its timeout
	ReasonPanic      = "panic"       // the handler panicked
	ReasonRefused    = "refused"     // the worker does not run such a thing
	ReasonNotFound   = "not_found"   // the worker has no such program
	ReasonWorkerLost = "worker_lost" // the worker vanished
	ReasonCancelled  = "cancelled"   // the task was cancelled
	ReasonPayload    = "payload"     // an input, a result or a partial result that does not fit its kind, or the limits

	ReasonDependencyFailed = "dependency_failed" // a task that it was after did not succeed
)

// Error is why a task did not succeed. It crosses the network: errors.As finds it at the client.
type Error struct {
	Reason    string // a word for programs
	Message   string // a sentence for people
	Stack     string // where it happened in the handler's process, if known
	Permanent bool   // trying again will not help
}

// Is makes errors.Is tell timeouts and cancellations: [ErrTimeout] and context.DeadlineExceeded, [ErrCancelled] and
// context.Canceled.
func (e *Error) Is(target error) bool {
	switch e.Reason {
	case ReasonTimeout:
		return target == ErrTimeout || errors.Is(ErrTimeout, target)
	case ReasonCancelled:
		return target == ErrCancelled || errors.Is(ErrCancelled, target)
	}
	return false
}

// LimitError refuses what is larger than the API takes. It is found before anything is sent, and nothing has changed.
// As a handler's error it is an [Error] with [ReasonPayload] that is permanent.
type LimitError struct {
	What  string // such as "the checkpoint"
	Unit  string // that is counted: "bytes", "partial results"
	Have  int
	Limit int
}

// Error implements error.
func (e *LimitError) Error() string {
	return fmt.Sprintf("task: %s has %d %s, %d are possible", e.What, e.Have, e.Unit, e.Limit)
}

// CheckSize refuses a payload of more than [PayloadBytesMax], with a [*LimitError] that says what it is.
func CheckSize(what string, p Payload) error {
	if p.Len() <= PayloadBytesMax {
		return nil
	}
	return &LimitError{What: what, Unit: "bytes", Have: p.Len(), Limit: PayloadBytesMax}
}

// Error implements error.
func (e *Error) Error() string {
	text := "task"
	for _, part := range []string{e.Reason, e.Message} {
		if part != "" {
			text += ": " + part
		}
	}
	if text == "task" {
		text = "task: failed"
	}
	return text
}

// Permanent marks an error of a handler as one that trying again will not help. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// ErrorFrom turns what a handler returned into an Error; nil stays nil. Of an *Error that others wrap, the reason, the
// stack and whether it is permanent stay, and the message is the text of them all.
func ErrorFrom(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Reason: ReasonError, Message: err.Error()}
	switch te, ok := errors.AsType[*Error](err); {
	case ok:
		*out = *te
		out.Reason = cmp.Or(te.Reason, ReasonError)
		if text := err.Error(); text != te.Error() {
			out.Message = strings.Replace(text, te.Error(), cmp.Or(te.Message, out.Reason), 1)
		}
	case isLimit(err):
		out.Reason, out.Permanent = ReasonPayload, true
	}
	if _, ok := errors.AsType[*permanentError](err); ok {
		out.Permanent = true
	}
	return out
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*LimitError](err)
	return ok
}

// Proto returns the error as a message, nil for nil.
func (e *Error) Proto() *weftv1.TaskError {
	if e == nil {
		return nil
	}
	return &weftv1.TaskError{
		Reason:    truncate(e.Reason, 256),
		Message:   truncate(e.Message, 16<<10),
		Stack:     truncate(e.Stack, 32<<10),
		Permanent: e.Permanent,
	}
}

// truncate cuts s to the API's limit for it, with an explicit mark. Bytes that are not UTF-8 are
// replaced: a message that has them cannot be sent.
func truncate(s string, bytesMax int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	const mark = " … (truncated)"
	if len(s) <= bytesMax {
		return s
	}
	cut := bytesMax - len(mark)
	for cut > 0 && s[cut]&0xC0 == 0x80 { // not inside a rune
		cut--
	}
	return s[:cut] + mark
}

// ErrorFromProto reads a message; nil stays nil.
func ErrorFromProto(m *weftv1.TaskError) *Error {
	if m == nil {
		return nil
	}
	return &Error{Reason: m.GetReason(), Message: m.GetMessage(), Stack: m.GetStack(), Permanent: m.GetPermanent()}
}
