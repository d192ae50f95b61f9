package queue

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Records say what happened. They assign; applying one increments nothing.
type (
	// QueuePut is a queue's whole state.
	QueuePut struct{ State QueueState }

	// CallPut is a call's whole state, but for its tasks.
	CallPut struct{ State CallState }

	// CallAcknowledged says which outcomes the client has now.
	CallAcknowledged struct {
		ID     uint64
		Ranges pure.Ranges
	}

	// CallChanged assigns a call's few mutable fields.
	CallChanged struct {
		ID          uint64
		Session     session.ID
		Finished    bool
		CancelledTo uint64
		DaemonsOnly bool
		CancelGrace time.Duration
	}

	// CallDropped forgets a call.
	CallDropped struct{ ID uint64 }

	// TaskPut is a task's whole state.
	TaskPut struct{ State *TaskState }

	// TaskDispatched begins an attempt.
	TaskDispatched struct {
		ID        uint64
		Token     uint64
		Session   session.ID
		StartedAt pure.Wall
		Attempts  uint32
	}

	// TaskRetried ends an attempt after which the task waits again: until Next, or as a ready task if
	// that is 0.
	TaskRetried struct {
		ID    uint64
		End   End
		Next  pure.Wall
		Tries uint32
		Error *Error
	}

	// TaskReady makes a scheduled task ready.
	TaskReady struct{ ID uint64 }

	// TaskLosses assigns the poison guard's account.
	TaskLosses struct {
		ID       uint64
		Losses   uint32
		Suspects []session.ID
	}

	// TaskCancelling begins the end of a running task.
	TaskCancelling struct {
		ID    uint64
		Grace time.Duration
	}

	// TaskFinished ends a task. The outcome's Attempts, Token and StartedAt are the task's.
	TaskFinished struct {
		ID      uint64
		Tries   uint32
		Outcome *Outcome
	}

	// TaskDropped forgets a task.
	TaskDropped struct{ ID uint64 }
)
