package cli

import (
	"cmp"
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

// made prints what a command has made: its name, or what the API says of it.
func (a *App) made(format format, name string, whole proto.Message) error {
	if format == formatJSON {
		return a.printJSON(whole)
	}
	_, err := fmt.Fprintln(a.Out, name)
	return err
}

// tasksCommand is `tasks`.
func (a *App) tasksCommand() *cobra.Command {
	var filter client.Filter
	var states, labels []string
	var since, until string
	var format format
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "List tasks, oldest first",
		Long: "List tasks, oldest first. A state is named as the table does, or as JSON does (TASK_STATE_READY).\n" +
			"Commands are shortened; --full -o json has them whole. The dead letters are: --state failed",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, word := range states {
				s, err := parseState(word)
				if err != nil {
					return err
				}
				filter.States = append(filter.States, s)
			}
			var err error
			if filter.Labels, err = parsePairs("--label", labels); err != nil {
				return err
			}
			now := time.Now()
			if since != "" {
				if filter.Since, err = parseMoment("--since", since, now, -1); err != nil {
					return err
				}
			}
			if until != "" {
				if filter.Until, err = parseMoment("--until", until, now, -1); err != nil {
					return err
				}
			}
			if err := cmp.Or(checkName("--queue", filter.Queue), checkName("--kind", filter.Kind), checkName("--call", filter.CallID)); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if filter.Queue != "" { // else a slip of the pen is an empty list
					if _, err := c.Queue(filter.Queue).Info(ctx); err != nil {
						return err
					}
				}
				return taskListing(time.Now()).print(a, format, c.List(ctx, filter))
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&filter.Queue, "queue", "q", "", "only of this `queue`")
	f.StringSliceVarP(&states, "state", "s", nil, "only in these `states`: "+strings.Join(stateWords(), ", "))
	f.StringVar(&filter.Kind, "kind", "", "only of this `kind`")
	f.StringArrayVarP(&labels, "label", "l", nil, "only with this `NAME=VALUE`")
	f.StringVar(&since, "since", "", "only those submitted since this `time`: 2006-01-02T15:04:05Z07:00, or so long ago, such as 2h")
	f.StringVar(&until, "until", "", "only those submitted before this `time`")
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

// one is a sequence of one.
func one[T any](v T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) { yield(v, nil) }
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
