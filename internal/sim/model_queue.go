package sim

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// modelQueue is a queue as the journal says.
type modelQueue struct {
	last    *journalv1.QueuePut
	dropped bool
	waiting uint64
	running uint64
	perKey  map[string]uint32
	live    map[string]uint64 // tasks by unique key

	spent bool // at some moment of the last entry it had nothing more to hand out
}

// spends notes which queues have nothing more to hand out: closed, nothing waits, and nobody holds what might come
// back, unless it was closed at once. anew begins an entry.
func (m *model) spends(anew bool) {
	for _, q := range m.queues {
		now := !q.dropped && q.last.Closed && q.waiting == 0 && (q.last.AtOnce || q.running == 0)
		q.spent = now || q.spent && !anew
	}
}

// refused holds a reservation that is told that its queue is closed to that: nothing could come any more.
func (o *observer) refused(c *shard.ReserveTasks) {
	for _, q := range o.m.queues {
		if o.m.servedAs(q) == c.Reservation.Queue && q.spent {
			return
		}
	}
	o.fail("a reservation at queue %q is told that it is closed, and tasks may come", c.Reservation.Queue)
}

func (m *model) queuePut(r *journalv1.QueuePut) {
	q := m.queues[r.Id]
	if q == nil {
		for _, other := range m.queues {
			if other.last.Name == r.Name && !other.last.Deleting {
				m.fail("queue %s is made twice", r.Name)
			}
		}
		m.queues[r.Id] = &modelQueue{last: r, perKey: map[string]uint32{}, live: map[string]uint64{}}
		return
	}
	if q.dropped || q.last.Name != r.Name || q.last.Deleting && !r.Deleting {
		m.fail("queue %d is written after its end, or renamed", r.Id)
	}
	over := furthest(r) == 0
	if !over && furthest(r) < furthest(q.last) {
		m.fail("queue %d was purged further", r.Id)
	}
	for _, id := range m.order {
		if t := m.tasks[id]; t.queue == r.Id && !t.dropped {
			m.purge(t, purgedTo(r, t.state) > purgedTo(q.last, t.state), over)
		}
	}
	q.last = r
}

// purge notes that a purge covers a task from now on, or that it is over. What comes to its state from now on is not
// covered, whatever its id is.
func (m *model) purge(t *modelTask, begins, over bool) {
	switch {
	case begins:
		m.count(t, -1)
		t.purged = true
		m.count(t, 1)
	case over && t.purged && t.state.Waits():
		m.fail("queue %d is purged, and task %d is %v", t.queue, t.id, t.state)
	case over && t.call != 0 && !t.acked: // its client was still to hear of it
		t.purged = false
	}
}

func (m *model) queueDropped(r *journalv1.QueueDropped) {
	q := m.queues[r.Id]
	if q == nil || q.dropped || !q.last.Deleting {
		m.fail("queue %d is dropped and was not deleted", r.Id)
		return
	}
	q.dropped = true
	for _, id := range m.order {
		if t := m.tasks[id]; t.queue == r.Id && !t.dropped {
			m.fail("queue %d is dropped with task %d", r.Id, id)
		}
	}
}

// set moves a task to another state, by the account of its queue.
func (m *model) set(t *modelTask, state queue.State) {
	m.count(t, -1)
	t.state, t.purged = state, false
	m.count(t, 1)
}

func (m *model) count(t *modelTask, by int) {
	q := m.queues[t.queue]
	if q == nil || t.dropped {
		return
	}
	key, unique := t.opts.GetFairnessKey(), t.opts.GetUniqueKey()
	switch {
	case t.state.Waits() && !t.purged:
		q.waiting += uint64(by)
	case t.state.Held():
		q.running += uint64(by)
		if key != "" {
			q.perKey[key] += uint32(by)
		}
	}
	if unique == "" || t.joined != 0 || t.state.Final() {
		return
	}
	switch other := q.live[unique]; {
	case by < 0:
		delete(q.live, unique)
	case other != 0:
		m.fail("tasks %d and %d are live and of the unique key %s", other, t.id, unique)
	default:
		q.live[unique] = t.id
	}
}

// purges tells whether a purge or a deletion covers a task.
func (m *model) purges(t *modelTask) bool {
	return t.purged || m.queues[t.queue].last.Deleting
}

// purgedTo is how far a queue is purged of a state.
func purgedTo(r *journalv1.QueuePut, state queue.State) uint64 {
	if int(state) < len(r.Purged) {
		return r.Purged[state]
	}
	return 0
}

// furthest is how far a queue is purged of any state.
func furthest(r *journalv1.QueuePut) uint64 { return slices.Max(append([]uint64{0}, r.Purged...)) }

// admitted holds a new task to the state of its queue.
func (m *model) admitted(t *modelTask) {
	q := m.queues[t.queue]
	switch {
	case q == nil || q.dropped:
		m.fail("task %d is accepted by queue %d, which is not there", t.id, t.queue)
	case t.state.Final():
	case q.last.Closed || q.last.Deleting:
		m.fail("task %d is accepted by queue %s, which is closed", t.id, q.last.Name)
	case t.joined == 0 && q.last.MaxSize > 0 && q.waiting >= q.last.MaxSize:
		m.fail("task %d is accepted by queue %s, where %d of %d wait", t.id, q.last.Name, q.waiting, q.last.MaxSize)
	}
}

// allowed holds a dispatch to the limits of the queue, and to what the task asks for.
func (m *model) allowed(t *modelTask, r *journalv1.TaskDispatched) {
	q := m.queues[t.queue]
	key := t.opts.GetFairnessKey()
	switch {
	case q.last.Paused:
		m.fail("task %d is dispatched, and queue %s is paused", t.id, q.last.Name)
	case q.last.MaxRunning > 0 && q.running >= uint64(q.last.MaxRunning):
		m.fail("task %d is dispatched, and queue %s runs %d of %d", t.id, q.last.Name, q.running, q.last.MaxRunning)
	case key != "" && q.last.MaxRunningPerKey > 0 && q.perKey[key] >= q.last.MaxRunningPerKey:
		m.fail("task %d is dispatched, and queue %s runs %d of key %s", t.id, q.last.Name, q.perKey[key], key)
	case m.purges(t):
		m.fail("task %d is dispatched, and is purged", t.id)
	case t.opts.GetDeadline() != 0 && pure.Wall(t.opts.GetDeadline()) <= m.wallLow:
		m.fail("task %d is dispatched after its deadline", t.id)
	}
	for _, id := range t.opts.GetAfter() {
		if on := m.tasks[id]; on != nil && !on.state.Final() && !on.revived {
			m.fail("task %d is dispatched, and is after task %d, which is %v", t.id, id, on.state)
		}
	}
	if w := m.s.workerOf(sid(r.SessionId)); w != nil && (!hasAll(w.labels, t.opts.GetWorkerLabels()) || !slices.Contains(w.queues, m.servedAs(q))) {
		m.fail("task %d is dispatched to %s, which has not the labels or serves another queue", t.id, w.name)
	}
	if last := m.sessions[t.session]; t.opts.GetExclusive() && m.ends[t.token].end == queue.EndWorkerLost && last != nil && !last.ended {
		m.fail("task %d is exclusive and dispatched, and the session of its last attempt lives", t.id)
	}
}

// servedAs is a queue's name as workers ask for it.
func (m *model) servedAs(q *modelQueue) string {
	if q.last.Name == queue.DefaultQueue {
		return ""
	}
	return q.last.Name
}
