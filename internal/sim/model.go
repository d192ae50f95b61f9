package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// model is what the journal says, read by other eyes than the broker's: it decodes the stored records by
// itself and holds each to the rules.
type model struct {
	s      *sim
	seen   uint64 // the last entry that was read
	shadow *shard.Machine
	plans  *plans
	locks  *modelLocks

	sessions   map[session.ID]*modelSession // all that ever were
	calls      map[uint64]*modelCall
	tasks      map[uint64]*modelTask
	order      []uint64 // of tasks
	queues     map[uint64]*modelQueue
	left       modelLeft
	dispatches map[uint64]dispatch // by token
	ends       map[uint64]attemptEnd
	token      uint64 // the highest

	wallLow, wallHigh   pure.Wall // when the records of the entry under way were decided
	ticksLow, ticksHigh pure.Wall // the ticks since then
	records             int
}

type modelSession struct {
	kind    session.Kind
	ttl     time.Duration
	ended   bool
	expired bool
}

type modelCall struct {
	name     string
	session  session.ID
	finished bool
	dropped  bool
	to       uint64 // cancelled up to
	daemons  bool   // but daemons only
	accepted map[uint64]uint64
	last     uint64 // the highest of them
	acked    map[uint64]bool

	interrupt string // waits for its client
}

type modelTask struct {
	id, call, index         uint64
	request                 string
	opts                    *journalv1.Options
	state                   queue.State
	created, next           pure.Wall
	attempts, tries, losses uint32
	suspects                []session.ID
	token                   uint64
	session                 session.ID
	taken                   bool // whoever got it has ended it
	forsaken                bool // it was cancelled because of another one
	outcome                 string
	outcomeEnd              queue.End
	finishedAt              pure.Wall
	acked, dropped          bool

	modelAdvance
	lostWith map[session.ID]bool
	payload  int64 // the spec's number, below 0 if it has none

	queue      uint64
	result     string
	waits      []uint64
	joined     uint64
	requested  bool // a request joined it
	detached   bool
	revived    bool
	purged     bool // it was in its state when that was purged
	retriedBy  string
	since      uint64 // the highest token when it was tried again
	past       []string
	expiring   bool
	formerCall uint64
}

type dispatch struct {
	task    uint64
	session session.ID
	attempt uint32
}

// attemptEnd is how the journal says that an attempt ended.
type attemptEnd struct {
	end      queue.End
	finished bool
	result   string
}

func newModel(s *sim) *model {
	m := &model{
		s: s, sessions: map[session.ID]*modelSession{}, calls: map[uint64]*modelCall{}, tasks: map[uint64]*modelTask{},
		queues:     map[uint64]*modelQueue{},
		dispatches: map[uint64]dispatch{}, ends: map[uint64]attemptEnd{}, shadow: shard.NewMachine(shard.Config{}),
	}
	m.shadow.Restart(1)
	m.plans = newPlans(m)
	m.locks = newModelLocks(m)
	return m
}

// ticked notes what the broker believes the time to be: records are decided at no other times.
func (m *model) ticked(wall pure.Wall) {
	m.ticksLow, m.ticksHigh = min(m.ticksLow, wall), max(m.ticksHigh, wall)
}

// flushed says that what was decided since the last time is now one entry.
func (m *model) flushed() {
	for _, l := range m.s.leases {
		l.silent = m.s.broker.lease - l.renewed
	}
	m.wallLow, m.wallHigh = m.ticksLow, m.ticksHigh
	m.ticksLow, m.ticksHigh = m.s.wall(), m.s.wall()
}

// sync reads what was stored since the last time. dump is the state that the last entry should lead to.
func (m *model) sync(dump []string) {
	ctx := context.Background()
	st, _ := m.s.journal.State(ctx)
	for m.seen < st.Last && m.s.err == nil {
		m.seen++
		data, err := m.s.journal.Read(ctx, m.seen)
		if err != nil {
			m.s.fail("entry %d: %v", m.seen, err)
			return
		}
		const records = 2
		if data[1] != records {
			continue
		}
		body := data[journal.HeaderSize:]
		if err := m.shadow.Entry(m.seen, binary.LittleEndian.Uint64(data[10:]), body); err != nil {
			m.s.fail("entry %d cannot be applied: %v", m.seen, err)
		}
		m.entry(body)
	}
	if dump != nil && m.s.err == nil {
		m.s.compare("the live state", dump, m.shadow.Dump())
	}
}

