package queue

import (
	"testing"
	"testing/quick"
	"time"
)

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		tries uint32
		want  time.Duration
	}{
		{"by default", Options{}, 1, time.Second},
		{"doubles by default", Options{}, 4, 8 * time.Second},
		{"is capped by default", Options{}, 30, BackoffMax},
		{"as asked", Options{InitialBackoff: 100 * time.Millisecond, Multiplier: 3}, 3, 900 * time.Millisecond},
		{"does not grow", Options{InitialBackoff: time.Minute, Multiplier: 1}, 50, time.Minute},
		{"a multiplier below one is none", Options{InitialBackoff: time.Second, Multiplier: 0.5}, 2, 2 * time.Second},
		{"a cap below the first pause", Options{InitialBackoff: time.Minute, BackoffMax: time.Second}, 1, time.Second},
		{"so many tries that it overflows", Options{InitialBackoff: time.Hour, Multiplier: 1e9}, 4_000_000_000, BackoffMax},
	} {
		if got := backoff(&c.o, c.tries, 0); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Jitter shortens the pause, by its share at most, and never makes it longer.
func TestJitterOnlyShortens(t *testing.T) {
	check := func(tries uint8, jitter uint8, random uint64) bool {
		o := Options{InitialBackoff: time.Second, BackoffMax: time.Hour, Jitter: float64(jitter%101) / 100}
		full := o
		full.Jitter = 0
		most := backoff(&full, uint32(tries)+1, random)
		got := backoff(&o, uint32(tries)+1, random)
		return got <= most && float64(got) >= float64(most)*(1-o.Jitter)-1
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

func TestFormatID(t *testing.T) {
	check := func(id uint64) bool {
		got, ok := ParseID(FormatID(id))
		return ok && got == id
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "t", "x1", "t-1", "tA", "t3w5e11264sgsg", "tzzzzzzzzzzzzz", "t11111111111111"} {
		if id, ok := ParseID(bad); ok {
			t.Errorf("%q is task %d", bad, id)
		}
	}
}
