package shard

import (
	"encoding/hex"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// LockOp is something asked of the lock service, alone ([Synchronize]) or on a stream ([SynchronizeFrame]).
type LockOp interface {
	decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error)
}

// lockCaller is who asks.
type lockCaller struct {
	namespace string
	holder    lockservice.HolderID
	label     string
	origin    lockservice.Origin
}

func (by *lockCaller) request(name string, wait lockservice.Wait) lockservice.Request {
	return lockservice.Request{
		Namespace: by.namespace, Name: name, Holder: by.holder, Label: by.label, Origin: by.origin, Wait: wait,
	}
}

// Synchronize is one request of the lock service. The reply is a [LockReply], when it is answered.
type Synchronize struct {
	Namespace string
	Op        LockOp
	Holder    lockservice.HolderID // its session is zero if the request brings none
	Label     string
	Origin    lockservice.Origin
	Ticket    uint64 // names the request while it waits, see [AbandonLock]

	// A request without a holder that needs one opens a session.
	Opens      bool
	NewSession session.ID `json:"-"`
	Lease      time.Duration
}

// LockReply is the answer to a [Synchronize].
type LockReply struct {
	Answer  lockservice.Answer
	Session session.ID
	Lease   time.Duration // the session's TTL
}

// lockWait is a request that waits.
type lockWait struct {
	reply  Reply
	ticket uint64
	holder lockservice.HolderID
	own    bool // the session is the request's own
	pins   bool // the session lives as long as the request waits
}

func (c *Synchronize) run(m *Machine, step *pure.Step) (any, error) {
	by := lockCaller{namespace: c.Namespace, holder: c.Holder, label: c.Label, origin: c.Origin}
	own, fresh, err := m.ownSession(step, c, &by)
	if err != nil {
		return nil, err
	}
	if !by.holder.Session.IsZero() {
		if err := m.mayHold(c.Namespace, by.holder); err != nil {
			return nil, err
		}
		m.renewFor(step, by.holder.Session)
	}
	d, err := c.Op.decide(m, step, &by)
	if err == nil && d.Waiter != 0 {
		m.awaitLock(d.Waiter, &lockWait{reply: m.reply, ticket: c.Ticket, holder: by.holder, own: own})
		m.reply = nil
		return nil, nil
	}
	if fresh && !m.locks.Knows(by.holder.Session) { // refused, in vain, or what it was once granted is over
		m.endSession(step, by.holder.Session, session.Closed)
	}
	return m.lockReply(by.holder.Session, d.Answer), err
}

// ownSession opens the session of a request that brings none, unless the same request did so before.
func (m *Machine) ownSession(step *pure.Step, c *Synchronize, by *lockCaller) (own, fresh bool, err error) {
	if !c.Opens || !c.Holder.Session.IsZero() {
		return false, false, nil
	}
	if m.diskLow {
		return false, false, diskLow()
	}
	s, err := m.sessions.Open(step, session.State{
		ID: c.NewSession, Namespace: c.Namespace, Kind: session.Reservation, Name: "request-" + hex.EncodeToString(c.NewSession[:4]), TTL: c.Lease,
		RequestID: c.Origin.RequestID, RequestHash: c.Origin.Hash,
	})
	if err != nil {
		return false, false, err
	}
	by.holder.Session = s.ID
	return true, s.ID == c.NewSession, nil
}

// renewFor renews the session of a request, unless it is a worker's: that a process beside the worker is alive says nothing
// of the worker.
func (m *Machine) renewFor(step *pure.Step, id session.ID) {
	if s := m.sessions.Lookup(id); s != nil && s.Kind != session.Worker {
		m.sessions.Renew(step, id)
	}
}

// mayHold refuses a session that is over, and an attempt that is.
func (m *Machine) mayHold(namespace string, h lockservice.HolderID) error {
	s, err := m.sessions.Get(namespace, h.Session)
	if err != nil {
		return err
	}
	if s.Kind == session.Worker && !m.locks.Holds(h) && !m.queue.Runs(h.Session, h.Number) {
		return pure.Refuse(pure.LeaseLost, "the worker has no such attempt: what an attempt held was given up at its end",
			"token", h.Number)
	}
	return nil
}

