package cli

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// noteBytesMax bounds what an attempt says for people.
const noteBytesMax = 1024

// interruptCommand is `interrupt`.
func (a *App) interruptCommand() *cobra.Command {
	var taskID, token string
	cmd := &cobra.Command{
		Use:   "interrupt [MESSAGE]",
		Short: "Interrupt whoever submitted the task, from within its command",
		Long: "Interrupt whoever submitted the task, as Python's interrupt_main does: to be called by a command that a\n" +
			"worker runs. Then the run or the map that it belongs to cancels what has not ended, says the message, of at\n" +
			"most 1024 bytes, and ends with exit code 130; in a program of the Go SDK the context of NotifyContext ends.\n\n" +
			"The task is the one that the command runs for: a worker puts its name and its token into " + task.EnvTaskID + "\n" +
			"and " + task.EnvToken + ", and where the broker is into " + client.EnvBroker + " and " + client.EnvNamespace + ". For a task that queue get\n" +
			"holds they are flags.",
		Example: "  " + a.Name + " map -- sh -c 'grep -q needle \"$1\" && " + a.Name + " interrupt \"found in $1\"' sh ::: *.log",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			taskID = cmp.Or(taskID, os.Getenv(task.EnvTaskID))
			token = cmp.Or(token, os.Getenv(task.EnvToken))
			if taskID == "" || token == "" {
				return Usage("interrupt: whose submitter? This is not a command that a worker runs: name the task with --task and --token")
			}
			message := ""
			if len(args) > 0 {
				message = args[0]
			}
			if err := checkNote("MESSAGE", message); err != nil {
				return err
			}
			return a.withHeld(cmd, []string{taskID, token}, "", func(ctx context.Context, h *client.Held) error {
				return h.Interrupt(ctx, message)
			})
		},
	}
	cmd.Flags().StringVar(&taskID, "task", "", "the `task` (default $"+task.EnvTaskID+")")
	cmd.Flags().StringVar(&token, "token", "", "its `token` (default $"+task.EnvToken+")")
	return cmd
}

// checkNote refuses what an attempt cannot say for people.
func checkNote(what, text string) error {
	if len(text) > noteBytesMax {
		return Usage("%s: %d bytes, at most %d are possible", what, len(text), noteBytesMax)
	}
	return checkText(what, text)
}

// checkToken reads an attempt's token.
func checkToken(text string) (uint64, error) {
	token, err := strconv.ParseUint(text, 10, 64)
	if err != nil || token == 0 {
		return 0, Usage("%q is not a token, which is a number, as queue get prints it", shorten(text))
	}
	return token, nil
}

// interruptText is what is said when a task interrupts this program; false for any other error.
func interruptText(err error) (string, bool) {
	i, ok := errors.AsType[*client.Interrupt](err)
	if !ok {
		return "", false
	}
	text := "interrupted by task " + i.TaskID
	if i.Message != "" {
		text += ": " + i.Message
	}
	return text, true
}

// left is the end of a command whose tasks are left by the last interrupt.
func left(s os.Signal) error {
	if s == syscall.SIGTERM {
		return exit(ExitSignal + int(syscall.SIGTERM))
	}
	return errInterrupted
}
