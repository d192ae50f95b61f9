package broker

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "weft"

// reasonCodes has the canonical code of every reason; a test holds it against the API's enum.
var reasonCodes = map[pure.Reason]codes.Code{
	pure.InvalidField:    codes.InvalidArgument,
	pure.PayloadTooLarge: codes.ResourceExhausted,
	pure.QueueNotFound:   codes.NotFound,
	pure.TaskNotFound:    codes.NotFound,
	pure.CallNotFound:    codes.NotFound,
	pure.SessionNotFound: codes.NotFound,
	pure.RequestMismatch: codes.AlreadyExists,
	pure.LeaseLost:       codes.FailedPrecondition,
	pure.CallWindowFull:  codes.ResourceExhausted,
	pure.CallSparse:      codes.ResourceExhausted,
	pure.StateFull:       codes.ResourceExhausted,
	pure.DiskLow:         codes.ResourceExhausted,
	pure.NotReady:        codes.Unavailable,
	pure.TermEnded:       codes.Unavailable,
	pure.SlowStream:      codes.ResourceExhausted,
	pure.BadFrame:        codes.InvalidArgument,
	pure.Superseded:      codes.Aborted,
	pure.CallFinished:    codes.FailedPrecondition,
	pure.RequestPoisoned: codes.Internal,
	pure.OutputGone:      codes.NotFound,
	pure.Overloaded:      codes.ResourceExhausted,
	pure.Internal:        codes.Internal,
	pure.QueueFull:       codes.ResourceExhausted,
	pure.QueueClosed:     codes.FailedPrecondition,
	pure.QueueNotEmpty:   codes.FailedPrecondition,
	pure.QueueExists:     codes.AlreadyExists,
	pure.UniqueMismatch:  codes.AlreadyExists,
	pure.TaskNotFinal:    codes.FailedPrecondition,
	pure.PartialsFull:    codes.ResourceExhausted,
	pure.PartialsGap:     codes.FailedPrecondition,
	pure.NoSubmitter:     codes.FailedPrecondition,

	pure.NotHeld:           codes.FailedPrecondition,
	pure.TokenStale:        codes.FailedPrecondition,
	pure.Deadlock:          codes.Aborted,
	pure.HolderWaits:       codes.FailedPrecondition,
	pure.LockMismatch:      codes.FailedPrecondition,
	pure.SemaphoreMismatch: codes.FailedPrecondition,
	pure.SemaphoreFull:     codes.FailedPrecondition,
	pure.BarrierBroken:     codes.Aborted,
	pure.BarrierMismatch:   codes.FailedPrecondition,
	pure.ValueType:         codes.FailedPrecondition,
	pure.ValueChanged:      codes.Aborted,
	pure.ValueRange:        codes.FailedPrecondition,

	pure.ScheduleNotFound: codes.NotFound,
	pure.ScheduleExists:   codes.AlreadyExists,
}

// statusError turns an error of the shard or of the edge into a gRPC error.
func statusError(err error) error {
	var r *pure.Refusal
	switch {
	case err == nil, errors.Is(err, shard.ErrClosed): // a stream that ended in order
		return nil
	case errors.As(err, &r):
		return refusalStatus(r).Err()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return refusalStatus(ownBug(err.Error())).Err()
}

func ownBug(what string) *pure.Refusal {
	return pure.Refuse(pure.Internal, "the broker met its own bug: "+what)
}

func refusalStatus(r *pure.Refusal) *status.Status {
	st := status.New(reasonCodes[r.Reason], r.Message)
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{
		Reason: string(r.Reason), Domain: errorDomain, Metadata: metadata(r),
	})
	if err != nil {
		return st
	}
	return detailed
}

func metadata(r *pure.Refusal) map[string]string {
	if len(r.Meta) < 2 {
		return nil
	}
	m := make(map[string]string, len(r.Meta)/2)
	for i := 0; i+1 < len(r.Meta); i += 2 {
		m[r.Meta[i]] = r.Meta[i+1]
	}
	return m
}

// reasonEnum returns a reason as the API's enum has it.
func reasonEnum(r pure.Reason) weftv1.ErrorReason {
	return weftv1.ErrorReason(weftv1.ErrorReason_value["ERROR_REASON_"+string(r)])
}

func invalid(field, rule string) *pure.Refusal {
	return pure.Refuse(pure.InvalidField, field+": "+rule, "field", field, "rule", rule)
}

func badFrame(field, rule string) *pure.Refusal {
	return pure.Refuse(pure.BadFrame, field+": "+rule, "field", field, "rule", rule)
}
