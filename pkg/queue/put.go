package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// putter is a submission that waits for room in a queue. It is volatile: it ends with its request or stream.
type putter struct {
	id        uint64    // the caller's name for it; 0 for one of a call
	number    uint64    // of its arrival
	queue     *queue    // nil for one that waits behind another
	space     *space    // of its namespace
	behind    []*putter // of its call, that are after its task
	namespace string
	requestID string
	task      NewTask
	call      *call
	cancelled bool
	place     int32 // in queue.putters
}

// Submitted is what became of a submission.
type Submitted struct {
	ID     uint64
	Joined bool // a live task of the same unique key
}

// Submit accepts a task of its own. If its queue is full and waiter is not 0, it waits for room under that
// name, and the effect [Put] answers it.
func (c *Core) Submit(step *pure.Step, namespace, requestID string, n NewTask, waiter uint64) (s Submitted, waits bool, err error) {
	if s, err = c.asked(namespace, requestID, &n); err != nil || s.ID != 0 {
		return s, false, err
	}
	before := c.asking[name{namespace, requestID}]
	if before != nil {
		if !before.task.same(&n) {
			return s, false, requestMismatch(requestID)
		}
		c.unwait(before)
		step.Tell(&Put{Waiter: before.id, Err: pure.Refuse(pure.Superseded, "another request with this id took over")})
	}
	var from *queue
	if before != nil && before.first() {
		from = before.queue
	}
	t, joined, refusal := c.put(step, namespace, &n, nil, requestID, from)
	switch {
	case refusal == nil:
		return Submitted{t.ID, joined}, false, nil
	case refusal.Reason != pure.QueueFull || waiter == 0:
		return Submitted{}, false, refusal
	}
	q, _ := c.findQueue(step, namespace, n.Queue)
	p := &putter{id: waiter, queue: q, namespace: namespace, requestID: requestID, task: n}
	if before != nil {
		p.number = before.number // it keeps its place
	}
	if refusal := c.wait(step, p); refusal != nil {
		return Submitted{}, false, refusal
	}
	c.putters[waiter] = p
	return Submitted{}, true, nil
}

// asked returns what an earlier request of the same id submitted.
func (c *Core) asked(namespace, requestID string, n *NewTask) (Submitted, error) {
	if requestID == "" {
		return Submitted{}, nil
	}
	t := c.requests[name{namespace, requestID}]
	if t == nil {
		return Submitted{}, nil
	}
	joined := t.RequestID != requestID
	if joined && !t.sameWork(&n.Spec) || !joined && !t.same(n) {
		return Submitted{}, requestMismatch(requestID)
	}
	return Submitted{ID: t.ID, Joined: joined}, nil
}

// first tells whether nobody has waited for longer than a submission that waited.
func (p *putter) first() bool {
	_, key, ok := p.queue.putters.Min()
	return !ok || p.number < key.B
}

// wait notes a submission that waits for room.
func (c *Core) wait(step *pure.Step, p *putter) *pure.Refusal {
	if p.queue != nil && p.queue.putters.Len() >= WaitersMax {
		return pure.Refuse(pure.Overloaded, "too many submissions wait for room in the queue", "limit", WaitersMax)
	}
	p.space = c.space(p.namespace)
	size := specWeight(&p.task.Spec)
	if refusal := c.room(step, p.space, size, 0); refusal != nil {
		return refusal
	}
	c.waitedBytes += size
	p.space.waited += size
	if p.queue != nil {
		c.arrivals++
		if p.number == 0 {
			p.number = c.arrivals
		}
		p.queue.putters.Set(p, pure.Key{B: p.number})
	}
	if p.requestID != "" {
		c.asking[name{p.namespace, p.requestID}] = p
	}
	if p.call != nil {
		p.call.waiting[p.task.Index] = p
		p.call.waitingBytes += size
	}
	c.await(p, 1)
	return nil
}

// sameWork tells whether a submission that waits is for the same queue, kind and payload as another.
func (p *putter) sameWork(n *NewTask) bool {
	return orDefault(p.task.Queue) == orDefault(n.Queue) && p.task.Spec.sameWork(&n.Spec)
}

func orDefault(queueName string) string {
	if queueName == "" {
		return DefaultQueue
	}
	return queueName
}

// await counts a submission that waits among those for which the tasks that it is after stay: it is still to
// learn how they end.
func (c *Core) await(p *putter, n int32) {
	if p.task.Spec.Options == nil {
		return
	}
	for _, id := range p.task.Spec.Options.After {
		on := c.tasks[id]
		switch {
		case on == nil:
		case n > 0 && on.waits == nil:
			on.waits = &awaiting{live: n}
			c.retain(on)
		case on.waits != nil:
			if on.waits.live += n; on.waits.live == 0 {
				on.waits = nil
				c.retain(on)
			}
		}
	}
}

