package client

import (
	"errors"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Errors of queues and leases, for errors.Is. What the broker refused is an [*Error] as well, which has the
// details.
var (
	// ErrFull is Python's queue.Full: no room for a task in a bounded queue.
	ErrFull = errors.New("client: the queue is full")
	// ErrEmpty is Python's queue.Empty: no task to take.
	ErrEmpty = errors.New("client: the queue is empty")
	// ErrQueueClosed is Python's queue.ShutDown: the queue takes no more tasks, or has none left.
	ErrQueueClosed = errors.New("client: the queue is closed")
	// ErrQueueNotFound is a queue that there is not.
	ErrQueueNotFound = errors.New("client: there is no such queue")
	// ErrQueueExists is a queue of the same name with other settings.
	ErrQueueExists = errors.New("client: the queue exists with other settings")
	// ErrQueueNotEmpty is a queue that has tasks that have not ended.
	ErrQueueNotEmpty = errors.New("client: the queue is not empty")
	// ErrTaskNotFound is a task that there is not, or not any more.
	ErrTaskNotFound = errors.New("client: there is no such task")
	// ErrLeaseLost is a task that is not held any more: its lease is over, or it was ended otherwise. Doing a
	// task twice is it too, as Python's task_done() called too many times. Of the lock service it is a [*LeaseLostError].
	ErrLeaseLost = errors.New("client: the lease is lost")
)

// sentinels are the errors that stand for reasons.
var sentinels = map[error]weftv1.ErrorReason{
	ErrFull:          weftv1.ErrorReason_ERROR_REASON_QUEUE_FULL,
	ErrQueueClosed:   weftv1.ErrorReason_ERROR_REASON_QUEUE_CLOSED,
	ErrQueueNotFound: weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND,
	ErrQueueExists:   weftv1.ErrorReason_ERROR_REASON_QUEUE_EXISTS,
	ErrQueueNotEmpty: weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_EMPTY,
	ErrTaskNotFound:  weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND,
	ErrLeaseLost:     weftv1.ErrorReason_ERROR_REASON_LEASE_LOST,
	ErrNotHeld:       weftv1.ErrorReason_ERROR_REASON_NOT_HELD,
	ErrTokenStale:    weftv1.ErrorReason_ERROR_REASON_TOKEN_STALE,
	ErrDeadlock:      weftv1.ErrorReason_ERROR_REASON_DEADLOCK,
	ErrHolderWaits:   weftv1.ErrorReason_ERROR_REASON_HOLDER_WAITS,
	ErrSemaphoreFull: weftv1.ErrorReason_ERROR_REASON_SEMAPHORE_FULL,
	ErrBrokenBarrier: weftv1.ErrorReason_ERROR_REASON_BARRIER_BROKEN,
	ErrValueChanged:  weftv1.ErrorReason_ERROR_REASON_VALUE_CHANGED,
	ErrValueType:     weftv1.ErrorReason_ERROR_REASON_VALUE_TYPE,
	ErrValueRange:    weftv1.ErrorReason_ERROR_REASON_VALUE_RANGE,
}

// Is makes errors.Is find the error that stands for the reason.
func (e *Error) Is(target error) bool {
	for sentinel, reason := range sentinels {
		if target == sentinel {
			return e.Reason == reason
		}
	}
	return false
}
