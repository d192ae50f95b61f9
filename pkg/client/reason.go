package client

import (
	"strings"

	"google.golang.org/grpc/codes"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// reasonPrefix is what every name of the enum begins with, and no ErrorInfo has.
const reasonPrefix = "ERROR_REASON_"

// reasonCodes has the canonical code of each reason, as error.proto states it in brackets.
var reasonCodes = map[weftv1.ErrorReason]codes.Code{
	weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD:      codes.InvalidArgument,
	weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE:  codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND:    codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND:     codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND:     codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND:  codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_REQUEST_MISMATCH:   codes.AlreadyExists,
	weftv1.ErrorReason_ERROR_REASON_LEASE_LOST:         codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_CALL_WINDOW_FULL:   codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_QUEUE_FULL:         codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_QUEUE_CLOSED:       codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_EMPTY:    codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_QUEUE_EXISTS:       codes.AlreadyExists,
	weftv1.ErrorReason_ERROR_REASON_UNIQUE_MISMATCH:    codes.AlreadyExists,
	weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FINAL:     codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_PARTIALS_FULL:      codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_PARTIALS_GAP:       codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_NO_SUBMITTER:       codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_CALL_SPARSE:        codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_STATE_FULL:         codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_DISK_LOW:           codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_INTERNAL:           codes.Internal,
	weftv1.ErrorReason_ERROR_REASON_NOT_READY:          codes.Unavailable,
	weftv1.ErrorReason_ERROR_REASON_TERM_ENDED:         codes.Unavailable,
	weftv1.ErrorReason_ERROR_REASON_SLOW_STREAM:        codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_BAD_FRAME:          codes.InvalidArgument,
	weftv1.ErrorReason_ERROR_REASON_SUPERSEDED:         codes.Aborted,
	weftv1.ErrorReason_ERROR_REASON_CALL_FINISHED:      codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_REQUEST_POISONED:   codes.Internal,
	weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE:        codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_OVERLOADED:         codes.ResourceExhausted,
	weftv1.ErrorReason_ERROR_REASON_SCHEDULE_NOT_FOUND: codes.NotFound,
	weftv1.ErrorReason_ERROR_REASON_SCHEDULE_EXISTS:    codes.AlreadyExists,
	weftv1.ErrorReason_ERROR_REASON_NOT_HELD:           codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_TOKEN_STALE:        codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_DEADLOCK:           codes.Aborted,
	weftv1.ErrorReason_ERROR_REASON_HOLDER_WAITS:       codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_LOCK_MISMATCH:      codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_SEMAPHORE_MISMATCH: codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_SEMAPHORE_FULL:     codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_BARRIER_BROKEN:     codes.Aborted,
	weftv1.ErrorReason_ERROR_REASON_BARRIER_MISMATCH:   codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_VALUE_TYPE:         codes.FailedPrecondition,
	weftv1.ErrorReason_ERROR_REASON_VALUE_CHANGED:      codes.Aborted,
	weftv1.ErrorReason_ERROR_REASON_VALUE_RANGE:        codes.FailedPrecondition,
}

// reasonCode returns a reason's canonical code; a reason of a newer broker is UNKNOWN.
func reasonCode(r weftv1.ErrorReason) codes.Code {
	if c, ok := reasonCodes[r]; ok {
		return c
	}
	return codes.Unknown
}

// reasonWord is a reason as ErrorInfo spells it: QUEUE_NOT_FOUND.
func reasonWord(r weftv1.ErrorReason) string {
	return strings.TrimPrefix(r.String(), reasonPrefix)
}

// parseReason reads ErrorInfo's spelling; an unknown word is UNSPECIFIED.
func parseReason(word string) weftv1.ErrorReason {
	return weftv1.ErrorReason(weftv1.ErrorReason_value[reasonPrefix+word])
}
