package journaltest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// received is a Replayer that keeps what it is given.
type received struct {
	restarts []uint64
	seqs     []uint64
	entries  []string // "sequence/counter body"
	onEntry  func(seq uint64) error
}

func (r *received) Restart(first uint64) {
	r.restarts = append(r.restarts, first)
	r.seqs, r.entries = nil, nil
}

func (r *received) Entry(seq, counter uint64, body []byte) error {
	r.seqs = append(r.seqs, seq)
	r.entries = append(r.entries, fmt.Sprintf("%d/%d %s", seq, counter, body[:min(len(body), 64)]))
	if r.onEntry != nil {
		return r.onEntry(seq)
	}
	return nil
}

func replay(t *testing.T, term *journal.Term) *received {
	t.Helper()
	r := &received{}
	must(t, term.Replay(testContext(t), r))
	return r
}

func mustReplay(t *testing.T, term *journal.Term, first uint64, want ...string) {
	t.Helper()
	r := replay(t, term)
	if !slices.Equal(r.restarts, []uint64{first}) || !slices.Equal(r.entries, want) {
		t.Fatalf("replay began with %d and gave %q, want %d and %q", r.restarts, r.entries, first, want)
	}
}

// replayWhole: a replay gives the entries of all earlier terms, and none of its own.
func replayWhole(t *testing.T, h Harness) {
	mustReplay(t, mustBegin(t, h.Stream, 1), 1)
	term := mustBegin(t, h.Stream, 2)
	mustTermAppend(t, term, 7, "a")
	mustTermAppend(t, term, 8, "")
	s := h.Reopen(t)
	term = mustBegin(t, s, 3)
	mustTermAppend(t, term, 9, "own")
	want := []string{"3/7 a", "4/8 "}
	mustReplay(t, term, 1, want...)
	mustReplay(t, mustBegin(t, h.Reopen(t), 4), 1, append(want, "6/9 own")...)
}

// replayOfPurged: a replay begins where the stream does, also in the middle of a term.
func replayOfPurged(t *testing.T, h Harness) {
	s := h.Stream
	term := mustBegin(t, s, 1)
	for range 4 {
		mustTermAppend(t, term, 1, "x")
	}
	must(t, term.Purge(testContext(t), 4))
	mustReplay(t, mustBegin(t, s, 2), 4, "4/1 x", "5/1 x")
	must(t, s.Purge(testContext(t), 7))
	mustReplay(t, mustBegin(t, s, 3), 7)
}

// replayRestarts: a purge that overtakes a replay makes it begin again, and what it gives then is whole.
func replayRestarts(t *testing.T, h Harness) {
	s := h.Stream
	term := mustBegin(t, s, 1)
	// More than a store reads ahead of the receiver.
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for i := range uint64(30) {
		mustTermAppend(t, term, i, body)
	}
	term = mustBegin(t, s, 2)
	r := &received{}
	r.onEntry = func(seq uint64) error {
		if seq == 2 {
			return term.Purge(testContext(t), 28)
		}
		return nil
	}
	must(t, term.Replay(testContext(t), r))
	if !slices.Equal(r.restarts, []uint64{1, 28}) || !slices.Equal(r.seqs, []uint64{28, 29, 30, 31}) {
		t.Fatalf("began with %d and received %d", r.restarts, r.seqs)
	}
}

// replayStopsAtError: the receiver's error ends a replay, as does the context's end.
func replayStopsAtError(t *testing.T, h Harness) {
	term := mustBegin(t, h.Stream, 1)
	for range 3 {
		mustTermAppend(t, term, 1, "x")
	}
	term = mustBegin(t, h.Stream, 2)
	enough := errors.New("enough")
	mustBe(t, term.Replay(testContext(t), &received{onEntry: func(uint64) error { return enough }}), enough)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	err := term.Replay(ctx, &received{onEntry: func(uint64) error { cancel(); return ctx.Err() }})
	mustBe(t, err, context.Canceled)
	mustBe(t, term.Replay(ctx, &received{}), context.Canceled)
}

// sealed is a valid frame with the fields given, which a test then spoils.
func sealed(kind byte, epoch uint64, body string) []byte {
	f := frame(body)
	f[0], f[1] = journal.FormatVersion, kind
	binary.LittleEndian.PutUint64(f[2:], epoch)
	binary.LittleEndian.PutUint64(f[10:], 5)
	return reseal(f)
}

func reseal(f []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(0, table, f[:18]), table, f[journal.HeaderSize:])
	binary.LittleEndian.PutUint32(f[18:], sum)
	return f
}

const (
	fenceKind  = 1
	recordKind = 2
)

