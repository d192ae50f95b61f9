package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Limits of settings.
const (
	rateMax      = 1_000_000
	timeoutMax   = 30 * 24 * time.Hour
	graceMax     = time.Hour
	retentionMax = 90 * 24 * time.Hour
)

// orders are the words for a queue's order.
var orders = map[string]weftv1.QueueOrder{"priority": client.ByPriority, "fifo": client.FIFO, "lifo": client.LIFO}

func orderWord(o weftv1.QueueOrder) string {
	for word, order := range orders {
		if o == order {
			return word
		}
	}
	return "priority"
}

// queueFlags are the settings of a queue.
type queueFlags struct {
	retryFlags
	order                        string
	maxSize                      int
	maxRunning, maxPerKey, burst int64
	rate                         float64
	timeout                      time.Duration
	changed                      func(name string) bool

	keepFlags
}

// add defines the flags.
func (f *queueFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.order, "order", "", "in which `order` tasks are handed out: priority (default), fifo, lifo")
	flags.IntVar(&f.maxSize, "max-size", 0, "how many tasks may wait; 0 is without limit")
	flags.Int64Var(&f.maxRunning, "max-running", 0, "how many tasks may run at a time; 0 is without limit")
	flags.Int64Var(&f.maxPerKey, "max-running-per-key", 0, "how many tasks of one fairness key may run at a time; 0 is without limit")
	flags.Float64Var(&f.rate, "rate", 0, "how many attempts may begin per second; 0 is without limit")
	flags.Int64Var(&f.burst, "burst", 1, "how many may begin at once after a pause")
	f.retryFlags.add(cmd, "for tasks that do not say otherwise: try again so often")
	flags.DurationVar(&f.timeout, "timeout", 0, "likewise: stop an attempt that takes longer; 0 is without limit")
	flags.DurationVar(&f.retention, "retention", 0, "likewise: keep the outcome so long, unless it is a failure; 0 is the broker's default")
	flags.DurationVar(&f.failedRetention, "failed-retention", 0, "likewise: keep a failure so long; 0 is the broker's default")
	f.changed = flags.Changed
}

// check refuses what cannot be.
func (f *queueFlags) check() error {
	if f.changed("order") && orders[f.order] == 0 {
		return Usage("--order %s: none of %s", shorten(f.order), strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
	}
	between := func(flag string, n, least, most int64) error {
		if f.changed(flag) && (n < least || n > most) {
			return Usage("--%s %d: %d to %d are possible", flag, n, least, most)
		}
		return nil
	}
	if !(f.rate >= 0 && f.rate <= rateMax) {
		return Usage("--rate %g: 0 to %d are possible", f.rate, rateMax)
	}
	return cmp.Or(
		between("max-size", int64(f.maxSize), 0, math.MaxInt64),
		between("max-running", f.maxRunning, 0, math.MaxUint32),
		between("max-running-per-key", f.maxPerKey, 0, math.MaxUint32),
		between("burst", f.burst, 1, rateMax),
		f.retryFlags.check(),
		checkSpan("timeout", f.timeout, timeoutMax), f.keepFlags.check(),
	)
}

// settings are those that were given; what belongs together takes the rest from what the queue has.
func (f *queueFlags) settings(now *weftv1.Queue) (out []client.Setting) {
	if f.changed("order") {
		out = append(out, client.Order(orders[f.order]))
	}
	if f.changed("max-size") {
		out = append(out, client.MaxSize(f.maxSize))
	}
	if f.changed("max-running") {
		out = append(out, client.MaxRunning(uint32(f.maxRunning))) //nolint:gosec // checked
	}
	if f.changed("max-running-per-key") {
		out = append(out, client.MaxRunningPerKey(uint32(f.maxPerKey))) //nolint:gosec // checked
	}
	if f.changed("rate") || f.changed("burst") {
		rate, burst := now.GetRateLimit().GetPerSecond(), now.GetRateLimit().GetBurst()
		if f.changed("rate") {
			rate = f.rate
		}
		if f.changed("burst") || burst == 0 {
			burst = uint32(f.burst) //nolint:gosec // checked
		}
		out = append(out, client.Rate(rate, burst))
	}
	if f.changesRetry() || f.changed("timeout") || f.changed("retention") || f.changed("failed-retention") {
		out = append(out, client.Defaults(f.defaults(now.GetDefaults())))
	}
	return out
}

// changesRetry tells whether anything is given about tries.
func (f *queueFlags) changesRetry() bool {
	return f.changed("retries") || slices.ContainsFunc(backoffFlags, f.changed)
}

// defaults are those of tasks, the given ones and what the queue has. The caller has had the policy checked.
func (f *queueFlags) defaults(now *weftv1.TaskDefaults) client.TaskDefaults {
	d := client.TaskDefaults{
		Timeout: now.GetTimeout().AsDuration(), Retention: now.GetRetention().AsDuration(),
		FailedRetention: now.GetFailedRetention().AsDuration(), Retry: retryOf(now.GetRetry()),
	}
	_ = f.change(&d.Retry)
	if f.changed("timeout") {
		d.Timeout = f.timeout
	}
	if f.changed("retention") {
		d.Retention = f.retention
	}
	if f.changed("failed-retention") {
		d.FailedRetention = f.failedRetention
	}
	return d
}

// retryOf is a policy of the broker's.
func retryOf(r *weftv1.RetryPolicy) client.Retry {
	return client.Retry{
		Attempts: int(r.GetAttemptsMax()), Backoff: r.GetInitialBackoff().AsDuration(), Multiplier: r.GetMultiplier(),
		BackoffMax: r.GetBackoffMax().AsDuration(), Jitter: r.GetJitter(),
	}
}

// tellQueue says what became of a queue: in words, its name, or whole.
func (a *App) tellQueue(ctx context.Context, q *client.Queue, format format, words string) error {
	switch format {
	case formatJSON:
		info, err := q.Info(ctx)
		if err != nil {
			return err
		}
		return a.printJSON(info)
	case formatName:
		words = q.Name()
	}
	_, err := fmt.Fprintln(a.Out, words)
	return err
}

func (a *App) queueCreateCommand() *cobra.Command {
	var flags queueFlags
	var format format
	cmd := &cobra.Command{
		Use:   "create QUEUE",
		Short: "Create a queue; doing so again with the same settings changes nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			if flags.changed("burst") && !flags.changed("rate") {
				return Usage("--burst needs --rate")
			}
			if err := flags.change(&client.Retry{}); err != nil {
				return err
			}
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				if err := q.Create(ctx, flags.settings(nil)...); err != nil {
					return err
				}
				return a.tellQueue(ctx, q, format, q.Name())
			})
		},
	}
	flags.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

