package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// whyCommand is `why`.
func (a *App) whyCommand() *cobra.Command {
	format := formatTable
	cmd := &cobra.Command{
		Use:   "why TASK",
		Short: "Say why a task does not run, and what to do about it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkTaskID(args[0]); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				e, err := c.Explain(ctx, args[0])
				switch {
				case err != nil:
					return err
				case format == formatJSON:
					return a.printJSON(&weftv1.ExplainTaskResponse{
						State: e.State, Reason: e.Reason, Message: e.Message, Advice: e.Advice,
					})
				case format == formatName:
					fmt.Fprintln(a.Out, e.Reason)
					return nil
				}
				fmt.Fprintln(a.Out, e.Message)
				if e.Advice != "" {
					fmt.Fprintln(a.Out, "Try: "+e.Advice)
				}
				return nil
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// retryCommand is `retry`.
func (a *App) retryCommand() *cobra.Command {
	var queue, kind string
	var dependents bool
	cmd := &cobra.Command{
		Use:   "retry TASK... [--dependents] | --queue QUEUE [--kind KIND]",
		Short: "Try tasks again that failed, were cancelled or expired",
		Long: "Try tasks again that failed, were cancelled or expired: those named, or the failed ones of a queue.\n" +
			"They have all their tries again. Of several named ones all are tried again, or none.\n\n" +
			"A task that was cancelled because one that it is after did not succeed is tried again with that one, by\n" +
			"--queue if it is of the same queue, by --dependents whatever its queue: it runs once that has succeeded.\n" +
			"Alone, by its name, it runs at once.",
		Example: "  " + a.Name + " retry t7 --dependents\n  " + a.Name + " retry --queue orders",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && queue == "":
				return Usage("retry: which tasks? Name them, or the queue whose failed ones are meant: --queue")
			case len(args) > 0 && queue != "":
				return Usage("retry: tasks by their names, or those of a --queue: one of them")
			case dependents && queue != "":
				return Usage("retry: --dependents is for tasks by their names; --queue has those of its queue")
			case kind != "" && queue == "":
				return Usage("retry: --kind needs --queue")
			case len(args) > retryMax:
				return Usage("retry: %d tasks, at most %d are possible", len(args), retryMax)
			}
			for _, arg := range args {
				if err := checkTaskID(arg); err != nil {
					return err
				}
			}
			if err := checkName("--queue", queue); err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) (err error) {
				n := len(args)
				switch {
				case queue != "":
					n, err = c.Queue(queue).RetryFailed(ctx, kind)
				case dependents:
					n, err = c.RetryWithDependents(ctx, args...)
				default:
					err = c.Retry(ctx, args...)
				}
				if err == nil {
					fmt.Fprintln(a.Out, plural(n, "task is", "tasks are")+" tried again")
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&queue, "queue", "q", "", "the failed tasks of this `queue`, and those that were cancelled because of them")
	cmd.Flags().StringVar(&kind, "kind", "", "with --queue: only of this `kind`")
	cmd.Flags().BoolVar(&dependents, "dependents", false, "also those that were cancelled because of these tasks, to run after them")
	return cmd
}

// retryMax is how many tasks one request tries again.
const retryMax = 1000
