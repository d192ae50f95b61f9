package queue

import (
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// State is where a task is in its life. The numbers are those of the API and of the journal.
type State uint8

// States of a task.
const (
	Scheduled  State = 1
	Blocked    State = 2
	Ready      State = 3
	Running    State = 4
	Cancelling State = 5
	Succeeded  State = 6
	Failed     State = 7
	Cancelled  State = 8
	Expired    State = 9

	states = 10
)

// Final tells whether the state is for ever.
func (s State) Final() bool { return s >= Succeeded }

// Waits tells whether a task in this state has still to be handed out.
func (s State) Waits() bool { return s == Scheduled || s == Blocked || s == Ready }

// Held tells whether an attempt holds a task in this state.
func (s State) Held() bool { return s == Running || s == Cancelling }

var stateNames = [states]string{
	"none", "scheduled", "blocked", "ready", "running", "cancelling", "succeeded", "failed", "cancelled", "expired",
}

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
	RetentionTaken          = time.Minute        // of such a one that somebody got and has ended
	RetentionFailed         = 7 * 24 * time.Hour // of a failed task that nobody acknowledged

	CallTasksMax  = 100_000  // unacknowledged tasks of a call
	CallBytesMax  = 64 << 20 // and their bytes
	CallRangesMax = 4096     // stretches of accepted indexes of a call

	SubscriptionsMax = 10_000 // queues × kinds of a worker
	WaitersMax       = 10_000 // reservations, submissions or joins that wait at a queue

	DependenciesMax = 100     // tasks that a task is after
	JoinersMax      = 1000    // requests that joined a task and are remembered
	HistoryMax      = 20      // attempts that ended, of a task, that are kept
	historyText     = 2 << 10 // bytes of an error's message and stack there

	PriorityMin = -1 << 15
	PriorityMax = 1<<15 - 1

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
	Retention        time.Duration // of the outcome, unless it failed; -1 is not asked for
	FailedRetention  time.Duration // if it did; likewise
	Daemon           bool
	FailOnWorkerLost bool
	Labels           []string // keys and values in turn, by key

	Priority     int16 // the least first
	Deadline     pure.Wall
	UniqueKey    string
	FairnessKey  string
	WorkerLabels []string // that the worker must have, as Labels
	Exclusive    bool     // never two attempts at a time
	After        []uint64 // tasks that have to end first
	RunOnFailure bool     // although they fail
}

// DefaultOptions are those of a task that asks for nothing.
var DefaultOptions = &Options{Grace: GraceDefault, Retention: -1, FailedRetention: -1}

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
	Taken      bool // by the word of whoever got the task: its submitter put it for somebody, and waits for nothing
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

	Next      pure.Wall // when a scheduled task becomes ready
	Token     uint64
	Session   session.ID
	StartedAt pure.Wall
	Outcome   *Outcome
	*Extra

	Attempts     uint32 // begun
	Tries        uint32 // charged
	State        State
	Acknowledged bool
}

// Extra is what few tasks have, kept apart because there may be millions of the others. It is never changed
// once made, only replaced.
type Extra struct {
	Losses      uint32 // workers lost for good
	Suspects    []session.ID
	LastError   *Error
	CancelGrace time.Duration
	Expiring    bool      // its cancellation is its deadline's
	Detached    bool      // its submitter has left it to those that joined it
	History     []Attempt // that ended, the last ones
	Waits       []uint64  // while blocked: tasks that have to end first
	Joined      uint64    // the task of the same unique key that it joined
	RetriedBy   string    // the last request that had it tried again by hand, by its id; empty if it had none
	RetriedWith uint64    // the tasks of that request, see [fingerprint]
	Since       uint64    // the counter's value when it came to its state, if its queue was being purged of that
	Joiners     []string  // requests that joined it, by their ids; empty is that of some without
	Checkpoint  *Checkpoint
	Partials    []Payload // results before the end
}

// NoExtra is that of a task which has nothing of it.
var NoExtra = &Extra{}

// with replaces the extra by one that is changed.
func (s *TaskState) with(change func(*Extra)) {
	x := *s.Extra
	change(&x)
	s.Extra = &x
}

// Attempt is one that ended and did not bring the outcome.
type Attempt struct {
	Token     uint64
	Worker    string
	StartedAt pure.Wall
	EndedAt   pure.Wall
	End       End
	Error     *Error
}

// Order is the order of a queue's ready tasks. The numbers are those of the API and of the journal.
type Order uint8

// Orders.
const (
	ByPriority Order = 1 // the least priority first, then the oldest
	FIFO       Order = 2
	LIFO       Order = 3
)

// Settings are what a queue's owner chooses.
type Settings struct {
	Order            Order
	MaxSize          uint64 // tasks that may wait; 0 is without limit
	MaxRunning       uint32
	MaxRunningPerKey uint32
	Rate             float64 // attempts begun per second; 0 is without limit
	Burst            uint32
	Defaults         *Options // timeout, retries and retention of tasks that do not say otherwise; nil if none
}

// QueueState is what of a queue is durable.
type QueueState struct {
	ID        uint64
	Namespace string
	Name      string
	CreatedAt pure.Wall

	Settings
	Paused   bool // hands out nothing
	Closed   bool // takes nothing
	AtOnce   bool // and was closed at once: nobody waits for what others hold
	Deleting bool // goes when its tasks have

	Purged Purged
}

// Purged says how far a queue is purged, by state: up to that value of the counter. Tasks that were in the state by then
// are purged, and where there are some, the sweep has not come to them yet.
type Purged [states]uint64

// To is the last id that may be purged, in any state; 0 is that nothing is.
func (p *Purged) To() uint64 { return slices.Max(p[:]) }

// purge purges some states (bits) up to a value of the counter.
func (p *Purged) purge(in uint32, to uint64) {
	for s := range p {
		if in&(1<<s) != 0 {
			p[s] = to
		}
	}
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

	Interrupt *Interrupt // waits for its client; nil if none does
}
