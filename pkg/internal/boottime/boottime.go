// Package boottime is the clock that leases are counted by, which the SDKs share.
package boottime

import (
	"sync/atomic"
	"time"
)

var (
	started = time.Now()
	slept   atomic.Int64 // by the machine, since its boot, as far as it was noticed
	feigned atomic.Int64
)

// Now is a clock that goes on while the machine sleeps, which Go's does not: a lease that ran out meanwhile is
// over for the one who wakes up. It is Go's clock and how long the machine has slept, so that in a bubble of
// testing/synctest it is the bubble's.
func Now() time.Duration {
	notice()
	return time.Since(started) + time.Duration(slept.Load()+feigned.Load())
}

// Feign has it seem for a test that the machine has slept for d, until the returned function is called.
func Feign(d time.Duration) (undo func()) {
	feigned.Add(int64(d))
	return func() { feigned.Add(-int64(d)) }
}
