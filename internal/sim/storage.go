package sim

import (
	"context"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/memory"
)

// storage is a journal that fails as the seed wants, and whose purges come when they do no good.
type storage struct {
	memory.Stream
	s      *sim
	fault  memory.Fault // of the next append
	below  uint64       // what a durable floor allows to purge
	racing bool         // a replay is under way: the purge may overtake it
}

func newStorage(s *sim) *storage {
	j := &storage{s: s}
	j.Faults = func(uint64) memory.Fault {
		f := j.fault
		j.fault = memory.None
		return f
	}
	return j
}

// purgeLater purges in a while; the broker may be dead by then.
func (j *storage) purgeLater(below uint64) {
	j.below = max(j.below, below)
	j.s.after(j.s.upTo(10*time.Second), func() { j.purge(below) })
}

func (j *storage) purge(below uint64) {
	if err := j.Purge(context.Background(), below); err != nil {
		j.s.fail("purge below %d: %v", below, err)
	}
}

// Scan implements journal.Stream.
func (j *storage) Scan(ctx context.Context, first, last uint64, fn func(uint64, []byte) error) error {
	return j.Stream.Scan(ctx, first, last, func(seq uint64, data []byte) error {
		if j.racing && j.below > first && j.s.one(8) {
			j.s.logf("a purge below %d overtakes the replay at %d", j.below, seq)
			j.purge(j.below)
		}
		return fn(seq, data)
	})
}

var _ journal.Stream = (*storage)(nil)
