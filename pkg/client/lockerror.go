package client

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Errors of the lock service, for errors.Is. What the broker refused is an [*Error] as well, which has the details. See
// also [ErrLeaseLost].
var (
	// ErrNotHeld is Python's RuntimeError of a lock that is released, or waited with, by one who does not have it.
	ErrNotHeld = errors.New("client: not held")
	// ErrTokenStale is a fencing token whose grant is over.
	ErrTokenStale = errors.New("client: the token is stale")
	// ErrDeadlock is a wait that would never end: those who wait for each other are spelled out by the error.
	ErrDeadlock = errors.New("client: deadlock")
	// ErrHolderWaits is a holder that waits for something already: see [NewHolder].
	ErrHolderWaits = errors.New("client: the holder waits already")
	// ErrSemaphoreFull is Python's ValueError of a bounded semaphore that is released too many times.
	ErrSemaphoreFull = errors.New("client: the semaphore has all its permits")
	// ErrBrokenBarrier is Python's BrokenBarrierError: a party has failed, is gone or was not in time, or the barrier was
	// aborted or reset.
	ErrBrokenBarrier = errors.New("client: the barrier is broken")
	// ErrValueChanged is a compare-and-set that somebody else was faster than.
	ErrValueChanged = errors.New("client: the value has changed")
	// ErrValueType is a value of another type.
	ErrValueType = errors.New("client: the value has another type")
	// ErrValueRange is a sum that does not fit.
	ErrValueRange = errors.New("client: the sum does not fit")
)

// LeaseLostError is what was held, or waited for, in a session that is over: the broker could not be reached in time, it
// does not know the session, or the client was closed. Others may have it. errors.Is takes it for [ErrLeaseLost].
type LeaseLostError struct {
	// Object is what it was: "lock stock".
	Object string
	// SessionID is the session.
	SessionID string
	// Cause says why it is over.
	Cause error
}

// Error implements error.
func (e *LeaseLostError) Error() string {
	what := "client: the lease is lost"
	if e.Object != "" {
		what += ": " + e.Object
	}
	return fmt.Sprintf("%s (session %.8s…): %v", what, e.SessionID, e.Cause)
}

// Is takes it for ErrLeaseLost.
func (e *LeaseLostError) Is(target error) bool { return target == ErrLeaseLost }

// Unwrap is the cause.
func (e *LeaseLostError) Unwrap() error { return e.Cause }

// invalid refuses an argument, as the broker would.
func invalid(field, rule string) *Error {
	return &Error{
		Code: codes.InvalidArgument, Reason: weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD,
		Message: field + " " + rule, Metadata: map[string]string{"field": field, "rule": rule},
	}
}

// notHeld is what is not held here, and need not be asked of the broker.
func notHeld(kind, name string) *Error {
	return &Error{
		Code: codes.FailedPrecondition, Reason: weftv1.ErrorReason_ERROR_REASON_NOT_HELD,
		Message: "the holder does not have the " + kind + " " + name, Metadata: map[string]string{kind: name},
	}
}

// fromRefusal turns the refusal of a command into an *Error.
func fromRefusal(r *weftv1.SynchronizeRefusal) *Error {
	return &Error{
		Code: reasonCode(r.GetReason()), Reason: r.GetReason(), Message: r.GetMessage(), Metadata: r.GetMetadata(),
	}
}

// isRefusal tells whether the broker has refused something, which then has changed nothing. A session that is over is
// none.
func isRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && !errors.Is(err, ErrLeaseLost)
}
