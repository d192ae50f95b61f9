package shard

import (
	"fmt"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/pkg/session"
)

// replayState is what a replay has to know about the journal it reads.
type replayState struct {
	first    uint64 // the journal's first sequence
	complete bool   // every record must be about an entity that is there
	records  uint64

	strangers int // when it ended; a live decision adds none
}

var _ journal.Replayer = (*Machine)(nil)

// Restart implements journal.Replayer: the state is empty, and the journal begins at first.
func (m *Machine) Restart(first uint64) {
	m.reset()
	m.replay = replayState{first: first, complete: first == 1}
}

// Entry implements journal.Replayer. Until the first floor at or above the journal's first sequence,
// records may be about entities whose whole state lies below it: they ended later. After it such a record
// is corruption.
func (m *Machine) Entry(seq, counter uint64, body []byte) error {
	m.size.appended(seq, uint64(len(body)+journal.HeaderSize))
	err := decode(body, func(rec any) error {
		m.replay.records++
		if f, ok := rec.(*floor); ok {
			m.replay.complete = m.replay.complete || f.Sequence >= m.replay.first
			return nil
		}
		strangers := m.strangers()
		m.sessions.Apply(rec, seq)
		m.queue.Apply(rec, seq)
		m.schedules.Apply(rec, seq)
		m.locks.Apply(rec, seq)
		if m.replay.complete && m.strangers() != strangers {
			return fmt.Errorf("a %T is about something that is not there", rec)
		}
		return nil
	})
	if err != nil {
		return &journal.CorruptError{Seq: seq, Reason: err.Error()}
	}
	m.counter = counter
	return nil
}

func (m *Machine) strangers() int {
	return m.sessions.Strangers + m.queue.Strangers + m.schedules.Strangers + m.locks.Strangers
}

// Serve ends the replay of a term whose fence is at a sequence and begins to decide: every session, lease
// and attempt has its whole time again.
func (m *Machine) Serve(fence uint64) error {
	if !m.replay.complete {
		return &journal.CorruptError{Seq: m.replay.first, Reason: "the journal begins above 1 and has no floor"}
	}
	if err := m.queue.Complete(); err != nil {
		return &journal.CorruptError{Seq: fence, Reason: err.Error()}
	}
	if err := m.locks.Complete(); err != nil {
		return &journal.CorruptError{Seq: fence, Reason: err.Error()}
	}
	m.nextSeq = fence + 1
	m.replay.strangers = m.strangers()
	m.sessions.Ready(m.lease)
	m.queue.Serve(m.lease, func(id session.ID) (ttl time.Duration, worker, alive bool) {
		s := m.sessions.Lookup(id)
		if s == nil {
			return 0, false, false
		}
		return s.TTL, s.Kind == session.Worker, true
	})
	m.locks.Serve(m.lease)
	return nil
}

// Records is the number of records that the replay has read.
func (m *Machine) Records() uint64 { return m.replay.records }
