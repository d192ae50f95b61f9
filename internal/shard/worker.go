package shard

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// WorkerHello connects a worker. The reply is the session's id; the stream is told a [Welcome] first.
type WorkerHello struct {
	Hello      queue.Hello   // its Session is the one of an earlier stream, or none
	NewSession session.ID    `json:"-"` // the id of a new session, should one be needed
	TTL        time.Duration // and its TTL
	Stream     *Outbox       `json:"-"`
}

// Welcome is the first thing that a worker's stream is told.
type Welcome struct {
	Session    session.ID
	TTL        time.Duration
	Superseded []uint64 // tokens
}

// Beat answers a heartbeat.
type Beat struct{ Number uint64 }

func (c *WorkerHello) run(m *Machine, step *pure.Step) (any, error) {
	h := c.Hello
	s, err := m.sessions.Get(h.Namespace, h.Session)
	known := err == nil && s.Kind == session.Worker
	if !known {
		if err := m.sessions.Room(h.Namespace); err != nil {
			return nil, err // before anything changes
		}
		h.Session = c.NewSession
	}
	superseded, err := m.queue.Connect(step, h)
	if err != nil {
		return nil, err
	}
	if !known {
		if s, err = m.sessions.Open(step, session.State{
			ID: h.Session, Namespace: h.Namespace, Kind: session.Worker, Name: h.Name, TTL: c.TTL,
		}); err != nil {
			return nil, err
		}
	}
	if old := m.workers[s.ID]; old != nil {
		m.closeAfter(old, pure.Refuse(pure.Superseded, "another stream took over the session"))
	}
	m.workers[s.ID], c.Stream.worker = c.Stream, true
	m.sessions.Renew(step, s.ID)
	m.noteStreams(s.ID)
	m.forgetAttempts(step, &h)
	m.deliver(c.Stream, &Welcome{Session: s.ID, TTL: s.TTL, Superseded: superseded})
	return s.ID, nil
}

// forgetAttempts gives up the locks of attempts that a worker no longer has.
func (m *Machine) forgetAttempts(step *pure.Step, h *queue.Hello) {
	if !m.locks.Knows(h.Session) {
		return
	}
	has := map[uint64]bool{}
	for _, a := range h.Attempts {
		has[a.Token] = true
	}
	m.locks.Holders(h.Session, func(number uint64) {
		if !has[number] {
			m.locks.EndHolder(step, lockservice.HolderID{Session: h.Session, Number: number})
		}
	})
}

// WorkerFrame is what a worker's stream says. A frame of a stream that another one took over is void.
type WorkerFrame struct {
	Session   session.ID
	Stream    *Outbox `json:"-"`
	Advances  []queue.Advance
	Reports   []queue.Report
	Credits   uint32
	Heartbeat uint64
	Draining  bool
	Goodbye   bool
}

func (c *WorkerFrame) run(m *Machine, step *pure.Step) (any, error) {
	if m.workers[c.Session] != c.Stream {
		return nil, nil
	}
	m.sessions.Renew(step, c.Session)
	if len(c.Advances) > 0 { // before the ends of the same attempts
		m.queue.AdvanceAttempts(step, c.Session, c.Advances)
	}
	if len(c.Reports) > 0 {
		m.queue.Report(step, c.Session, c.Reports)
		for i := range c.Reports { // accepted or not: the attempt is over
			m.locks.EndHolder(step, lockservice.HolderID{Session: c.Session, Number: c.Reports[i].Token})
		}
	}
	if c.Draining {
		m.queue.Drain(c.Session)
	}
	m.queue.Credit(c.Session, c.Credits)
	if c.Heartbeat != 0 {
		step.Tell(&beatTo{c.Stream, Beat{c.Heartbeat}})
	}
	if c.Goodbye {
		step.Tell(&saidGoodbye{c.Stream})
		m.endSession(step, c.Session, session.Closed)
	}
	return nil, nil
}

// saidGoodbye ends a stream in order, behind what the same step told it.
type saidGoodbye struct{ stream *Outbox }

// beatTo keeps a heartbeat's answer in its place behind the effects of the same frame.
type beatTo struct {
	stream *Outbox
	beat   Beat
}

// WorkerGone says that a worker's stream is closed.
type WorkerGone struct {
	Session session.ID
	Stream  *Outbox `json:"-"`
}

func (c *WorkerGone) run(m *Machine, step *pure.Step) (any, error) {
	if m.workers[c.Session] != c.Stream {
		return nil, nil
	}
	delete(m.workers, c.Session)
	m.noteStreams(c.Session)
	if s := m.sessions.Lookup(c.Session); s != nil {
		m.queue.Disconnect(step, c.Session, s.TTL)
	}
	return nil, nil
}

// ListWorkers returns the connected workers of a namespace ([]queue.WorkerView).
type ListWorkers struct{ Namespace string }

func (c *ListWorkers) run(m *Machine, _ *pure.Step) (any, error) {
	return m.queue.Workers(c.Namespace), nil
}
