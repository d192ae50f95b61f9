package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// errorDomain marks an ErrorInfo as Weft's own.
const errorDomain = "weft"

// ErrClosed ends what was still open when a [Call] or a [Client] was closed.
var ErrClosed = errors.New("client: closed")

// ErrFinished refuses a task that is submitted after [Call.Finish].
var ErrFinished = errors.New("client: the call was finished and takes no more tasks")

// errSilent ends a stream whose broker answered no heartbeat in time.
var errSilent = errors.New("client: the broker is silent")

// Error is what the broker said no with. status.Code reads its code, errors.As finds it.
type Error struct {
	// Code is the canonical gRPC code.
	Code codes.Code
	// Reason says exactly why; UNSPECIFIED when the error is not Weft's own, or newer than this client.
	Reason weftv1.ErrorReason
	// Message is a sentence for people.
	Message string
	// Metadata names the field, the limit or the entity.
	Metadata map[string]string
}

// Error implements error.
func (e *Error) Error() string {
	word := e.Code.String()
	if e.Reason != weftv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		word = reasonWord(e.Reason)
	}
	if e.Message == "" {
		return "weft: " + word
	}
	return fmt.Sprintf("weft: %s: %s", word, e.Message)
}

// GRPCStatus makes status.Code and status.FromError work on the error.
func (e *Error) GRPCStatus() *status.Status {
	return status.New(e.Code, e.Error())
}

// fromRPC turns the error of an RPC into an *Error; a context's own end stays what it is.
func fromRPC(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	out := &Error{Code: st.Code(), Message: st.Message()}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			out.Reason = parseReason(info.GetReason())
			out.Metadata = info.GetMetadata()
		}
	}
	return out
}

// fromRejection turns the refusal of one task into an *Error.
func fromRejection(r *weftv1.ExecuteRejection) *Error {
	return &Error{
		Code:     reasonCode(r.GetReason()),
		Reason:   r.GetReason(),
		Message:  r.GetMessage(),
		Metadata: r.GetMetadata(),
	}
}

// HasReason reports whether err is, or wraps, an [Error] of that reason.
func HasReason(err error, reason weftv1.ErrorReason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

// resumable reports whether the same may be asked again: the broker is away, starting or changing its term; the
// connection broke, or was given up here; the stream was thrown off for not reading, or reset without a word (by a
// proxy, or a broker that shuts down).
func resumable(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, errSilent) {
		return true
	}
	var e *Error
	if !errors.As(fromRPC(err), &e) {
		return false
	}
	return e.Code == codes.Unavailable || e.Code == codes.Canceled || e.Reason == weftv1.ErrorReason_ERROR_REASON_SLOW_STREAM
}
