package jetstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// filled is a closed store with entries first to last in its stream, and where its files are.
type filled struct {
	cfg  Config
	dir  string // of the stream
	last uint64
}

func fillStore(t *testing.T, n, size int) filled {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	quick := cfg
	quick.Durability = Interval
	st := openStore(t, quick)
	for i := range uint64(n) {
		if err := st.Stream(0).Append(t.Context(), i, pattern(i+1, size)); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, st)
	return filled{cfg, filepath.Join(cfg.Dir, "jetstream", "$G", "streams", "WEFT_0"), uint64(n)}
}

// pattern is an entry's data, different for every sequence.
func pattern(seq uint64, size int) []byte {
	data := fmt.Appendf(nil, "entry %d ", seq)
	for len(data) < size {
		data = append(data, data...)
	}
	return data[:max(size, 10)]
}

func (f filled) block(index int) string {
	return filepath.Join(f.dir, "msgs", fmt.Sprint(index, ".blk"))
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f filled) verify() error {
	_, _, err := verifyBlocks(f.dir, "WEFT_0", "weft.journal.0")
	return err
}

// Every single bit of a block file, the lengths included, which the server's own checksum leaves out.
func TestVerifyFindsEveryBit(t *testing.T) {
	f := fillStore(t, 4, 20)
	name := f.block(1)
	good := readFile(t, name)
	if err := f.verify(); err != nil {
		t.Fatal(err)
	}
	for bit := range len(good) * 8 {
		bad := append([]byte(nil), good...)
		bad[bit/8] ^= 1 << (bit % 8)
		writeFile(t, name, bad)
		var damage *DamageError
		if err := f.verify(); !errors.As(err, &damage) || damage.File != name {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

// Every length that a crash can leave the newest block with, and none of them for an older block.
func TestVerifyEveryCut(t *testing.T) {
	f := fillStore(t, 3, 20)
	good := readFile(t, f.block(1))
	for size := range good {
		writeFile(t, f.block(1), good[:size])
		if err := f.verify(); err != nil {
			t.Fatalf("cut to %d of %d bytes: %v", size, len(good), err)
		}
	}
	writeFile(t, f.block(2), nil)
	for size := range good {
		writeFile(t, f.block(1), good[:size])
		if err := f.verify(); (err == nil) != (size%(len(good)/3) == 0) {
			t.Fatalf("an older block cut to %d of %d bytes: %v", size, len(good), err)
		}
	}
}

// An append that was cut short is no damage, wherever it was cut: the entries before it are served.
func TestTornAppendIsDropped(t *testing.T) {
	f := fillStore(t, 3, 100)
	good := readFile(t, f.block(1))
	size := len(good) / 3
	for _, cut := range []int{1, recordHead - 1, recordHead, recordHead + 20, size - 1} {
		// A process that dies leaves a watermark of what it was told, and an old index.
		g := filled{Config{Dir: t.TempDir()}, "", 2}
		if err := os.CopyFS(g.cfg.Dir, os.DirFS(f.cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		g.dir = filepath.Join(g.cfg.Dir, "jetstream", "$G", "streams", "WEFT_0")
		writeFile(t, g.block(1), good[:2*size+cut])
		setPromise(t, g.cfg, 2, 0)
		st := openStore(t, g.cfg)
		got, err := st.Stream(0).State(t.Context())
		if err != nil || got.First != 1 || got.Last != 2 {
			t.Fatalf("cut to %d bytes: %+v, %v", cut, got, err)
		}
		if err := st.Stream(0).Append(t.Context(), 2, pattern(3, 100)); err != nil {
			t.Fatal(err)
		}
		mustHold(t, st.Stream(0), 1, 3, 100)
		closeStore(t, st)
	}
}

func setPromise(t *testing.T, cfg Config, last, below uint64) {
	t.Helper()
	w, err := openWatermark(filepath.Join(cfg.Dir, "WEFT_0.mark"))
	if err != nil {
		t.Fatal(err)
	}
	w.last, w.below = last, below
	if err := errors.Join(w.write(), w.close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, "jetstream", "$G", "streams", "WEFT_0", "msgs", "index.db")); err != nil {
		t.Fatal(err)
	}
}

func mustHold(t *testing.T, s *Stream, first, last uint64, size int) {
	t.Helper()
	next := first
	err := s.Scan(t.Context(), first, last, func(seq uint64, data []byte) error {
		if seq != next || string(data) != string(pattern(seq, size)) {
			t.Fatalf("entry %d instead of %d: %.40q", seq, next, data)
		}
		next++
		return nil
	})
	if err != nil || next != last+1 {
		t.Fatalf("scan ended before %d: %v", next, err)
	}
}

// Open refuses a damaged block and leaves every file as it was.
func TestOpenRefusesDamage(t *testing.T) {
	f := fillStore(t, 20, 1<<20) // three blocks
	for _, index := range []int{1, 2, 3} {
		for _, where := range []float64{0.001, 0.5, 0.999} {
			good := readFile(t, f.block(index))
			bad := append([]byte(nil), good...)
			bad[int(where*float64(len(bad)))] ^= 0x10
			writeFile(t, f.block(index), bad)
			before := snapshot(t, f.cfg.Dir)
			st, err := Open(t.Context(), f.cfg)
			if _, ok := errors.AsType[*DamageError](err); !ok {
				t.Fatalf("block %d at %v: store %v, %v", index, where, st, err)
			}
			if after := snapshot(t, f.cfg.Dir); after != before {
				t.Fatalf("a refused store was changed: %s became %s", before, after)
			}
			writeFile(t, f.block(index), good)
		}
	}
	mustHold(t, openStore(t, f.cfg).Stream(0), 1, f.last, 1<<20)
}

// snapshot describes a directory's files, names and contents.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all string
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			all += fmt.Sprintf("%s %x\n", name, sha256.Sum256(readFile(t, name)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Blocks that are gone or cut at a record's end look whole: the watermark knows better.
func TestOpenMissesEntries(t *testing.T) {
	for name, spoil := range map[string]func(f filled) error{
		"newest block gone":   func(f filled) error { return os.Remove(f.block(3)) },
		"newest block empty":  func(f filled) error { return os.Truncate(f.block(3), 0) },
		"oldest block gone":   func(f filled) error { return os.Remove(f.block(1)) },
		"one in between gone": func(f filled) error { return os.Remove(f.block(2)) },
		"all blocks gone":     func(f filled) error { return os.RemoveAll(filepath.Join(f.dir, "msgs")) },
		"stream gone":         func(f filled) error { return os.RemoveAll(f.dir) },
		"server's files gone": func(f filled) error { return os.RemoveAll(filepath.Join(f.cfg.Dir, "jetstream")) },
		"description gone":    func(f filled) error { return os.Remove(filepath.Join(f.dir, "meta.inf")) },
		"description cut":     func(f filled) error { return os.Truncate(filepath.Join(f.dir, "meta.inf"), 100) },
	} {
		t.Run(name, func(t *testing.T) {
			f := fillStore(t, 20, 1<<20)
			if err := spoil(f); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time, too, after the server has repaired what it could
				st, err := Open(t.Context(), f.cfg)
				if err == nil {
					got, err := st.Stream(0).State(t.Context())
					t.Fatalf("it opened, with %+v, %v", got, errors.Join(err, st.Close()))
				}
				t.Log(err)
			}
		})
	}
}

// The server's index of the blocks may be lost or damaged: they are the truth.
func TestIndexIsExpendable(t *testing.T) {
	f := fillStore(t, 6, 100)
	index := filepath.Join(f.dir, "msgs", "index.db")
	size := len(readFile(t, index))
	for i := 0; i <= size; i += 6 {
		bad := readFile(t, index)
		bad[min(i, len(bad)-1)] ^= 4
		writeFile(t, index, bad)
		st := openStore(t, f.cfg)
		got, err := st.Stream(0).State(t.Context())
		if err != nil || got.First != 1 || got.Last != f.last {
			t.Fatalf("byte %d: %+v, %v", i, got, err)
		}
		mustHold(t, st.Stream(0), 1, f.last, 100)
		closeStore(t, st)
	}
}

// A bit that flips while the store is open is found when the entries are read.
func TestFlipWhileOpen(t *testing.T) {
	for _, index := range []int{1, 2, 3} {
		for _, where := range []float64{0.001, 0.5, 0.999} {
			t.Run(fmt.Sprint("block ", index, " at ", where), func(t *testing.T) {
				f := fillStore(t, 20, 1<<20)
				st := openStore(t, f.cfg)
				bad := readFile(t, f.block(index))
				bad[int(where*float64(len(bad)))] ^= 0x10
				writeFile(t, f.block(index), bad)
				mustComplain(t, st.Stream(0), f.last)
				mustComplain(t, st.Stream(0), f.last) // and again, when the server has repaired something
				closeStore(t, st)
				if st, err := Open(t.Context(), f.cfg); err == nil {
					mustComplain(t, st.Stream(0), f.last)
					closeStore(t, st)
				}
			})
		}
	}
}

// mustComplain does what a new term does: it asks for the bounds, and reads all between them.
func mustComplain(t *testing.T, s *Stream, last uint64) {
	t.Helper()
	ctx := context.Background()
	st, err := s.State(ctx)
	next := st.First
	if err == nil {
		err = s.Scan(ctx, st.First, st.Last, func(seq uint64, data []byte) error {
			if seq != next || string(data) != string(pattern(seq, 1<<20)) {
				t.Errorf("entry %d instead of %d, or other data", seq, next)
			}
			next++
			return nil
		})
	}
	if err == nil {
		t.Fatalf("the stream holds %d to %d of 1 to %d, and nothing is said", st.First, st.Last, last)
	}
	if _, ok := errors.AsType[*journal.CorruptError](err); !ok {
		t.Fatalf("not a CorruptError: %v", err)
	}
	t.Log(err)
}