// unwait forgets a submission that waited.
func (c *Core) unwait(p *putter) {
	if p.queue != nil {
		p.queue.putters.Remove(p)
	}
	size := specWeight(&p.task.Spec)
	c.waitedBytes -= size
	p.space.waited -= size
	delete(c.putters, p.id)
	if p.requestID != "" {
		delete(c.asking, name{p.namespace, p.requestID})
	}
	if p.call != nil {
		delete(p.call.waiting, p.task.Index)
		p.call.waitingBytes -= size
		c.noteCall(p.call)
	}
	c.await(p, -1)
}

// ForgetPut ends a submission that still waits for room, and tells whether it did.
func (c *Core) ForgetPut(waiter uint64) bool {
	p := c.putters[waiter]
	if p == nil {
		return false
	}
	c.unwait(p)
	return true
}

// full tells whether a queue has no room for another task.
func (q *queue) full() bool { return q.MaxSize > 0 && q.size() >= q.MaxSize }

// Hold has submissions that wait for room wait on, or ends that: the caller has no room for any.
func (c *Core) Hold(held bool) {
	if c.held == held {
		return
	}
	c.held = held
	for _, q := range c.byName {
		c.soilQueueState(q)
	}
}

// admit accepts submissions that waited, while there is room, and tells whether it came to the end.
func (c *Core) admit(step *pure.Step, q *queue) bool {
	for {
		p, _, ok := q.putters.Min()
		if !ok || (q.full() || c.held) && !q.Closed {
			return true
		}
		if c.full(step) {
			return false
		}
		c.unwait(p)
		if q.Deleting && !p.cancelled { // another queue may have its name by now
			c.refusePut(step, p, pure.Refuse(pure.QueueNotFound, "queue "+q.Name+" was deleted", "queue", q.Name))
			continue
		}
		if p.call != nil {
			c.admitToCall(step, p)
			continue
		}
		s, err := c.asked(p.namespace, p.requestID, &p.task)
		if err == nil && s.ID == 0 {
			t, joined, refusal := c.put(step, p.namespace, &p.task, nil, p.requestID, q)
			if refusal != nil {
				err = refusal
			} else {
				s = Submitted{t.ID, joined}
			}
		}
		step.Tell(&Put{Waiter: p.id, Submitted: s, Err: err})
	}
}

// refusePut refuses a submission that has waited.
func (c *Core) refusePut(step *pure.Step, p *putter, refusal *pure.Refusal) {
	switch {
	case p.call == nil:
		step.Tell(&Put{Waiter: p.id, Err: refusal})
	case c.calls[p.call.ID] == p.call:
		c.tellEnqueued(step, p.call, &p.task, refusal)
		c.follow(p)
		c.finishIfDue(step, p.call)
	}
}

func (c *Core) admitToCall(step *pure.Step, p *putter) {
	k := p.call
	switch {
	case p.cancelled:
		c.putCancelled(step, p)
		return
	case c.calls[k.ID] != k:
		return
	}
	if err := c.enqueueOrWait(step, k, &p.task, p.queue); err != waits {
		c.tellEnqueued(step, k, &p.task, err)
	}
	c.follow(p)
	c.finishIfDue(step, k)
}

// follow has those go on that wait behind another.
func (c *Core) follow(p *putter) {
	if len(p.behind) > 0 {
		c.sweep(&sweep{call: p.call, behind: p.behind})
	}
}

// sweepBehind goes on with that, and tells whether it came to the end.
func (c *Core) sweepBehind(step *pure.Step, s *sweep) bool {
	for len(s.behind) > 0 {
		if c.full(step) {
			return false
		}
		step.Look()
		p := s.behind[0]
		s.behind = s.behind[1:]
		if s.call.waiting[p.task.Index] == p {
			c.unwait(p)
			c.admitToCall(step, p)
		}
	}
	return true
}

// put accepts a task, or joins a live one of the same unique key. from is the queue where it has waited for its
// turn, nil for a new one.
func (c *Core) put(step *pure.Step, namespace string, n *NewTask, k *call, requestID string, from *queue) (*task, bool, *pure.Refusal) {
	q, refusal := c.findQueue(step, namespace, n.Queue)
	if refusal != nil {
		return nil, false, refusal
	}
	options := q.options(n.Spec.options())
	if q.Closed {
		return nil, false, closed(q)
	}
	if t := q.unique[options.UniqueKey]; t != nil && t.State.Waits() {
		c.covered(step, t) // one that counts as gone is not joined
	}
	leader, refusal := q.leader(n, options)
	if refusal != nil {
		return nil, false, refusal
	}
	if leader != nil && k == nil {
		// A request without an id is remembered as one that somebody made: a call does not cancel its task then.
		if (requestID != "" || leader.call != nil) && len(leader.Joiners) < JoinersMax && !slices.Contains(leader.Joiners, requestID) {
			c.emit(step, &TaskJoined{ID: leader.ID, RequestID: requestID})
		}
		return leader, true, nil
	}
	if leader == nil && (q.full() || q.putters.Len() > 0 && from != q) {
		return nil, false, pure.Refuse(pure.QueueFull, "queue "+q.Name+" is full", "queue", q.Name, "limit", q.MaxSize)
	}
	state, refusal := c.dependencies(namespace, options)
	if refusal != nil {
		return nil, false, refusal
	}
	// Last, as it may forget ended tasks: what is refused for another reason changes nothing.
	if refusal := c.room(step, q.space, specWeight(&n.Spec), 1); refusal != nil {
		return nil, false, refusal
	}
	c.putState = TaskState{
		Spec: n.Spec, ID: step.Next(), Queue: q.ID, Index: n.Index, RequestID: requestID,
		CreatedAt: step.Wall, State: Ready, Extra: NoExtra,
	}
	c.putState.Options = options
	if k != nil {
		c.putState.Call = k.ID
	}
	switch {
	case leader != nil:
		c.putState.State, c.putState.Extra = Blocked, &Extra{Joined: leader.ID}
	case len(state.waits) > 0:
		c.putState.State, c.putState.Extra = Blocked, &Extra{Waits: state.waits}
	case n.Spec.RunAt > step.Wall:
		c.putState.State, c.putState.Next = Scheduled, n.Spec.RunAt
	}
	c.rec.put = TaskPut{State: &c.putState}
	c.emit(step, &c.rec.put)
	t := c.tasks[c.putState.ID]
	if state.failed != nil {
		c.finish(step, t, &Outcome{State: Cancelled, Error: dependencyError(state.failed)})
	}
	return t, leader != nil, nil
}

