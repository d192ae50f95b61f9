package servercmd

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/64 wide of what they count, so that any number
// of them takes the same memory.
type histogram struct {
	counts [64 << subBits]uint64
	total  uint64
}

// subBits is how many bits behind the first one a bucket tells apart.
const subBits = 6

// add counts a duration.
func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++ //nolint:gosec // not negative
	h.total++
}

// bucket is where a value is counted.
func bucket(v uint64) int {
	if v < 1<<subBits {
		return int(v) //nolint:gosec // small
	}
	shift := bits.Len64(v) - 1 - subBits
	return shift<<subBits + int(v>>shift) //nolint:gosec // below 64<<subBits
}

// value is the least value of a bucket.
func value(b int) uint64 {
	if b < 1<<(subBits+1) {
		return uint64(b) //nolint:gosec // not negative
	}
	shift := b>>subBits - 1
	return uint64(b-shift<<subBits) << shift //nolint:gosec // not negative
}

// quantile is the duration that a share of all does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.total))
	for b, n := range h.counts {
		if rank < n {
			return time.Duration(value(b)) //nolint:gosec // it was a duration
		}
		rank -= n
	}
	return 0
}

// merge adds another histogram's counts.
func (h *histogram) merge(o *histogram) {
	for b, n := range o.counts {
		h.counts[b] += n
	}
	h.total += o.total
}
