package lockservice

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

type name struct{ namespace, name string }

// Core is the state of the lock service of a shard. It is not safe for concurrent use.
type Core struct {
	cfg Config

	grants  map[uint64]*Grant // by token
	waiters map[uint64]*Waiter
	origins map[originKey]*Waiter
	holders map[HolderID]*holder
	peers   map[session.ID]*peer

	locks      registry[lock]
	conditions map[name]*condition
	semaphores registry[semaphore]
	events     registry[event]
	barriers   registry[barrier]
	values     registry[value]

	requests  map[requestKey]*request
	deadlines pure.Heap[*Waiter]
	forget    pure.Heap[*request]
	claims    pure.Heap[*Waiter] // of requests, after a replay: until their clients ask again
	watchers  watchers
	leaving   []HolderID // whose things are yet to be given up
	errands   []errand   // what others are yet to be given
	sent      map[errand]bool
	ages      pure.Ages[node]
	spaces    map[string]*space
	bytes     int64
	epoch     uint64     // of searches of the wait-for graph
	now       pure.Lease // of the step that is applied; a replay has no time, and Serve gives all of it

	// Strangers counts records about what was not there.
	Strangers int
}

// Config is what a core is told at its making.
type Config struct {
	// Alive tells whether a session lives.
	Alive func(session.ID) bool
	// SessionName is a session's name for people.
	SessionName func(session.ID) string
	// Room refuses so many bytes more; nil never does. It is never asked by a replay.
	Room func(bytes int64) *pure.Refusal
	// NamespaceBytes bounds what a namespace has here; 0, or more, is BytesMax.
	NamespaceBytes int64
	// StepRecordsMax bounds one step of bulk work; 0 is 1,000.
	StepRecordsMax int
}

// BytesMax bounds the state of one namespace.
const BytesMax = 256 << 20

// node is an entity's place among all by age, and what it weighs.
type node struct {
	age       pure.Age[node]
	entity    any
	namespace string
	weight    int64
}

// space is what a namespace has.
type space struct {
	entities int
	bytes    int64
}

// New returns an empty core.
func New(cfg Config) *Core {
	if cfg.NamespaceBytes == 0 || cfg.NamespaceBytes > BytesMax {
		cfg.NamespaceBytes = BytesMax
	}
	if cfg.StepRecordsMax == 0 {
		cfg.StepRecordsMax = 1000
	}
	return &Core{
		cfg:    cfg,
		grants: map[uint64]*Grant{}, waiters: map[uint64]*Waiter{}, origins: map[originKey]*Waiter{},
		holders: map[HolderID]*holder{}, peers: map[session.ID]*peer{},
		locks: newRegistry[lock](), conditions: map[name]*condition{}, semaphores: newRegistry[semaphore](),
		events: newRegistry[event](), barriers: newRegistry[barrier](), values: newRegistry[value](),
		requests:  map[requestKey]*request{},
		deadlines: pure.NewHeap(func(w *Waiter) *int32 { return &w.deadline }),
		forget:    pure.NewHeap(func(r *request) *int32 { return &r.place }),
		claims:    pure.NewHeap(func(w *Waiter) *int32 { return &w.claim }),
		watchers:  newWatchers(),
		ages:      pure.NewAges(func(n *node) *pure.Age[node] { return &n.age }),
		spaces:    map[string]*space{},
		sent:      map[errand]bool{},
	}
}

// registry has the objects of one kind, by name and in the order in which they appeared.
type registry[T any] struct {
	byName map[name]*T
	byNo   map[uint64]*T
	order  pure.Order
	last   uint64
}

func newRegistry[T any]() registry[T] {
	return registry[T]{byName: map[name]*T{}, byNo: map[uint64]*T{}}
}

func (r *registry[T]) add(n name, object *T) (number uint64) {
	r.last++
	r.byName[n], r.byNo[r.last] = object, object
	r.order.Add(r.last, len(r.byNo), func(no uint64) bool { return r.byNo[no] != nil })
	return r.last
}

func (r *registry[T]) remove(n name, number uint64) {
	delete(r.byName, n)
	delete(r.byNo, number)
}

// examinedMax bounds the objects that one page looks at, so that a listing never holds up the loop.
const examinedMax = 10_000

