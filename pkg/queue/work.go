package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// sweep is bulk work behind an intent: what it will come to counts as done already.
type sweep struct {
	peer     *peer
	suspects []*task // of the peer, still to be convicted
	purge    *queue  // to be purged
	again    bool    // from the first task: the purge covers more since it passed some
	ended    *task   // whose dependents are to be told
	stuffed  *space  // to be relieved
	after    uint64  // of tasks by id: those up to this one are done
	call     *call
	at       int          // of the call: tasks from here on are done
	indexes  *indexCancel // of the call: these alone
	waiting  []uint64     // of the call: these that wait for room
	behind   []*putter    // of the call: these waited behind another
}

// Pending tells whether there is work to do.
func (c *Core) Pending() bool {
	return len(c.sweeps) > 0 || len(c.dirtyQueues) > 0 || len(c.dirtyProfiles) > 0 || len(c.dirtyWorkers) > 0
}

// Work hands out tasks and goes on with bulk work, up to about a thousand records a step. The caller
// calls it after each command, and again while [Core.Pending].
func (c *Core) Work(step *pure.Step) {
	if c.bulky { // what is handed out comes first, after a step of bulk work
		c.bulky = false
		if !c.handOut(step) {
			return
		}
	}
	for c.Pending() {
		if !c.workSweeps(step) {
			c.bulky = true
			return
		}
		if !c.handOut(step) {
			return
		}
	}
}

func (c *Core) handOut(step *pure.Step) bool {
	return c.workQueues(step) && c.workProfiles(step) && c.workWorkers(step)
}

// sweep begins bulk work. The ends of sessions go first.
func (c *Core) sweep(s *sweep) {
	if s.peer == nil {
		c.sweeps = append(c.sweeps, s)
		return
	}
	at := slices.IndexFunc(c.sweeps, func(other *sweep) bool { return other.peer == nil })
	if at < 0 {
		at = len(c.sweeps)
	}
	c.sweeps = slices.Insert(c.sweeps, at, s)
}

// workSweeps goes on with bulk work: what has more than a step's share goes on after the others.
func (c *Core) workSweeps(step *pure.Step) bool {
	for len(c.sweeps) > 0 {
		s := c.sweeps[0]
		c.sweeps[0] = nil
		c.sweeps = c.sweeps[1:]
		if !c.runSweep(step, s) {
			c.sweep(s)
			return false
		}
	}
	c.sweeps = nil
	return true
}

func (c *Core) workQueues(step *pure.Step) bool {
	for len(c.dirtyQueues) > 0 {
		q := c.dirtyQueues[0]
		if !c.tend(step, q) {
			return false
		}
		q.dirty = false
		c.dirtyQueues = c.dirtyQueues[1:]
	}
	c.dirtyQueues = nil
	return true
}

func (c *Core) workProfiles(step *pure.Step) bool {
	for len(c.dirtyProfiles) > 0 {
		p := c.dirtyProfiles[0]
		if !c.match(step, p) {
			return false
		}
		p.dirty = false
		c.dirtyProfiles = c.dirtyProfiles[1:]
	}
	c.dirtyProfiles = nil
	return true
}

func (c *Core) workWorkers(step *pure.Step) bool {
	for len(c.dirtyWorkers) > 0 {
		w := c.dirtyWorkers[0]
		if !c.fill(step, w) {
			return false
		}
		w.dirty = false
		c.dirtyWorkers = c.dirtyWorkers[1:]
	}
	c.dirtyWorkers = nil
	return true
}

func (c *Core) full(step *pure.Step) bool { return step.Work() >= c.stepMax }

// covered ends a ready task that a cancellation of its call or a purge of its queue covers, or whose deadline has
// passed: what does that has not come to it.
func (c *Core) covered(step *pure.Step, t *task) bool {
	switch deadline := t.Options.Deadline; {
	case deadline != 0 && deadline <= step.Wall:
		c.expire(step, t)
	case t.call.cancels(t):
		c.cancelCalled(step, t, t.call.CancelGrace)
	case t.queue.purges(t):
		c.purgeOne(step, t)
	default:
		return false
	}
	return true
}