func (a *App) queueUpdateCommand() *cobra.Command {
	var flags queueFlags
	var format format
	cmd := &cobra.Command{
		Use:   "update QUEUE --SETTING VALUE...",
		Short: "Change settings of a queue: those that are given, and no others",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			if len(flags.settings(nil)) == 0 {
				return Usage("queue update: which setting? See: %s queue update --help", a.Name)
			}
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				now, err := q.Info(ctx)
				if err != nil {
					return err
				}
				if flags.changed("burst") && !flags.changed("rate") && now.GetRateLimit() == nil {
					return Usage("--burst: queue %s has no rate; give --rate too", q.Name())
				}
				retry := retryOf(now.GetDefaults().GetRetry())
				if err := flags.change(&retry); err != nil {
					return err
				}
				if err := q.Update(ctx, flags.settings(now)...); err != nil {
					return err
				}
				return a.tellQueue(ctx, q, format, q.Name())
			})
		},
	}
	flags.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

func (a *App) queueShowCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "show QUEUE",
		Short: "Show a queue whole: settings and counts",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				info, err := q.Info(ctx)
				switch {
				case err != nil:
					return err
				case format != formatTable:
					return queueListing().print(a, format, one(info))
				default:
					return a.showQueue(info)
				}
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// showQueue prints a queue for people.
func (a *App) showQueue(q *weftv1.Queue) error {
	s := &sheet{tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)}
	number := func(name string, n uint64) {
		if n > 0 {
			s.line(name, fmt.Sprint(n))
		}
	}
	s.line("queue", q.GetName())
	s.line("state", queueState(q))
	s.line("order", orderWord(q.GetOrder()))
	s.line("created", moment(q.GetCreatedAt()))
	number("max size", q.GetMaxSize())
	number("max running", uint64(q.GetMaxRunning()))
	number("max running per key", uint64(q.GetMaxRunningPerKey()))
	if r := q.GetRateLimit(); r != nil {
		s.line("rate", rateText(r))
	}
	if d := q.GetDefaults(); d != nil {
		s.retries(d.GetRetry())
		if d.GetTimeout() != nil {
			s.line("timeout", d.GetTimeout().AsDuration().String())
		}
		if d.GetRetention() != nil {
			s.line("retention", d.GetRetention().AsDuration().String())
		}
		if d.GetFailedRetention() != nil {
			s.line("failed retention", d.GetFailedRetention().AsDuration().String())
		}
	}
	s.line("unfinished", fmt.Sprint(q.GetUnfinished()))
	for _, c := range countsOf(q.GetCounts()) {
		number(c.word, c.n)
	}
	return s.w.Flush()
}
