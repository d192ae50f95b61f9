package queue

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

func (k *call) add(t *task) {
	k.tasks = append(k.tasks, t)
	t.callPlace = int32(len(k.tasks))
	k.byIndex[t.Index] = t
	k.Accepted.Add(t.Index, t.Index)
	if !t.Acknowledged {
		k.open++
		k.bytes += weight(&t.TaskState)
	}
}

func (k *call) remove(t *task) {
	last := len(k.tasks) - 1
	moved := k.tasks[last]
	k.tasks[t.callPlace-1] = moved
	moved.callPlace = t.callPlace
	k.tasks[last] = nil
	k.tasks = k.tasks[:last]
	t.callPlace = 0
	delete(k.byIndex, t.Index)
	if !t.Acknowledged {
		k.open--
		k.bytes -= weight(&t.TaskState)
	}
}

// cancels tells whether the call's cancellation covers a task.
func (k *call) cancels(t *task) bool {
	return k != nil && t.ID <= k.CancelledTo && (t.Options.Daemon || !k.DaemonsOnly)
}

// callOf returns a call by its id in the journal. A replay may meet a call's tasks before the call itself,
// whose whole state was copied forward past them: then the call is empty until it is met.
func (c *Core) callOf(id uint64) *call {
	k := c.calls[id]
	if k == nil {
		k = &call{CallState: CallState{ID: id}, byIndex: map[uint64]*task{}, waiting: map[uint64]*putter{}}
		c.calls[id] = k
	}
	return k
}

func (c *Core) applyCallPut(rec *CallPut, seq uint64) {
	k := c.callOf(rec.State.ID)
	if k.Name == "" {
		c.disown(k) // a change of hands may have come before
		k.CallState = rec.State
		k.Accepted, k.Acknowledged = rec.State.Accepted.Clone(), rec.State.Acknowledged.Clone()
		c.callNames[name{k.Namespace, k.Name}] = k
		c.space(k.Namespace).calls++
		c.own(k)
	}
	c.callAges.Touch(k, seq)
}

func (c *Core) applyCallChanged(rec *CallChanged) {
	k := c.knownCall(rec.ID)
	if k == nil {
		return
	}
	c.disown(k)
	k.Session, k.Finished = rec.Session, rec.Finished
	k.CancelledTo, k.DaemonsOnly, k.CancelGrace = rec.CancelledTo, rec.DaemonsOnly, rec.CancelGrace
	c.own(k)
}

func (c *Core) applyAcknowledged(rec *CallAcknowledged) {
	k := c.knownCall(rec.ID)
	if k == nil {
		return
	}
	k.Accepted.Union(rec.Ranges) // what was refused, or never sent, is no hole any more
	k.Acknowledged.Union(rec.Ranges)
	for _, i := range rec.Kept {
		if t := k.byIndex[i]; t != nil && !t.Acknowledged {
			c.keep(t)
		}
	}
	for _, r := range rec.Ranges {
		if r.Last-r.First < uint64(len(k.tasks)) {
			for i := r.First; ; i++ {
				if t := k.byIndex[i]; t != nil {
					c.acknowledged(t)
				}
				if i == r.Last { // which may be the last number that there is
					break
				}
			}
			continue
		}
		for _, t := range slices.Backward(k.tasks) { // from the end: one that is dropped is replaced by the last
			if t.Index >= r.First && t.Index <= r.Last {
				c.acknowledged(t)
			}
		}
	}
}

func (c *Core) acknowledged(t *task) {
	if t.Acknowledged {
		return
	}
	if t.retention() < 0 {
		c.drop(t)
		return
	}
	c.keep(t)
}

// keep has an acknowledged task stay for its retention.
func (c *Core) keep(t *task) {
	t.call.open--
	t.call.bytes -= weight(&t.TaskState)
	t.Acknowledged = true
	c.enter(t) // at a new time
}

func (c *Core) applyCallDropped(rec *CallDropped) {
	k := c.knownCall(rec.ID)
	if k == nil {
		return
	}
	c.disown(k)
	c.callAges.Remove(k)
	delete(c.calls, k.ID)
	if k.Name == "" {
		return // a replay has met its tasks and not itself
	}
	delete(c.callNames, name{k.Namespace, k.Name})
	s := c.space(k.Namespace)
	s.calls--
	c.forgetSpace(s)
}

func (c *Core) own(k *call) {
	if !k.Session.IsZero() {
		p := c.peer(k.Session)
		p.calls = append(p.calls, k)
		k.peerPlace = int32(len(p.calls))
	}
}

