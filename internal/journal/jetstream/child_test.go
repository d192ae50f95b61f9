package jetstream

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftq/weft/internal/journal"
)

// Tests that need a process of their own run this test binary again, with the name of a child and its
// arguments in the environment.
const childEnv = "WEFT_JETSTREAM_TEST_CHILD"

func TestMain(m *testing.M) {
	name, arg, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		goleak.VerifyTestMain(m)
		return
	}
	var err error
	switch name {
	case "append":
		err = childAppend(arg)
	case "limit":
		err = childLimit(arg)
	default:
		err = fmt.Errorf("no such child: %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context, name, arg string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name+" "+arg)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// childAppend appends for ever, purges now and then, and says each sequence once it is acknowledged.
func childAppend(arg string) error {
	durability, dir, _ := strings.Cut(arg, " ")
	ctx := context.Background()
	st, err := Open(ctx, Config{Dir: dir, Durability: Durability(durability)})
	if err != nil {
		return err
	}
	s := st.Stream(0)
	state, err := s.State(ctx)
	if err != nil {
		return err
	}
	for last := state.Last; ; last++ {
		if err := s.Append(ctx, last, pattern(last+1, sizeOf(last+1))); err != nil {
			return err
		}
		fmt.Println(last + 1)
		if last%40 == 39 {
			if err := s.Purge(ctx, last-10); err != nil {
				return err
			}
		}
	}
}

// sizeOf varies the entries, so that a kill finds small and large ones and the ends of blocks.
func sizeOf(seq uint64) int {
	if seq%7 == 0 {
		return 1 << 20
	}
	return int(seq*7919%70000) + 10
}

// A process that is killed at any moment loses nothing that was acknowledged, and leaves at most the one
// entry that it was about to acknowledge.
func TestKill(t *testing.T) {
	for _, durability := range []Durability{Always, Interval} {
		t.Run(string(durability), func(t *testing.T) {
			rounds := 6
			if testing.Short() {
				rounds = 2
			}
			cfg := Config{Dir: t.TempDir(), Durability: durability}
			for round := range rounds {
				acked := killAfter(t, cfg, 1+round*29)
				st := openStore(t, cfg)
				s := st.Stream(0)
				got, err := s.State(t.Context())
				if err != nil || got.Last < acked || got.Last > acked+1 {
					t.Fatalf("round %d: acknowledged up to %d, found %+v, %v", round, acked, got, err)
				}
				mustHoldSizes(t, s, got)
				closeStore(t, st)
			}
		})
	}
}

// killAfter runs a child that appends, kills it after n acknowledgements and returns the last one.
func killAfter(t *testing.T, cfg Config, n int) (acked uint64) {
	t.Helper()
	cmd := child(t.Context(), "append", string(cfg.Durability)+" "+cfg.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 1; lines.Scan(); i++ {
		seq, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil || (acked != 0 && seq != acked+1) {
			t.Fatalf("the child said %q after %d", lines.Text(), acked)
		}
		acked = seq
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acked
}

func mustHoldSizes(t *testing.T, s *Stream, st journal.State) {
	t.Helper()
	next := st.First
	err := s.Scan(t.Context(), st.First, st.Last, func(seq uint64, data []byte) error {
		if seq != next || string(data) != string(pattern(seq, sizeOf(seq))) {
			t.Fatalf("entry %d instead of %d, or other data", seq, next)
		}
		next++
		return nil
	})
	if err != nil || next != st.Last+1 {
		t.Fatalf("scan of %d to %d ended before %d: %v", st.First, st.Last, next, err)
	}
}