// list calls fn for the objects after a number until it says that the page is full, and returns the number to go on
// from, 0 at the end. fn tells of each whether it took it, and whether there is room for more.
func (r *registry[T]) list(after uint64, fn func(*T) (more bool)) uint64 {
	for examined, number := range r.order.After(after) {
		object := r.byNo[number]
		if object == nil {
			continue
		}
		if examined == examinedMax || !fn(object) {
			return number - 1
		}
	}
	return 0
}

// emit hands a record to the journal and applies it.
func (c *Core) emit(step *pure.Step, rec any) {
	c.now = step.Lease
	step.Emit(rec)
	c.Apply(rec, step.Seq)
}

// touch notes an entity's whole-state record.
func (c *Core) touch(n *node, entity any, namespace string, weight int64, seq uint64) {
	s := c.spaces[namespace]
	if s == nil {
		s = &space{}
		c.spaces[namespace] = s
	}
	if n.entity == nil {
		n.entity, n.namespace = entity, namespace
		s.entities++
	}
	s.bytes += weight - n.weight
	c.bytes += weight - n.weight
	n.weight = weight
	c.ages.Touch(n, seq)
}

// weigh notes that an entity has another size.
func (c *Core) weigh(n *node, weight int64) {
	c.spaces[n.namespace].bytes += weight - n.weight
	c.bytes += weight - n.weight
	n.weight = weight
}

// lose notes the end of an entity.
func (c *Core) lose(n *node) {
	if n.entity == nil {
		return // a replay has not met its state
	}
	s := c.spaces[n.namespace]
	s.bytes -= n.weight
	c.bytes -= n.weight
	if s.entities--; s.entities == 0 {
		delete(c.spaces, n.namespace)
	}
	c.ages.Remove(n)
	n.entity = nil
}

// room refuses so many bytes more in a namespace.
func (c *Core) room(namespace string, bytes int64) error {
	if c.cfg.Room != nil {
		if refusal := c.cfg.Room(bytes); refusal != nil {
			return refusal
		}
	}
	if s := c.spaces[namespace]; s != nil && s.bytes+bytes > c.cfg.NamespaceBytes {
		return pure.Refuse(pure.StateFull, "the namespace has as many bytes of locks, waiters and values as it may",
			"limit", c.cfg.NamespaceBytes, "namespace", namespace)
	}
	return nil
}

// objectBytes is about what a small object takes.
const objectBytes = 256

// roomFor is [Core.room] for a request whose answer is kept, if it can come again. What gives something up asks for none.
func (c *Core) roomFor(namespace string, o *Origin, bytes int64) error {
	if _, kept := keyOf(namespace, o); kept {
		bytes += answerBytes
	}
	if bytes == 0 {
		return nil
	}
	return c.room(namespace, bytes)
}

// Bytes is about what everything here takes, in the journal and in memory.
func (c *Core) Bytes() int64 { return c.bytes }

// Len is the number of entities.
func (c *Core) Len() (n int) {
	for _, s := range c.spaces {
		n += s.entities
	}
	return n
}

// OldestBase is the least base of any entity.
func (c *Core) OldestBase() (uint64, bool) {
	n := c.ages.Oldest()
	if n == nil {
		return 0, false
	}
	return n.age.Base(), true
}

// CopyOldest writes the oldest entity's whole state anew.
func (c *Core) CopyOldest(step *pure.Step) {
	n := c.ages.Oldest()
	switch e := n.entity.(type) {
	case *Grant:
		step.Emit(&GrantPut{e.GrantState})
	case *Waiter:
		step.Emit(&WaiterPut{e.WaiterState})
	case *semaphore:
		step.Emit(&SemaphorePut{e.SemaphoreState})
	case *event:
		step.Emit(&EventPut{e.EventState})
	case *barrier:
		step.Emit(&BarrierPut{e.BarrierState})
	case *value:
		step.Emit(&ValuePut{e.ValueState})
	case *window:
		step.Emit(&WindowPut{e.state()})
	case *request:
		step.Emit(&Answered{Namespace: e.key.namespace, Origin: Origin{RequestID: e.key.id, Hash: e.hash}, Answer: e.answer})
	}
	c.ages.Touch(n, step.Seq)
}