// replayAfter appends data at the end of the stream as it is and replays it, between two good terms.
func replayAfter(t *testing.T, s journal.Stream, data func(epoch uint64) []byte) (seq uint64, err error) {
	t.Helper()
	emptied(t, s)
	term := mustBegin(t, s, 1)
	mustTermAppend(t, term, 1, "good")
	seq = term.Last() + 1
	must(t, s.Append(testContext(t), seq-1, data(term.Epoch())))
	return seq, mustBegin(t, s, 2).Replay(testContext(t), &received{onEntry: func(got uint64) error {
		if got >= seq {
			t.Errorf("entry %d was handed out", got)
		}
		return nil
	}})
}

func mustCorrupt(t *testing.T, what string, err error, seq uint64) {
	t.Helper()
	var corrupt *journal.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Seq != seq {
		t.Fatalf("%s at %d: %v", what, seq, err)
	}
}

// replayBitFlips: a flipped bit in any byte of the header and in the body is a CorruptError that names the
// entry.
func replayBitFlips(t *testing.T, h Harness) {
	size := len(sealed(recordKind, 1, "body"))
	for i := range size {
		seq, err := replayAfter(t, h.Stream, func(epoch uint64) []byte {
			f := sealed(recordKind, epoch, "body")
			f[i] ^= 1 << (i % 8)
			return f
		})
		mustCorrupt(t, fmt.Sprintf("a flipped bit in byte %d", i), err, seq)
	}
}

// replayForeign: what is no frame is a CorruptError.
func replayForeign(t *testing.T, h Harness) {
	for _, data := range []string{
		"", "x", strings.Repeat("\x00", journal.HeaderSize-1), strings.Repeat("\x00", journal.HeaderSize),
		strings.Repeat("\xff", 100), `{"hello":"I come from elsewhere and do not belong here"}`,
		string(reseal(frame("version 0, well sealed"))),
		string(sealed(0, 1, "a type that is none")), string(sealed(77, 1, "a type that is none")),
	} {
		seq, err := replayAfter(t, h.Stream, func(uint64) []byte { return []byte(data) })
		mustCorrupt(t, fmt.Sprintf("the foreign entry %.20q", data), err, seq)
	}
}

// replayNewerFormat: a frame of a newer version is a FormatError, not corruption.
func replayNewerFormat(t *testing.T, h Harness) {
	for _, version := range []byte{journal.FormatVersion + 1, 255} {
		seq, err := replayAfter(t, h.Stream, func(epoch uint64) []byte {
			f := sealed(recordKind, epoch, "from the future")
			f[0] = version
			return reseal(f)
		})
		var format *journal.FormatError
		if !errors.As(err, &format) || format.Seq != seq || format.Version != version {
			t.Fatalf("version %d at %d: %v", version, seq, err)
		}
	}
}

// replayEpochs: an entry whose epoch is not that of the fence before it is a CorruptError: an old epoch is
// an old writer that got past a fence, a later one is nobody's.
func replayEpochs(t *testing.T, h Harness) {
	for name, data := range map[string]func(epoch uint64) []byte{
		"an older epoch":        func(epoch uint64) []byte { return sealed(recordKind, epoch-1, "x") },
		"a later epoch":         func(epoch uint64) []byte { return sealed(recordKind, epoch+1, "x") },
		"its own sequence":      func(epoch uint64) []byte { return sealed(recordKind, epoch+2, "x") },
		"a fence of another":    func(epoch uint64) []byte { return sealed(fenceKind, epoch, "0123456789abcdef") },
		"a fence of the future": func(epoch uint64) []byte { return sealed(fenceKind, epoch+100, "0123456789abcdef") },
	} {
		seq, err := replayAfter(t, h.Stream, data)
		mustCorrupt(t, name, err, seq)
	}
	// Also as the very first entry, where there is no fence to compare with.
	for name, above := range map[string]uint64{"epoch 0": 0, "an epoch not before it": 1} {
		last := emptied(t, h.Stream)
		epoch := above * (last + 1)
		must(t, h.Stream.Append(testContext(t), last, sealed(recordKind, epoch, "x")))
		mustCorrupt(t, name, mustBegin(t, h.Stream, 1).Replay(testContext(t), &received{}), last+1)
	}
}

// replayOwnFenceGone: a term whose fence somebody has purged and replaced does not replay as if it led.
func replayOwnFenceGone(t *testing.T, h Harness) {
	term := mustBegin(t, h.Stream, 1)
	emptied(t, h.Stream)
	mustBegin(t, h.Stream, 2)
	if err := term.Replay(testContext(t), &received{}); err == nil {
		t.Fatal("a term without its fence replayed")
	}
}
