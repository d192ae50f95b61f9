//go:build !linux

package boottime

import "time"

// Now is a clock that never goes back.
func Now() time.Duration { return time.Since(started) }

var started = time.Now()