func (c *Core) disown(k *call) {
	if k.peerPlace == 0 {
		return
	}
	p := c.peers[k.Session]
	last := len(p.calls) - 1
	moved := p.calls[last]
	p.calls[k.peerPlace-1] = moved
	moved.peerPlace = k.peerPlace
	p.calls[last] = nil
	p.calls = p.calls[:last]
	k.peerPlace = 0
	c.forget(p)
}

func (c *Core) change(step *pure.Step, k *call, with func(*CallChanged)) {
	rec := &CallChanged{
		ID: k.ID, Session: k.Session, Finished: k.Finished,
		CancelledTo: k.CancelledTo, DaemonsOnly: k.DaemonsOnly, CancelGrace: k.CancelGrace,
	}
	with(rec)
	c.emit(step, rec)
}

// Attach opens a call or comes back to it: the session holds it from now on, what the client has is
// acknowledged, and the effects tell the state of the rest. It returns the call's id in the journal and
// what the call accepted so far.
func (c *Core) Attach(step *pure.Step, namespace, callName string, owner session.ID, acked pure.Ranges, updates, rejects bool) (uint64, pure.Ranges, error) {
	k := c.callNames[name{namespace, callName}]
	if k == nil {
		if err := countMax("calls", c.space(namespace).calls, callsMax); err != nil {
			return 0, nil, err
		}
		id := step.Next()
		c.emit(step, &CallPut{State: CallState{
			ID: id, Namespace: namespace, Name: callName, OpenedAt: step.Wall, Session: owner, CancelGrace: -1,
		}})
		k = c.calls[id]
	} else if k.Session != owner {
		c.change(step, k, func(r *CallChanged) { r.Session = owner })
	}
	c.unwaitCall(k) // their client submits them again
	k.attached, k.updates, k.rejects, k.finishes = true, updates, rejects, false
	k.missed, k.retold = nil, nil
	for _, r := range k.Acknowledged {
		acked.Gaps(r.First, r.Last, func(gap pure.Range) { k.missed.Add(gap.First, gap.Last) })
	}
	accepted := k.Accepted.Clone()
	if len(acked) > 0 {
		c.acknowledge(step, k, acked)
	}
	return k.ID, accepted, nil
}

// Resume tells the current state of every task of a call that the client does not have yet, and forgets the call if
// the client has all now that it will have. It follows [Core.Attach] in the same step.
func (c *Core) Resume(step *pure.Step, id uint64) {
	k := c.calls[id]
	if k == nil {
		return
	}
	for _, t := range k.tasks {
		switch {
		case t.Acknowledged:
		case t.State.Final():
			c.resumeAdvanced(step, t)
			step.Tell(&Finished{Call: k.ID, Index: t.Index, ID: t.ID, Outcome: t.Outcome})
		case t.State.Held():
			c.tellUpdate(step, t)
			c.resumeAdvanced(step, t)
		case len(t.Partials) > 0:
			c.resumeAdvanced(step, t)
		}
	}
	c.tellInterrupt(step, k)
	// What was accepted, is not acknowledged and is no longer here has outlived its retention.
	for _, r := range k.Accepted {
		k.Acknowledged.Gaps(r.First, r.Last, func(gap pure.Range) {
			for i := gap.First; ; i++ {
				if k.byIndex[i] == nil {
					step.Tell(&Rejected{Call: k.ID, Index: i, Reason: gone(i)})
				}
				if i == gap.Last {
					break
				}
			}
		})
	}
	c.dropIfDone(step, k)
}

func gone(index uint64) *pure.Refusal {
	return pure.Refuse(pure.TaskNotFound, "the task's outcome is past its retention", "index", index)
}

// Detach says that no stream listens to a call any more.
func (c *Core) Detach(id uint64) {
	if k := c.calls[id]; k != nil {
		k.attached = false
		c.unwaitCall(k)
	}
}

// unwaitCall forgets the tasks of a call that wait for room in their queues.
func (c *Core) unwaitCall(k *call) {
	for _, i := range slices.Sorted(maps.Keys(k.waiting)) {
		c.unwait(k.waiting[i])
	}
}

