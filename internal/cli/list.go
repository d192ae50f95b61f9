package cli

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// listing is how a kind of thing is listed.
type listing[T proto.Message] struct {
	head []string
	row  func(T) []string
	name func(T) string
}

// print prints what a sequence gives.
func (l *listing[T]) print(a *App, format format, all iter.Seq2[T, error]) error {
	var t *table
	if format == formatTable {
		t = newTable(a.Out, l.head...)
	}
	for one, err := range all {
		switch {
		case err != nil:
			return err
		case t != nil:
			t.row(l.row(one)...)
		case format == formatJSON:
			if err := a.printJSON(one); err != nil {
				return err
			}
		default:
			fmt.Fprintln(a.Out, l.name(one))
		}
	}
	if t != nil {
		return t.end()
	}
	return nil
}

// formatFlag adds -o to a command.
func formatFlag(cmd *cobra.Command, f *format) {
	*f = formatTable
	cmd.Flags().VarP(f, "output", "o", "`format`: table, json or name")
}

// tasksCommand is `tasks`.
func (a *App) tasksCommand() *cobra.Command {
	var filter client.Filter
	var states []string
	var format format
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "List tasks, oldest first",
		Long: "List tasks, oldest first. A state is named as the table does, or as JSON does (TASK_STATE_READY).\n" +
			"Commands are shortened; --full -o json has them whole.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, word := range states {
				s, err := parseState(word)
				if err != nil {
					return err
				}
				filter.States = append(filter.States, s)
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return taskListing(time.Now()).print(a, format, c.List(ctx, filter))
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&filter.Queue, "queue", "q", "", "only of this `queue`")
	f.StringSliceVarP(&states, "state", "s", nil, "only in these `states`: "+strings.Join(stateWords(), ", "))
	f.StringVar(&filter.CallID, "call", "", "only of this `call`")
	f.BoolVar(&filter.Full, "full", false, "with payloads, whole commands and results (with -o json)")
	formatFlag(cmd, &format)
	return cmd
}

// taskListing is how tasks are listed.
func taskListing(now time.Time) *listing[*weftv1.Task] {
	return &listing[*weftv1.Task]{
		head: []string{"TASK", "STATE", "QUEUE", "KIND", "ATTEMPTS", "AGE", "WORKER", "CALL", "COMMAND"},
		row: func(t *weftv1.Task) []string {
			worker := t.GetAttempt().GetWorker()
			if worker == "" {
				worker = t.GetOutcome().GetWorker()
			}
			return []string{
				t.GetId(), stateWord(t.GetState()), orDefault(t.GetSpec().GetQueue()), orCommand(t.GetSpec().GetKind()),
				strconv.Itoa(int(t.GetAttempts())), age(t.GetCreatedAt(), now), worker, t.GetCallId(),
				shorten(quoteArgs(t.GetSpec().GetCommand().GetArgv())),
			}
		},
		name: (*weftv1.Task).GetId,
	}
}

// orDefault is a queue's name.
func orDefault(queue string) string {
	if queue == "" {
		return "default"
	}
	return queue
}

// orCommand is a kind.
func orCommand(kind string) string {
	if kind == "" {
		return "command"
	}
	return kind
}

// taskCommand is `task`.
func (a *App) taskCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "task", Short: "Act on one task", Args: cobra.NoArgs}
	var format format
	show := &cobra.Command{
		Use:   "show TASK",
		Short: "Show a task whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTaskID(args[0]); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				t, err := c.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if format != formatTable {
					return taskListing(time.Now()).print(a, format, one(t))
				}
				return a.showTask(t)
			})
		},
	}
	formatFlag(show, &format)
	cmd.AddCommand(show)
	return cmd
}

// one is a sequence of one.
func one[T any](v T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { yield(v, nil) }
}

// queuesCommand is `queues`.
func (a *App) queuesCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "queues",
		Short: "List queues and their counts",
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
		head: []string{"QUEUE", "SCHEDULED", "READY", "RUNNING", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"},
		row: func(q *weftv1.Queue) []string {
			n := q.GetCounts()
			row := []string{q.GetName()}
			for _, v := range []uint64{
				n.GetScheduled(), n.GetReady(), n.GetRunning(), n.GetCancelling(),
				n.GetSucceeded(), n.GetFailed(), n.GetCancelled(),
			} {
				row = append(row, strconv.FormatUint(v, 10))
			}
			return row
		},
		name: (*weftv1.Queue).GetName,
	}
}

// queueCommand is `queue`.
func (a *App) queueCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "queue", Short: "Act on one queue", Args: cobra.NoArgs}
	cmd.AddCommand(&cobra.Command{
		Use:   "create QUEUE",
		Short: "Create a queue; doing so again changes nothing",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				q, err := c.CreateQueue(ctx, &weftv1.Queue{Name: args[0]})
				if err != nil {
					return err
				}
				fmt.Fprintln(a.Out, q.GetName())
				return nil
			})
		},
	})
	return cmd
}

// workersCommand is `workers`.
func (a *App) workersCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "List the workers that are connected",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return workerListing().print(a, format, c.Workers(ctx))
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// workerListing is how workers are listed.
func workerListing() *listing[*weftv1.Worker] {
	return &listing[*weftv1.Worker]{
		head: []string{"WORKER", "SLOTS", "RUNNING", "QUEUES", "KINDS", "STATE"},
		row: func(w *weftv1.Worker) []string {
			state := "ready"
			if w.GetDraining() {
				state = "draining"
			}
			return []string{
				w.GetName(), strconv.Itoa(int(w.GetSlots())), strconv.Itoa(int(w.GetAttempts())),
				strings.Join(w.GetQueues(), ","), strings.Join(w.GetKinds(), ","), state,
			}
		},
		name: (*weftv1.Worker).GetName,
	}
}
