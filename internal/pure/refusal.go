package pure

import "fmt"

// Reason names a refusal: an ErrorReason of the API without its prefix.
type Reason string

// Reasons of the cores.
const (
	InvalidField    Reason = "INVALID_FIELD"
	QueueNotFound   Reason = "QUEUE_NOT_FOUND"
	TaskNotFound    Reason = "TASK_NOT_FOUND"
	CallNotFound    Reason = "CALL_NOT_FOUND"
	CallFinished    Reason = "CALL_FINISHED"
	CallWindowFull  Reason = "CALL_WINDOW_FULL"
	CallSparse      Reason = "CALL_SPARSE"
	SessionNotFound Reason = "SESSION_NOT_FOUND"
	RequestMismatch Reason = "REQUEST_MISMATCH"
	LeaseLost       Reason = "LEASE_LOST"
	StateFull       Reason = "STATE_FULL"
	DiskLow         Reason = "DISK_LOW"
	Superseded      Reason = "SUPERSEDED"
	Overloaded      Reason = "OVERLOADED"
	RequestPoisoned Reason = "REQUEST_POISONED"
	TermEnded       Reason = "TERM_ENDED"
	NotReady        Reason = "NOT_READY"
	SlowStream      Reason = "SLOW_STREAM"
	BadFrame        Reason = "BAD_FRAME"
	OutputGone      Reason = "OUTPUT_GONE"
	PayloadTooLarge Reason = "PAYLOAD_TOO_LARGE"
	Internal        Reason = "INTERNAL"
	QueueFull       Reason = "QUEUE_FULL"
	QueueClosed     Reason = "QUEUE_CLOSED"
	QueueNotEmpty   Reason = "QUEUE_NOT_EMPTY"
	QueueExists     Reason = "QUEUE_EXISTS"
	UniqueMismatch  Reason = "UNIQUE_MISMATCH"
	TaskNotFinal    Reason = "TASK_NOT_FINAL"
	PartialsFull    Reason = "PARTIALS_FULL"
	PartialsGap     Reason = "PARTIALS_GAP"
	NoSubmitter     Reason = "NO_SUBMITTER"
)

// Reasons of schedules.
const (
	ScheduleNotFound Reason = "SCHEDULE_NOT_FOUND"
	ScheduleExists   Reason = "SCHEDULE_EXISTS"
)

// Reasons of the lock service.
const (
	NotHeld           Reason = "NOT_HELD"
	TokenStale        Reason = "TOKEN_STALE"
	Deadlock          Reason = "DEADLOCK"
	HolderWaits       Reason = "HOLDER_WAITS"
	LockMismatch      Reason = "LOCK_MISMATCH"
	SemaphoreMismatch Reason = "SEMAPHORE_MISMATCH"
	SemaphoreFull     Reason = "SEMAPHORE_FULL"
	BarrierBroken     Reason = "BARRIER_BROKEN"
	BarrierMismatch   Reason = "BARRIER_MISMATCH"
	ValueType         Reason = "VALUE_TYPE"
	ValueChanged      Reason = "VALUE_CHANGED"
	ValueRange        Reason = "VALUE_RANGE"
)

// Refusal is why a command was not carried out. It changed nothing.
type Refusal struct {
	Reason  Reason
	Message string
	Meta    []string // keys and values in turn
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Refuse makes a refusal; meta are keys and values in turn.
func Refuse(reason Reason, message string, meta ...any) *Refusal {
	r := &Refusal{Reason: reason, Message: message, Meta: make([]string, 0, len(meta))}
	for _, m := range meta {
		r.Meta = append(r.Meta, fmt.Sprint(m))
	}
	return r
}
