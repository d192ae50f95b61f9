package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// watchCommand is `watch`.
func (a *App) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch TASK|CALL",
		Short: "Follow a task: its states, progress, output, exit code; or all tasks of a call",
		Long: "Follow a task: its states and its progress on standard error, its output and its partial results, one a line,\n" +
			"on standard output. The exit code is the task's, as with run.\n\n" +
			"Or follow all tasks of a call by its name (map --name): how many there are in each state, and a line for each\n" +
			"change of a task, until nothing of it is unfinished and nothing more can come, as its client has ended it or is\n" +
			"gone. Changes that follow each other quickly may be one line. The exit code is how many of its tasks failed,\n" +
			"were cancelled or expired, at most 101, as with map.",
		Example: "  " + a.Name + " watch nightly",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTaskOrCall(args[0]); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				err := errNoTask
				if taskID.MatchString(args[0]) {
					err = a.watch(ctx, c, args[0])
				}
				if noSuchTask(args[0], err) {
					return a.watchCall(ctx, c, args[0], err)
				}
				return err
			})
		},
	}
}

// watch follows a task. Output that the worker no longer has is taken from the outcome as far as it is
// there, and its lack is said.
func (a *App) watch(ctx context.Context, c *client.Client, taskID string) error {
	out := newOutput(a.Out, a.Err)
	said := ""
	told := func(e client.Event) error {
		if e.Partial != nil {
			return a.printPartial(e.Partial)
		}
		if text := taskText(e.Task); text != said {
			said = text
			a.Say("%s", text)
		}
		return nil
	}
	stop := a.noteWaiting(ctx, a.taskObstacle(c, taskID), a.Say)
	defer stop()
	err := out.follow(ctx, c, taskID, told)
	if err != nil && !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE) {
		return err
	}
	t, err := c.WaitTask(ctx, taskID)
	if err != nil {
		return err
	}
	if err := told(client.Event{Task: t}); err != nil {
		return err
	}
	outcome, err := client.OutcomeFromProto(t.GetOutcome())
	if err != nil {
		return err
	}
	if r := outcome.Command; r != nil {
		if err := out.captured(outcome.Token, r); err != nil {
			return err
		}
		if !out.complete(outcome.Token, r) {
			a.Say("%v", errOutputLost)
		}
	}
	return a.end(outcome)
}

// printPartial prints a partial result.
func (a *App) printPartial(m *weftv1.Payload) error {
	p, err := task.PayloadFromProto(m)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, p.String()); err != nil {
		return fmt.Errorf("write a partial result: %w", err)
	}
	return nil
}

// taskText is where a task is, in a line.
func taskText(t *weftv1.Task) string {
	text := t.GetId()
	if input := t.GetSpec().GetLabels()[inputLabel]; input != "" {
		text += " (" + shorten(input) + ")"
	}
	text += " is " + stateWord(t.GetState())
	if w := t.GetAttempt().GetWorker(); w != "" {
		text += " on " + w
	}
	if p := t.GetProgress(); p != nil && t.GetAttempt() != nil {
		text += ": " + progressText(p)
	}
	return text
}

// progressText is how far a task has come, in a line: 3/10 what it is at.
func progressText(p *weftv1.Progress) string {
	text := strconv.FormatInt(p.GetDone(), 10)
	if p.GetTotal() != 0 {
		text += "/" + strconv.FormatInt(p.GetTotal(), 10)
	}
	if p.GetMessage() != "" {
		text += " " + shorten(p.GetMessage())
	}
	return text
}
