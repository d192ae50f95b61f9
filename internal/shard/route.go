package shard

import (
	"maps"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// settle addresses a step's effects to the streams that are open now: what was decided before a stream
// came is not for it, what is decided after it went is for nobody.
func (m *Machine) settle(step *pure.Step) {
	if m.strangers() != m.replay.strangers {
		panic("a record about something that is not there: no replay would take it")
	}
	m.queue.TellCalls(step)
	routed := 0
	for routed < len(step.Effects) { // an answer may end a session, which has effects too
		m.route(step, step.Effects[routed])
		routed++
	}
	m.tellObjects()
}

func (m *Machine) route(step *pure.Step, effect any) {
	switch e := effect.(type) {
	case *queue.Assigned:
		m.deliver(m.workers[e.Session], e)
	case *queue.Answered:
		m.deliver(m.workers[e.Session], e)
	case *queue.Stop:
		m.deliver(m.workers[e.Session], e)
	case *queue.Released:
		m.deliver(m.workers[e.Session], e)
	case *queue.AdvanceAnswered:
		m.deliver(m.workers[e.Session], e)
	case *queue.Advanced:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Interrupted:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Finished:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Accepted:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Rejected:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Updated:
		m.deliver(m.clients[e.Call].outbox, e)
	case *queue.Changed:
		m.tellWatchers(e)
	case *queue.CallChange:
		m.tellCallWatchers(e.Call, e)
	case *queue.CallOver:
		m.tellCallWatchers(e.Call, e)
		delete(m.callWatchers, e.Call)
	case *queue.Reserved:
		m.reserved(step, e)
	case *queue.Put:
		m.answerLater(e.Waiter, e.Submitted, e.Err)
	case *queue.QueueJoined:
		m.answerLater(e.Waiter, e.Queue, nil)
	case *lockservice.Resolved:
		m.resolved(step, e)
	case *leaseTo:
		m.deliver(e.stream, &e.beat)
	case *answerTo:
		m.deliver(e.stream, e.answer)
	case *sessionEnded:
		m.closeStreams(step, e.id)
	case *saidGoodbye:
		m.closeAfter(e.stream, ErrClosed)
	case *beatTo:
		m.deliver(e.stream, &e.beat)
	}
}

func (m *Machine) deliver(o *Outbox, effect any) {
	if o != nil {
		m.pending.deliveries = append(m.pending.deliveries, delivery{outbox: o, effect: effect})
	}
}

func (m *Machine) tellWatchers(e *queue.Changed) {
	for _, o := range m.watchers[e.Task.ID] {
		m.deliver(o, e)
	}
	if e.Task.State.Final() {
		delete(m.watchers, e.Task.ID)
	}
}

func (m *Machine) tellCallWatchers(call uint64, effect any) {
	for _, o := range m.callWatchers[call] {
		m.deliver(o, effect)
	}
}

// listen makes a stream the one of a call.
func (m *Machine) listen(call uint64, c client) {
	m.clients[call] = c
	calls := m.listens[c.session]
	if calls == nil {
		calls = map[uint64]struct{}{}
		m.listens[c.session] = calls
	}
	calls[call] = struct{}{}
	m.noteStreams(c.session)
}

// unlisten undoes it.
func (m *Machine) unlisten(call uint64) {
	id := m.clients[call].session
	delete(m.clients, call)
	delete(m.listens[id], call)
	if len(m.listens[id]) == 0 {
		delete(m.listens, id)
	}
	m.noteStreams(id)
}

// callsOf returns the calls that a session's streams are attached to, in order.
func (m *Machine) callsOf(id session.ID) []uint64 {
	return slices.Sorted(maps.Keys(m.listens[id]))
}

// later keeps the reply of the command being decided, to be answered by the waiter's name.
func (m *Machine) later(waiter uint64) {
	m.replies[waiter], m.reply = m.reply, nil
}

// answerLater tells such a reply, with what is decided now.
func (m *Machine) answerLater(waiter uint64, value any, err error) {
	reply := m.replies[waiter]
	delete(m.replies, waiter)
	m.pending.deliveries = append(m.pending.deliveries, delivery{reply: reply, effect: value, err: err})
}
