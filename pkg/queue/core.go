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

	wall   pure.Heap[*task]  // tasks by when they are ready, expire, or are dropped
	leases pure.Heap[*task]  // held tasks by when the broker loses patience with the attempt
	rates  pure.Heap[*queue] // queues by when their rate allows an attempt for which there is a task

	queueAges pure.Ages[queue]
	callAges  pure.Ages[call]
	taskAges  pure.Ages[task]

	order  pure.Order // task ids
	byName []*queue   // by namespace and name

	dirtyQueues   []*queue
	dirtyProfiles []*profile
	dirtyWorkers  []*worker
	sweeps        []*sweep
	bulky         bool // bulk work had the whole of the last step

	putters     map[uint64]*putter // submissions that wait for room, by the caller's name for them
	asking      map[name]*putter   // those of them that have a request id, by that
	joiners     map[uint64]*queue  // who waits for the end of all tasks
	arrivals    uint64             // of whoever waits
	waitedBytes int64              // of submissions that wait
	held        bool               // they wait, whatever room there is

	began pure.Lease // of the term

	// Strangers counts records about entities that were not there.
	Strangers int

	bytes   int64 // of tasks, about as encoded
	limits  Limits
	spaces  map[string]*space
	oldest  pure.Heap[*space] // those with ended tasks that may make room, by the oldest of them
	stepMax int               // records of one step of bulk work

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
	counts [states]uint64
	gone   [states]uint64   // of those that wait: the ones that a purge covers
	unique map[string]*task // live tasks by their key
	age    pure.Age[queue]
	dirty  bool

	lanes      map[laneName]*lane
	emptyLanes int
	space      *space // nil while a replay has not met the queue itself
	bytes      int64  // of its tasks
	total      int    // of its tasks
	profiles   map[string]*profile
	inOrder    []*profile // of their making
	waiting    int        // reservations
	putters    pure.Heap[*putter]
	joiners    []uint64

	keys       map[string]*fairKey
	idleKeys   pure.Heap[*fairKey]
	activeKeys int
	clock      int64    // attempts begun
	late       *fairKey // the only active key, if its turn is the clock and not settled yet

	paced     pure.Lease // see allowedAt
	ratePlace int32
}

type call struct {
	CallState
	tasks        []*task            // in no order; a task knows its place
	byIndex      map[uint64]*task   // live tasks
	open         int                // tasks that are not acknowledged
	bytes        int64              // of those
	attached     bool               // volatile: a stream listens
	updates      bool               // volatile: and wants to know of states that are not final
	rejects      bool               // volatile: tasks for a full queue, rather than have them wait
	waiting      map[uint64]*putter // volatile: those
	waitingBytes int64              // volatile: and their size
	finishes     bool               // volatile: once they are in
	missed       pure.Ranges        // volatile: acknowledged by others, and not known to the stream's client
	retold       pure.Ranges        // volatile: of those, what it was told again
	cancelling   int                // volatile: sweeps of indexes that are under way

	peerPlace int32 // one more than its index in peer.calls, 0 if it is not there

	age pure.Age[call]
}

type task struct {
	TaskState
	queue *queue
	call  *call
	group *group // while it waits in one
	peer  *peer  // while an attempt holds it

	progress *Progress // volatile: of the attempt that holds it

	waits *awaiting // who waits for it, nil if nobody does

	readyPlace    int32
	wallPlace     int32
	leasePlace    int32
	callPlace     int32 // one more than its index in call.tasks
	peerPlace     int32 // one more than its index in peer.attempts
	retainedPlace int32

	early     bool       // volatile: purged, and forgotten as soon as others know of its end
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
	// Limits bound what is kept.
	Limits Limits
	// StepRecordsMax bounds the records of one step of bulk work; 0 is 1,000.
	StepRecordsMax int
}

// New returns an empty core.
func New(cfg Config) *Core {
	if cfg.StepRecordsMax == 0 {
		cfg.StepRecordsMax = workMax
	}
	return &Core{
		putters:     map[uint64]*putter{},
		asking:      map[name]*putter{},
		joiners:     map[uint64]*queue{},
		rates:       pure.NewHeap(func(q *queue) *int32 { return &q.ratePlace }),
		queues:      map[uint64]*queue{},
		queueNames:  map[name]*queue{},
		calls:       map[uint64]*call{},
		callNames:   map[name]*call{},
		tasks:       map[uint64]*task{},
		requests:    map[name]*task{},
		peers:       map[session.ID]*peer{},
		waiters:     map[uint64]*waiter{},
		sessionName: cfg.SessionName,
		limits:      cfg.Limits,
		spaces:      map[string]*space{},
		oldest:      pure.NewHeap(func(s *space) *int32 { return &s.place }),
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

// Live is the size of everything that is kept, about as encoded: what compaction holds the journal against.
func (c *Core) Live() int64 {
	const entityBytes = 256 // of a queue or a call, on average
	return c.bytes + int64(len(c.queues)+len(c.calls))*entityBytes
}

// weight is a task's share of the journal and the state, in bytes.
func weight(t *TaskState) int64 {
	w := specWeight(&t.Spec) + int64(len(t.RequestID)+len(t.RetriedBy)+8*len(t.Waits)) + t.LastError.weight() +
		t.Checkpoint.weight() + partialsWeight(t.Partials)
	for _, id := range t.Joiners {
		w += int64(len(id)) + 16
	}
	for i := range t.History {
		w += 48 + t.History[i].Error.weight()
	}
	if t.Outcome != nil {
		w += int64(len(t.Outcome.Result.Data)) + 64 + t.Outcome.Error.weight()
	}
	return w
}

func specWeight(s *Spec) int64 {
	w := int64(len(s.Payload.Data)+len(s.Kind)) + 128
	if o := s.Options; o != nil && o != DefaultOptions {
		w += int64(len(o.UniqueKey) + len(o.FairnessKey) + 8*len(o.After))
		for _, label := range o.Labels {
			w += int64(len(label)) + 2
		}
		for _, label := range o.WorkerLabels {
			w += int64(len(label)) + 2
		}
	}
	return w
}

func (e *Error) weight() int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.Message) + len(e.Stack) + len(e.Reason))
}
