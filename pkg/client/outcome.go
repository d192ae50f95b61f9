package client

import (
	"fmt"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Outcome is how a task ended, for ever. It is not to be changed.
type Outcome struct {
	// State is SUCCEEDED, FAILED or CANCELLED.
	State weftv1.TaskState
	// End is how the last attempt ended; unspecified if there was none.
	End weftv1.AttemptEnd
	// Payload is a handler's result.
	Payload task.Payload
	// Command is a command's exit code and output, also of one that failed; nil for a handler.
	Command *weftv1.CommandResult
	// Error says why the task did not succeed; nil if it did.
	Error *task.Error
	// Attempts counts those that were begun.
	Attempts int
	// Worker is the last worker's name.
	Worker string
	// Token is the last attempt's fencing number.
	Token uint64
	// StartedAt is when the last attempt was handed out; zero if there was none.
	StartedAt time.Time
	// FinishedAt is when the outcome was recorded.
	FinishedAt time.Time
}

// Err returns nil for a success and a *task.Error for every other end.
func (o *Outcome) Err() error {
	switch {
	case o.State == weftv1.TaskState_TASK_STATE_SUCCEEDED:
		return nil
	case o.Error != nil:
		return o.Error
	case o.State == weftv1.TaskState_TASK_STATE_CANCELLED:
		return &task.Error{Reason: task.ReasonCancelled}
	default:
		return &task.Error{Reason: task.ReasonError}
	}
}

// OutcomeFromProto reads a message, such as the outcome of a task that was listed.
func OutcomeFromProto(m *weftv1.Outcome) (*Outcome, error) {
	o := &Outcome{
		State:    m.GetState(),
		End:      m.GetEnd(),
		Command:  m.GetCommand(),
		Error:    task.ErrorFromProto(m.GetError()),
		Attempts: int(m.GetAttempts()),
		Worker:   m.GetWorker(),
		Token:    m.GetToken(),
	}
	var err error
	if o.Payload, err = task.PayloadFromProto(m.GetPayload()); err != nil {
		return nil, fmt.Errorf("client: outcome: %w", err)
	}
	if t := m.GetStartedAt(); t != nil {
		o.StartedAt = t.AsTime()
	}
	if t := m.GetFinishedAt(); t != nil {
		o.FinishedAt = t.AsTime()
	}
	return o, nil
}

// cancelledHere is the outcome of a task that was cancelled before it ever left the client.
func cancelledHere() Outcome {
	return Outcome{
		State: weftv1.TaskState_TASK_STATE_CANCELLED,
		Error: &task.Error{Reason: task.ReasonCancelled, Message: "cancelled before it was sent"},
	}
}
