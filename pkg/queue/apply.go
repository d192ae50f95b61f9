package queue

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
	"slices"
)

// Apply applies a record, a new one or one of the journal. A record of an entity that is not there is
// ignored: the entity ended later, and below the floor.
func (c *Core) Apply(rec any, seq uint64) {
	switch rec := rec.(type) {
	case *TaskPut:
		c.applyTaskPut(rec, seq)
	case *TaskDispatched:
		c.applyDispatched(rec)
	case *TaskFinished:
		c.applyFinished(rec)
	case *TaskRetried:
		c.applyRetried(rec)
	case *TaskReady:
		c.applyReady(rec)
	case *TaskLosses:
		c.applyLosses(rec)
	case *TaskCancelling:
		c.applyCancelling(rec)
	case *TaskDropped:
		c.applyTaskDropped(rec)
	case *CallPut:
		c.applyCallPut(rec, seq)
	case *CallAcknowledged:
		c.applyAcknowledged(rec)
	case *CallChanged:
		c.applyCallChanged(rec)
	case *CallDropped:
		c.applyCallDropped(rec)
	case *QueuePut:
		c.applyQueuePut(rec, seq)
	case *session.Ended:
		c.applySessionEnded(rec, seq)
	}
}

func (c *Core) applyQueuePut(rec *QueuePut, seq uint64) {
	q := c.queueOf(rec.State.ID)
	if q.Name == "" {
		q.QueueState = rec.State
		c.queueNames[name{q.Namespace, q.Name}] = q
		at, _ := slices.BinarySearchFunc(c.byName, name{q.Namespace, q.Name}, compareNames)
		c.byName = slices.Insert(c.byName, at, q)
	}
	c.queueAges.Touch(q, seq)
}

// queueOf returns a queue by its id, which a replay may meet before the queue itself, as in callOf.
func (c *Core) queueOf(id uint64) *queue {
	q := c.queues[id]
	if q == nil {
		q = &queue{QueueState: QueueState{ID: id}, classes: map[string]*class{}}
		c.queues[id] = q
	}
	return q
}

// remember makes a task known by the request that submitted it. A replay that has not met the task's
// queue does so at its end.
func (c *Core) remember(t *task) {
	if t.RequestID != "" && t.queue.Name != "" {
		c.requests[name{t.queue.Namespace, t.RequestID}] = t
	}
}

// known returns a task that a record is about, nil if it is not there, which only a replay below the
// floor may meet.
func (c *Core) known(id uint64) *task {
	t := c.tasks[id]
	if t == nil {
		c.Strangers++
	}
	return t
}

func (c *Core) knownCall(id uint64) *call {
	k := c.calls[id]
	if k == nil {
		c.Strangers++
	}
	return k
}

func (c *Core) applyTaskPut(rec *TaskPut, seq uint64) {
	if t := c.tasks[rec.State.ID]; t != nil { // copied forward
		c.taskAges.Touch(t, seq)
		return
	}
	q := c.queueOf(rec.State.Queue)
	t := &task{TaskState: *rec.State, queue: q}
	c.tasks[t.ID] = t
	c.taskAges.Touch(t, seq)
	c.order.Add(t.ID, len(c.tasks), func(id uint64) bool { return c.tasks[id] != nil })
	c.remember(t)
	if t.Call != 0 {
		t.call = c.callOf(t.Call)
		t.call.add(t)
	}
	c.bytes += weight(&t.TaskState)
	q.counts[t.State]++
	c.enter(t)
	c.suspect(t)
}

func (c *Core) applyDispatched(rec *TaskDispatched) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	t.Token, t.Session, t.StartedAt, t.Attempts = rec.Token, rec.Session, rec.StartedAt, rec.Attempts
	c.setState(t, Running)
	c.enter(t)
}

func (c *Core) applyRetried(rec *TaskRetried) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	t.Tries, t.Next = rec.Tries, rec.Next
	if rec.Error != nil {
		t.LastError = rec.Error
	}
	if rec.Next != 0 {
		c.setState(t, Scheduled)
	} else {
		c.setState(t, Ready)
	}
	c.enter(t)
}