func (m *model) entry(body []byte) {
	m.spends(true)
	for len(body) > 0 {
		size, n := binary.Uvarint(body)
		var rec journalv1.Record
		if err := proto.Unmarshal(body[n:n+int(size)], &rec); err != nil {
			m.s.fail("entry %d: %v", m.seen, err)
			return
		}
		m.records++
		m.record(&rec)
		m.spends(false)
		m.plans.record(&rec)
		m.locks.record(&rec)
		body = body[n+int(size):]
	}
	m.entryEnd()
	m.plans.entryEnd()
	m.locks.entryEnd()
}

// entryEnd holds the state after an entry to what may be broken within one.
func (m *model) entryEnd() {
	m.settled()
	for _, id := range m.order {
		t := m.tasks[id]
		if t.dropped {
			continue
		}
		if t.state.Held() {
			if s := m.sessions[t.session]; s == nil {
				m.s.fail("task %d is held by a session that never was", id)
			}
		}
		expired := 0
		for sid := range t.lostWith {
			if s := m.sessions[sid]; s != nil && s.expired {
				expired++
			}
		}
		if int(t.losses) > expired {
			m.s.fail("task %d is charged with %d lost workers, and %d were lost for good", id, t.losses, expired)
		}
	}
}

func (m *model) fail(format string, args ...any) {
	m.s.fail("the journal's entry %d: %s", m.seen, fmt.Sprintf(format, args...))
}

func sid(b []byte) (id session.ID) {
	copy(id[:], b)
	return id
}

func sids(b [][]byte) (ids []session.ID) {
	for _, x := range b {
		ids = append(ids, sid(x))
	}
	return ids
}

func (m *model) record(rec *journalv1.Record) {
	switch c := rec.Change.(type) {
	case *journalv1.Record_SessionPut:
		m.sessionPut(c.SessionPut)
	case *journalv1.Record_SessionEnded:
		m.sessionEnded(c.SessionEnded)
	case *journalv1.Record_CallPut:
		m.callPut(c.CallPut)
	case *journalv1.Record_CallChanged:
		m.callChanged(c.CallChanged)
	case *journalv1.Record_CallAcknowledged:
		m.acknowledged(c.CallAcknowledged)
	case *journalv1.Record_CallDropped:
		m.callDropped(c.CallDropped)
	case *journalv1.Record_TaskPut:
		m.taskPut(c.TaskPut)
	case *journalv1.Record_TaskDispatched:
		m.dispatched(c.TaskDispatched)
	case *journalv1.Record_TaskRetried:
		m.retried(c.TaskRetried)
	case *journalv1.Record_TaskReady:
		m.ready(c.TaskReady)
	case *journalv1.Record_TaskLosses:
		if t := m.task(c.TaskLosses.Id); t != nil {
			t.losses, t.suspects = c.TaskLosses.Losses, sids(c.TaskLosses.Suspects)
		}
	case *journalv1.Record_TaskCancelling:
		m.cancelling(c.TaskCancelling)
	case *journalv1.Record_TaskFinished:
		m.finished(c.TaskFinished)
	case *journalv1.Record_TaskDropped:
		m.taskDropped(c.TaskDropped)
	default:
		m.rareRecord(rec)
	}
}

func (m *model) rareRecord(rec *journalv1.Record) {
	switch c := rec.Change.(type) {
	case *journalv1.Record_QueuePut:
		m.queuePut(c.QueuePut)
	case *journalv1.Record_QueueDropped:
		m.queueDropped(c.QueueDropped)
	case *journalv1.Record_TaskUnblocked:
		m.unblocked(c.TaskUnblocked)
	case *journalv1.Record_TaskRevived:
		m.revive(c.TaskRevived)
	case *journalv1.Record_TaskAdvanced:
		m.advanced(c.TaskAdvanced)
	case *journalv1.Record_CallInterrupted:
		m.interrupted(c.CallInterrupted)
	case *journalv1.Record_TaskDetached:
		m.detached(c.TaskDetached)
	case *journalv1.Record_TaskJoined:
		if t := m.task(c.TaskJoined.Id); t != nil {
			t.requested = true
		}
	}
}

