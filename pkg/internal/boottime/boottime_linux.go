package boottime

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepMin is how much longer than before the machine has to have slept to be noticed: the two clocks that tell cannot
// be read at once.
const sleepMin = 100 * time.Millisecond

// notice notes how long the machine has slept.
func notice() {
	var withSleep, without unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &withSleep) == nil && unix.ClockGettime(unix.CLOCK_MONOTONIC, &without) == nil {
		// In this order, what passes between the two readings is missing, and is never taken for sleep.
		now, before := withSleep.Nano()-without.Nano(), slept.Load()
		if now-before >= int64(sleepMin) {
			slept.CompareAndSwap(before, now)
		}
	}
}
