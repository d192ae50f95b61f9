package journaltest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// appendReadScan: what is appended is read and scanned, in order.
func appendReadScan(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	mustState(t, s, 1, 0)
	_, err := s.Read(ctx, 1)
	mustBe(t, err, journal.ErrNotFound)
	fill(t, s, 1, 20)
	mustState(t, s, 1, 20)
	got, err := s.Read(ctx, 7)
	must(t, err)
	if !bytes.Equal(got, entry(7)) {
		t.Fatalf("entry 7 reads %q", got)
	}
	for _, seq := range []uint64{0, 21, 1 << 40} {
		_, err = s.Read(ctx, seq)
		mustBe(t, err, journal.ErrNotFound)
	}
	mustScan(t, s, 1, 20)
	mustScan(t, s, 5, 5)
	mustScan(t, s, 19, 20)
	if st, err := s.State(ctx); err != nil || st.Bytes == 0 {
		t.Fatalf("20 entries take %d bytes (%v)", st.Bytes, err)
	}
}

// appendConflict: an append on another condition than the last sequence stores nothing.
func appendConflict(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	mustBe(t, s.Append(ctx, 1, entry(2)), journal.ErrConflict)
	fill(t, s, 1, 3)
	for _, last := range []uint64{0, 2, 4, 1 << 40} {
		mustBe(t, s.Append(ctx, last, []byte("stray")), journal.ErrConflict)
	}
	mustState(t, s, 1, 3)
	fill(t, s, 4, 4)
	mustScan(t, s, 1, 4)
}

// appendAfterCancel: a context that has ended stores nothing and harms nothing.
func appendAfterCancel(t *testing.T, h Harness) {
	s := h.Stream
	fill(t, s, 1, 1)
	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := s.Append(ended, 1, []byte("stray")); !errors.Is(err, context.Canceled) {
		t.Fatalf("append with an ended context: %v", err)
	}
	err := s.Scan(ended, 1, 1, func(uint64, []byte) error { return nil })
	mustBe(t, err, context.Canceled)
	fill(t, s, 2, 2)
	mustScan(t, s, 1, 2)
}

// entryLimit: the largest entry fits, one byte more is refused and stores nothing.
func entryLimit(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	large := make([]byte, s.EntryBytesMax()+1)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(large) //nolint:errcheck // it cannot fail
	if err := s.Append(ctx, 0, large); err == nil || errors.Is(err, journal.ErrConflict) {
		t.Fatalf("an entry above the limit: %v", err)
	}
	mustState(t, s, 1, 0)
	large = large[:s.EntryBytesMax()]
	must(t, s.Append(ctx, 0, large))
	must(t, s.Append(ctx, 1, []byte{}))
	must(t, s.Append(ctx, 2, large))
	s = h.Reopen(t)
	mustState(t, s, 1, 3)
	var seen uint64
	must(t, s.Scan(ctx, 1, 3, func(seq uint64, data []byte) error {
		seen++
		if seq != seen || (seq == 2 && len(data) != 0) || (seq != 2 && !bytes.Equal(data, large)) {
			t.Fatalf("entry %d came back as %d other bytes, in place %d", seq, len(data), seen)
		}
		return nil
	}))
	got, err := s.Read(ctx, 3)
	must(t, err)
	if seen != 3 || !bytes.Equal(got, large) {
		t.Fatalf("%d entries scanned, the last reads as %d bytes", seen, len(got))
	}
}

// dataIsOwned: an entry belongs to who gets it, and an append keeps no reference to its argument.
func dataIsOwned(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	data := entry(1)
	must(t, s.Append(ctx, 0, data))
	clear(data)
	must(t, s.Scan(ctx, 1, 1, func(_ uint64, data []byte) error { clear(data); return nil }))
	got, err := s.Read(ctx, 1)
	must(t, err)
	clear(got)
	mustScan(t, s, 1, 1)
}

// scanStops: a scan ends with the error of the function that it calls, wherever that is.
func scanStops(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	fill(t, s, 1, 50)
	enough := errors.New("enough")
	for _, stop := range []uint64{1, 25, 50} {
		var last uint64
		err := s.Scan(ctx, 1, 50, func(seq uint64, _ []byte) error {
			if last = seq; seq == stop {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || last != stop {
			t.Fatalf("scan stopped at %d with %v, want %d", last, err, stop)
		}
	}
}

// scanBounds: an empty range is no error, a purged entry is ErrPurged, an end beyond the stream's is
// ErrNotFound, after the entries that are there.
func scanBounds(t *testing.T, h Harness) {
	ctx, s := testContext(t), h.Stream
	fill(t, s, 1, 10)
	mustScan(t, s, 5, 4)
	var got int
	count := func(uint64, []byte) error { got++; return nil }
	mustBe(t, s.Scan(ctx, 8, 11, count), journal.ErrNotFound)
	mustBe(t, s.Scan(ctx, 11, 11, count), journal.ErrNotFound)
	if got > 3 {
		t.Fatalf("%d entries of 3", got)
	}
	must(t, s.Purge(ctx, 4))
	got = 0
	mustBe(t, s.Scan(ctx, 3, 10, count), journal.ErrPurged)
	if got != 0 {
		t.Fatalf("%d entries before the first one turned out to be purged", got)
	}
	mustScan(t, s, 4, 10)
}

// freeSpace: a store knows what it can still take.
func freeSpace(t *testing.T, h Harness) {
	free, err := h.Stream.Free()
	must(t, err)
	if free == 0 {
		t.Fatal("no free space")
	}
}
