package journaltest

import (
	"errors"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// beginAmbiguous: a fence without an acknowledgement is read back. If it is there it counts, else it is
// written again.
func beginAmbiguous(t *testing.T, h Harness) {
	s := &faulty{Stream: h.Stream, faults: []fault{stored}}
	term := mustBegin(t, s, 1)
	if term.Epoch() != 1 {
		t.Fatalf("the stored fence was not read back: epoch %d", term.Epoch())
	}
	mustTermAppend(t, term, 1, "body")
	s.faults = []fault{lost, lost, stored}
	term = mustBegin(t, s, 2)
	if term.Epoch() != 3 {
		t.Fatalf("epoch %d, want 3", term.Epoch())
	}
	mustTermAppend(t, term, 2, "body")
	mustState(t, s, 1, 4)
	mustReplay(t, mustBegin(t, s, 3), 1, "2/1 body", "4/2 body")
}

// beginLate: a fence that was given up arrives just before its successor. The conflict is with the term's
// own fence, which counts.
func beginLate(t *testing.T, h Harness) {
	s := &faulty{Stream: h.Stream, faults: []fault{late}}
	term := mustBegin(t, s, 1)
	if term.Epoch() != 1 {
		t.Fatalf("epoch %d, want 1", term.Epoch())
	}
	mustTermAppend(t, term, 1, "body")
	mustState(t, s, 1, 2)
}

// beginGivesUp: a stream that takes no fence ends in an error that says why, and in no term.
func beginGivesUp(t *testing.T, h Harness) {
	s := &faulty{Stream: h.Stream, faults: make([]fault, 100)}
	for i := range s.faults {
		s.faults[i] = lost
	}
	term, err := journal.Begin(testContext(t), s, nonce(1))
	if term != nil || !errors.Is(err, errNoAck) {
		t.Fatalf("term %v, error %v", term, err)
	}
	mustState(t, s, 1, 0)
}
