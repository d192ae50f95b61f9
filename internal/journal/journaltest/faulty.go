package journaltest

import (
	"context"
	"errors"

	"github.com/weftq/weft/internal/journal"
)

// fault is what befalls one append on its way to the store or back.
type fault int

const (
	none   fault = iota
	stored       // it is stored, and the acknowledgement is lost
	lost         // it never arrives
	late         // it arrives just before the next append does
)

var errNoAck = errors.New("journaltest: no acknowledgement")

// faulty is a stream whose appends suffer faults, one after the other, and then no more. It is not safe for
// concurrent use.
type faulty struct {
	journal.Stream
	faults  []fault
	delayed func()
}

func (f *faulty) Append(ctx context.Context, last uint64, data []byte) error {
	if f.delayed != nil {
		f.delayed()
		f.delayed = nil
	}
	next := none
	if len(f.faults) > 0 {
		next, f.faults = f.faults[0], f.faults[1:]
	}
	switch next {
	case none:
		return f.Stream.Append(ctx, last, data)
	case stored:
		if err := f.Stream.Append(ctx, last, data); err != nil {
			return err
		}
	case late:
		data = append([]byte(nil), data...)
		f.delayed = func() { _ = f.Stream.Append(ctx, last, data) }
	}
	return errNoAck
}
