package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// queuesCommand is `queues`.
func (a *App) queuesCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "queues",
		Short: "List queues, what waits in them and what runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return queueListing().print(a, format, c.Queues(ctx))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// queueListing is how queues are listed.
func queueListing() *listing[*weftv1.Queue] {
	return &listing[*weftv1.Queue]{
		head: []string{"QUEUE", "ORDER", "STATE", "WAITS", "RUNS", "FAILED", "LIMITS"},
		row: func(q *weftv1.Queue) []string {
			n := q.GetCounts()
			return []string{
				q.GetName(), orderWord(q.GetOrder()), queueState(q), strconv.FormatUint(queueSize(q), 10),
				strconv.FormatUint(n.GetRunning()+n.GetCancelling(), 10), strconv.FormatUint(n.GetFailed(), 10), queueLimits(q),
			}
		},
		name: (*weftv1.Queue).GetName,
	}
}

// queueSize is how many tasks wait.
func queueSize(q *weftv1.Queue) uint64 {
	n := q.GetCounts()
	return n.GetScheduled() + n.GetBlocked() + n.GetReady()
}

// queueState is whether a queue takes and gives tasks.
func queueState(q *weftv1.Queue) string {
	var words []string
	if q.GetPaused() {
		words = append(words, "paused")
	}
	if q.GetClosed() {
		words = append(words, "closed")
	}
	if len(words) == 0 {
		return "open"
	}
	return strings.Join(words, ",")
}

// queueLimits are a queue's limits in one line.
func queueLimits(q *weftv1.Queue) string {
	var words []string
	add := func(format string, n uint64) {
		if n > 0 {
			words = append(words, fmt.Sprintf(format, n))
		}
	}
	add("size %d", q.GetMaxSize())
	add("running %d", uint64(q.GetMaxRunning()))
	add("running per key %d", uint64(q.GetMaxRunningPerKey()))
	if r := q.GetRateLimit(); r != nil {
		words = append(words, rateText(r))
	}
	return strings.Join(words, ", ")
}

func rateText(r *weftv1.RateLimit) string {
	return fmt.Sprintf("%g/s, burst %d", r.GetPerSecond(), r.GetBurst())
}

// queueCommand is `queue`.
func (a *App) queueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Act on one queue: put, get, join, settings", Args: cobra.NoArgs}
	cmd.AddCommand(
		a.queueCreateCommand(), a.queueShowCommand(), a.queueUpdateCommand(), a.queuePutCommand(), a.queueGetCommand(),
		a.queuePeekCommand(), a.queueJoinCommand(), a.queuePurgeCommand(), a.queueCloseCommand(), a.queueDeleteCommand(),
	)
	for _, s := range []struct {
		use, short, done string
		do               func(*client.Queue, context.Context) error
	}{
		{"pause", "Stop handing out tasks; those that run go on", "paused", (*client.Queue).Pause},
		{"resume", "Undo pause", "resumed", (*client.Queue).Resume},
		{"reopen", "Undo close", "open", (*client.Queue).Reopen},
	} {
		var format format
		turn := &cobra.Command{
			Use: s.use + " QUEUE", Short: s.short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return a.turnQueue(cmd, args[0], format, s.done, s.do) },
		}
		formatFlag(turn, &format)
		cmd.AddCommand(turn)
	}
	return cmd
}

// withQueue acts on a queue of the command line.
func (a *App) withQueue(cmd *cobra.Command, name string, fn func(context.Context, *client.Queue) error) error {
	return a.withQueueOf(cmd, name, func(ctx context.Context, _ *client.Client, q *client.Queue) error { return fn(ctx, q) })
}

// withQueueOf is that, with the client.
func (a *App) withQueueOf(cmd *cobra.Command, name string, fn func(context.Context, *client.Client, *client.Queue) error) error {
	if !plainName(name) {
		return Usage("queue %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(name))
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error { return fn(ctx, c, c.Queue(name)) })
}

// turnQueue acts on a queue and says what it is then.
func (a *App) turnQueue(cmd *cobra.Command, name string, format format, done string, do func(*client.Queue, context.Context) error) error {
	return a.withQueue(cmd, name, func(ctx context.Context, q *client.Queue) error {
		if err := do(q, ctx); err != nil {
			return err
		}
		return a.tellQueue(ctx, q, format, name+" is "+done)
	})
}

func (a *App) queueCloseCommand() *cobra.Command {
	var immediate bool
	var format format
	cmd := &cobra.Command{
		Use:   "close QUEUE",
		Short: "Take no more tasks, and hand out those that wait",
		Long: "Take no more tasks, and hand out those that wait: Python's shutdown. When none waits and none is held any\n" +
			"more, queue get ends with exit code 3, also where it waits. With --immediate the tasks that wait are\n" +
			"cancelled, and queue get does not wait for those that are held.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			do := (*client.Queue).Close
			if immediate {
				do = (*client.Queue).CloseNow
			}
			return a.turnQueue(cmd, args[0], format, "closed", do)
		},
	}
	cmd.Flags().BoolVar(&immediate, "immediate", false, "cancel the tasks that wait")
	formatFlag(cmd, &format)
	return cmd
}

