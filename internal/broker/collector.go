package broker

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector's share: the heap may grow by headroomBytes beyond what lives before it is
// collected. With a small state that saves work, with a large one memory: a million tasks would need twice
// their size at Go's own setting.
const (
	headroomBytes  = 192 << 20
	gcPercentMin   = 30
	gcPercentMax   = 400
	gcPercentEvery = time.Second
)

// gcPercent is the setting for so much that lives.
func gcPercent(live uint64) int {
	return int(min(max(headroomBytes*100/max(live, 1), gcPercentMin), gcPercentMax))
}

// TuneCollector keeps the garbage collector's setting fit for the size of the state, until ctx ends. It leaves it
// alone where GOGC is set. It is for the broker's own process.
func TuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(gcPercentEvery)
	defer tick.Stop()
	now := 100
	for {
		metrics.Read(sample)
		if p := gcPercent(sample[0].Value.Uint64()); p != now {
			debug.SetGCPercent(p)
			now = p
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
