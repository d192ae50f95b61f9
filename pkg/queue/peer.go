package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// peer is a session as the queues see it: what it holds, what it submitted, and the worker behind it.
// It is there while there is something to know.
type peer struct {
	id       session.ID
	attempts []*task              // in no order; a task knows its place
	calls    []*call              // in no order
	suspects map[*task]struct{}   // tasks that were lost with it, to be absolved or convicted; checked when used
	waiters  map[*waiter]struct{} // reservations that it waits for
	worker   *worker              // nil while no worker is connected
	dead     bool                 // the session has ended
	closed   bool                 // by its owner
	endedAt  uint64               // the sequence of that record
	swept    bool                 // what it held is given up
}

func (c *Core) peer(id session.ID) *peer {
	p := c.peers[id]
	if p == nil {
		p = &peer{id: id}
		c.peers[id] = p
	}
	return p
}

// forget drops a peer that there is nothing to know of. A dead one is known until the sweep has been there:
// a record may speak of it again before that.
func (c *Core) forget(p *peer) {
	switch {
	case p.dead && !p.swept, p.worker != nil:
	case len(p.attempts) == 0 && len(p.calls) == 0 && len(p.suspects) == 0 && len(p.waiters) == 0:
		delete(c.peers, p.id)
	}
}

func (p *peer) hold(t *task) {
	t.peer = p
	p.attempts = append(p.attempts, t)
	t.peerPlace = int32(len(p.attempts))
}

func (p *peer) unhold(t *task) {
	last := len(p.attempts) - 1
	moved := p.attempts[last]
	p.attempts[t.peerPlace-1] = moved
	moved.peerPlace = t.peerPlace
	p.attempts[last] = nil
	p.attempts = p.attempts[:last]
	t.peerPlace, t.peer = 0, nil
}

// takeSuspects empties the list of suspects and returns those that still are, in the order of their ids.
func (p *peer) takeSuspects(c *Core) []*task {
	var out []*task
	for t := range p.suspects {
		if c.tasks[t.ID] == t && slices.Contains(t.Suspects, p.id) {
			out = append(out, t)
		}
	}
	p.suspects = nil
	slices.SortFunc(out, func(a, b *task) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Held is an attempt that a worker says it has.
type Held struct{ ID, Token uint64 }

// Hello is how a worker introduces itself.
type Hello struct {
	Namespace string
	Session   session.ID
	Name      string
	Queues    []string
	Weights   []uint32 // of the queues; nil is 1 each
	Kinds     []string
	Slots     uint32
	Credits   uint32
	Attempts  []Held
	Labels    []string
}

// Connect brings a worker in, or back. What it holds by the core's account and does not list is given to
// others at once, and is not charged; what it lists and does not hold is returned as superseded. Tasks
// that were suspected to have lost it are absolved.
func (c *Core) Connect(step *pure.Step, h Hello) (superseded []uint64, err error) {
	kinds := sortedKinds(h.Kinds)
	for _, n := range h.Queues { // all of them before one is made: what is refused changes nothing
		view, err := c.Queue(h.Namespace, n)
		if err != nil {
			return nil, err
		}
		if q := c.queues[view.ID]; q != nil { // the default one may still have to be made
			if err := q.profileRoom(kinds, h.Labels); err != nil {
				return nil, err
			}
		}
	}
	queues := make([]*queue, 0, len(h.Queues))
	for _, n := range h.Queues {
		q, err := c.findQueue(step, h.Namespace, n)
		if err != nil {
			return nil, err
		}
		queues = append(queues, q)
	}
	p := c.peer(h.Session)
	c.removeWorker(p)
	listed := make(map[Held]bool, len(h.Attempts))
	for _, a := range h.Attempts {
		listed[a] = true
		if !c.keeps(p, a) {
			superseded = append(superseded, a.Token)
		}
	}
	for _, t := range slices.Clone(p.attempts) {
		if !listed[Held{t.ID, t.Token}] {
			c.endUnstarted(step, t)
			continue
		}
		t.graceAt = 0
		c.patience(t)
		if t.State == Cancelling {
			step.Tell(&Stop{Session: p.id, Token: t.Token, Reason: EndKilled, Grace: t.CancelGrace})
		}
	}
	c.absolve(step, p)
	c.addWorker(p, queues, h)
	return superseded, nil
}

// keeps tells whether a listed attempt is the peer's, or ended with its own report.
func (c *Core) keeps(p *peer, a Held) bool {
	t := c.tasks[a.ID]
	return t != nil && t.Token == a.Token && (t.peer == p || t.State.Final() && t.Session == p.id)
}

// endUnstarted takes back an attempt that its worker does not know: it never arrived.
func (c *Core) endUnstarted(step *pure.Step, t *task) {
	if t.State == Cancelling {
		c.finish(step, t, t.stopped(EndReleased))
		return
	}
	c.retry(step, t, EndReleased, 0, t.Tries, nil)
}

// Disconnect says that a worker's stream is gone: it keeps its young attempts for a second, its old ones
// for a tenth of their age, and at most for its session's TTL.
func (c *Core) Disconnect(step *pure.Step, id session.ID, ttl time.Duration) {
	p := c.peers[id]
	if p == nil || p.worker == nil {
		return
	}
	c.removeWorker(p)
	for _, t := range p.attempts {
		if t.Options.Exclusive {
			continue // it waits for the end of the session
		}
		grace := ttl // of an attempt of an earlier term, whose age nobody knows for sure
		if t.since != 0 {
			grace = min(max(time.Duration(step.Lease-t.since)/10, time.Second), ttl)
		}
		t.graceAt = step.Lease.Add(grace)
		c.patience(t)
	}
	c.forget(p)
}

// patience sets the moment when the broker acts on an attempt by itself.
func (c *Core) patience(t *task) {
	at := t.timeoutAt
	if t.graceAt != 0 && (at == 0 || t.graceAt < at) {
		at = t.graceAt
	}
	if at == 0 {
		c.leases.Remove(t)
		return
	}
	c.leases.Set(t, pure.Key{A: int64(at), B: t.ID})
}

// absolve takes a peer that came back off the accounts of the tasks that were lost with it.
func (c *Core) absolve(step *pure.Step, p *peer) {
	for _, t := range p.takeSuspects(c) {
		c.emit(step, &TaskLosses{ID: t.ID, Losses: t.Losses, Suspects: without(t.Suspects, p.id)})
	}
}

// SessionEnded gives up everything that a session held: attempts are lost (or released, if its owner
// closed it), daemon tasks of its calls are cancelled. That follows in bulk work, and counts at once. The
// reservations that it still waited for are returned: they are forgotten.
func (c *Core) SessionEnded(step *pure.Step, id session.ID, closed bool) (waiters []uint64) {
	p := c.peers[id]
	if p == nil || p.dead {
		return nil
	}
	p.dead, p.closed, p.endedAt = true, closed, step.Seq
	for w := range p.waiters {
		waiters = append(waiters, w.id)
	}
	slices.Sort(waiters)
	for _, w := range waiters {
		c.removeWaiter(c.waiters[w])
	}
	c.removeWorker(p)
	for _, k := range p.calls { // what waits for room ends with its client
		c.Detach(k.ID)
	}
	c.sweep(&sweep{peer: p})
	return waiters
}

// applySessionEnded remembers, while the journal is replayed, that what a session held is to be given up
// and why. [Core.Serve] does it, as far as the records after this one did not.
func (c *Core) applySessionEnded(rec *session.Ended, seq uint64) {
	p := c.peer(rec.ID)
	p.dead, p.closed, p.endedAt = true, rec.Reason == session.Closed, seq
}
