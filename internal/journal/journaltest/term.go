package journaltest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// termAppends: a term's epoch is its fence's sequence, and its entries follow.
func termAppends(t *testing.T, h Harness) {
	term := mustBegin(t, h.Stream, 1)
	if term.Epoch() != 1 || term.Last() != 1 {
		t.Fatalf("a new journal's term has epoch %d and last %d", term.Epoch(), term.Last())
	}
	for i := range uint64(3) {
		if seq := mustTermAppend(t, term, i, "body"); seq != i+2 || term.Last() != seq {
			t.Fatalf("append %d went to %d", i, seq)
		}
	}
	must(t, term.Purge(testContext(t), 2))
	mustState(t, h.Stream, 2, 4)
}

// termFences: a new term ends the old one at its next append, whose entry never appears.
func termFences(t *testing.T, h Harness) {
	s := h.Stream
	old := mustBegin(t, s, 1)
	mustTermAppend(t, old, 1, "old 2")
	term := mustBegin(t, s, 2)
	if term.Epoch() != 3 {
		t.Fatalf("epoch %d, want 3", term.Epoch())
	}
	_, err := old.Append(testContext(t), 2, frame("zombie"))
	mustBe(t, err, journal.ErrConflict)
	mustTermAppend(t, term, 2, "new 4")
	_, err = old.Append(testContext(t), 3, frame("zombie"))
	mustBe(t, err, journal.ErrConflict)
	mustState(t, s, 1, 4)
	mustReplay(t, mustBegin(t, s, 3), 1, "2/1 old 2", "4/2 new 4")
}

// termEnds: after any append that failed a term appends no more, even if the next one would succeed.
func termEnds(t *testing.T, h Harness) {
	s := &faulty{Stream: h.Stream}
	term := mustBegin(t, s, 1)
	s.faults = []fault{lost}
	_, first := term.Append(testContext(t), 1, frame("lost"))
	mustBe(t, first, errNoAck)
	for range 3 {
		if _, err := term.Append(testContext(t), 1, frame("after")); !errors.Is(err, errNoAck) {
			t.Fatalf("an append after the term's end: %v", err)
		}
	}
	mustState(t, s, 1, 1)

	// An entry above the limit is such an error, too: the term cannot know what its store has done.
	term = mustBegin(t, s, 2)
	if _, err := term.Append(testContext(t), 1, make([]byte, s.EntryBytesMax()+1)); err == nil {
		t.Fatal("an entry above the limit was stored")
	}
	if _, err := term.Append(testContext(t), 1, frame("after")); err == nil {
		t.Fatal("an append after the term's end succeeded")
	}
}

// termAmbiguous: an append without an acknowledgement is there for the next term or it is not, and in no
// case a third thing.
func termAmbiguous(t *testing.T, h Harness) {
	s := &faulty{Stream: h.Stream}
	for i, there := range map[fault]bool{stored: true, lost: false, late: true} {
		emptied(t, s)
		term := mustBegin(t, s, 1)
		want := []string{fmt.Sprintf("%d/1 kept", term.Epoch()+1)}
		if there {
			want = append(want, fmt.Sprintf("%d/2 maybe", term.Epoch()+2))
		}
		mustTermAppend(t, term, 1, "kept")
		s.faults = []fault{i}
		if _, err := term.Append(testContext(t), 2, frame("maybe")); !errors.Is(err, errNoAck) {
			t.Fatalf("append without acknowledgement: %v", err)
		}
		next := mustBegin(t, s, 2)
		got := replay(t, next)
		if !slices.Equal(got.entries, want) {
			t.Fatalf("fault %d: replayed %q, want %q", i, got.entries, want)
		}
	}
}

// emptied purges everything and returns the last sequence.
func emptied(t *testing.T, s journal.Stream) uint64 {
	t.Helper()
	st, err := s.State(testContext(t))
	must(t, err)
	must(t, s.Purge(testContext(t), st.Last+1))
	return st.Last
}

// zombieWriter: a writer that appends as fast as it can while terms come and go. What it appended and had
// acknowledged is there, before the fence that ended it, and nothing of it is after that fence.
func zombieWriter(t *testing.T, h Harness) {
	s := h.Stream
	const rounds = 12
	acked := map[uint64]string{}
	for round := range byte(rounds) {
		term := mustBegin(t, s, round)
		started := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				body := fmt.Sprintf("term %d entry %d", round, i)
				seq, err := term.Append(testContext(t), uint64(i), frame(body))
				if err != nil {
					if !errors.Is(err, journal.ErrConflict) {
						t.Errorf("the zombie's last append: %v", err)
					}
					return
				}
				acked[seq] = fmt.Sprintf("%d/%d %s", seq, i, body)
				if i == 3 {
					close(started)
				}
			}
		})
		<-started
		next := mustBegin(t, s, 100+round)
		wg.Wait()
		if term.Last() >= next.Epoch() {
			t.Fatalf("the old term appended %d after the fence %d", term.Last(), next.Epoch())
		}
		checkAcked(t, next, acked)
	}
}

func checkAcked(t *testing.T, term *journal.Term, acked map[uint64]string) {
	t.Helper()
	got := replay(t, term)
	if len(got.entries) != len(acked) {
		t.Fatalf("%d entries replayed, %d acknowledged", len(got.entries), len(acked))
	}
	for i, seq := range got.seqs {
		if acked[seq] != got.entries[i] {
			t.Fatalf("entry %q replayed, %q acknowledged", got.entries[i], acked[seq])
		}
	}
}

// contenders: several writers begin terms and append at the same time. Every acknowledged entry is there,
// and the journal replays: no entry is behind a later fence.
func contenders(t *testing.T, h Harness) {
	s := h.Stream
	var mu sync.Mutex
	acked := map[uint64]string{}
	var wg sync.WaitGroup
	for w := range byte(4) {
		wg.Go(func() {
			for round := range 5 {
				term, err := journal.Begin(testContext(t), s, journal.Nonce{w, byte(round)})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				for i := range 4 {
					body := fmt.Sprintf("writer %d", w)
					seq, err := term.Append(testContext(t), uint64(i), frame(body))
					if err != nil {
						break
					}
					mu.Lock()
					acked[seq] = fmt.Sprintf("%d/%d %s", seq, i, body)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	checkAcked(t, mustBegin(t, s, 99), acked)
}
