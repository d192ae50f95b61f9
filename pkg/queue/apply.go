package queue

import (
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
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
	case *TaskUnblocked:
		c.applyUnblocked(rec)
	case *TaskRevived:
		c.applyRevived(rec)
	case *TaskAdvanced:
		c.applyAdvanced(rec)
	case *CallInterrupted:
		c.applyInterrupted(rec)
	case *TaskDetached:
		c.applyDetached(rec)
	case *TaskJoined:
		c.applyJoined(rec)
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
	case *QueueDropped:
		c.applyQueueDropped(rec)
	case *session.Ended:
		c.applySessionEnded(rec, seq)
	}
}

// remember makes a task known by the request that submitted it. A replay that has not met the task's
// queue does so at its end.
func (c *Core) remember(t *task) {
	if t.RequestID != "" && t.queue.Name != "" {
		c.requests[name{t.queue.Namespace, t.RequestID}] = t
	}
	for _, id := range t.Joiners {
		if id != "" && t.queue.Name != "" {
			c.requests[name{t.queue.Namespace, id}] = t
		}
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
	t.Options = q.intern(t.Options)
	c.tasks[t.ID] = t
	c.taskAges.Touch(t, seq)
	c.order.Add(t.ID, len(c.tasks), func(id uint64) bool { return c.tasks[id] != nil })
	c.remember(t)
	if t.Call != 0 {
		t.call = c.callOf(t.Call)
		t.call.add(t)
	}
	c.account(q, weight(&t.TaskState), 1)
	q.count(t, 1)
	c.enter(t)
	c.suspect(t)
	c.depend(t)
}

func (c *Core) applyDispatched(rec *TaskDispatched) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	t.Token, t.Session, t.StartedAt, t.Attempts = rec.Token, rec.Session, rec.StartedAt, rec.Attempts
	c.setState(t, Running, 0)
	c.enter(t)
}

func (c *Core) applyRetried(rec *TaskRetried) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	before := weight(&t.TaskState)
	t.with(func(x *Extra) {
		x.History = remembered(t, rec)
		if rec.Error != nil {
			x.LastError = rec.Error
		}
	})
	t.Tries, t.Next = rec.Tries, rec.Next
	c.grow(t, weight(&t.TaskState)-before)
	if rec.Next != 0 {
		c.setState(t, Scheduled, rec.Since)
	} else {
		c.setState(t, Ready, rec.Since)
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
	c.setState(t, Ready, rec.Since)
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
	t.with(func(x *Extra) { x.Losses, x.Suspects = rec.Losses, rec.Suspects })
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
	t.with(func(x *Extra) { x.CancelGrace, x.Expiring = rec.Grace, rec.Expiring })
	c.wall.Remove(t) // its deadline has nothing to say any more
	c.setState(t, Cancelling, 0)
}

func (c *Core) applyFinished(rec *TaskFinished) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	before := weight(&t.TaskState)
	c.undepend(t)
	t.Tries, t.Next = rec.Tries, 0
	if t.Extra != NoExtra {
		t.with(func(x *Extra) {
			x.Suspects, x.Expiring = nil, false
			if rec.Outcome.State == Succeeded {
				x.Checkpoint = nil // nobody goes on from it
			}
		})
	}
	t.Outcome = rec.Outcome
	if o := t.Outcome; t.Joined != 0 { // its attempts are those of the one that it joined
		t.Attempts, t.Token, t.StartedAt = o.Attempts, o.Token, o.StartedAt
	}
	t.Outcome.Attempts, t.Outcome.Token, t.Outcome.StartedAt = t.Attempts, t.Token, t.StartedAt
	c.grow(t, weight(&t.TaskState)-before)
	c.setState(t, rec.Outcome.State, rec.Since)
	c.enter(t)
}

// grow keeps account of a task that has become larger or smaller.
func (c *Core) grow(t *task, by int64) {
	c.account(t.queue, by, 0)
	if t.call != nil && !t.Acknowledged {
		t.call.bytes += by
	}
}

// remembered is a task's history after an attempt that did not bring the outcome.
func remembered(t *task, rec *TaskRetried) []Attempt {
	old := t.History
	if len(old) >= HistoryMax {
		old = old[len(old)-HistoryMax+1:]
	}
	return append(slices.Clone(old), Attempt{
		Token: t.Token, Worker: rec.Worker, StartedAt: t.StartedAt, EndedAt: rec.EndedAt, End: rec.End,
		Error: rec.Error.cut(),
	})
}

// cut is an error short enough to be kept in a history.
func (e *Error) cut() *Error {
	if e == nil || len(e.Message) <= historyText && len(e.Stack) <= historyText {
		return e
	}
	short := *e
	short.Message, short.Stack = cutText(e.Message), cutText(e.Stack)
	return &short
}