func (c *Core) assign(step *pure.Step, t *task, w *worker) {
	w.credits--
	c.dispatch(step, t, w.peer)
	step.Tell(&Assigned{Session: w.peer.id, Assignment: t.assignment()})
}

// dispatch begins an attempt.
func (c *Core) dispatch(step *pure.Step, t *task, p *peer) {
	g := t.group
	g.key.serve()
	c.rec.dispatched = TaskDispatched{
		ID: t.ID, Token: step.Next(), Session: p.id, StartedAt: step.Wall, Attempts: t.Attempts + 1,
	}
	c.emit(step, &c.rec.dispatched)
	g.key.settle(g)
	t.queue.pace(step.Lease)
	t.since = step.Lease
	c.startPatience(step.Lease, t)
	if t.watched > 0 || t.call != nil && t.call.updates {
		c.tellUpdate(step, t)
	}
}

func (c *Core) startPatience(now pure.Lease, t *task) {
	if t.Options.Timeout > 0 && !t.Options.Exclusive {
		t.timeoutAt = now.Add(t.Options.Timeout + t.Options.Grace + reportMargin)
		c.patience(t)
	}
}

func (t *task) assignment() Assignment {
	return Assignment{
		ID: t.ID, Token: t.Token, Attempt: t.Attempts, Queue: t.queue.Name, Kind: t.Kind,
		Payload: t.Payload, Options: t.Options, Checkpoint: t.Checkpoint, Called: t.call != nil,
		Partials: uint32(len(t.Partials)), PartialsBytes: uint32(payloadBytes(t.Partials)),
	}
}

// runSweep goes on with a sweep, and tells whether it came to the end.
func (c *Core) runSweep(step *pure.Step, s *sweep) bool {
	switch {
	case s.peer != nil:
		return c.sweepPeer(step, s)
	case s.purge != nil:
		return c.sweepPurge(step, s)
	case s.ended != nil:
		return c.sweepEnded(step, s)
	case s.stuffed != nil:
		return c.sweepStuffed(step, s.stuffed)
	case s.indexes != nil:
		return c.sweepIndexes(step, s.call, s.indexes)
	case s.waiting != nil:
		return c.sweepWaiting(step, s)
	case s.behind != nil:
		return c.sweepBehind(step, s)
	}
	return c.sweepCall(step, s)
}

// sweepCall goes on with the cancellation of a call, and tells whether it came to the end.
func (c *Core) sweepCall(step *pure.Step, s *sweep) bool {
	for s.at = min(s.at, len(s.call.tasks)); s.at > 0; s.at-- {
		if c.full(step) {
			return false
		}
		step.Look()
		t := s.call.tasks[s.at-1]
		if s.call.cancels(t) && !t.State.Final() {
			c.cancelCalled(step, t, s.call.CancelGrace)
		}
	}
	c.dropIfDone(step, s.call)
	return true
}

func (c *Core) sweepPeer(step *pure.Step, s *sweep) bool {
	p := s.peer
	for len(p.attempts) > 0 {
		if c.full(step) {
			return false
		}
		c.lose(step, p.attempts[len(p.attempts)-1])
	}
	for {
		if len(s.suspects) == 0 {
			if s.suspects = p.takeSuspects(c); len(s.suspects) == 0 {
				break // and no record in between has named the peer again
			}
		}
		if c.full(step) {
			return false
		}
		c.convict(step, s.suspects[0], p)
		s.suspects = s.suspects[1:]
	}
	for len(p.calls) > 0 {
		if c.full(step) {
			return false
		}
		c.orphan(step, p.calls[len(p.calls)-1])
	}
	p.swept = true
	c.forget(p)
	return true
}

// orphan takes a call from a session that ended; its daemon tasks are cancelled.
func (c *Core) orphan(step *pure.Step, k *call) {
	k.attached = false
	c.change(step, k, func(r *CallChanged) {
		r.Session = session.ID{}
		if r.CancelledTo == 0 || r.DaemonsOnly {
			r.CancelledTo, r.DaemonsOnly = *step.Counter, true
		}
	})
	c.sweep(&sweep{call: k, at: len(k.tasks)})
}
