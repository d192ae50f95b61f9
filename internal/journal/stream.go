package journal

import (
	"context"
	"errors"
)

var (
	// ErrConflict is returned by [Stream.Append] when the stream's last sequence was another one.
	// Nothing was stored.
	ErrConflict = errors.New("journal: the stream's last sequence is another one")

	// ErrNotFound is returned by [Stream.Read] for a sequence that holds no entry, and by [Stream.Scan]
	// when the stream ends before the range does.
	ErrNotFound = errors.New("journal: no entry at that sequence")

	// ErrPurged is returned by [Stream.Scan] when an entry of the range is purged, also while scanning.
	ErrPurged = errors.New("journal: the range is purged")

	// ErrDamaged is part of an error of a store that holds something else than was stored there. Opening it
	// again changes nothing.
	ErrDamaged = errors.New("journal: the store is damaged")

	// ErrStoreFailed is part of an error after which the store takes no appends until it is closed and
	// opened again.
	ErrStoreFailed = errors.New("journal: the store has failed and has to be opened again")
)

// State describes a stream. It may be stale: only an acknowledged append proves anything.
type State struct {
	First uint64 // sequence of the oldest entry; Last+1 when there is none
	Last  uint64 // sequence of the newest entry ever stored; survives a purge
	Bytes uint64 // what the stream takes on its store
}

// Stream is a totally ordered log with a conditional append. Sequences begin at 1 and have no holes.
// Methods may be called from several goroutines, but a writer has one append under way at a time.
type Stream interface {
	// State returns the stream's bounds and size.
	State(ctx context.Context) (State, error)

	// Append stores data at sequence last+1, durably, on condition that the last sequence is last.
	// [ErrConflict] means that it was not stored. After any other error it may be stored or not, now or
	// a little later.
	Append(ctx context.Context, last uint64, data []byte) error

	// Read returns the entry at a sequence, or [ErrNotFound].
	Read(ctx context.Context, seq uint64) ([]byte, error)

	// Scan calls fn for each entry from first to last, both included, in order, and stops at fn's first
	// error. The data is fn's to keep. An entry that is purged is [ErrPurged], one beyond the stream's end
	// is [ErrNotFound], and one that the store has lost or cannot read is a [CorruptError].
	Scan(ctx context.Context, first, last uint64, fn func(seq uint64, data []byte) error) error

	// Purge removes the entries below a sequence, which is at most the last one's successor.
	Purge(ctx context.Context, below uint64) error

	// Free returns the bytes that the store can still take.
	Free() (uint64, error)

	// EntryBytesMax is the size of the largest entry.
	EntryBytesMax() int

	// Close releases the stream. A store that holds several is closed by whoever opened it.
	Close() error
}
