package journaltest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/journal"
)

// Harness is an empty stream under test.
type Harness struct {
	Stream journal.Stream

	// Reopen closes the stream and its store in good order and opens them again.
	Reopen func(t *testing.T) journal.Stream
}

// patience bounds what a test may wait for. It is never waited out when all is well.
const patience = time.Minute

// Run runs the suite. open is called once for each test and registers its own clean-up.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []func(*testing.T, Harness){
		appendReadScan, appendConflict, appendAfterCancel, entryLimit, scanStops, scanBounds, dataIsOwned,
		purgeSteps, purgeAll, purgeClamp, reopenState, freeSpace,
		termAppends, termFences, termEnds, termAmbiguous, zombieWriter, contenders,
		beginAmbiguous, beginLate, beginGivesUp,
		replayWhole, replayOfPurged, replayRestarts, replayStopsAtError, replayBitFlips, replayForeign, replayNewerFormat,
		replayEpochs, replayOwnFenceGone,
	} {
		t.Run(nameOf(test), func(t *testing.T) { test(t, open(t)) })
	}
}

func nameOf(test any) string {
	name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
	return name[strings.LastIndexByte(name, '.')+1:]
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// fill appends entries first to last; entry n says "entry n".
func fill(t *testing.T, s journal.Stream, first, last uint64) {
	t.Helper()
	for seq := first; seq <= last; seq++ {
		must(t, s.Append(testContext(t), seq-1, entry(seq)))
	}
}

func entry(seq uint64) []byte { return fmt.Appendf(nil, "entry %d", seq) }

func mustState(t *testing.T, s journal.Stream, first, last uint64) {
	t.Helper()
	st, err := s.State(testContext(t))
	must(t, err)
	if st.First != first || st.Last != last {
		t.Fatalf("the stream holds %d to %d, want %d to %d", st.First, st.Last, first, last)
	}
}

// mustScan scans a range that fill has filled.
func mustScan(t *testing.T, s journal.Stream, first, last uint64) {
	t.Helper()
	next := first
	must(t, s.Scan(testContext(t), first, last, func(seq uint64, data []byte) error {
		if seq != next || string(data) != string(entry(seq)) {
			t.Fatalf("scan gave %d with %q, want entry %d", seq, data, next)
		}
		next++
		return nil
	}))
	if next != last+1 {
		t.Fatalf("scan ended before %d, want %d", next, last)
	}
}

func nonce(n byte) journal.Nonce { return journal.Nonce{0: n, 15: ^n} }

func mustBegin(t *testing.T, s journal.Stream, n byte) *journal.Term {
	t.Helper()
	term, err := journal.Begin(testContext(t), s, nonce(n))
	must(t, err)
	return term
}

// frame leaves room for the header that Term.Append fills in.
func frame(body string) []byte { return append(make([]byte, journal.HeaderSize), body...) }

func mustTermAppend(t *testing.T, term *journal.Term, counter uint64, body string) uint64 {
	t.Helper()
	seq, err := term.Append(testContext(t), counter, frame(body))
	must(t, err)
	return seq
}
