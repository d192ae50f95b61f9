package jetstream

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"testing"

	"github.com/weftq/weft/internal/journal"
)

// A write error ends the store, not what it holds: closed and opened again in the same process, it has all
// that was acknowledged and takes more.
func TestWriteError(t *testing.T) {
	if out, err := child(t.Context(), "limit", t.TempDir()).Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// childLimit makes writes fail: the kernel lets no file of this process grow beyond a limit.
func childLimit(dir string) error {
	signal.Ignore(syscall.SIGXFSZ) // and so the write fails instead of the process
	ctx := context.Background()
	st, err := Open(ctx, Config{Dir: dir, Shards: 2})
	if err != nil {
		return err
	}
	const size = 100_000
	var acked uint64
	for ; acked < 5; acked++ {
		if err := st.Stream(0).Append(ctx, acked, pattern(acked+1, size)); err != nil {
			return err
		}
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 650_000, Max: before.Max}); err != nil {
		return err
	}
	for err = nil; err == nil; acked++ {
		err = st.Stream(0).Append(ctx, acked, pattern(acked+1, size))
	}
	acked--
	if !errors.Is(err, journal.ErrStoreFailed) || acked > 6 {
		return fmt.Errorf("append %d beyond the limit: %w", acked+1, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	return limitLifted(ctx, st, dir, acked, size)
}

func limitLifted(ctx context.Context, st *Store, dir string, acked uint64, size int) error {
	// The disk is well again, the store is not.
	if err := st.Stream(0).Append(ctx, acked, nil); !errors.Is(err, journal.ErrStoreFailed) {
		return fmt.Errorf("append after the failure: %w", err)
	}
	if err := st.Close(); err != nil {
		return err
	}
	st, err := Open(ctx, Config{Dir: dir, Shards: 2})
	if err != nil {
		return err
	}
	s := st.Stream(0)
	for ; acked < 20; acked++ {
		if err := s.Append(ctx, acked, pattern(acked+1, size)); err != nil {
			return fmt.Errorf("append %d after opening again: %w", acked+1, err)
		}
	}
	err = s.Scan(ctx, 1, acked, func(seq uint64, data []byte) error {
		if string(data) != string(pattern(seq, size)) {
			return fmt.Errorf("entry %d has other data", seq)
		}
		return nil
	})
	return errors.Join(err, st.Close())
}
