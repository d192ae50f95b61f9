package queue

import (
	"slices"
	"strconv"

	"github.com/weftq/weft/internal/pure"
)

// lane is the ready tasks of one kind in a queue that ask for the same labels of a worker: whoever may run
// one of them may run all. Tasks are indexed by lane so that one that nobody serves delays no other.
type lane struct {
	queue  *queue
	name   laneName
	labels []string // that a worker must have
	groups map[*fairKey]*group
	active int               // groups with tasks
	heads  pure.Heap[*group] // by turn; without those whose key is at its limit
	links  []*link           // profiles that take from it
}

// emptyLanesMax is how many lanes without tasks a queue keeps: the next task is likely to be of one of them.
const emptyLanesMax = 64

type laneName struct{ kind, labels string }

// group is the ready tasks of one fairness key in a lane.
type group struct {
	lane     *lane
	key      *fairKey
	ready    pure.Heap[*task]
	place    int32 // in lane.heads
	keyPlace int   // in key.groups
}

// link is a lane's place in a profile.
type link struct {
	lane    *lane
	profile *profile
	place   int32
}

func laneOf(t *task) laneName {
	return laneName{t.Kind, concatenated(t.Options.WorkerLabels)}
}

// concatenated makes one string of several. It is another one for other strings, whatever is in them.
func concatenated(list []string) string {
	if len(list) == 0 {
		return ""
	}
	n := 0
	for _, s := range list {
		n += len(s) + 4
	}
	out := make([]byte, 0, n)
	for _, s := range list {
		out = strconv.AppendInt(out, int64(len(s)), 10)
		out = append(out, ':')
		out = append(out, s...)
	}
	return string(out)
}

// lane returns the lane of a task, made if need be.
func (c *Core) lane(t *task) *lane {
	q, n := t.queue, laneOf(t)
	l := q.lanes[n]
	if l == nil {
		l = &lane{
			queue: q, name: n, labels: t.Options.WorkerLabels, groups: map[*fairKey]*group{},
			heads: pure.NewHeap(func(g *group) *int32 { return &g.place }),
		}
		q.lanes[n] = l
		q.emptyLanes++
		for _, p := range q.inOrder {
			p.join(l)
		}
	}
	return l
}

// enqueue puts a ready task at its place.
func (c *Core) enqueue(t *task) {
	l := c.lane(t)
	k := t.queue.key(t.Options.FairnessKey)
	g := l.groups[k]
	if g == nil {
		g = &group{lane: l, key: k, ready: pure.NewHeap(func(t *task) *int32 { return &t.readyPlace })}
		l.groups[k] = g
	}
	if g.ready.Len() == 0 {
		if l.active++; l.active == 1 {
			t.queue.emptyLanes--
		}
		k.activate(g)
	}
	t.group = g
	g.ready.Set(t, pure.Key{B: t.queue.order(t)})
	g.settle()
	for _, x := range l.links {
		c.soil(x.profile)
	}
}

// dequeue takes a ready task out of its place.
func (c *Core) dequeue(t *task) {
	g := t.group
	t.group = nil
	g.ready.Remove(t)
	if g.ready.Len() > 0 {
		g.settle()
		return
	}
	l := g.lane
	l.heads.Remove(g)
	l.settle()
	if g.key.name != "" {
		delete(l.groups, g.key)
	}
	g.key.deactivate(g)
	if l.active--; l.active > 0 {
		return
	}
	if l.queue.emptyLanes++; l.queue.emptyLanes > emptyLanesMax {
		l.queue.dropLane(l)
	}
}

func (q *queue) dropLane(l *lane) {
	delete(q.lanes, l.name)
	q.emptyLanes--
	for _, x := range l.links {
		x.profile.leave(x)
	}
}

// order is a task's place among others of its key: 16 bits of priority and 48 of its id, of which there are
// enough for decades at any speed.
func (q *queue) order(t *task) uint64 {
	const idBits = 48
	switch q.Order {
	case LIFO:
		return 1<<idBits - 1 - t.ID
	case FIFO:
		return t.ID
	}
	return uint64(int64(t.Options.Priority)-PriorityMin)<<idBits | t.ID
}

// settle puts a group at its place in its lane, and the lane at its place in the profiles.
func (g *group) settle() {
	if g.key.parked() {
		g.lane.heads.Remove(g)
	} else {
		_, key, _ := g.ready.Min()
		g.lane.heads.Set(g, pure.Key{A: g.key.turn, B: key.B})
	}
	g.lane.settle()
}

func (l *lane) settle() {
	_, key, ok := l.heads.Min()
	for _, x := range l.links {
		if ok {
			x.profile.lanes.Set(x, key)
		} else {
			x.profile.lanes.Remove(x)
		}
	}
}

// first is the next task of a lane, nil if there is none.
func (l *lane) first() *task {
	g, _, ok := l.heads.Min()
	if !ok {
		return nil
	}
	t, _, _ := g.ready.Min()
	return t
}

// hasLabels tells whether a list of keys and values has all of another.
func hasLabels(have, want []string) bool {
	for i := 0; i+1 < len(want); i += 2 {
		if !hasLabel(have, want[i], want[i+1]) {
			return false
		}
	}
	return true
}

func hasLabel(have []string, key, value string) bool {
	for i := 0; i+1 < len(have); i += 2 {
		if have[i] == key {
			return have[i+1] == value
		}
	}
	return false
}

func without[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(y T) bool { return x == y })
}