// options are a task's with the queue's defaults.
func (q *queue) options(o *Options) *Options {
	d := q.Defaults
	if d == nil {
		return q.intern(o)
	}
	merged := *o
	if o.Timeout == 0 {
		merged.Timeout = d.Timeout
	}
	if !o.retries() {
		merged.AttemptsMax, merged.InitialBackoff, merged.Multiplier = d.AttemptsMax, d.InitialBackoff, d.Multiplier
		merged.BackoffMax, merged.Jitter = d.BackoffMax, d.Jitter
	}
	if o.Retention < 0 {
		merged.Retention = d.Retention
	}
	if o.FailedRetention < 0 {
		merged.FailedRetention = d.FailedRetention
	}
	return q.intern(&merged)
}

// retries tells whether a task says anything about being tried again.
func (o *Options) retries() bool {
	return o.AttemptsMax > 0 || o.InitialBackoff > 0 || o.Multiplier > 0 || o.BackoffMax > 0 || o.Jitter > 0
}

// intern returns options that are equal to these, those of an earlier task of the same fairness key if
// possible: a million tasks of a few keys need few of them.
func (q *queue) intern(o *Options) *Options {
	if o == DefaultOptions {
		return o
	}
	if o.UniqueKey != "" || len(o.After) > 0 {
		return o
	}
	k := q.keys[o.FairnessKey]
	if k == nil {
		return o
	}
	if k.options == nil || !k.options.equal(o) {
		k.options = o
	}
	return k.options
}

// same tells whether a task was asked for in the same words. What the words left to the queue's defaults may
// have been anything.
func (t *task) same(n *NewTask) bool {
	asked := n.Spec.options()
	return t.queue.Name == orDefault(n.Queue) && t.RunAt == n.Spec.RunAt && t.sameWork(&n.Spec) && t.Options.answers(asked)
}

// same tells whether two requests are for equal tasks.
func (n *NewTask) same(o *NewTask) bool {
	return orDefault(n.Queue) == orDefault(o.Queue) && n.Spec.RunAt == o.Spec.RunAt && n.Spec.sameWork(&o.Spec) &&
		n.Spec.options().equal(o.Spec.options())
}

// options are what a spec asks for, all of it by default.
func (s *Spec) options() *Options {
	if s.Options == nil {
		return DefaultOptions
	}
	return s.Options
}

// sameWork tells whether two specs have the same kind and payload.
func (s *Spec) sameWork(o *Spec) bool {
	return s.Kind == o.Kind && s.Payload.Encoding == o.Payload.Encoding && string(s.Payload.Data) == string(o.Payload.Data)
}

// sameWork tells whether a task has the same kind and payload.
func (t *task) sameWork(s *Spec) bool {
	return t.Spec.sameWork(s) || t.void() && t.Kind == s.Kind
}

// void tells whether a task stands for one that never came to be, and whose payload was left out.
func (t *task) void() bool {
	return t.State == Cancelled && t.Joined != 0 && t.Payload.Encoding == 0 && len(t.Payload.Data) == 0
}

// answers tells whether options may have been made of these, with some queue's defaults. A task that was tried
// again by hand has lost the deadline that it missed.
func (o *Options) answers(asked *Options) bool {
	if o == asked {
		return true
	}
	a := *asked
	if a.Timeout == 0 {
		a.Timeout = o.Timeout
	}
	if !a.retries() {
		a.AttemptsMax, a.InitialBackoff, a.Multiplier = o.AttemptsMax, o.InitialBackoff, o.Multiplier
		a.BackoffMax, a.Jitter = o.BackoffMax, o.Jitter
	}
	if a.Retention < 0 {
		a.Retention = o.Retention
	}
	if a.FailedRetention < 0 {
		a.FailedRetention = o.FailedRetention
	}
	if o.Deadline == 0 {
		a.Deadline = 0
	}
	return o.equal(&a)
}
