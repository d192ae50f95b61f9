package queue

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// DefaultQueue is in every namespace.
const DefaultQueue = "default"

type name struct{ namespace, name string }

// Core is the state of all queues, tasks and calls of a shard. It is not safe for concurrent use.
type Core struct {
	queues      map[uint64]*queue
	queueNames  map[name]*queue
	calls       map[uint64]*call
	callNames   map[name]*call
	tasks       map[uint64]*task
	requests    map[name]*task
	peers       map[session.ID]*peer
	waiters     map[uint64]*waiter
	sessionName func(session.ID) string

	wall   pure.Heap[*task] // scheduled tasks by Next, final ones by when they are dropped
	leases pure.Heap[*task] // held tasks by when the broker loses patience with the attempt

	queueAges pure.Ages[queue]
	callAges  pure.Ages[call]
	taskAges  pure.Ages[task]

	order  pure.Order // task ids
	byName []*queue   // by namespace and name

	dirtyClasses []*class
	dirtyWorkers []*worker
	sweeps       []sweep

	// Strangers counts records about entities that were not there.
	Strangers int

	bytes    int64 // of tasks, about as encoded
	bytesMax int64 // 0 is without limit
	stepMax  int   // records of one step of bulk work

	// Records are handed to the sink and applied one at a time, so one of each kind is enough.
	rec struct {
		put        TaskPut
		dispatched TaskDispatched
		finished   TaskFinished
		retried    TaskRetried
		dropped    TaskDropped
	}
	putState TaskState
}

type queue struct {
	QueueState
	counts  [states]uint64
	classes map[string]*class
	waiters []*waiter
	age     pure.Age[queue]
}

type call struct {
	CallState
	tasks      []*task          // in no order; a task knows its place
	byIndex    map[uint64]*task // live tasks
	open       int              // tasks that are not acknowledged
	bytes      int64            // of those
	attached   bool             // volatile: a stream listens
	updates    bool             // volatile: and wants to know of states that are not final
	missed     pure.Ranges      // volatile: acknowledged by others, and not known to the stream's client
	retold     pure.Ranges      // volatile: of those, what it was told again
	cancelling int              // volatile: sweeps of indexes that are under way

	peerPlace int32 // one more than its index in peer.calls, 0 if it is not there

	age pure.Age[call]
}

type task struct {
	TaskState
	queue *queue
	call  *call
	class *class // while it waits in one
	peer  *peer  // while an attempt holds it

	readyPlace int32
	wallPlace  int32
	leasePlace int32
	callPlace  int32 // one more than its index in call.tasks
	peerPlace  int32 // one more than its index in peer.attempts

	watched   int32      // volatile: watchers
	since     pure.Lease // volatile: when the attempt began; 0 is before this term
	timeoutAt pure.Lease // volatile: the broker's own patience, 0 if none
	graceAt   pure.Lease // volatile: the worker is away, and this long it may be; 0 if it is not

	age pure.Age[task]
}

// Config is what a core is told at its making.
type Config struct {
	// SessionName names a session for people.
	SessionName func(session.ID) string
	// BytesMax bounds the bytes of all tasks; 0 is without limit.
	BytesMax int64
	// StepRecordsMax bounds the records of one step of bulk work; 0 is 1,000.
	StepRecordsMax int
}

// New returns an empty core.
func New(cfg Config) *Core {
	if cfg.StepRecordsMax == 0 {
		cfg.StepRecordsMax = workMax
	}
	return &Core{
		queues:      map[uint64]*queue{},
		queueNames:  map[name]*queue{},
		calls:       map[uint64]*call{},
		callNames:   map[name]*call{},
		tasks:       map[uint64]*task{},
		requests:    map[name]*task{},
		peers:       map[session.ID]*peer{},
		waiters:     map[uint64]*waiter{},
		sessionName: cfg.SessionName,
		bytesMax:    cfg.BytesMax,
		stepMax:     cfg.StepRecordsMax,
		wall:        pure.NewHeap(func(t *task) *int32 { return &t.wallPlace }),
		leases:      pure.NewHeap(func(t *task) *int32 { return &t.leasePlace }),
		queueAges:   pure.NewAges(func(q *queue) *pure.Age[queue] { return &q.age }),
		callAges:    pure.NewAges(func(k *call) *pure.Age[call] { return &k.age }),
		taskAges:    pure.NewAges(func(t *task) *pure.Age[task] { return &t.age }),
	}
}

// emit hands a record to the journal and applies it.
func (c *Core) emit(step *pure.Step, rec any) {
	step.Emit(rec)
	c.Apply(rec, step.Seq)
}

// Bytes is the size of all tasks, about as encoded.
func (c *Core) Bytes() int64 { return c.bytes }

// weight is a task's share of the journal and the state, in bytes.
func weight(t *TaskState) int64 {
	w := int64(len(t.Payload.Data)+len(t.Kind)+len(t.RequestID)) + 128
	if t.Options != nil {
		for _, label := range t.Options.Labels {
			w += int64(len(label)) + 2
		}
	}
	if t.Outcome != nil {
		w += int64(len(t.Outcome.Result.Data)) + 64
		if t.Outcome.Error != nil {
			w += int64(len(t.Outcome.Error.Message) + len(t.Outcome.Error.Stack))
		}
	}
	return w
}
