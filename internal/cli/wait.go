package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// waitCommand is `wait`.
func (a *App) waitCommand() *cobra.Command {
	var timeout time.Duration
	var format format
	cmd := &cobra.Command{
		Use:   "wait TASK|CALL...",
		Short: "Wait for tasks, or whole calls, to end; the exit code is the last one's",
		Long: "Wait for tasks to end, or for all tasks of a call by its name (map --name): until nothing of it is unfinished\n" +
			"and nothing more can come, as its client has ended it or is gone.\n\n" +
			"The exit code is that of the last one: a task's as with run; of a call how many of its tasks failed, were\n" +
			"cancelled or expired, at most 101, as with map. A task that the broker had forgotten before, as its outcome was\n" +
			"acknowledged, does not count. A handler's result is printed, a command's\n" +
			"output is shown by: watch. With -o json the tasks are printed, and of a call the counts by state.",
		Example: "  " + a.Name + " wait --timeout 1h nightly",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				if err := checkTaskOrCall(arg); err != nil {
					return err
				}
			}
			if timeout < 0 {
				return Usage("--timeout %v: 0s or more is possible", timeout)
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeoutCause(ctx, timeout, &ExitError{Code: ExitTimeout})
					defer cancel()
				}
				return a.waitAll(ctx, c, args, format)
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "wait so long at most (exit code 124); the tasks go on")
	formatFlag(cmd, &format)
	return cmd
}

// waitAll waits for one task or call after the other: the last to end ends the wait at any rate.
func (a *App) waitAll(ctx context.Context, c *client.Client, names []string, format format) error {
	var last error
	for _, name := range names {
		t, err := a.await(ctx, c, name)
		if noSuchTask(name, err) {
			e, err := a.waitCall(ctx, c, name, err)
			if err != nil {
				return err
			}
			if format == formatJSON {
				if err := a.printJSON(&weftv1.WatchCallResponse{Counts: e.Counts, Over: e.Over}); err != nil {
					return err
				}
			}
			if format == formatName {
				fmt.Fprintln(a.Out, name)
			}
			last = a.callEnd(name, e)
			continue
		}
		if t == nil {
			return err
		}
		last = err
		switch {
		case format == formatJSON:
			if err := a.printJSON(t); err != nil {
				return err
			}
		case format == formatName:
			fmt.Fprintln(a.Out, name)
		case t.GetOutcome().GetPayload() != nil:
			p, err := task.PayloadFromProto(t.GetOutcome().GetPayload())
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Out, p.String())
		}
	}
	return last
}

// await waits for a task; with the task comes the end that its outcome stands for.
func (a *App) await(ctx context.Context, c *client.Client, name string) (*weftv1.Task, error) {
	if !taskID.MatchString(name) {
		return nil, errNoTask
	}
	stop := a.noteWaiting(ctx, a.taskObstacle(c, name), a.Say)
	t, err := c.WaitTask(ctx, name)
	stop()
	if err != nil {
		return nil, err
	}
	outcome, err := client.OutcomeFromProto(t.GetOutcome())
	if err != nil {
		return nil, err
	}
	return t, a.end(outcome)
}
