package boottime

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sleepMin is how much longer than before the machine has to have slept to be noticed: the two clocks that tell cannot
// be read at once.
const sleepMin = 100 * time.Millisecond

var (
	started = time.Now()
	slept   atomic.Int64 // by the machine, since its boot
)

// Now is a clock that goes on while the machine sleeps, which Go's does not: a lease that ran out meanwhile is
// over for the one who wakes up. It is Go's clock and how long the machine has slept, so that in a bubble of
// testing/synctest it is the bubble's.
func Now() time.Duration {
	var withSleep, without unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &withSleep) == nil && unix.ClockGettime(unix.CLOCK_MONOTONIC, &without) == nil {
		// In this order, what passes between the two readings is missing, and is never taken for sleep.
		now, before := withSleep.Nano()-without.Nano(), slept.Load()
		if now-before >= int64(sleepMin) {
			slept.CompareAndSwap(before, now)
		}
	}
	return time.Since(started) + time.Duration(slept.Load())
}
