package schedule

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weftq/weft/internal/pure"
)

type name struct{ namespace, name string }

// Core is the state of all schedules of a shard. It is not safe for concurrent use.
type Core struct {
	cfg    Config
	byID   map[uint64]*Schedule
	byName map[name]*Schedule
	sorted []*Schedule // by namespace and name
	spaces map[string]*space
	due    pure.Heap[*Schedule]
	ages   pure.Ages[Schedule]
	bytes  int64

	// Strangers counts records about schedules that were not there.
	Strangers int
}

// space is what a namespace has.
type space struct {
	schedules int
	bytes     int64
}

// Config is what a core is told at its making.
type Config struct {
	// Next is the first time of a cron line in a zone that is after a moment, and false if there is none. It is
	// never asked by a replay.
	Next func(cron, zone string, after pure.Wall) (pure.Wall, bool)
	// Room refuses so many bytes more; nil never does. It is never asked by a replay.
	Room func(bytes int64) *pure.Refusal
	// NamespaceBytes bounds the schedules of a namespace; 0, or more, is BytesMax.
	NamespaceBytes int64
}

// New returns a core without schedules.
func New(cfg Config) *Core {
	if cfg.Next == nil {
		cfg.Next = func(string, string, pure.Wall) (pure.Wall, bool) { return 0, false }
	}
	if cfg.NamespaceBytes == 0 || cfg.NamespaceBytes > BytesMax {
		cfg.NamespaceBytes = BytesMax
	}
	return &Core{
		cfg:    cfg,
		byID:   map[uint64]*Schedule{},
		byName: map[name]*Schedule{},
		spaces: map[string]*space{},
		due:    pure.NewHeap(func(s *Schedule) *int32 { return &s.place }),
		ages:   pure.NewAges(func(s *Schedule) *pure.Age[Schedule] { return &s.age }),
	}
}

// Get returns a schedule of a namespace.
func (c *Core) Get(namespace, scheduleName string) (*Schedule, error) {
	s := c.byName[name{namespace, scheduleName}]
	if s == nil {
		return nil, pure.Refuse(pure.ScheduleNotFound,
			"there is no schedule "+scheduleName+" in namespace "+namespace, "schedule", scheduleName)
	}
	return s, nil
}

// List returns a namespace's schedules by name, those after a name, at most n, and whether there are more.
func (c *Core) List(namespace, after string, n int) ([]*Schedule, bool) {
	var out []*Schedule
	from, found := slices.BinarySearchFunc(c.sorted, name{namespace, after}, compareNames)
	if found {
		from++
	}
	for _, s := range c.sorted[from:] {
		if s.Namespace != namespace {
			break
		}
		if len(out) == n {
			return out, true
		}
		out = append(out, s)
	}
	return out, false
}

func compareNames(s *Schedule, n name) int {
	return cmp.Or(strings.Compare(s.Namespace, n.namespace), strings.Compare(s.Name, n.name))
}

// NextWall is when the next schedule is due.
func (c *Core) NextWall() (pure.Wall, bool) {
	_, key, ok := c.due.Min()
	return pure.Wall(key.A), ok
}

// Due returns the schedule that is due for longest, nil if none is.
func (c *Core) Due(now pure.Wall) *Schedule {
	s, key, ok := c.due.Min()
	if !ok || key.A > int64(now) {
		return nil
	}
	return s
}

// emit hands a record to the journal and applies it.
func (c *Core) emit(step *pure.Step, rec any) {
	step.Emit(rec)
	c.Apply(rec, step.Seq)
}

// Apply applies a record, a new one or one of the journal.
func (c *Core) Apply(rec any, seq uint64) {
	switch rec := rec.(type) {
	case *Put:
		c.applyPut(rec, seq)
	case *Fired:
		if s := c.known(rec.ID); s != nil {
			s.Progress = rec.Progress
			c.placeDue(s)
		}
	case *Dropped:
		c.applyDropped(rec)
	}
}

// known returns a schedule that a record is about, nil if it is not there, which only a replay below the floor
// may meet.
func (c *Core) known(id uint64) *Schedule {
	s := c.byID[id]
	if s == nil {
		c.Strangers++
	}
	return s
}

func (c *Core) applyPut(rec *Put, seq uint64) {
	s := c.byID[rec.State.ID]
	if s == nil {
		s = &Schedule{State: rec.State}
		key := name{s.Namespace, s.Name}
		c.byID[s.ID], c.byName[key] = s, s
		if c.spaces[s.Namespace] == nil {
			c.spaces[s.Namespace] = &space{}
		}
		c.spaces[s.Namespace].schedules++
		at, _ := slices.BinarySearchFunc(c.sorted, key, compareNames)
		c.sorted = slices.Insert(c.sorted, at, s)
	}
	s.State = rec.State
	before := s.weight
	s.weight = weight(&s.State)
	c.bytes += s.weight - before
	c.spaces[s.Namespace].bytes += s.weight - before
	c.placeDue(s)
	c.ages.Touch(s, seq)
}

func (c *Core) applyDropped(rec *Dropped) {
	s := c.known(rec.ID)
	if s == nil {
		return
	}
	key := name{s.Namespace, s.Name}
	delete(c.byID, s.ID)
	delete(c.byName, key)
	own := c.spaces[s.Namespace]
	own.bytes -= s.weight
	if own.schedules--; own.schedules == 0 {
		delete(c.spaces, s.Namespace)
	}
	if at, found := slices.BinarySearchFunc(c.sorted, key, compareNames); found {
		c.sorted = slices.Delete(c.sorted, at, at+1)
	}
	c.bytes -= s.weight
	c.due.Remove(s)
	c.ages.Remove(s)
}

// placeDue puts a schedule where its next time is.
func (c *Core) placeDue(s *Schedule) {
	if s.Paused || s.Next == 0 {
		c.due.Remove(s)
		return
	}
	c.due.Set(s, pure.Key{A: int64(s.Next), B: s.ID})
}

// weight is a schedule's share of the journal and the state, in bytes.
func weight(s *State) int64 {
	w := 256 + len(s.Name) + len(s.Cron) + len(s.Zone) + len(s.Task.Queue) + len(s.Task.Spec.Payload.Data) + len(s.Task.Spec.Kind)
	if o := s.Task.Spec.Options; o != nil {
		w += len(o.UniqueKey) + len(o.FairnessKey)
		for _, labels := range [][]string{o.Labels, o.WorkerLabels} {
			for _, label := range labels {
				w += len(label) + 2
			}
		}
	}
	return int64(w)
}

// Bytes is the size of all schedules, about as encoded.
func (c *Core) Bytes() int64 { return c.bytes }

// Len is the number of schedules.
func (c *Core) Len() int { return len(c.byID) }

// OldestBase is the least base of any schedule.
func (c *Core) OldestBase() (uint64, bool) {
	s := c.ages.Oldest()
	if s == nil {
		return 0, false
	}
	return s.age.Base(), true
}

// CopyOldest writes the oldest schedule's whole state anew.
func (c *Core) CopyOldest(step *pure.Step) {
	c.emit(step, &Put{State: c.ages.Oldest().State})
}
