// Package memory is a journal in memory, for tests: as exact as a real one, and with faults on demand.
package memory

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/weftq/weft/internal/journal"
)

// Fault is what befalls one append.
type Fault int

const (
	// None lets the append succeed.
	None Fault = iota
	// Fail stores nothing and returns an error.
	Fail
	// AmbiguousStored stores the entry and returns an error all the same.
	AmbiguousStored
	// AmbiguousLost returns the same error as AmbiguousStored and stores nothing.
	AmbiguousLost
)

var (
	// ErrFailed is returned for [Fail].
	ErrFailed = errors.New("memory: write failed")
	// ErrTimeout is returned for the ambiguous faults.
	ErrTimeout = errors.New("memory: no acknowledgement in time")
)

// EntryBytesMax is the largest entry.
const EntryBytesMax = 8 << 20

// Stream is a journal.Stream in memory. Its zero value is empty and ready. It survives Close, as a disk
// does: open it again by using it again.
type Stream struct {
	// Faults, if set, decides about each append before it happens. Set it while nothing is appended.
	Faults func(seq uint64) Fault
	// FreeBytes, if not nil, is what Free returns.
	FreeBytes func() uint64

	mu      sync.Mutex
	first   uint64 // sequence of entries[0] if there is one
	entries [][]byte
	bytes   uint64
}

var _ journal.Stream = (*Stream)(nil)

func (s *Stream) last() uint64 { return s.first + uint64(len(s.entries)) - 1 }

func (s *Stream) begin() {
	if s.first == 0 {
		s.first = 1
	}
}

// State implements journal.Stream.
func (s *Stream) State(context.Context) (journal.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	return journal.State{First: s.first, Last: s.last(), Bytes: s.bytes}, nil
}

// Append implements journal.Stream.
func (s *Stream) Append(ctx context.Context, last uint64, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	if last != s.last() {
		return journal.ErrConflict
	}
	if len(data) > EntryBytesMax {
		return errors.New("memory: the entry is too large")
	}
	fault := None
	if s.Faults != nil {
		fault = s.Faults(last + 1)
	}
	if fault == None || fault == AmbiguousStored {
		s.entries = append(s.entries, append([]byte(nil), data...))
		s.bytes += uint64(len(data))
	}
	switch fault {
	case Fail:
		return ErrFailed
	case AmbiguousStored, AmbiguousLost:
		return ErrTimeout
	}
	return nil
}

// Read implements journal.Stream.
func (s *Stream) Read(_ context.Context, seq uint64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	if seq < s.first || seq > s.last() {
		return nil, journal.ErrNotFound
	}
	return append([]byte(nil), s.entries[seq-s.first]...), nil
}

// Scan implements journal.Stream.
func (s *Stream) Scan(ctx context.Context, first, last uint64, fn func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := s.Read(ctx, seq)
		if errors.Is(err, journal.ErrNotFound) {
			return s.missing(seq)
		}
		if err != nil {
			return err
		}
		if err := fn(seq, data); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) missing(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq < s.first {
		return journal.ErrPurged
	}
	return journal.ErrNotFound
}

// Purge implements journal.Stream.
func (s *Stream) Purge(_ context.Context, below uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	if below > s.last()+1 {
		return errors.New("memory: purge beyond the end")
	}
	for s.first < below {
		s.bytes -= uint64(len(s.entries[0]))
		s.entries[0] = nil
		s.entries = s.entries[1:]
		s.first++
	}
	return nil
}

// Corrupt flips a bit of a stored entry.
func (s *Stream) Corrupt(seq uint64, bit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[seq-s.first][bit/8] ^= 1 << (bit % 8)
}

// Free implements journal.Stream.
func (s *Stream) Free() (uint64, error) {
	if s.FreeBytes != nil {
		return s.FreeBytes(), nil
	}
	return math.MaxUint64, nil
}

// EntryBytesMax implements journal.Stream.
func (s *Stream) EntryBytesMax() int { return EntryBytesMax }

// Close implements journal.Stream. The entries stay.
func (s *Stream) Close() error { return nil }
