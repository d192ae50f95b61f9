package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Nonce tells one term from every other.
type Nonce [16]byte

// Term is one writer's leadership of a stream. It is not safe for concurrent use, but for Purge, which may
// run beside the other methods.
type Term struct {
	stream Stream
	epoch  uint64
	last   uint64
	err    error // why no more is appended
}

const (
	// beginFailures bounds how often Begin tries again after a fault.
	beginFailures = 10

	// beginConflicts bounds how often it tries again because another writer got in between. One that
	// appends as fast as it can wins every other time, so this takes thousands of its appends.
	beginConflicts = 1000
)

// Begin fences off every earlier term and begins a new one.
func Begin(ctx context.Context, s Stream, nonce Nonce) (*Term, error) {
	var failures, conflicts int
	for {
		t, err := tryBegin(ctx, s, nonce)
		switch {
		case err == nil:
			return t, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, ErrConflict):
			conflicts++
		default:
			failures++
		}
		if failures == beginFailures || conflicts == beginConflicts {
			return nil, fmt.Errorf("journal: no term begun after %d faults and %d conflicts: %w", failures, conflicts, err)
		}
	}
}

func tryBegin(ctx context.Context, s Stream, nonce Nonce) (*Term, error) {
	st, err := s.State(ctx)
	if err != nil {
		return nil, err
	}
	epoch := st.Last + 1
	frame := fence(epoch, nonce)
	if err = s.Append(ctx, st.Last, frame); err == nil {
		return &Term{stream: s, epoch: epoch, last: epoch}, nil
	}
	// A conflict may be our own append of a moment ago whose acknowledgement was lost, and after
	// another error the fence may be there. Reading it back is proof, whoever answers.
	if got, rerr := s.Read(ctx, epoch); rerr == nil && bytes.Equal(got, frame) {
		return &Term{stream: s, epoch: epoch, last: epoch}, nil
	}
	return nil, err
}

func fence(epoch uint64, nonce Nonce) []byte {
	frame := append(make([]byte, HeaderSize), nonce[:]...)
	header{kind: typeFence, epoch: epoch}.seal(frame)
	return frame
}

// Epoch is the sequence of the term's fence.
func (t *Term) Epoch() uint64 { return t.epoch }

// Last is the sequence of the last entry that this term appended, its fence at first.
func (t *Term) Last() uint64 { return t.last }

// Replayer receives what the journal holds.
type Replayer interface {
	// Restart is called before the first entry, and again when a purge overtook the replay: what was
	// received until then is void. The first sequence is first; a journal that was never purged begins
	// with 1.
	Restart(first uint64)

	// Entry is called for each entry of records, in order. The body is the receiver's to keep.
	Entry(seq, counter uint64, body []byte) error
}

// Replay gives a Replayer every entry below the term's fence.
func (t *Term) Replay(ctx context.Context, r Replayer) error {
	for {
		st, err := t.stream.State(ctx)
		if err != nil {
			return fmt.Errorf("journal: replay: %w", err)
		}
		r.Restart(st.First)
		if err = t.replayFrom(ctx, st.First, r); err == nil || !errors.Is(err, ErrPurged) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (t *Term) replayFrom(ctx context.Context, first uint64, r Replayer) error {
	var epoch uint64
	err := t.stream.Scan(ctx, first, t.epoch, func(seq uint64, data []byte) error {
		h, body, err := open(seq, data)
		if err != nil {
			return err
		}
		if err := checkEpoch(seq, epoch, h); err != nil {
			return err
		}
		epoch = h.epoch
		if h.kind == typeFence {
			return nil
		}
		return r.Entry(seq, h.counter, body)
	})
	if err != nil {
		return err
	}
	if epoch != t.epoch {
		return &CorruptError{t.epoch, fmt.Sprintf("the term's own fence is gone, its place has epoch %d", epoch)}
	}
	return nil
}

// checkEpoch holds an entry against the epoch of the one before it, 0 for the first.
func checkEpoch(seq, before uint64, h header) error {
	switch {
	case h.kind == typeFence && h.epoch != seq:
		return &CorruptError{seq, fmt.Sprintf("a fence of epoch %d", h.epoch)}
	case h.kind == typeRecords && before != 0 && h.epoch != before:
		return &CorruptError{seq, fmt.Sprintf("written in epoch %d after a fence of epoch %d", h.epoch, before)}
	case h.kind == typeRecords && (h.epoch == 0 || h.epoch >= seq):
		return &CorruptError{seq, fmt.Sprintf("written in epoch %d, and no fence before it can have that", h.epoch)}
	}
	return nil
}

// Append stores a frame, whose first [HeaderSize] bytes are Append's to fill, and returns its sequence.
// Any error is final: the term appends no more, and whether this frame is stored is open.
func (t *Term) Append(ctx context.Context, counter uint64, frame []byte) (uint64, error) {
	if t.err != nil {
		return 0, t.err
	}
	header{kind: typeRecords, epoch: t.epoch, counter: counter}.seal(frame)
	if err := t.stream.Append(ctx, t.last, frame); err != nil {
		t.err = fmt.Errorf("journal: the term of epoch %d is over: %w", t.epoch, err)
		return 0, t.err
	}
	t.last++
	return t.last, nil
}

// Purge removes the entries below a sequence that a durable floor covers.
func (t *Term) Purge(ctx context.Context, below uint64) error {
	return t.stream.Purge(ctx, below)
}
