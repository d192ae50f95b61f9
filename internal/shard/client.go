package shard

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// CallAttach opens a call or comes back to it. The reply is an *[Attached], which the stream is told first
// as well; the state of everything that it does not have yet follows there.
type CallAttach struct {
	Namespace    string
	Call         string
	Session      session.ID // of the client, or none
	NewSession   session.ID `json:"-"` // the id of a new session, should one be needed
	TTL          time.Duration
	Client       string
	Acknowledged pure.Ranges
	Updates      bool
	Rejects      bool    // tasks whose queue is full, rather than have them wait
	Stream       *Outbox `json:"-"`
}

// Attached is the first thing that a call's stream is told.
type Attached struct {
	Call     uint64
	Session  session.ID
	TTL      time.Duration
	Accepted pure.Ranges
}

func (c *CallAttach) run(m *Machine, step *pure.Step) (any, error) {
	s, err := m.sessions.Get(c.Namespace, c.Session)
	fresh := err != nil
	if fresh {
		if s, err = m.sessions.Open(step, session.State{
			ID: c.NewSession, Namespace: c.Namespace, Kind: session.Client, Name: c.Client, TTL: c.TTL,
		}); err != nil {
			return nil, err
		}
	}
	m.sessions.Renew(step, s.ID)
	id, accepted, err := m.queue.Attach(step, c.Namespace, c.Call, s.ID, c.Acknowledged, c.Updates, c.Rejects)
	if err != nil {
		if fresh {
			m.endSession(step, s.ID, session.Closed)
		}
		return nil, err
	}
	if old, ok := m.clients[id]; ok {
		m.closeAfter(old.outbox, pure.Refuse(pure.Superseded, "another stream took over the call"))
		m.unlisten(id)
	}
	m.listen(id, client{outbox: c.Stream, session: s.ID})
	attached := &Attached{Call: id, Session: s.ID, TTL: s.TTL, Accepted: accepted}
	m.deliver(c.Stream, attached)
	m.queue.Resume(step, id)
	return attached, nil
}

// CallCancel cancels tasks of a call.
type CallCancel struct {
	All   bool
	Range pure.Range
	Grace time.Duration // below 0 is each task's own

	WaitingOnly bool // of a range: what runs goes on
}

// CallFrame is what a call's stream says. A frame of a stream that another one took over is void.
type CallFrame struct {
	Call           uint64
	Stream         *Outbox `json:"-"`
	Acknowledged   pure.Ranges
	Tasks          []queue.NewTask
	Refused        []queue.Rejected // tasks that broke a rule at the edge
	Cancels        []CallCancel
	Finish         bool
	InterruptTaken uint64 // the number of the one that it has taken; 0 is none
	Heartbeat      uint64
}

func (c *CallFrame) run(m *Machine, step *pure.Step) (any, error) {
	k := m.clients[c.Call]
	if k.outbox != c.Stream {
		return nil, nil
	}
	m.sessions.Renew(step, k.session)
	if len(c.Acknowledged) > 0 {
		m.queue.Acknowledge(step, c.Call, c.Acknowledged)
	}
	if len(c.Tasks) > 0 {
		m.enqueue(step, c)
	}
	for i := range c.Refused {
		c.Refused[i].Call = c.Call
		step.Tell(&c.Refused[i])
	}
	if refusal := m.cancel(step, c); refusal != nil {
		m.closeAfter(c.Stream, refusal) // the client comes back, and asks again
		m.unlisten(c.Call)
		m.queue.Detach(c.Call)
		return nil, nil
	}
	if c.InterruptTaken != 0 {
		m.queue.TakeInterrupt(step, c.Call, c.InterruptTaken)
	}
	if c.Finish {
		m.queue.Finish(step, c.Call)
	}
	if c.Heartbeat != 0 {
		step.Tell(&beatTo{c.Stream, Beat{c.Heartbeat}})
	}
	return nil, nil
}

// cancel carries out a frame's cancellations. Those of the whole call are one, with the shortest grace.
func (m *Machine) cancel(step *pure.Step, c *CallFrame) *pure.Refusal {
	all, grace := false, time.Duration(-1)
	for _, x := range c.Cancels {
		if !x.All {
			if refusal := m.queue.CancelIndexes(step, c.Call, x.Range, x.Grace, x.WaitingOnly); refusal != nil {
				return refusal
			}
			continue
		}
		if !all || x.Grace >= 0 && (grace < 0 || x.Grace < grace) {
			grace = x.Grace
		}
		all = true
	}
	if all {
		m.queue.CancelCallID(step, c.Call, grace)
	}
	return nil
}

func (m *Machine) enqueue(step *pure.Step, c *CallFrame) {
	if !m.diskLow {
		m.queue.Enqueue(step, c.Call, c.Tasks)
		return
	}
	for i := range c.Tasks {
		step.Tell(&queue.Rejected{Call: c.Call, Index: c.Tasks[i].Index, Reason: diskLow()})
	}
}

func diskLow() *pure.Refusal {
	return pure.Refuse(pure.DiskLow, "the broker's disk is nearly full: what frees space still works")
}

// CallGone says that a call's stream is closed.
type CallGone struct {
	Call   uint64
	Stream *Outbox `json:"-"`
}

func (c *CallGone) run(m *Machine, _ *pure.Step) (any, error) {
	k := m.clients[c.Call]
	if k.outbox != c.Stream {
		return nil, nil
	}
	m.unlisten(c.Call)
	m.queue.Detach(c.Call)
	return nil, nil
}

// CancelCall cancels a call by its name. The reply is the number of tasks concerned (uint64).
type CancelCall struct {
	Namespace string
	Call      string
	Grace     time.Duration // below 0 is each task's own
}

func (c *CancelCall) run(m *Machine, step *pure.Step) (any, error) {
	return m.queue.CancelCall(step, c.Namespace, c.Call, c.Grace)
}
