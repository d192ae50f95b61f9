package cli

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
)

// keepFlags say how long a task stays known that has ended.
type keepFlags struct{ retention, failedRetention time.Duration }

// add defines the flags; otherwise is what holds without the first.
func (f *keepFlags) add(cmd *cobra.Command, otherwise string) {
	flags := cmd.Flags()
	flags.DurationVar(&f.retention, "retention", 0, "keep the outcome so long, unless it is a failure (default "+otherwise+")")
	flags.DurationVar(&f.failedRetention, "failed-retention", 0, "keep a failure so long (default the queue's, else 7 days)")
}

// check refuses what cannot be.
func (f *keepFlags) check() error {
	return cmp.Or(
		checkSpan("retention", f.retention, retentionMax), checkSpan("failed-retention", f.failedRetention, retentionMax),
	)
}

// checkSpan refuses a flag's time below zero or above the most that is possible.
func checkSpan(flag string, d, most time.Duration) error {
	if d < 0 || d > most {
		return Usage("--%s %v: 0s to %v are possible", flag, d, most)
	}
	return nil
}

// keep sets them.
func (f *keepFlags) keep(spec *client.Spec) {
	spec.Retention, spec.FailedRetention = f.retention, f.failedRetention
}
