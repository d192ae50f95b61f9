package client

import (
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Update is a change of a task that is not its end.
type Update struct {
	// Future is the task's.
	Future *SpecFuture
	// TaskID is the broker's name for the task.
	TaskID string
	// State is the state now.
	State weftv1.TaskState
	// Token is the attempt that runs it, 0 if none.
	Token uint64
	// Worker is that attempt's.
	Worker string
	// Attempts counts those that were begun.
	Attempts int
}

// receive takes a frame. The order matters: acceptance before outcomes, because an outcome of a task
// that is not accepted may belong to another program's task at the same index.
// It returns true when the call is over: finished, and the broker knows it.
func (c *Call) receive(in *inFrame, watch *watchdog) (over bool) {
	updates, over := c.take(in, watch)
	if i := in.interrupt; i != nil {
		c.interrupted(&Interrupt{TaskID: i.GetTaskId(), Index: i.GetIndex(), Message: i.GetMessage(), number: i.GetNumber()})
	}
	for _, u := range updates {
		c.config.onUpdate(u)
	}
	return over
}

// take applies a frame to the futures and returns the updates to tell.
func (c *Call) take(in *inFrame, watch *watchdog) (updates []Update, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range in.accepted {
		c.acceptRange(r)
	}
	for _, r := range in.rejected {
		c.reject(r)
	}
	updates = c.takeUpdates(in.updates)
	for _, m := range in.advances {
		c.takeAdvance(m)
	}
	for i := range in.outcomes {
		c.takeOutcome(&in.outcomes[i])
	}
	c.releaseHeld()
	for f := c.sent.front(); f != nil && f.state >= futureAccepted; f = c.sent.front() {
		c.sent.pop()
	}
	if in.heartbeat != 0 {
		if sentAt, ok := c.beats.answer(in.heartbeat); ok {
			watch.answered(sentAt)
		}
		if c.withdrawnBeat != 0 && in.heartbeat >= c.withdrawnBeat {
			c.withdrawn = 0 // what runs by now is not to be cancelled on the next stream
		}
		c.over = c.lastBeat != 0 && in.heartbeat >= c.lastBeat
	}
	c.flushResolved()
	if c.acksDue() || c.complete() {
		c.wake()
	}
	return updates, c.over
}

// acceptRange takes the acceptance of tasks.
func (c *Call) acceptRange(r indexRange) {
	if c.next == 0 || r.first >= c.next {
		return // not ours: another client's in the same call
	}
	for i := r.first; i <= min(r.last, c.next-1); i++ {
		if f := c.futures.get(i); f != nil && f.state < futureAccepted {
			c.accept(f)
		}
	}
}

// accept notes that a task is durable, and gives it the outcome that came before.
func (c *Call) accept(f *SpecFuture) {
	f.state = futureAccepted
	f.encoded, f.after = nil, nil
	if f.extra != nil {
		f.extra.tell()
	}
	if x, ok := c.early.advances[f.index]; ok {
		delete(c.early.advances, f.index)
		f.more().takeOver(x)
		for _, p := range x.partials {
			f.size += p.payload.Len()
			c.window.grow(p.payload.Len())
		}
	}
	if o, ok := c.early.outcomes[f.index]; ok {
		delete(c.early.outcomes, f.index)
		c.resolve(f, &o)
	}
}

// reject ends the future of a refused task. For want of room it is tried again: the broker counts
// results that are still on their way, which the client cannot know.
func (c *Call) reject(r *weftv1.ExecuteRejection) {
	f := c.futures.get(r.GetIndex())
	if f == nil || f.state >= futureResolved {
		return
	}
	if r.GetReason() == weftv1.ErrorReason_ERROR_REASON_CALL_WINDOW_FULL && c.window.tasks > 1 {
		if f.state == futureSent {
			f.state = futureQueued
			c.refill = append(c.refill, f)
		}
		return
	}
	if c.unknownBefore(f, r) {
		return
	}
	f.err = fromRejection(r)
	c.publish(f)
	c.void(f)
}

// takeUpdates notes the task's name and turns messages into updates.
func (c *Call) takeUpdates(ms []*weftv1.ExecuteUpdate) []Update {
	if c.config.onUpdate == nil {
		return nil
	}
	var updates []Update
	for _, m := range ms {
		f := c.futures.get(m.GetIndex())
		if f == nil || f.state >= futureResolved {
			continue
		}
		f.taskID = m.GetTaskId()
		updates = append(updates, Update{
			Future: f, TaskID: f.taskID, State: m.GetState(), Token: m.GetToken(),
			Worker: m.GetWorker(), Attempts: int(m.GetAttempts()),
		})
	}
	return updates
}

// takeAdvance notes what a task has brought so far. Of a call that was met again it may be one that this client has
// not come to yet: then it waits.
func (c *Call) takeAdvance(m *weftv1.ExecuteAdvance) {
	f := c.futures.get(m.GetIndex())
	if f == nil || f.state < futureAccepted {
		if c.met.has(m.GetIndex()) && (f != nil || m.GetIndex() >= c.next) {
			c.early.take(m)
		}
		return
	}
	if f.state >= futureResolved {
		return
	}
	f.taskID = m.GetTaskId()
	x := f.more()
	if p := m.GetProgress(); p != nil {
		x.takeProgress(p, m.GetToken())
	}
	bytes := x.takePartials(m.GetPartialsOffset(), m.GetPartials())
	f.size += bytes
	c.window.grow(bytes)
}

// takeOutcome resolves a future; an outcome that was seen before is dropped.
func (c *Call) takeOutcome(o *inOutcome) {
	f := c.futures.get(o.index)
	switch {
	case f == nil && o.index < c.next:
		return // settled: a doubled one
	case f == nil, f.state < futureAccepted && c.met.has(o.index):
		// The call was met again, and its task has not been compared with the one that was there.
		if c.early.outcomes == nil {
			c.early.outcomes = make(map[uint64]inOutcome)
		}
		c.early.outcomes[o.index] = *o
	case f.state < futureResolved:
		c.resolve(f, o)
	}
}

// resolve gives a future its outcome.
func (c *Call) resolve(f *SpecFuture, o *inOutcome) {
	f.outcome = o.Outcome
	f.taskID = o.taskID
	f.size += o.size
	c.window.grow(o.size)
	c.publish(f)
	if !c.config.explicitAck && (f.extra == nil || f.extra.readers == 0) {
		c.acknowledge(f)
	}
}

// publish ends a future that has its outcome or its error.
func (c *Call) publish(f *SpecFuture) {
	f.state = futureResolved
	f.encoded, f.after = nil, nil
	c.waiting--
	if c.config.sink != nil {
		c.resolved = append(c.resolved, f)
	}
	f.end()
	f.tellEnd()
	if c.waiting == 0 && c.idleC != nil {
		close(c.idleC)
		c.idleC = nil
	}
}

// flushResolved hands over what has ended.
func (c *Call) flushResolved() {
	if len(c.resolved) == 0 {
		return
	}
	c.config.sink(c.resolved)
	clear(c.resolved)
	c.resolved = c.resolved[:0]
}

// acknowledge lets the broker forget an outcome.
func (c *Call) acknowledge(f *SpecFuture) {
	c.acked.add(f.index)
	c.ackC.add(f.index)
	c.ackCount++
	c.settle(f)
}

// void takes a future out of the books whose task the broker does not have. It is told that none will come:
// a call with too many holes takes no more tasks. Whoever meets a named call again may fill them, though.
func (c *Call) void(f *SpecFuture) {
	if c.config.named {
		c.settle(f)
		return
	}
	c.acknowledge(f)
}

// settle takes a future that has ended out of the books.
func (c *Call) settle(f *SpecFuture) {
	f.state = futureSettled
	c.window.give(f.size)
	c.futures.remove(f.index)
	c.live--
}
