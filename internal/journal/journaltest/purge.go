package journaltest

import (
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// purgeSteps: a purge removes what is below and nothing else, and is idempotent.
func purgeSteps(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	must(t, s.Purge(ctx, 1))
	fill(t, s, 1, 30)
	for _, below := range []uint64{0, 1, 2, 2, 15, 3, 30} {
		must(t, s.Purge(ctx, below))
	}
	mustState(t, s, 30, 30)
	_, err := s.Read(ctx, 29)
	mustBe(t, err, journal.ErrNotFound)
	mustScan(t, s, 30, 30)
	s = h.Reopen(t)
	mustState(t, s, 30, 30)
	fill(t, s, 31, 33)
	mustScan(t, s, 30, 33)
}

// purgeAll: sequences go on after everything is purged, also when the store was closed in between.
func purgeAll(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	fill(t, s, 1, 10)
	must(t, s.Purge(ctx, 11))
	mustState(t, s, 11, 10)
	mustBe(t, s.Append(ctx, 0, entry(1)), journal.ErrConflict)
	s = h.Reopen(t)
	mustState(t, s, 11, 10)
	mustBe(t, s.Append(ctx, 0, entry(1)), journal.ErrConflict)
	fill(t, s, 11, 12)
	must(t, s.Purge(ctx, 13))
	h.Reopen(t)
	s = h.Reopen(t)
	mustState(t, s, 13, 12)
	fill(t, s, 13, 13)
	mustScan(t, s, 13, 13)
}

// purgeClamp: a purge beyond the end is refused: it would move the last sequence.
func purgeClamp(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	for _, below := range []uint64{2, 1000} {
		if s.Purge(ctx, below) == nil {
			t.Fatalf("an empty stream was purged below %d", below)
		}
	}
	fill(t, s, 1, 5)
	for _, below := range []uint64{7, 1000} {
		if s.Purge(ctx, below) == nil {
			t.Fatalf("a stream that ends at 5 was purged below %d", below)
		}
	}
	mustState(t, s, 1, 5)
	fill(t, s, 6, 6)
	mustScan(t, s, 1, 6)
}

// reopenState: a stream is what it was after its store was closed and opened, again and again.
func reopenState(t *testing.T, h Harness) {
	ctx := testContext(t)
	s := h.Reopen(t)
	mustState(t, s, 1, 0)
	for round := range uint64(4) {
		fill(t, s, round*5+1, round*5+5)
		s = h.Reopen(t)
		mustState(t, s, round+1, round*5+5)
		mustScan(t, s, round+1, round*5+5)
		mustBe(t, s.Append(ctx, round*5, nil), journal.ErrConflict)
		must(t, s.Purge(ctx, round+2))
	}
}
