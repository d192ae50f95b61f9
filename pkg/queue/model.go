package queue

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// State is where a task is in its life. The numbers are those of the API and of the journal.
type State uint8

// States of a task.
const (
	Scheduled  State = 1
	Ready      State = 2
	Running    State = 3
	Cancelling State = 4
	Succeeded  State = 5
	Failed     State = 6
	Cancelled  State = 7

	states = 8
)

// Final tells whether the state is for ever.
func (s State) Final() bool { return s >= Succeeded }

// Held tells whether an attempt holds a task in this state.
func (s State) Held() bool { return s == Running || s == Cancelling }

var stateNames = [states]string{"none", "scheduled", "ready", "running", "cancelling", "succeeded", "failed", "cancelled"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// End is the typed reason why an attempt ended. The numbers are those of the API and of the journal.
type End uint8

// Ends of an attempt.
const (
	EndSucceeded  End = 1
	EndError      End = 2
	EndTimeout    End = 3
	EndWorkerLost End = 4
	EndReleased   End = 5
	EndKilled     End = 6
)

// Limits and defaults.
const (
	LossesMax = 3 // workers that may be lost with a task before it fails: the poison guard

	GraceDefault   = 10 * time.Second
	BackoffDefault = time.Second
	BackoffMax     = 5 * time.Minute

	RetentionUnacknowledged = time.Hour          // of an outcome that its call did not acknowledge
	RetentionSubmitted      = 24 * time.Hour     // of a task that belongs to no call
	RetentionFailed         = 7 * 24 * time.Hour // of a failed task that nobody acknowledged

	CallTasksMax  = 100_000  // unacknowledged tasks of a call
	CallBytesMax  = 64 << 20 // and their bytes
	CallRangesMax = 4096     // stretches of accepted indexes of a call

	SubscriptionsMax = 10_000 // queues × kinds of a worker
	WaitersMax       = 10_000 // reservations that wait at a queue

	// reportMargin is how long the broker waits for a worker's report after the worker should have killed
	// an attempt, before it ends the attempt by itself.
	reportMargin = 30 * time.Second

	// workMax bounds the records of one step of bulk work.
	workMax = 1000
)

// Payload is opaque bytes and how the API spells them.
type Payload struct {
	Encoding uint8
	Data     []byte
}

// Error is why an attempt ended badly. It is never changed once made.
type Error struct {
	Reason    string
	Message   string
	Stack     string
	Permanent bool
}

// Options are a task's rarer settings. They are never changed once made, and shared.
type Options struct {
	Timeout          time.Duration // of one attempt; 0 is without limit
	Grace            time.Duration // between asking an attempt to stop and killing it
	AttemptsMax      uint32
	InitialBackoff   time.Duration
	Multiplier       float64
	BackoffMax       time.Duration
	Jitter           float64
	Retention        time.Duration // of the outcome; -1 is not asked for
	Daemon           bool
	FailOnWorkerLost bool
	Labels           []string // keys and values in turn, by key
}

// DefaultOptions are those of a task that asks for nothing.
var DefaultOptions = &Options{Grace: GraceDefault, Retention: -1}

// Spec is what was asked for. It is never changed once made.
type Spec struct {
	Kind    string
	Payload Payload
	Options *Options
	RunAt   pure.Wall // 0 is at once
}

// Outcome is how a task ended. It is never changed once made.
type Outcome struct {
	State      State
	End        End // 0 if there was no attempt
	Result     Payload
	Error      *Error
	Attempts   uint32
	Worker     string
	Token      uint64
	StartedAt  pure.Wall
	FinishedAt pure.Wall
	Spooled    bool // the worker has more of the output than Result
}

// TaskState is what of a task is durable.
type TaskState struct {
	Spec
	ID        uint64 // also its order in the queue
	Queue     uint64
	Call      uint64 // 0 if none
	Index     uint64
	RequestID string
	CreatedAt pure.Wall

	State     State
	Next      pure.Wall // when a scheduled task becomes ready
	Attempts  uint32    // begun
	Tries     uint32    // charged
	Losses    uint32    // workers lost for good
	Suspects  []session.ID
	Token     uint64
	Session   session.ID
	StartedAt pure.Wall
	LastError *Error

	CancelGrace  time.Duration
	Outcome      *Outcome
	Acknowledged bool
}

// QueueState is what of a queue is durable.
type QueueState struct {
	ID        uint64
	Namespace string
	Name      string
	CreatedAt pure.Wall
}

// CallState is what of a call is durable, but for its tasks.
type CallState struct {
	ID           uint64
	Namespace    string
	Name         string
	OpenedAt     pure.Wall
	Session      session.ID
	Finished     bool
	Accepted     pure.Ranges
	Acknowledged pure.Ranges

	// Tasks with an id up to CancelledTo are cancelled, the daemons among them or all; where the state
	// of such a task says otherwise, the sweep has not come to it yet.
	CancelledTo uint64
	DaemonsOnly bool
	CancelGrace time.Duration // -1 is each task's own
}
