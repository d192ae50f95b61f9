package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// cancelCommand is `cancel`.
func (a *App) cancelCommand() *cobra.Command {
	var grace time.Duration
	var now bool
	cmd := &cobra.Command{
		Use:   "cancel TASK|CALL...",
		Short: "Cancel tasks, or all tasks of a call",
		Long: "Cancel tasks, or all tasks of a call by its name (map --name), which takes no more then. One that waits ends at\n" +
			"once. One that runs is asked to stop (SIGTERM to a command and its children), and killed after the grace; if it\n" +
			"succeeds meanwhile, it has succeeded. Again with a shorter grace, or --now, hurries it. One that has ended stays\n" +
			"as it is. Of several names those that are known are cancelled, also if others are not.",
		Example: "  " + a.Name + " cancel t7 nightly\n  " + a.Name + " tasks -q orders -s ready,running -o name | xargs " + a.Name + " cancel --grace 30s",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if grace < 0 || grace > graceMax {
				return Usage("--grace %v: 0s to %v are possible", grace, graceMax)
			}
			if now || grace == 0 && cmd.Flags().Changed("grace") {
				grace = client.KillNow
			}
			for _, name := range args {
				if err := checkTaskOrCall(name); err != nil {
					return err
				}
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				var failed error // the last one, which ends the command; those before it are told here
				for _, name := range args {
					err := a.cancelOne(ctx, c, name, grace)
					switch {
					case err == nil:
						continue
					case failed != nil:
						a.Say("%s", a.words(failed))
					}
					failed = fmt.Errorf("%s: %w", name, err)
				}
				return failed
			})
		},
	}
	cmd.Flags().DurationVar(&grace, "grace", 0, "how long between asking and killing, 0s to 1h (default the task's own)")
	cmd.Flags().BoolVar(&now, "now", false, "kill at once, as --grace 0s")
	cmd.MarkFlagsMutuallyExclusive("grace", "now")
	return cmd
}

// cancelOne cancels a task, or a call of that name if there is no such task.
func (a *App) cancelOne(ctx context.Context, c *client.Client, name string, grace time.Duration) error {
	if taskID.MatchString(name) {
		state, err := c.CancelTask(ctx, name, grace)
		if err == nil {
			fmt.Fprintf(a.Out, "%s is %s\n", name, stateWord(state))
			return nil
		}
		if !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND) {
			return err
		}
	}
	tasks, err := c.CancelCall(ctx, name, grace)
	if client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND) {
		return errors.New("there is no such task and no such call")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "%s: %s cancelled\n", name, plural(tasks, "task", "tasks"))
	return nil
}