func (a *App) queueDeleteCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "delete QUEUE",
		Short: "Remove a queue and its ended tasks",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.turnQueue(cmd, args[0], formatTable, "deleted", func(q *client.Queue, ctx context.Context) error { return q.Delete(ctx, force) })
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also with tasks that have not ended, which are cancelled")
	return cmd
}

func (a *App) queuePurgeCommand() *cobra.Command {
	var words []string
	cmd := &cobra.Command{
		Use:   "purge QUEUE",
		Short: "Cancel the tasks that wait, or forget ended ones",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var states []weftv1.TaskState
			for _, word := range words {
				s, err := parseState(word)
				if err != nil {
					return err
				}
				if s == weftv1.TaskState_TASK_STATE_RUNNING || s == weftv1.TaskState_TASK_STATE_CANCELLING {
					return Usage("--state %s: what runs is not purged; see: %s cancel", word, a.Name)
				}
				states = append(states, s)
			}
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				n, err := q.Purge(ctx, states...)
				if err == nil {
					fmt.Fprintln(a.Out, plural(n, "task", "tasks")+" purged")
				}
				return err
			})
		},
	}
	cmd.Flags().StringSliceVarP(&words, "state", "s", nil, "in these `states` (default scheduled,blocked,ready)")
	return cmd
}

func (a *App) queueJoinCommand() *cobra.Command {
	var wait waitFlag
	cmd := &cobra.Command{
		Use:   "join QUEUE",
		Short: "Wait until every task of a queue has ended",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wait.check(); err != nil {
				return err
			}
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				ctx, cancel := wait.context(ctx)
				defer cancel()
				return q.Join(ctx)
			})
		},
	}
	wait.add(cmd, "wait so long at most (exit code 124)")
	return cmd
}

func (a *App) queuePeekCommand() *cobra.Command {
	var count int
	var format format
	cmd := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Show the next tasks without taking them",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			const most = 100
			if count < 1 || count > most {
				return Usage("--count %d: 1 to %d are possible", count, most)
			}
			return a.withQueue(cmd, args[0], func(ctx context.Context, q *client.Queue) error {
				tasks, err := q.Peek(ctx, count)
				if err != nil {
					return err
				}
				return peekListing(time.Now()).print(a, format, func(yield func(*weftv1.Task, error) bool) {
					for _, t := range tasks {
						if !yield(t, nil) {
							return
						}
					}
				})
			})
		},
	}
	cmd.Flags().IntVarP(&count, "count", "c", 10, "at most `N` tasks")
	formatFlag(cmd, &format)
	return cmd
}

// peekListing is how waiting tasks are listed.
func peekListing(now time.Time) *listing[*weftv1.Task] {
	return &listing[*weftv1.Task]{
		head: []string{"TASK", "KIND", "PRIORITY", "KEY", "AGE", "PAYLOAD"},
		row: func(t *weftv1.Task) []string {
			s := t.GetSpec()
			return []string{
				t.GetId(), orCommand(s.GetKind()), strconv.Itoa(int(s.GetPriority())), shorten(s.GetFairnessKey()),
				age(t.GetCreatedAt(), now), shorten(workText(s)),
			}
		},
		name: (*weftv1.Task).GetId,
	}
}

// waitFlag is --wait: without it there is no bound.
type waitFlag struct {
	d   time.Duration
	set func() bool
}

func (w *waitFlag) add(cmd *cobra.Command, usage string) {
	cmd.Flags().DurationVar(&w.d, "wait", 0, usage)
	w.set = func() bool { return cmd.Flags().Changed("wait") }
}

func (w *waitFlag) check() error {
	if w.d < 0 {
		return Usage("--wait %v: 0s or more is possible", w.d)
	}
	return nil
}

// bound is the flag as an option.
func (w *waitFlag) bound() (client.Bound, bool) { return client.Within(w.d), w.set() }

// context ends when the time is over.
func (w *waitFlag) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if !w.set() {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, w.d, &ExitError{Code: ExitTimeout})
}