// Acknowledge records that the client has outcomes. What is not final or acknowledged already is passed
// over. An index that was not accepted is void from then on, if it is not beyond what was: the client says
// that no task will come there, and a call with many such holes has fewer stretches to remember.
func (c *Core) Acknowledge(step *pure.Step, id uint64, ranges pure.Ranges) {
	if k := c.calls[id]; k != nil {
		c.acknowledge(step, k, ranges)
		c.dropIfDone(step, k)
	}
}

func (c *Core) acknowledge(step *pure.Step, k *call, ranges pure.Ranges) {
	var news pure.Ranges
	var kept []uint64
	for _, r := range ranges {
		if n := len(k.Accepted); n > 0 && r.First <= k.Accepted[n-1].Last {
			k.Accepted.Gaps(r.First, min(r.Last, k.Accepted[n-1].Last), func(gap pure.Range) {
				news.Add(gap.First, gap.Last)
			})
		}
		k.Accepted.Overlap(r.First, r.Last, func(in pure.Range) {
			k.Acknowledged.Gaps(in.First, in.Last, func(gap pure.Range) {
				for i := gap.First; ; i++ {
					if t := k.byIndex[i]; t == nil || t.State.Final() {
						news.Add(i, i)
						c.tellReleased(step, t)
						if t != nil && (t.awaited() || len(t.Joiners) > 0) {
							kept = append(kept, i)
						}
					}
					if i == gap.Last {
						break
					}
				}
			})
		})
	}
	if len(news) > 0 {
		c.emit(step, &CallAcknowledged{ID: k.ID, Ranges: news, Kept: kept})
	}
}

func (c *Core) tellReleased(step *pure.Step, t *task) {
	if t != nil && t.Outcome.Spooled {
		step.Tell(&Released{Session: t.Session, Token: t.Token})
	}
}

// Finish says that a call takes no more tasks. It ends once every outcome is acknowledged.
func (c *Core) Finish(step *pure.Step, id uint64) {
	k := c.calls[id]
	if k == nil {
		return
	}
	k.finishes = true
	c.finishIfDue(step, k)
}

// finishIfDue finishes a call whose client said so, once no task of it waits for room.
func (c *Core) finishIfDue(step *pure.Step, k *call) {
	if !k.finishes || len(k.waiting) > 0 || c.calls[k.ID] != k {
		return
	}
	if !k.Finished {
		c.change(step, k, func(r *CallChanged) { r.Finished = true })
	}
	c.dropIfDone(step, k)
}

func (c *Core) dropIfDone(step *pure.Step, k *call) {
	if c.calls[k.ID] == k && len(k.tasks) == 0 && len(k.waiting) == 0 && (k.Finished || k.Session.IsZero()) {
		c.emit(step, &CallDropped{ID: k.ID})
	}
}

// CancelCall cancels every task of a call that is not final, and takes no more for it. The tasks follow
// in bulk work; grace below 0 is each task's own.
func (c *Core) CancelCall(step *pure.Step, namespace, callName string, grace time.Duration) (tasks uint64, err error) {
	k := c.callNames[name{namespace, callName}]
	if k == nil {
		return 0, pure.Refuse(pure.CallNotFound, "no such call", "call_id", callName)
	}
	return c.CancelCallID(step, k.ID, grace), nil
}

// CancelCallID is [Core.CancelCall] by the call's id in the journal.
func (c *Core) CancelCallID(step *pure.Step, id uint64, grace time.Duration) (tasks uint64) {
	k := c.calls[id]
	if k == nil {
		return 0
	}
	for _, t := range k.tasks {
		if !t.State.Final() && t.State != Cancelling {
			tasks++
		}
	}
	tasks += uint64(len(k.waiting))
	c.cancelWaiting(k, pure.Range{Last: math.MaxUint64})
	c.change(step, k, func(r *CallChanged) {
		r.Finished, r.CancelledTo, r.DaemonsOnly, r.CancelGrace = true, *step.Counter, false, max(grace, -1)
	})
	c.sweep(&sweep{call: k, at: len(k.tasks)})
	return tasks
}

func (c *Core) tellUpdate(step *pure.Step, t *task) {
	if t.call != nil && t.call.attached && t.call.updates && !t.State.Final() {
		step.Tell(&Updated{
			Call: t.call.ID, Index: t.Index, ID: t.ID, State: t.State, Token: t.Token,
			Worker: c.sessionName(t.Session), Attempts: t.Attempts,
		})
	}
	c.tellWatchers(step, t)
}

func (c *Core) tellWatchers(step *pure.Step, t *task) {
	if t.watched > 0 {
		step.Tell(&Changed{Task: c.watched(t)})
	}
}
