package queue

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Effects are told once the step's records are durable. They hold nothing that changes later.
type (
	// Assigned hands a task to a worker.
	Assigned struct {
		Session session.ID
		Assignment
	}

	// Stop asks a worker to end an attempt.
	Stop struct {
		Session session.ID
		Token   uint64
		Reason  End // EndKilled, EndTimeout, or EndWorkerLost when the attempt is no longer its own
		Grace   time.Duration
	}

	// Answered tells a worker that its report is durable, or came too late.
	Answered struct {
		Session  session.ID
		Token    uint64
		Accepted bool
	}

	// Released tells a worker that nobody can ask for an attempt's output any more.
	Released struct {
		Session session.ID
		Token   uint64
	}

	// AdvanceAnswered tells a worker that an advance is durable, or why it changed nothing.
	AdvanceAnswered struct {
		Session  session.ID
		Token    uint64
		Sequence uint64
		Reason   pure.Reason // empty if it counts
		Message  string      // for people, where the reason alone does not say it
	}

	// Accepted tells a call's client that tasks are durable.
	Accepted struct {
		Call   uint64
		Ranges pure.Ranges
	}

	// Rejected tells a call's client that a task was refused.
	Rejected struct {
		Call   uint64
		Index  uint64
		Reason *pure.Refusal
	}

	// Updated tells a call's client about a state that is not final.
	Updated struct {
		Call     uint64
		Index    uint64
		ID       uint64
		State    State
		Token    uint64
		Worker   string
		Attempts uint32
	}

	// Finished tells a call's client how a task ended.
	Finished struct {
		Call    uint64
		Index   uint64
		ID      uint64
		Outcome *Outcome
	}

	// Advanced tells a call's client how far a task has come.
	Advanced struct {
		Call     uint64
		Index    uint64
		ID       uint64
		Token    uint64
		Progress *Progress // nil if it has not changed
		Partials []Payload
		Offset   uint32 // the place of the first of them
	}

	// Interrupted tells a call's client that a task interrupts it.
	Interrupted struct {
		Call uint64
		Interrupt
	}

	// Changed tells watchers of a task what it is now.
	Changed struct{ Task Snapshot }

	// CallChange tells watchers of a call that one of its tasks has changed. Several changes of a step are one.
	CallChange struct {
		Call     uint64
		Before   State    // 0 of a new task
		Task     Snapshot // without payload, result, checkpoint and partial results; none if it has left the call
		Partials uint32   // how many partial results it has
	}

	// CallOver tells them that nothing of the call is unfinished and nothing more can come.
	CallOver struct{ Call uint64 }

	// Reserved answers a reservation.
	Reserved struct {
		Waiter uint64
		Tasks  []Assignment
		Err    error // instead of tasks
	}

	// Put answers a submission that waited for room.
	Put struct {
		Waiter uint64
		Submitted
		Err error
	}

	// QueueJoined answers whoever waits for the end of a queue's tasks.
	QueueJoined struct {
		Waiter uint64
		Queue  QueueView
	}
)

// Assignment is what the one who runs a task needs to know.
type Assignment struct {
	ID      uint64
	Token   uint64
	Attempt uint32
	Queue   string
	Kind    string
	Payload Payload
	Options *Options

	Checkpoint *Checkpoint // of an earlier attempt, nil if none
	Called     bool        // it belongs to a call

	Partials      uint32 // that the task has
	PartialsBytes uint32
}

// Snapshot is a task as it is at one moment.
type Snapshot struct {
	TaskState
	Namespace string
	QueueName string
	CallName  string
	Worker    string // the running attempt's
	Progress  *Progress
}
