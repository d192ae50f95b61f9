package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
)

// Limits of the API.
const (
	retriesMax    = 999 // which leaves room for the first attempt
	backoffMax    = 24 * time.Hour
	backoffMaxMax = 7 * 24 * time.Hour
	multiplierMax = 100
	jitterNone    = 0.0005 // what the API takes for none: 0 is its default
)

// retryFlags say whether and when a failed attempt is followed by another.
type retryFlags struct {
	retries    int
	backoff    time.Duration
	backoffMax time.Duration
	multiplier float64
	jitter     float64
	given      func(name string) bool
}

// backoffFlags are those about the time between two attempts.
var backoffFlags = []string{"backoff", "backoff-max", "multiplier", "jitter"}

// add defines the flags; usage is about --retries.
func (f *retryFlags) add(cmd *cobra.Command, usage string) {
	flags := cmd.Flags()
	flags.IntVar(&f.retries, "retries", 0, usage)
	flags.DurationVar(&f.backoff, "backoff", 0, "with --retries: wait so long before the first of them, at most 24h (default 1s)")
	flags.Float64Var(&f.multiplier, "multiplier", 0, "with --retries: every wait is so many times the one before, 1 to 100 (default 2)")
	flags.DurationVar(&f.backoffMax, "backoff-max", 0, "with --retries: and not longer than this, at most 168h (default 5m)")
	flags.Float64Var(&f.jitter, "jitter", 0, "with --retries: each wait is shorter by a random share of up to this, 0 to 1 (default 0.2)")
	bounded(flags, "retries", "0 to 999")
	bounded(flags, "multiplier", "1 to 100")
	bounded(flags, "jitter", "0 to 1")
	f.given = flags.Changed
}

// check refuses what cannot be.
func (f *retryFlags) check() error {
	switch {
	case f.retries < 0 || f.retries > retriesMax:
		return Usage("--retries %d: 0 to %d are possible", f.retries, retriesMax)
	case f.given("backoff") && (f.backoff <= 0 || f.backoff > backoffMax):
		return Usage("--backoff %v: more than 0s and at most %v is possible", f.backoff, backoffMax)
	case f.given("backoff-max") && (f.backoffMax <= 0 || f.backoffMax > backoffMaxMax):
		return Usage("--backoff-max %v: more than 0s and at most %v is possible", f.backoffMax, backoffMaxMax)
	case f.given("multiplier") && !(f.multiplier >= 1 && f.multiplier <= multiplierMax):
		return Usage("--multiplier %g: 1 to %d are possible", f.multiplier, multiplierMax)
	case f.given("jitter") && !(f.jitter >= 0 && f.jitter <= 1):
		return Usage("--jitter %g: 0 to 1 are possible", f.jitter)
	}
	return nil
}

// change sets in a policy what is given, and nothing else. A wait without a retry is a mistake.
func (f *retryFlags) change(r *client.Retry) error {
	if f.given("retries") {
		r.Attempts = f.retries + 1
	}
	for _, name := range backoffFlags {
		if f.given(name) && r.Attempts <= 1 {
			return Usage("--%s needs --retries", name)
		}
	}
	if r.Attempts <= 1 {
		*r = client.Retry{}
		return nil
	}
	f.waits(r)
	return nil
}

// waits sets what is given about the time between two attempts.
func (f *retryFlags) waits(r *client.Retry) {
	if f.given("backoff") {
		r.Backoff = f.backoff
	}
	if f.given("backoff-max") {
		r.BackoffMax = f.backoffMax
	}
	if f.given("multiplier") {
		r.Multiplier = f.multiplier
	}
	if f.given("jitter") {
		r.Jitter = max(f.jitter, jitterNone)
	}
}