func (m *Machine) lockReply(id session.ID, a lockservice.Answer) LockReply {
	r := LockReply{Answer: a, Session: id}
	if s := m.sessions.Lookup(id); s != nil {
		r.Lease = s.TTL
	}
	return r
}

// awaitLock notes a request that waits. The session lives as long as the request does. An earlier one with the same id is
// taken over.
func (m *Machine) awaitLock(waiter uint64, w *lockWait) {
	if old := m.lockWaits[waiter]; old != nil {
		m.forgetLockWait(waiter)
		m.pending.deliveries = append(m.pending.deliveries, delivery{
			reply: old.reply, err: pure.Refuse(pure.Superseded, "another request with the same id took over"),
		})
	}
	m.lockWaits[waiter], m.tickets[w.ticket] = w, waiter
	s := m.sessions.Lookup(w.holder.Session)
	if w.pins = s != nil && s.Kind != session.Worker; w.pins { // a worker's lives by its worker alone
		m.pinned[w.holder.Session]++
	}
}

func (m *Machine) forgetLockWait(waiter uint64) *lockWait {
	w := m.lockWaits[waiter]
	if w == nil {
		return nil
	}
	delete(m.lockWaits, waiter)
	delete(m.tickets, w.ticket)
	if id := w.holder.Session; w.pins {
		if m.pinned[id]--; m.pinned[id] == 0 {
			delete(m.pinned, id)
		}
	}
	return w
}

// resolved tells whoever waits what became of the wait.
func (m *Machine) resolved(step *pure.Step, e *lockservice.Resolved) {
	if e.Origin.Number != 0 {
		m.resolvedOnStream(e)
		return
	}
	w := m.forgetLockWait(e.Waiter)
	if w == nil {
		return // after a new term nobody listens until the request comes again
	}
	m.renewFor(step, w.holder.Session)
	d := delivery{reply: w.reply, effect: m.lockReply(w.holder.Session, e.Answer)}
	if e.Err != nil {
		d.effect, d.err = nil, e.Err
	}
	m.pending.deliveries = append(m.pending.deliveries, d)
	if w.own && (e.Err != nil || e.Answer.Token == 0) {
		m.idle(step, w.holder.Session)
	}
}

// idle ends a session that a request opened, when nothing hangs on it any more.
func (m *Machine) idle(step *pure.Step, id session.ID) {
	s := m.sessions.Lookup(id)
	if s != nil && s.Kind == session.Reservation && m.pinned[id] == 0 && len(m.channelsOf[id]) == 0 && !m.locks.Knows(id) && !m.queue.Knows(id) {
		m.endSession(step, id, session.Closed)
	}
}

// AbandonLock ends the wait of a request, which is answered all the same.
type AbandonLock struct{ Ticket uint64 }

func (c *AbandonLock) run(m *Machine, step *pure.Step) (any, error) {
	if waiter, ok := m.tickets[c.Ticket]; ok {
		m.locks.AbandonWaiter(step, waiter)
	}
	return nil, nil
}

// GiveBackLock gives up what a request was granted whose caller is gone.
type GiveBackLock struct {
	Namespace string
	Op        LockOp
	Answer    lockservice.Answer
}

// object is what a grant is given back with: see [lockservice.Core.TakeBack].
func (c *GiveBackLock) object() string {
	switch op := c.Op.(type) {
	case *WaitCondition:
		return op.Name
	case *WaitBarrier:
		return op.Name
	case *AcquireSemaphore:
		if op.Spec.Free {
			return op.Name
		}
	}
	return ""
}

func (c *GiveBackLock) run(m *Machine, step *pure.Step) (any, error) {
	id := session.ID{}
	if g := m.locks.GrantOf(c.Answer.Token); g != nil {
		id = g.Holder.Session
	}
	m.locks.TakeBack(step, c.Namespace, c.object(), &c.Answer)
	if !id.IsZero() {
		m.idle(step, id)
	}
	return nil, nil
}
