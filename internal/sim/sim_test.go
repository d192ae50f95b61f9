package sim

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this seed alone; with -v it prints its whole trace")
	seedsFlag = flag.Int("seeds", 500, "how many seeds to play")
	firstFlag = flag.Uint64("first", 1, "the first seed")
)

func TestSim(t *testing.T) {
	if *seedFlag != 0 {
		var out io.Writer
		if testing.Verbose() {
			out = os.Stdout
		}
		report(t, Run(*seedFlag, out))
		return
	}
	seeds := *seedsFlag
	if testing.Short() {
		seeds = min(seeds, 50)
	}
	failures := 0
	for i := range uint64(seeds) {
		if res := Run(*firstFlag+i, nil); res.Err != nil {
			report(t, res)
			if failures++; failures == 3 {
				t.FailNow()
			}
		}
	}
}

func report(t *testing.T, res Result) {
	t.Helper()
	if res.Err == nil {
		t.Logf("seed %d: %d events, %d records, %d entries purged, %v", res.Seed, res.Events, res.Records, res.Purged, res.Time)
		return
	}
	t.Errorf("seed %d: %v\n\n%s\n\nreplay: %s", res.Seed, res.Err, strings.Join(res.Tail, "\n"), Command(res.Seed))
}

// Command is how to play a seed again.
func Command(seed uint64) string {
	return fmt.Sprintf("go test ./internal/sim -run TestSim -seed %d -v", seed)
}

func TestSeedReplaysExactly(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		a, b := Run(seed, nil), Run(seed, nil)
		if a.Hash != b.Hash || a.Events != b.Events {
			t.Fatalf("seed %d: two runs differ, in %d and %d events", seed, a.Events, b.Events)
		}
	}
}
