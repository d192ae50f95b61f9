package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// taskCommand is `task`.
func (a *App) taskCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "task", Short: "Act on one task", Args: cobra.NoArgs}
	cmd.AddCommand(a.taskShowCommand(), a.taskDoneCommand(), a.taskFailCommand(), a.taskReleaseCommand(), a.taskRenewCommand(),
		a.taskProgressCommand(), a.taskCheckpointCommand())
	return cmd
}

func (a *App) taskShowCommand() *cobra.Command {
	var format format
	show := &cobra.Command{
		Use:   "show TASK",
		Short: "Show a task whole, with its attempts",
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
	return show
}

// withHeld acts on a task that somebody got with a lease: args are its name and token.
func (a *App) withHeld(cmd *cobra.Command, args []string, what string, fn func(context.Context, *client.Held) error) error {
	if err := checkTaskID(args[0]); err != nil {
		return err
	}
	token, err := checkToken(args[1])
	if err != nil {
		return err
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		if err := fn(ctx, c.Held(args[0], token)); err != nil {
			return err
		}
		if what != "" {
			fmt.Fprintf(a.Out, "%s is %s\n", args[0], what)
		}
		return nil
	})
}

func (a *App) taskDoneCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "done TASK TOKEN [RESULT]",
		Short:   "Complete a task that queue get holds by a lease",
		Example: "  " + a.Name + " task done t7 9 'all well'",
		Args:    cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			var result task.Payload
			if len(args) == 3 {
				if err := checkText("RESULT", args[2]); err != nil {
					return err
				}
				result = task.Text(args[2])
			}
			return a.withHeld(cmd, args, "done", func(ctx context.Context, h *client.Held) error {
				return h.Complete(ctx, result)
			})
		},
	}
}

func (a *App) taskFailCommand() *cobra.Command {
	var reason string
	var permanent bool
	cmd := &cobra.Command{
		Use:   "fail TASK TOKEN [MESSAGE]",
		Short: "Fail a task that queue get holds by a lease; its retries say what follows",
		Args:  cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			e := &task.Error{Reason: reason, Permanent: permanent}
			if len(args) == 3 {
				e.Message = args[2]
			}
			if reason == "" || len(reason) > keyBytesMax {
				return Usage("--reason: 1 to %d bytes are possible", keyBytesMax)
			}
			if err := checkText("--reason", reason); err != nil {
				return err
			}
			return a.withHeld(cmd, args, "failed", func(ctx context.Context, h *client.Held) error {
				return h.Fail(ctx, e)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", task.ReasonError, "a `word` for programs")
	cmd.Flags().BoolVar(&permanent, "permanent", false, "trying again will not help")
	return cmd
}

func (a *App) taskReleaseCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "release TASK TOKEN",
		Short: "Give a task back that queue get holds by a lease",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withHeld(cmd, args, "released", func(ctx context.Context, h *client.Held) error { return h.Release(ctx) })
		},
	}
}

func (a *App) taskRenewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "renew TASK TOKEN",
		Short: "Prolong the lease of a task that queue get holds",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withHeld(cmd, args, "", func(ctx context.Context, h *client.Held) error {
				lease, err := h.Renew(ctx)
				if err == nil {
					fmt.Fprintf(a.Out, "%s is held for %v\n", h.TaskID(), lease)
				}
				return err
			})
		},
	}
}
