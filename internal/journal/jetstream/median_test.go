package jetstream

import (
	"slices"
	"time"
)

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)/2]
}
