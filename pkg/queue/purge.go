package queue

import (
	"time"

	"github.com/weftq/weft/internal/pure"
)

const (
	waitingStates uint32 = 1<<Scheduled | 1<<Blocked | 1<<Ready
	finalStates   uint32 = 1<<Succeeded | 1<<Failed | 1<<Cancelled | 1<<Expired
)

// purges tells whether a queue's purge covers a task that the sweep has not come to: one that came to its state
// before the purge was asked for. A deletion covers whatever is not held.
func (q *queue) purges(t *task) bool {
	return max(t.ID, t.Since) <= q.Purged[t.State] || q.Deleting && !t.State.Held()
}

// since is what a record says of when a task comes to a state: a value of the counter that no purge under way reaches,
// and nothing while there is none, as every later one covers the task.
func (q *queue) since(step *pure.Step, s State) uint64 {
	if q.Purged[s] == 0 || q.Deleting {
		return 0
	}
	return step.Next()
}

// count counts a task in, by 1, or out, by -1.
func (q *queue) count(t *task, by int) {
	q.counts[t.State] += uint64(by)
	if t.State.Waits() && q.purges(t) {
		q.gone[t.State] += uint64(by)
	}
}

// recount counts anew which tasks are gone, after a record of the queue. Those that were in a state before its purge
// was asked for are all that are in it then.
func (c *Core) recount(q *queue, before *QueueState) {
	for s := range q.gone {
		switch {
		case !State(s).Waits():
		case q.Deleting || q.Purged[s] > before.Purged[s]:
			q.gone[s] = q.counts[s]
		case q.Purged[s] == 0:
			q.gone[s] = 0
		}
	}
	if before.Name != "" || q.Purged == (Purged{}) {
		return
	}
	q.gone = [states]uint64{} // a replay that meets the queue after its tasks
	for _, t := range c.tasks {
		if t.queue == q && t.State.Waits() && q.purges(t) {
			q.gone[t.State]++
		}
	}
}

// left are a queue's counts without what is gone.
func (q *queue) left() (counts [states]uint64) {
	for s, n := range q.counts {
		counts[s] = n - q.gone[s]
	}
	return counts
}

// PurgeQueue cancels the tasks of a queue that wait, and forgets ended ones, in these states (bits; 0 is all
// that wait). They follow in bulk work, and count as gone at once. It returns how many there were.
func (c *Core) PurgeQueue(step *pure.Step, namespace, queueName string, in uint32) (tasks uint64, err error) {
	q, refusal := c.findQueue(step, namespace, queueName)
	if refusal != nil {
		return 0, refusal
	}
	if in == 0 {
		in = waitingStates
	}
	in &= waitingStates | finalStates
	for s := range State(states) {
		if in&(1<<s) != 0 {
			tasks += q.counts[s] - q.gone[s]
		}
	}
	if tasks > 0 {
		c.purge(step, q, in)
	}
	return tasks, nil
}

// purge begins to purge a queue of what it has in these states.
func (c *Core) purge(step *pure.Step, q *queue, in uint32) {
	more := false // than is covered already
	for s, n := range q.counts {
		more = more || n > q.gone[s] && in&(1<<s) != 0
	}
	if more {
		c.changeQueue(step, q, func(s *QueueState) { s.Purged.purge(in, *step.Counter) })
		c.beginPurge(q)
	}
}

// purgeable tells whether a queue has tasks in the states that it is purged of.
func (q *queue) purgeable() bool {
	for s, n := range q.counts {
		if n > 0 && q.Purged[s] > 0 {
			return true
		}
	}
	return false
}

func (c *Core) beginPurge(q *queue) {
	for _, s := range c.sweeps {
		if s.purge == q { // it covers more from now on, also of what it has passed
			s.again = s.after > 0
			return
		}
	}
	c.sweep(&sweep{purge: q})
}

// sweepPurge goes on with a purge, and tells whether it came to the end.
func (c *Core) sweepPurge(step *pure.Step, s *sweep) bool {
	q := s.purge
	if c.queues[q.ID] != q || q.Purged == (Purged{}) && !q.Deleting {
		return true
	}
	for {
		if !c.purgeFrom(step, s) {
			return false
		}
		if !s.again {
			break
		}
		s.after, s.again = 0, false
	}
	if q.Purged != (Purged{}) {
		c.changeQueue(step, q, func(s *QueueState) { s.Purged = Purged{} })
	}
	return true
}

// purgeFrom goes on with a purge up to the last task that it covers, and tells whether it came to that.
func (c *Core) purgeFrom(step *pure.Step, s *sweep) bool {
	q := s.purge
	to := q.Purged.To()
	for _, id := range c.order.After(s.after) {
		if q.Deleting && q.tasks() == 0 || !q.Deleting && (id > to || !q.purgeable()) {
			break
		}
		if c.full(step) {
			return false
		}
		step.Look()
		s.after = id
		switch t := c.tasks[id]; {
		case t == nil || t.queue != q:
		case q.Deleting:
			c.clear(step, t)
		case q.purges(t):
			c.purgeOne(step, t)
		}
	}
	return true
}

func (c *Core) purgeOne(step *pure.Step, t *task) {
	switch {
	case t.State.Waits():
		c.cancel(step, t, -1)
	case t.call != nil && !t.Acknowledged: // its client is still to hear of it
	case t.awaited(): // others are being told of its end
		t.early = true
		c.wall.Set(t, pure.Key{A: int64(step.Wall.Add(time.Second)), B: t.ID})
	default:
		c.forgetTask(step, t)
	}
}

// DeleteQueue removes a queue, once it has no tasks: those that wait or run are cancelled, with force.
func (c *Core) DeleteQueue(step *pure.Step, namespace, queueName string, force bool) error {
	q := c.queueNames[name{namespace, queueName}]
	switch {
	case q == nil:
		return noQueue(namespace, queueName)
	case q.Name == DefaultQueue:
		return pure.Refuse(pure.InvalidField, "name: must not be "+DefaultQueue+", which is in every namespace", "field", "name")
	case q.unfinished() > 0 && !force:
		return pure.Refuse(pure.QueueNotEmpty, count(q.unfinished(), "task of the queue has", "tasks of the queue have")+" not ended", "queue", q.Name,
			"tasks", q.unfinished())
	}
	c.changeQueue(step, q, func(s *QueueState) {
		s.Deleting, s.Closed, s.AtOnce, s.Paused = true, true, true, false
		s.Purged.purge(waitingStates|finalStates, *step.Counter)
	})
	c.beginPurge(q)
	return nil
}

// clear ends a task of a queue that is being deleted, or drops it. One that is still to be heard of is dropped
// after that: see [task.dropAt].
func (c *Core) clear(step *pure.Step, t *task) {
	if t.State.Final() {
		c.purgeOne(step, t)
	} else {
		c.cancel(step, t, -1)
	}
}