func cutText(s string) string {
	if len(s) <= historyText {
		return s
	}
	return strings.ToValidUTF8(s[:historyText], "")
}

func (c *Core) applyTaskDropped(rec *TaskDropped) {
	if t := c.known(rec.ID); t != nil {
		c.drop(t)
	}
}

// drop forgets a task.
func (c *Core) drop(t *task) {
	c.leave(t)
	c.undepend(t)
	t.queue.count(t, -1)
	c.soilQueueState(t.queue)
	c.account(t.queue, -weight(&t.TaskState), -1)
	if t.call != nil {
		t.call.remove(t)
	}
	if t.RequestID != "" {
		delete(c.requests, name{t.queue.Namespace, t.RequestID})
	}
	for _, id := range t.Joiners { // that of one without an id is nobody's
		delete(c.requests, name{t.queue.Namespace, id})
	}
	c.taskAges.Remove(t)
	delete(c.tasks, t.ID)
}

// setState moves a task to another state. since is the record's.
func (c *Core) setState(t *task, s State, since uint64) {
	t.queue.count(t, -1)
	t.State = s
	if t.Since != since {
		t.with(func(x *Extra) { x.Since = since })
	}
	t.queue.count(t, 1)
	c.soilQueueState(t.queue)
}

// enter puts a task into the indexes of its state.
func (c *Core) enter(t *task) {
	if key := t.Options.UniqueKey; key != "" && t.Joined == 0 && !t.State.Final() {
		t.queue.unique[key] = t
	}
	if at, ok := t.wallAt(); ok {
		c.wall.Set(t, pure.Key{A: int64(at), B: t.ID})
	}
	if t.State.Final() {
		c.retain(t)
	}
	switch {
	case t.State == Ready:
		if !t.poisonous() {
			c.enqueue(t)
		}
	case t.State.Held():
		c.peer(t.Session).hold(t)
		if key := t.Options.FairnessKey; key != "" {
			c.run(t.queue.key(key), 1)
		}
	}
}

// wallAt is when something is due for a task on the wall clock.
func (t *task) wallAt() (at pure.Wall, ok bool) {
	if t.State.Final() {
		return t.dropAt(), true
	}
	if t.State != Cancelling {
		at = t.Options.Deadline
	}
	if t.State == Scheduled && (at == 0 || t.Next < at) {
		at = t.Next
	}
	return at, at != 0
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
	if t.group != nil {
		c.dequeue(t)
	}
	if t.peer != nil {
		p := t.peer
		p.unhold(t)
		c.forget(p)
		t.progress = nil // which nobody accounts for: it must not outlive the attempt
		if key := t.Options.FairnessKey; key != "" {
			c.run(t.queue.key(key), -1)
		}
	}
	if key := t.Options.UniqueKey; key != "" && t.queue.unique[key] == t {
		delete(t.queue.unique, key)
	}
	c.wall.Remove(t)
	c.unretain(t)
	c.leases.Remove(t)
	t.timeoutAt, t.graceAt, t.since, t.early = 0, 0, 0, false
}

// poisonous tells whether a task waits to learn if the workers that it was lost with are dead.
func (t *task) poisonous() bool { return int(t.Losses)+len(t.Suspects) >= LossesMax }

// dropAt is when a final task is forgotten.
func (t *task) dropAt() pure.Wall {
	end := t.Outcome.FinishedAt
	asked := t.retention()
	switch {
	case t.queue.Deleting && (t.call == nil || t.Acknowledged):
		return end
	case t.Acknowledged && asked < 0 && len(t.Joiners) > 0:
		return end.Add(RetentionSubmitted) // its call knows, and a request of its own has joined it
	case t.Acknowledged && asked < 0:
		return end // once those that wait for it know
	case asked >= 0 && (t.call == nil || t.Acknowledged):
		return end.Add(asked)
	case asked >= 0:
		return end.Add(max(asked, RetentionUnacknowledged))
	case t.deadLetter():
		return end.Add(RetentionFailed)
	case t.taken():
		return end.Add(RetentionTaken)
	case t.call == nil:
		return end.Add(RetentionSubmitted)
	default:
		return end.Add(RetentionUnacknowledged)
	}
}

// retention is how long a final task was asked to stay, below 0 if nobody said.
func (t *task) retention() time.Duration {
	if t.deadLetter() {
		return t.Options.FailedRetention
	}
	return t.Options.Retention
}

// deadLetter tells whether a final task is one that somebody may want to try again: with it those that were cancelled
// because of it, so that a chain is there whole.
func (t *task) deadLetter() bool { return t.State == Failed || t.forsaken() }

// taken tells whether somebody got a task of no call and has ended it, and nobody asked for its outcome: what is left
// to remember it for is that its end is told again.
func (t *task) taken() bool {
	return t.call == nil && !t.deadLetter() && t.Outcome.Taken && t.retention() < 0
}
