package queue

import (
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// space is a namespace's share of the state.
type space struct {
	name   string
	bytes  int64 // of its tasks, about as encoded
	waited int64 // of submissions that wait for room in their queue
	tasks  int
	calls  int
	queues int

	// Ended tasks that nobody is still to hear of, the oldest first: they make room when there is none.
	retained      pure.Heap[*task]
	retainedBytes int64
	oldest        pure.Key // of those
	place         int32    // in Core.oldest, by that

	relieved bool // volatile: there is a sweep that makes room
}

// Limits bound what is kept; 0 is without limit.
type Limits struct {
	Bytes          int64 // of all tasks
	Tasks          int
	NamespaceBytes int64 // of one namespace's
	NamespaceTasks int
}

const (
	queuesMax = 10_000  // of a namespace
	callsMax  = 100_000 // of a namespace
)

func (c *Core) space(namespace string) *space {
	s := c.spaces[namespace]
	if s == nil {
		s = &space{name: namespace, retained: pure.NewHeap(func(t *task) *int32 { return &t.retainedPlace })}
		c.spaces[namespace] = s
	}
	return s
}

// forgetSpace drops a namespace of which nothing is left.
func (c *Core) forgetSpace(s *space) {
	if s.queues == 0 && s.calls == 0 {
		delete(c.spaces, s.name)
	}
}

// account keeps count of bytes and tasks of a queue. One that a replay has not met yet has no namespace, and
// brings its counts along when it does.
func (c *Core) account(q *queue, bytes int64, tasks int) {
	all, own := c.stuffedAll(), q.space != nil && c.stuffedSpace(q.space)
	c.bytes += bytes
	q.bytes += bytes
	q.total += tasks
	if q.space != nil {
		q.space.bytes += bytes
		q.space.tasks += tasks
		c.relieve(q.space)
	}
	switch {
	case all && !c.stuffedAll():
		for _, other := range c.byName { // any of them may hand out tasks again
			c.soilQueue(other)
		}
	case own && !c.stuffedSpace(q.space):
		from, _ := slices.BinarySearchFunc(c.byName, name{namespace: q.Namespace}, compareNames)
		for _, other := range c.byName[from:] {
			if other.Namespace != q.Namespace {
				break
			}
			c.soilQueue(other)
		}
	}
}

// stuffed tells whether a queue hands out nothing because the state is larger than it may be, and by a
// quarter: results would add to it. Submissions are refused long before.
func (c *Core) stuffed(q *queue) bool {
	return c.stuffedAll() || q.space != nil && c.stuffedSpace(q.space)
}

func (c *Core) stuffedAll() bool { return exceeds(c.bytes, c.limits.Bytes) }

func (c *Core) stuffedSpace(s *space) bool { return exceeds(s.bytes, c.limits.NamespaceBytes) }

func exceeds(bytes, limit int64) bool { return limit > 0 && bytes > limit+limit/4 }

// relieve begins to forget ended tasks where that lets a stuffed namespace go on: nobody may ever submit
// anything that does so.
func (c *Core) relieve(s *space) {
	if !s.relieved && c.relief(s) != nil {
		s.relieved = true
		c.sweep(&sweep{stuffed: s})
	}
}

// relief is the namespace whose oldest ended task is to be forgotten for a stuffed one, nil if none is.
func (c *Core) relief(s *space) (from *space) {
	own := c.stuffedSpace(s)
	switch {
	case !own && !c.stuffedAll():
		return nil
	case s.retained.Len() > 0:
		return s
	case own:
		return nil
	}
	from, _, _ = c.oldest.Min()
	return from
}

// sweepStuffed makes room in a stuffed namespace, and tells whether it came to the end.
func (c *Core) sweepStuffed(step *pure.Step, s *space) bool {
	for {
		from := c.relief(s)
		if from == nil {
			s.relieved = false
			return true
		}
		if c.full(step) {
			return false
		}
		c.evict(step, from)
	}
}

// room refuses what would grow a namespace, or all of them, beyond the limits. Ended tasks that nobody is
// still to hear of go first, unless that is not enough: what is refused for good changes nothing. If more have to
// go than one step takes, the rest does when it is asked again.
func (c *Core) room(step *pure.Step, s *space, bytes int64, tasks int) *pure.Refusal {
	if refusal := c.overLimit(s, bytes-s.retainedBytes, tasks-s.retained.Len()); refusal != nil {
		return refusal
	}
	for {
		refusal := c.overLimit(s, bytes, tasks)
		if refusal == nil || c.full(step) || !c.evict(step, s) {
			return refusal
		}
	}
}

func (c *Core) overLimit(s *space, bytes int64, tasks int) *pure.Refusal {
	l := &c.limits
	switch {
	case l.Bytes > 0 && c.bytes+c.waitedBytes+bytes > l.Bytes:
		return pure.Refuse(pure.StateFull, "the broker holds as many bytes of tasks as it may", "limit", l.Bytes)
	case l.Tasks > 0 && len(c.tasks)+tasks > l.Tasks:
		return pure.Refuse(pure.StateFull, "the broker holds as many tasks as it may", "limit", l.Tasks)
	case l.NamespaceBytes > 0 && s.bytes+s.waited+bytes > l.NamespaceBytes:
		return pure.Refuse(pure.StateFull, "namespace "+s.name+" holds as many bytes of tasks as it may",
			"limit", l.NamespaceBytes, "namespace", s.name)
	case l.NamespaceTasks > 0 && s.tasks+tasks > l.NamespaceTasks:
		return pure.Refuse(pure.StateFull, "namespace "+s.name+" holds as many tasks as it may",
			"limit", l.NamespaceTasks, "namespace", s.name)
	}
	return nil
}

// evict forgets the oldest ended task of a namespace that nobody is still to hear of.
func (c *Core) evict(step *pure.Step, s *space) bool {
	t, _, ok := s.retained.Min()
	if !ok {
		return false
	}
	c.forgetTask(step, t)
	return true
}

// forgetTask drops an ended task, and its call if that was all of it.
func (c *Core) forgetTask(step *pure.Step, t *task) {
	k := t.call
	if !t.Acknowledged {
		c.tellReleased(step, t)
	}
	c.rec.dropped = TaskDropped{ID: t.ID}
	c.emit(step, &c.rec.dropped)
	if k != nil {
		c.dropIfDone(step, k)
	}
}

// retain notes whether an ended task may make room for others. Those that failed may not: they are the dead
// letters.
func (c *Core) retain(t *task) {
	s := t.queue.space
	if s == nil {
		return
	}
	heard := t.call == nil && t.State != Failed || t.Acknowledged
	if !t.State.Final() || !heard || t.awaited() {
		c.unretain(t)
		return
	}
	if t.retainedPlace == 0 {
		s.retainedBytes += weight(&t.TaskState)
	}
	s.retained.Set(t, pure.Key{A: int64(t.Outcome.FinishedAt), B: t.ID})
	c.age(s)
	c.relieve(s)
}

// unretain undoes retain. It comes before any change of the task.
func (c *Core) unretain(t *task) {
	if t.retainedPlace == 0 {
		return
	}
	s := t.queue.space
	s.retained.Remove(t)
	s.retainedBytes -= weight(&t.TaskState)
	c.age(s)
}

// age puts a namespace at its place among the others, by its oldest ended task.
func (c *Core) age(s *space) {
	switch _, oldest, some := s.retained.Min(); {
	case !some:
		c.oldest.Remove(s)
	case s.place == 0 || s.oldest != oldest:
		s.oldest = oldest
		c.oldest.Set(s, oldest)
	}
}

// countMax refuses one more of what a namespace has many of already.
func countMax(what string, n, limit int) *pure.Refusal {
	if n < limit {
		return nil
	}
	return pure.Refuse(pure.StateFull, fmt.Sprintf("the namespace has as many %s as it may", what), "limit", limit)
}
