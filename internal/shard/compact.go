package shard

import "github.com/weftq/weft/internal/pure"

// ledger knows how many bytes the journal has from a sequence on.
type ledger struct {
	total  uint64 // of all entries ever seen in this term
	marks  []mark // in order, so many bytes apart
	grain  uint64
	purged uint64 // total at the last floor
}

type mark struct {
	seq    uint64 // of an entry
	before uint64 // bytes of all entries below it
}

func (l *ledger) appended(seq, bytes uint64) {
	if n := len(l.marks); n == 0 || l.total-l.marks[n-1].before >= l.grain {
		l.marks = append(l.marks, mark{seq, l.total})
	}
	l.total += bytes
}

// before returns about how many bytes there are below a sequence; never too many.
func (l *ledger) before(seq uint64) uint64 {
	lo, hi := 0, len(l.marks)
	for lo < hi {
		if mid := (lo + hi) / 2; l.marks[mid].seq <= seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return 0
	}
	return l.marks[lo-1].before
}

// forget drops the marks below a sequence.
func (l *ledger) forget(seq uint64) {
	n := 0
	for n+1 < len(l.marks) && l.marks[n+1].seq <= seq {
		n++
	}
	l.marks = append(l.marks[:0], l.marks[n:]...)
}

// oldestBase is the sequence below which nothing live has its whole state.
func (m *Machine) oldestBase() uint64 {
	base := m.nextSeq
	if b, ok := m.sessions.OldestBase(); ok {
		base = min(base, b)
	}
	if b, ok := m.queue.OldestBase(); ok {
		base = min(base, b)
	}
	if b, ok := m.schedules.OldestBase(); ok {
		base = min(base, b)
	}
	if b, ok := m.locks.OldestBase(); ok {
		base = min(base, b)
	}
	return base
}

// compactBytesMax is the size of an entry to which no more entities are copied: the largest one still fits. That is a
// task with its payload, result, checkpoint, partial results and all requests that joined it, some 3 MiB.
const compactBytesMax = 4 << 20

// sessionBytes is about what a session takes in the journal.
const sessionBytes = 128

// compact writes the oldest entities anew while the journal is too large for what lives, with at most a
// third of the batch's bytes.
func (m *Machine) compact() {
	allowed := min(len(m.enc.buf)+len(m.enc.buf)/2, compactBytesMax)
	live := uint64(m.queue.Live()+m.schedules.Bytes()+m.locks.Bytes()) + uint64(m.sessions.Len())*sessionBytes
	for len(m.enc.buf) < allowed {
		base := m.oldestBase()
		if base >= m.nextSeq || m.size.total-m.size.before(base) <= live+m.cfg.CompactAfter {
			return
		}
		m.copyOldest(m.step(), base)
	}
}

func (m *Machine) copyOldest(step *pure.Step, base uint64) {
	if b, ok := m.sessions.OldestBase(); ok && b == base {
		m.sessions.CopyOldest(step)
		return
	}
	if b, ok := m.schedules.OldestBase(); ok && b == base {
		m.schedules.CopyOldest(step)
		return
	}
	if b, ok := m.locks.OldestBase(); ok && b == base {
		m.locks.CopyOldest(step)
		return
	}
	m.queue.CopyOldest(step)
}

// emitFloor writes a floor if there is enough to purge below it, and returns it.
func (m *Machine) emitFloor() uint64 {
	base := m.oldestBase()
	if intent, ok := m.queue.OldestIntent(); ok {
		base = min(base, intent)
	}
	below := m.size.before(base)
	if below < m.size.purged+m.cfg.PurgeStep {
		return 0
	}
	m.enc.Record(&floor{base})
	m.size.purged = below
	m.size.forget(base)
	return base
}
