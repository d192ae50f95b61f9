package cli

import (
	"cmp"
	"context"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// submitFlags are the flags of submit beside those of every command.
type submitFlags struct {
	commandFlags
	keepFlags
	kind    string
	payload string
	wait    bool
	delay   time.Duration
	format  format
}

// submitCommand is `submit`.
func (a *App) submitCommand() *cobra.Command {
	var flags submitFlags
	cmd := &cobra.Command{
		Use:   "submit [flags] -- COMMAND ARG...",
		Short: "Submit a task and print its name, without waiting for it",
		Long: "Submit a task and print its name, without waiting for it. The task goes on by itself; its outcome\n" +
			"stays for 24 h, a failure for 7 days. With --kind it is a task for a handler in place of a command.\n\n" +
			"The command gets no standard input: unlike run, submit leaves its own alone, so that a script's loop over its\n" +
			"input can submit. What the command is to read goes into its arguments, or into --payload of a --kind.\n\n" +
			"With --wait it waits for the end, as the command wait does: a handler's result is printed, and the exit\n" +
			"code is the command's, as with run. The name goes to standard error then, -o json is of the ended task, and an\n" +
			"interrupt leaves the task.",
		Example: "  " + a.Name + " wait $(" + a.Name + " submit -- sleep 10)\n  " + a.Name + " submit --wait --kind count --payload 'a b'",
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := flags.task(cmd, args)
			if err != nil {
				return err
			}
			if flags.wait && flags.format == formatName {
				return Usage("submit: --wait prints the result; -o name is without it")
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				var joined bool
				taskID, err := c.Enqueue(ctx, spec, client.Joined(&joined))
				if err != nil {
					return err
				}
				if flags.wait {
					a.Say("%s is submitted", taskID)
					return a.waitAll(ctx, c, []string{taskID}, flags.format)
				}
				return a.made(flags.format, taskID, &weftv1.SubmitTaskResponse{TaskId: taskID, Joined: joined})
			})
		},
	}
	flags.commandFlags.add(cmd)
	flags.addWhen(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.kind, "kind", "", "a task of this `kind`, for a worker's handler")
	f.StringVar(&flags.payload, "payload", "", "the handler's input, `text`")
	f.BoolVar(&flags.wait, "wait", false, "wait for the end: its result is printed, its exit code becomes this one's")
	f.DurationVar(&flags.delay, "delay", 0, "not before so much time has passed")
	flags.keepFlags.add(cmd, "the queue's, else 24h")
	formatFlag(cmd, &flags.format)
	return cmd
}

// task is the task to submit.
func (f *submitFlags) task(cmd *cobra.Command, args []string) (client.Spec, error) {
	spec, err := f.spec()
	if err != nil {
		return spec, err
	}
	if err := f.keepFlags.check(); err != nil {
		return spec, err
	}
	f.keep(&spec)
	switch {
	case f.delay < 0:
		return spec, Usage("--delay %v: 0s or more is possible", f.delay)
	case f.delay > 0 && f.at != "":
		return spec, Usage("--delay and --at: one of them")
	case f.delay > 0:
		spec.RunAt = time.Now().Add(f.delay)
		if err := checkDeadline(&spec, f.deadline, "--delay"); err != nil {
			return spec, err
		}
	}
	switch {
	case f.kind == "" && f.payload == "":
		spec.Command = withArgs(spec.Command, args, nil)
		return spec, cmp.Or(commandArgs(cmd, args), checkArgs(args), checkSize(spec.Command))
	case f.kind == "":
		return spec, Usage("submit: --payload needs --kind")
	case len(args) > 0:
		return spec, Usage("submit: --kind takes no command")
	}
	if err := cmp.Or(checkText("--payload", f.payload), checkName("--kind", f.kind)); err != nil {
		return spec, err
	}
	spec.Kind, spec.Command, spec.Payload = f.kind, nil, task.Text(f.payload)
	return spec, nil
}

// taskID is what the broker's names for tasks look like.
var taskID = regexp.MustCompile(`^t[0-9a-z]{1,13}$`)

// checkTaskID refuses what cannot be a task's name.
func checkTaskID(name string) error {
	if taskID.MatchString(name) {
		return nil
	}
	return Usage("%q is not the name of a task, which is a t and what follows it, as submit prints it "+
		"(the tasks of a call are listed by: weft tasks --call CALL -o name)", shorten(name))
}

// withClient connects, runs fn and closes; an interrupt ends fn's context.
func (a *App) withClient(cmd *cobra.Command, fn func(context.Context, *client.Client) error) error {
	ctx, cancel := a.Interruptible(cmd.Context())
	defer cancel()
	c, err := a.Dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return fn(ctx, c)
}