func (c *Core) applyReady(rec *TaskReady) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	t.Next = 0
	c.setState(t, Ready)
	c.enter(t)
}

func (c *Core) applyLosses(rec *TaskLosses) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	waits := t.State == Ready
	if waits {
		c.leave(t)
	}
	t.Losses, t.Suspects = rec.Losses, rec.Suspects
	if waits {
		c.enter(t)
	}
	c.suspect(t)
}

func (c *Core) applyCancelling(rec *TaskCancelling) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	t.CancelGrace = rec.Grace
	c.setState(t, Cancelling)
}

func (c *Core) applyFinished(rec *TaskFinished) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	before := weight(&t.TaskState)
	t.Tries, t.Suspects, t.Next = rec.Tries, nil, 0
	t.Outcome = rec.Outcome
	t.Outcome.Attempts, t.Outcome.Token, t.Outcome.StartedAt = t.Attempts, t.Token, t.StartedAt
	grown := weight(&t.TaskState) - before
	c.bytes += grown
	if t.call != nil && !t.Acknowledged {
		t.call.bytes += grown
	}
	c.setState(t, rec.Outcome.State)
	c.enter(t)
}

func (c *Core) applyTaskDropped(rec *TaskDropped) {
	if t := c.known(rec.ID); t != nil {
		c.drop(t)
	}
}

// drop forgets a task.
func (c *Core) drop(t *task) {
	c.leave(t)
	t.queue.counts[t.State]--
	c.bytes -= weight(&t.TaskState)
	if t.call != nil {
		t.call.remove(t)
	}
	if t.RequestID != "" {
		delete(c.requests, name{t.queue.Namespace, t.RequestID})
	}
	c.taskAges.Remove(t)
	delete(c.tasks, t.ID)
}

func (c *Core) setState(t *task, s State) {
	t.queue.counts[t.State]--
	t.State = s
	t.queue.counts[s]++
}

// enter puts a task into the indexes of its state.
func (c *Core) enter(t *task) {
	switch {
	case t.State == Ready:
		if !t.poisonous() {
			c.enqueue(t)
		}
	case t.State == Scheduled:
		c.wall.Set(t, pure.Key{A: int64(t.Next), B: t.ID})
	case t.State.Held():
		c.peer(t.Session).hold(t)
	case t.State.Final():
		c.wall.Set(t, pure.Key{A: int64(t.dropAt()), B: t.ID})
	}
}

// suspect notes at the peers that a task was lost with that it is to learn what becomes of them.
func (c *Core) suspect(t *task) {
	for _, id := range t.Suspects {
		p := c.peer(id)
		if p.suspects == nil {
			p.suspects = map[*task]struct{}{}
		}
		p.suspects[t] = struct{}{}
	}
}

// leave takes a task out of the indexes of its state.
func (c *Core) leave(t *task) {
	if t.class != nil {
		c.dequeue(t)
	}
	if t.peer != nil {
		p := t.peer
		p.unhold(t)
		c.forget(p)
	}
	c.wall.Remove(t)
	c.leases.Remove(t)
	t.timeoutAt, t.graceAt, t.since = 0, 0, 0
}

// poisonous tells whether a task waits to learn if the workers that it was lost with are dead.
func (t *task) poisonous() bool { return int(t.Losses)+len(t.Suspects) >= LossesMax }

// dropAt is when a final task is forgotten.
func (t *task) dropAt() pure.Wall {
	end := t.Outcome.FinishedAt
	switch {
	case t.Options.Retention >= 0 && (t.call == nil || t.Acknowledged):
		return end.Add(t.Options.Retention)
	case t.Options.Retention >= 0:
		return end.Add(max(t.Options.Retention, RetentionUnacknowledged))
	case t.State == Failed:
		return end.Add(RetentionFailed)
	case t.call == nil:
		return end.Add(RetentionSubmitted)
	default:
		return end.Add(RetentionUnacknowledged)
	}
}
