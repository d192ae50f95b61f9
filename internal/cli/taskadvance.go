package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// heldNote says whose tasks the commands are for that name one by its token.
const heldNote = "The task is one that queue get holds by a lease, or that of a command which a worker runs: there its name and its\n" +
	"token are in $" + task.EnvTaskID + " and $" + task.EnvToken + "."

// taskProgressCommand is `task progress`.
func (a *App) taskProgressCommand() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "progress TASK TOKEN DONE [TOTAL]",
		Short: "Say how far a task that is held has come, for those who watch it",
		Long: "Say how far a task that is held has come, in units of its own: watch and task show have it. Without a total it\n" +
			"is unknown. It is not kept over a restart of the broker.\n\n" + heldNote,
		Example: "  " + a.Name + " task progress t7 9 3 10 --message 'resizing'",
		Args:    cobra.RangeArgs(3, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := client.Progress{Text: message}
			for i, n := range []*int64{&p.Done, &p.Total} {
				if i+2 >= len(args) {
					break
				}
				v, err := strconv.ParseInt(args[i+2], 10, 64)
				if err != nil || v < 0 {
					return Usage("%s %s: not a whole number from 0 on", []string{"DONE", "TOTAL"}[i], shorten(args[i+2]))
				}
				*n = v
			}
			if err := checkNote("--message", message); err != nil {
				return err
			}
			return a.withHeld(cmd, args, "", func(ctx context.Context, h *client.Held) error { return h.Progress(ctx, p) })
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "a `text` that says what it is at, of at most 1024 bytes")
	return cmd
}

// taskCheckpointCommand is `task checkpoint`.
func (a *App) taskCheckpointCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "checkpoint TASK [TOKEN DATA|-]",
		Short: "Leave a checkpoint for the next attempt of a task that is held, or print the last one",
		Long: "Leave a checkpoint of at most 512 KiB, which the next attempt of the task goes on from: the last one counts. With\n" +
			"- it is what comes in on standard input. With the name of a task alone the last one is printed as it is, and\n" +
			"nothing if there is none. It goes with the task's success.\n\n" + heldNote,
		Example: "  " + a.Name + " task checkpoint t7 9 page-12\n" +
			"  page=$(" + a.Name + " task checkpoint \"$" + task.EnvTaskID + "\")",
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch len(args) {
			case 1:
				return a.printCheckpoint(cmd, args[0])
			case 2:
				return Usage("task checkpoint: a TOKEN and DATA, or neither")
			}
			data := []byte(args[2])
			if args[2] == "-" {
				var err error
				if data, err = readStdin(a.In); err != nil {
					return err
				}
			}
			if len(data) > task.PayloadBytesMax {
				return Usage("DATA: %d bytes, at most %d are possible", len(data), task.PayloadBytesMax)
			}
			state := task.Text(string(data)) // what is no text travels as bytes
			return a.withHeld(cmd, args, "", func(ctx context.Context, h *client.Held) error { return h.Save(ctx, state) })
		},
	}
}

// printCheckpoint prints the last checkpoint of a task.
func (a *App) printCheckpoint(cmd *cobra.Command, name string) error {
	if err := checkTaskID(name); err != nil {
		return err
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		t, err := c.Get(ctx, name)
		if err != nil {
			return err
		}
		p, err := task.PayloadFromProto(t.GetCheckpoint().GetState())
		if err != nil {
			return err
		}
		if _, err := a.Out.Write(p.Bytes()); err != nil {
			return fmt.Errorf("write the checkpoint: %w", err)
		}
		return nil
	})
}
