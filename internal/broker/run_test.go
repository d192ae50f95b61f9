package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/datadir"
	"github.com/weftq/weft/internal/journal/jetstream"
)

// runBriefly runs a broker on a directory until it is ready, and returns why it ended.
func runBriefly(t *testing.T, cfg Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ready := false
	if cfg.Listen == "" {
		cfg.Listen, cfg.HTTP = "127.0.0.1:0", "off"
	}
	cfg.Ready = func(Addresses) { ready = true; cancel() }
	err := Run(ctx, cfg)
	if err == nil && !ready {
		t.Fatal("it neither began nor failed")
	}
	return err
}

// files is everything below a directory, by name, mode and contents.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, name, fi.Mode())
		if fi.Mode().IsRegular() {
			data, err := os.ReadFile(name)
			fmt.Fprintf(&b, "%x\n", data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func as[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

// A directory that is refused is named, and left as it was.
func TestRunRefusesDirectories(t *testing.T) {
	const id = `{"format":%s,"engine":"%s","id":"0123456789abcdef0123456789abcdef"}`
	for name, test := range map[string]struct {
		prepare func(dir string)
		is      func(error) bool
	}{
		"foreign":      {func(dir string) { write(t, dir+"/thesis.txt", "x") }, as[*datadir.ForeignError]},
		"no identity":  {func(dir string) { write(t, dir+"/weft.json", "{") }, as[*datadir.IdentityError]},
		"newer format": {func(dir string) { write(t, dir+"/weft.json", fmt.Sprintf(id, "99", "embedded")) }, as[*datadir.FormatError]},
		"other engine": {func(dir string) { write(t, dir+"/weft.json", fmt.Sprintf(id, "1", "nats")) }, as[*datadir.EngineError]},
		"a file": {func(dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "x")
		}, as[*datadir.NotDirError]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			test.prepare(dir)
			before := files(t, dir)
			if err := runBriefly(t, Config{DataDir: dir}); !test.is(err) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v", err)
			}
			if files(t, dir) != before {
				t.Error("something in it has changed")
			}
		})
	}
	// Not even root may write there.
	if err := runBriefly(t, Config{DataDir: "/proc/weft"}); err == nil {
		t.Error("it runs in /proc")
	}
}

func TestRunRefusesADirectoryInUse(t *testing.T) {
	h := newHarness(t)
	err := runBriefly(t, Config{DataDir: h.dir})
	var locked *datadir.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
	h.submit("k") // the one that has it goes on
}

func TestRunRefusesAddressesAndSettings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dir := filepath.Join(t.TempDir(), "data")
	for _, cfg := range []Config{
		{Listen: l.Addr().String(), HTTP: "off"},
		{Listen: "127.0.0.1:0", HTTP: l.Addr().String()},
		{Listen: "no address", HTTP: "off"},
		{Durability: "sometimes"},
	} {
		cfg.DataDir = dir
		if err := runBriefly(t, cfg); err == nil || !strings.HasPrefix(err.Error(), "broker: ") {
			t.Errorf("%v: %v", cfg, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%v: it leaves a data directory behind: %v", cfg, err)
		}
	}
	if err := runBriefly(t, Config{DataDir: dir}); err != nil { // nothing was kept from it
		t.Error(err)
	}
}

// A journal that cannot be opened is named at the start; nothing changes it but who reads that.
func TestRunNamesAJournalThatCannotBeOpened(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(journal string) error
		file    string // that the error names
		is      error
	}{
		"a file in its place":   {replace, "journal", syscall.ENOTDIR},
		"no place for its data": {func(dir string) error { return replace(dir + "/jetstream") }, "journal", nil},
		"a file not readable": {func(dir string) error {
			return os.MkdirAll(dir+"/jetstream/$G/streams/WEFT_0/msgs/1000.blk", 0o700)
		}, "1000.blk", syscall.EISDIR},
		"a file not writable": {func(dir string) error {
			return errors.Join(os.Remove(dir+"/WEFT_0.mark"), os.Mkdir(dir+"/WEFT_0.mark", 0o700))
		}, "WEFT_0.mark", syscall.EISDIR},
		"a full disk": {func(dir string) error {
			return errors.Join(os.Remove(dir+"/WEFT_0.mark"), os.Symlink("/dev/full", dir+"/WEFT_0.mark"))
		}, "WEFT_0.mark", syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			dir := stopped(t)
			if err := test.prepare(filepath.Join(dir, "journal")); err != nil {
				t.Fatal(err)
			}
			err := runBriefly(t, Config{DataDir: dir})
			if err == nil || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("%v, want %v", err, test.is)
			}
			if !strings.HasPrefix(err.Error(), "broker: the journal in "+dir+": ") || !strings.Contains(err.Error(), test.file) {
				t.Errorf("%v", err)
			}
		})
	}
}

// replace puts a file where something else was.
func replace(name string) error {
	return errors.Join(os.RemoveAll(name), os.WriteFile(name, nil, 0o600))
}

// A broker that is told to stop before it is ready stops in order.
func TestRunThatIsStoppedAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, Config{Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", DataDir: t.TempDir()}); err != nil {
		t.Error(err)
	}
}

// journalOf opens the journal of a broker that has stopped.
func journalOf(t *testing.T, dir string, use func(journal.Stream)) {
	t.Helper()
	store, err := jetstream.Open(t.Context(), jetstream.Config{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	use(store.Stream(0))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

func stopped(t *testing.T) (dir string) {
	h := newHarness(t)
	for range 5 {
		h.submit("k")
	}
	h.stop()
	return h.dir
}

// The store is damaged: a bit of a file is another one.
func TestRunRefusesADamagedJournal(t *testing.T) {
	dir := stopped(t)
	blocks, err := filepath.Glob(filepath.Join(dir, "journal", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%v, %v", blocks, err)
	}
	data, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	write(t, blocks[0], string(data))
	if err := runBriefly(t, Config{DataDir: dir}); !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), blocks[0]) {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(blocks[0]); err != nil || string(after) != string(data) {
		t.Error("the block has changed")
	}
}

// The store is sound, and an entry in it is not this version's.
func TestRunRefusesEntries(t *testing.T) {
	for name, test := range map[string]struct {
		change func(frame []byte)
		is     func(error) bool
	}{
		"a flipped bit": {func(f []byte) { f[len(f)-1] ^= 1 }, as[*journal.CorruptError]},
		"a newer format": {func(f []byte) {
			f[0] = journal.FormatVersion + 1
			binary.LittleEndian.PutUint32(f[18:], checksum(f))
		}, as[*journal.FormatError]},
		"a foreign body": {func(f []byte) {
			for i := range f[journal.HeaderSize:] {
				f[journal.HeaderSize+i] = 0xff
			}
			binary.LittleEndian.PutUint32(f[18:], checksum(f))
		}, as[*journal.CorruptError]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := stopped(t)
			var last uint64
			journalOf(t, dir, func(s journal.Stream) {
				st, err := s.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				frame, err := s.Read(t.Context(), st.Last)
				if err != nil {
					t.Fatal(err)
				}
				test.change(frame)
				if err := s.Append(t.Context(), st.Last, frame); err != nil {
					t.Fatal(err)
				}
				last = st.Last + 1
			})
			err := runBriefly(t, Config{DataDir: dir})
			if !test.is(err) || !strings.Contains(err.Error(), fmt.Sprint("entry ", last)) {
				t.Errorf("entry %d: %v", last, err)
			}
		})
	}
}

func checksum(frame []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, frame[:18]), table, frame[journal.HeaderSize:])
}