// task returns a live task that a record is about.
func (m *model) task(id uint64) *modelTask {
	t := m.tasks[id]
	if t == nil || t.dropped {
		m.fail("a record about task %d, which is not there", id)
		return nil
	}
	return t
}

func (m *model) sessionPut(r *journalv1.SessionPut) {
	id := sid(r.Id)
	s := m.sessions[id]
	switch {
	case s == nil:
		m.sessions[id] = &modelSession{kind: session.Kind(r.Kind), ttl: time.Duration(r.Ttl)}
	case s.ended:
		m.fail("session %x is written after its end", id)
	}
}

func (m *model) sessionEnded(r *journalv1.SessionEnded) {
	s := m.sessions[sid(r.Id)]
	if s == nil || s.ended {
		m.fail("session %x ends and did not live", r.Id)
		return
	}
	s.ended, s.expired = true, session.EndReason(r.Reason) == session.Expired
	if l := m.s.leases[sid(r.Id)]; s.expired && l != nil && l.silent < s.ttl {
		m.fail("session %x expired after %v of lease time, its TTL is %v", r.Id, l.silent, s.ttl)
	}
}

func (m *model) callPut(r *journalv1.CallPut) {
	k := m.calls[r.Id]
	if k == nil {
		for _, other := range m.calls {
			if other.name == r.Name && !other.dropped {
				m.fail("call %s is opened twice", r.Name)
			}
		}
		m.calls[r.Id] = &modelCall{name: r.Name, session: sid(r.SessionId), accepted: map[uint64]uint64{}, acked: map[uint64]bool{}}
		return
	}
	if k.dropped || k.session != sid(r.SessionId) || k.finished != r.Finished || k.to != r.CancelledTo || k.interrupt != r.GetInterrupt().GetMessage() {
		m.fail("call %d is copied and not as it was", r.Id)
	}
}

func (m *model) callChanged(r *journalv1.CallChanged) {
	k := m.calls[r.Id]
	if k == nil || k.dropped {
		m.fail("call %d changes and is not there", r.Id)
		return
	}
	if k.finished && !r.Finished {
		m.fail("call %d was finished", r.Id)
	}
	if r.CancelledTo < k.to {
		m.fail("call %d was cancelled further", r.Id)
	}
	orphaned := !k.session.IsZero() && len(r.SessionId) == 0
	k.session, k.finished, k.to, k.daemons = sid(r.SessionId), r.Finished, r.CancelledTo, r.DaemonsOnly
	for _, id := range k.accepted {
		if t := m.tasks[id]; orphaned && t.opts.GetDaemon() && !t.state.Final() && !m.cancelled(t) {
			m.fail("the session of call %s is over, and its daemon task %d goes on", k.name, id)
		}
	}
}

func (m *model) acknowledged(r *journalv1.CallAcknowledged) {
	k := m.calls[r.Id]
	if k == nil || k.dropped {
		m.fail("call %d is acknowledged and not there", r.Id)
		return
	}
	for _, x := range r.Ranges {
		for i := x.First; i <= x.Last; i++ {
			t := m.tasks[k.accepted[i]]
			switch {
			case t == nil && (k.acked[i] || i > k.last || !m.s.caller(k.name).has.Contains(i)):
				m.fail("index %d of call %s is acknowledged and was not accepted", i, k.name)
			case t == nil: // of an earlier call of the same name: no task will come there
				k.acked[i] = true
			case k.acked[i]:
				m.fail("index %d of call %s is acknowledged twice", i, k.name)
			case !t.state.Final():
				m.fail("task %d is acknowledged and %v", t.id, t.state)
			case !m.s.caller(k.name).has.Contains(i):
				m.fail("index %d of call %s is acknowledged, and its client never did that", i, k.name)
			default:
				k.acked[i], t.acked = true, true
				kept := slices.Contains(r.Kept, i)
				// Kept may be one that nobody waits for by the journal: a submission that waits for room may be after it.
				if !kept && !t.dropped && (m.awaited(t.id) || t.requested) { // its retention may have been over
					m.fail("task %d is not kept, and somebody waits for it", t.id)
				}
				t.dropped = t.dropped || !kept && t.retention() < 0
				if t.dropped && m.awaited(t.id) {
					m.fail("task %d is dropped, and others wait for it", t.id)
				}
			}
		}
	}
}
