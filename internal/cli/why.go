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
	cmd := &cobra.Command{
		Use:   "retry TASK... | --queue QUEUE [--kind KIND]",
		Short: "Try tasks again that failed, were cancelled or expired",
		Long: "Try tasks again that failed, were cancelled or expired: those named, or the failed ones of a queue.\n" +
			"They have all their tries again. Of several named ones all are tried again, or none.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && queue == "":
				return Usage("retry: which tasks? Name them, or the queue whose failed ones are meant: --queue")
			case len(args) > 0 && queue != "":
				return Usage("retry: tasks by their names, or those of a --queue: one of them")
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
				if queue != "" {
					n, err = c.Queue(queue).RetryFailed(ctx, kind)
				} else {
					err = c.Retry(ctx, args...)
				}
				if err == nil {
					fmt.Fprintf(a.Out, "%d tasks are tried again\n", n)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&queue, "queue", "q", "", "the failed tasks of this `queue`")
	cmd.Flags().StringVar(&kind, "kind", "", "with --queue: only of this `kind`")
	return cmd
}

// retryMax is how many tasks one request tries again.
const retryMax = 1000
