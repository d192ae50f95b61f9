package lockservice

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Limits.
const (
	WaitersMax = 10_000 // at one object
	ChannelMax = 64     // channels of a session
	WindowMax  = 4096   // commands of a channel without an acknowledged answer
	MemoryTime = time.Minute

	objectsListed = 100 // holders and waiters of one, in a listing
)

// Kind says what is held, or waited for.
type Kind uint8

// Kinds of what is held or waited for.
const (
	KindLock      Kind = 1
	KindSemaphore Kind = 2
	KindCondition Kind = 3
	KindBarrier   Kind = 4
)

// String is the kind's name for people.
func (k Kind) String() string {
	return [...]string{"", "lock", "semaphore", "condition", "barrier"}[k]
}

// Mode says how a lock is held.
type Mode uint8

// Modes of a lock.
const (
	Exclusive Mode = 1
	Shared    Mode = 2
)

// HolderID is a holder inside of a session.
type HolderID struct {
	Session session.ID
	Number  uint64
}

// Origin is the request that something answers: a command of a stream, or a request with an id. The zero one is a
// request that cannot be repeated.
type Origin struct {
	Session         session.ID
	Channel, Number uint64 // of a stream's command; numbers begin with 1
	Below           uint64 // answers to lower numbers are acknowledged

	RequestID string // of a request with an id, in its namespace
	Hash      [16]byte
}

// Wait is how long a request may wait.
type Wait struct {
	Timed bool
	For   time.Duration // if it is timed; 0 is not at all
}

// Try tells whether a request does not wait.
func (w Wait) Try() bool { return w.Timed && w.For <= 0 }

// Request is what all requests of holders have.
type Request struct {
	Namespace, Name string
	Holder          HolderID
	Label           string // the holder's name for people
	Origin          Origin
	Wait            Wait
}

// Outcome is how a request ended.
type Outcome uint8

// Outcomes of requests.
const (
	Done      Outcome = 1
	TimedOut  Outcome = 2
	Broken    Outcome = 3 // its barrier
	Abandoned Outcome = 4
)

// Answer is what a request is answered with.
type Answer struct {
	Outcome    Outcome
	Token      uint64 // of what was granted
	Permits    int64  // of a free semaphore, likewise
	Depth      uint32
	Index      uint32 // of a barrier's party
	Act        bool
	Generation uint64 // of a barrier's meeting, or of an event
	Count      uint64 // of those notified
	Set        bool   // an event
	Notified   bool   // a condition's waiter
	Version    uint64 // of a value
	Data       Data   // of a value that is a number or a truth value
}

// Decision is what became of a request: an answer, or a waiter that will be resolved.
type Decision struct {
	Answer Answer
	Waiter uint64 // 0 is answered
	Since  uint64 // the generation of the event that it waits for
}

func answered(a Answer) (Decision, error) { return Decision{Answer: a}, nil }

// Resolved says that a waiter's request is answered, or refused.
type Resolved struct {
	Waiter uint64
	Origin Origin
	Answer Answer
	Err    *pure.Refusal
}

// GrantState is a grant's durable state.
type GrantState struct {
	Token           uint64
	Kind            Kind
	Namespace, Name string
	Holder          HolderID
	Label           string
	Mode            Mode
	Depth           uint32
	Permits         int64
	Published       string
	Since           pure.Wall
}

// Grant is what a holder has of a lock or of a semaphore.
type Grant struct {
	GrantState
	holder   *holder
	inHolder int
	inObject int
	node     node
}

// WaiterState is a waiter's durable state.
type WaiterState struct {
	ID              uint64
	Kind            Kind
	Namespace, Name string
	Lock            string // of a condition
	Holder          HolderID
	Label           string
	Mode            Mode
	Depth           uint32 // that it will have
	Permits         int64
	Action          bool // of a barrier's party
	Published       string
	Wait            Wait
	Since           pure.Wall
	Origin          Origin

	Order    uint64 // its place among those who wait; its id, until it moves
	Back     bool   // of a condition: it waits for the lock again
	Notified bool   // of a condition that it is back from: not because its time was over
}

// Waiter waits for a lock, a semaphore, a condition or a barrier.
type Waiter struct {
	WaiterState
	holder   *holder
	place    int32  // in the queue of what it waits for
	deadline int32  // place among the deadlines
	claim    int32  // among those that nobody has asked for in this term
	mark     uint64 // the search that met it last, and where it is there
	vertex   int
	node     node
}

// atLock tells whether it waits for a lock now.
func (w *Waiter) atLock() bool { return w.Kind == KindLock || w.Back }

// heldKind is the kind of what it waits to hold.
func (w *Waiter) heldKind() Kind {
	if w.Kind == KindSemaphore {
		return KindSemaphore
	}
	return KindLock
}

// lockName is the lock that it waits for, or will.
func (w *Waiter) lockName() name {
	if w.Kind == KindCondition {
		return name{w.Namespace, w.Lock}
	}
	return name{w.Namespace, w.Name}
}

// SemaphoreSpec is a semaphore's declaration.
type SemaphoreSpec struct {
	Permits       int64
	Free, Bounded bool
}

// SemaphoreState is a semaphore's durable state, beside its grants and waiters.
type SemaphoreState struct {
	Namespace, Name string
	Spec            SemaphoreSpec
	Available       int64 // of a free one
}

// EventState is an event.
type EventState struct {
	Namespace, Name string
	Set             bool
	Generation      uint64 // by the counter when it was last set: more than 1
}

// BarrierState is a barrier's durable state, beside its waiters.
type BarrierState struct {
	Namespace, Name string
	Parties         uint32
	Generation      uint64 // of the meeting whose action runs, or of the last one
	Broken          bool
	Acting          bool
	Actor           HolderID // while it acts
}

// Type is a value's.
type Type uint8

// Types of values.
const (
	Bool   Type = 1
	Int64  Type = 2
	Double Type = 3
	String Type = 4
	Bytes  Type = 5
)

// String is the type's name for people.
func (t Type) String() string {
	return [...]string{"none", "bool", "int64", "double", "string", "bytes"}[t]
}

// Data is what a value holds.
type Data struct {
	Type   Type
	Number int64 // a truth value is 0 or 1
	Double float64
	Text   string // also bytes
}

// ValueState is a value.
type ValueState struct {
	Namespace, Name string
	Data            Data
	Version         uint64 // the counter at the last change
}

// Guard lets a change through only while a token is of a live grant of a lock. Token 0 is none.
type Guard struct {
	Lock  string
	Token uint64
}
