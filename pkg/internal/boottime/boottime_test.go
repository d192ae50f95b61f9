package boottime_test

import (
	"testing"
	"time"

	"github.com/weftq/weft/pkg/internal/boottime"
)

// The machine's sleep is all that the two clocks differ by.
func TestNow(t *testing.T) {
	before, beforeBoot := time.Now(), boottime.Now()
	for range 1000 {
		passed, boot := time.Since(before), boottime.Now()-beforeBoot
		if boot < passed-time.Second || boot > time.Since(before)+time.Second {
			t.Fatalf("%v have passed, and %v", passed, boot)
		}
	}
}
