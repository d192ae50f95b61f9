package queue

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Records say what happened. They assign; applying one increments nothing. Since is a value of the
// shard's counter where a task comes to a state that its queue is being purged of: a purge covers what came there before
// it, and nothing else.
type (
	// QueuePut is a queue's whole state.
	QueuePut struct{ State QueueState }

	// CallPut is a call's whole state, but for its tasks.
	CallPut struct{ State CallState }

	// QueueDropped forgets a queue.
	QueueDropped struct{ ID uint64 }

	// CallAcknowledged says which outcomes the client has now. Kept are those whose tasks stay although
	// nobody asked for retention: others wait for them.
	CallAcknowledged struct {
		ID     uint64
		Ranges pure.Ranges
		Kept   []uint64
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
		ID      uint64
		End     End
		Next    pure.Wall
		Tries   uint32
		Error   *Error
		EndedAt pure.Wall
		Worker  string
		Since   uint64
	}

	// TaskUnblocked says that a task waits for one less. State and Next are what follows.
	TaskUnblocked struct {
		ID         uint64
		Dependency uint64
		State      State
		Next       pure.Wall
		Since      uint64
	}

	// TaskRevived makes a final task ready again, or blocked by others. It belongs to no call any more. Undue
	// takes away a deadline that has passed. RequestID and With are of the request that asked for it, as the task's
	// RetriedBy and RetriedWith.
	TaskRevived struct {
		ID        uint64
		State     State
		Waits     []uint64
		Undue     bool
		Since     uint64
		RequestID string
		With      uint64
	}

	// TaskJoined remembers a request that joined a task.
	TaskJoined struct {
		ID        uint64
		RequestID string
	}

	// TaskAdvanced is what an attempt left or brought before its end: a checkpoint, unless nil, and partial results
	// behind those that are there.
	TaskAdvanced struct {
		ID         uint64
		Checkpoint *Checkpoint
		Partials   []Payload
	}

	// CallInterrupted says which task interrupts a call's client; nil when the client knows.
	CallInterrupted struct {
		ID        uint64
		Interrupt *Interrupt
	}

	// TaskDetached takes a task from its call; another is at its index.
	TaskDetached struct{ ID uint64 }

	// TaskReady makes a scheduled task ready.
	TaskReady struct{ ID, Since uint64 }

	// TaskLosses assigns the poison guard's account.
	TaskLosses struct {
		ID       uint64
		Losses   uint32
		Suspects []session.ID
	}

	// TaskCancelling begins the end of a running task.
	TaskCancelling struct {
		ID       uint64
		Grace    time.Duration
		Expiring bool
	}

	// TaskFinished ends a task. The outcome's Attempts, Token and StartedAt are the task's, and not of the record, but
	// for one that joined another and ends as that did.
	TaskFinished struct {
		ID      uint64
		Tries   uint32
		Outcome *Outcome
		Since   uint64
	}

	// TaskDropped forgets a task.
	TaskDropped struct{ ID uint64 }
)
