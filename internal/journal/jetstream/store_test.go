package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/internal/journal"
)

func TestOpenRefusesConfig(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{Dir: t.TempDir(), Shards: -1},
		{Dir: t.TempDir(), Durability: "sometimes"},
		{Dir: t.TempDir(), SyncInterval: time.Millisecond},
		{Dir: t.TempDir(), AppendTimeout: -1},
		{Dir: filepath.Join(os.Args[0], "below a file")},
	} {
		if st, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted: %v", cfg, st.Close())
		}
	}
}

func TestLossWindow(t *testing.T) {
	for cfg, want := range map[Config]time.Duration{
		{}:                     0,
		{Durability: Always}:   0,
		{Durability: Interval}: time.Second,
		{Durability: Interval, SyncInterval: 50 * time.Millisecond}: 50 * time.Millisecond,
	} {
		cfg.Dir = t.TempDir()
		if got := openStore(t, cfg).LossWindow(); got != want {
			t.Errorf("%q: %v, want %v", cfg.Durability, got, want)
		}
	}
}

// Shards are apart: each has its own sequences, and more may come later.
func TestShards(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Shards: 2}
	st := openStore(t, cfg)
	var wg sync.WaitGroup
	for shard := range cfg.Shards {
		wg.Go(func() {
			for i := range uint64(50 + shard) {
				if err := st.Stream(shard).Append(t.Context(), i, fmt.Appendf(nil, "%d of %d", i, shard)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	closeStore(t, st)
	cfg.Shards = 3
	st = openStore(t, cfg)
	for shard, last := range []uint64{50, 51, 0} {
		got, err := st.Stream(shard).State(t.Context())
		if err != nil || got.First != min(last, 1)+(1-min(last, 1)) || got.Last != last {
			t.Errorf("shard %d: %+v, %v", shard, got, err)
		}
	}
}

// A closed store's stream says so at once.
func TestClosed(t *testing.T) {
	st := openStore(t, Config{Dir: t.TempDir()})
	s := st.Stream(0)
	if err := s.Append(t.Context(), 0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	closeStore(t, st)
	closeStore(t, st)
	_, stateErr := s.State(t.Context())
	_, readErr := s.Read(t.Context(), 1)
	for _, err := range []error{
		stateErr, readErr,
		s.Append(t.Context(), 1, nil),
		s.Purge(t.Context(), 2),
		s.Scan(t.Context(), 1, 1, func(uint64, []byte) error { return nil }),
	} {
		if !errors.Is(err, journal.ErrStoreFailed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// A store that is closed under an append and a scan ends both.
func TestCloseEndsWaits(t *testing.T) {
	st := openStore(t, Config{Dir: t.TempDir()})
	s := st.Stream(0)
	started := make(chan struct{}, 2)
	var wg sync.WaitGroup
	wg.Go(func() {
		for last := uint64(0); ; last++ {
			if err := s.Append(t.Context(), last, make([]byte, 1000)); err != nil {
				return
			}
			if last == 10 {
				started <- struct{}{}
			}
		}
	})
	<-started
	wg.Go(func() {
		for n := 0; ; n++ {
			if s.Scan(t.Context(), 1, 10, func(uint64, []byte) error { return nil }) != nil {
				return
			}
			if n == 3 {
				started <- struct{}{}
			}
		}
	})
	<-started
	closeStore(t, st)
	wg.Wait()
}

// The append's own time limit applies when the caller gives none.
func TestAppendTimeout(t *testing.T) {
	st := openStore(t, Config{Dir: t.TempDir(), AppendTimeout: time.Nanosecond})
	if err := st.Stream(0).Append(context.Background(), 0, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("append: %v", err)
	}
}

// The server's words go to the log that was given.
func TestLog(t *testing.T) {
	var mu sync.Mutex
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return buf.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	closeStore(t, openStore(t, Config{Dir: t.TempDir(), Logger: log}))
	mu.Lock()
	defer mu.Unlock()
	if !bytes.Contains(buf.Bytes(), []byte("from=nats-server")) {
		t.Fatalf("the server said nothing: %s", buf.Bytes())
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// After a crash of the machine an interval store may lack what was acknowledged, and opens; an always store
// may not.
func TestReboot(t *testing.T) {
	f := fillStore(t, 6, 100)
	good := readFile(t, f.block(1))
	writeFile(t, f.block(1), good[:len(good)*4/6+30])
	mark := filepath.Join(f.cfg.Dir, "WEFT_0.mark")
	w, err := openWatermark(mark)
	if err != nil {
		t.Fatal(err)
	}
	w.boot[0]++ // another boot
	if err := errors.Join(w.write(), w.close()); err != nil {
		t.Fatal(err)
	}
	var corrupt *journal.CorruptError
	if _, err := Open(t.Context(), f.cfg); !errors.As(err, &corrupt) || corrupt.Seq != 5 {
		t.Fatalf("durability always: %v", err)
	}
	f.cfg.Durability = Interval
	for range 2 {
		st := openStore(t, f.cfg)
		got, err := st.Stream(0).State(t.Context())
		if err != nil || got.First != 1 || got.Last != 4 {
			t.Fatalf("durability interval: %+v, %v", got, err)
		}
		mustHold(t, st.Stream(0), 1, 4, 100)
		closeStore(t, st)
	}
}
