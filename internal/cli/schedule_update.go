package cli

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// scheduleFields are the fields of the API that flags set.
var scheduleFields = map[string]string{
	"cron": "cron", "zone": "time_zone", "catch-up": "catch_up", "catch-up-window": "catch_up_window", "overlap": "overlap",
	"queue": "task.queue", "timeout": "task.timeout", "grace": "task.grace", "label": "task.labels", "retention": "task.retention",
	"failed-retention": "task.failed_retention",
	"priority":         "task.priority", "unique": "task.unique_key", "key": "task.fairness_key", "worker-label": "task.worker_labels",
	"exclusive": "task.exclusive", "payload": "task.payload",
	"retries": fieldRetry, "backoff": fieldRetry, "backoff-max": fieldRetry, "multiplier": fieldRetry, "jitter": fieldRetry,
	"dir": fieldCommand, "env": fieldCommand, "shell": fieldCommand, "kind": fieldKind,
}

// Fields that several flags make up, or that go together.
const (
	fieldRetry   = "task.retry"
	fieldCommand = "task.command"
	fieldKind    = "task.kind"
)

// scheduleUpdateCommand is `schedule update`.
func (a *App) scheduleUpdateCommand() *cobra.Command {
	var flags scheduleFlags
	var format format
	cmd := &cobra.Command{
		Use:   "update SCHEDULE [flags] [-- COMMAND ARG...]",
		Short: "Change what is given, and nothing else",
		Long: "Change what is given, and nothing else. Labels and the environment are replaced whole. A command takes\n" +
			"the place of the one before, or of a handler's kind and payload; --kind that of a command.",
		Example: "  " + a.Name + " schedule update backup --queue nightly\n  " + a.Name + " schedule update backup -- backup.sh /home",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, argv, err := flags.schedule(cmd, args)
			if err != nil {
				return err
			}
			fields, err := flags.changed(cmd, argv)
			if err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				now, err := c.Schedule(ctx, s.Name)
				if err != nil {
					return err
				}
				if s.Task, err = flags.change(fields, argv, now.GetTask()); err != nil {
					return err
				}
				updated, err := c.UpdateSchedule(ctx, s, fields...)
				if err != nil {
					return err
				}
				a.warnNobody(ctx, c, updated)
				return a.tellSchedule(updated, format, updated.GetName())
			})
		},
	}
	flags.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

// changed are the fields that a command line sets.
func (f *scheduleFlags) changed(cmd *cobra.Command, argv []string) (fields []string, err error) {
	add := func(field string) {
		if !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if field := scheduleFields[flag.Name]; field != "" {
			add(field)
		}
	})
	if f.catchUp == "skip" {
		add("catch_up_window") // which this policy does not have
	}
	switch {
	case len(argv) > 0 && f.kind != "":
		return nil, Usage("%s: --kind takes no command", cmd.CommandPath())
	case len(argv) > 0:
		add(fieldKind)
	}
	if slices.Contains(fields, fieldKind) || len(argv) > 0 {
		add(fieldCommand) // the new one, or none
	}
	if len(fields) == 0 {
		return nil, Usage("%s: nothing to change", cmd.CommandPath())
	}
	_, err = f.specFrom(client.Retry{Attempts: 2}) // what cannot be in any case
	return fields, cmp.Or(err, f.checkWork(), checkArgs(argv))
}

// change is the task that has what is given; what belongs together takes the rest from what there is.
func (f *scheduleFlags) change(fields, argv []string, now *weftv1.TaskSpec) (client.Spec, error) {
	retry := client.Retry{Attempts: 2} // when it is not asked for
	if slices.Contains(fields, fieldRetry) {
		retry = retryOf(now.GetRetry())
	}
	spec, err := f.specFrom(retry)
	if err != nil {
		return spec, err
	}
	f.keep(&spec)
	if f.kind != "" {
		spec.Kind = f.kind
	}
	if f.given("payload") && f.kind == "" && (now.GetCommand() != nil || len(argv) > 0) {
		return spec, Usage("--payload needs --kind: the schedule runs a command")
	}
	if f.kind != "" || !slices.Contains(fields, fieldCommand) {
		spec.Command, spec.Payload = nil, task.Text(f.payload)
		return spec, nil
	}
	if now.GetCommand() == nil && len(argv) == 0 {
		return spec, Usage("--dir, --env and --shell are about a command, and the schedule has tasks of kind %s", now.GetKind())
	}
	spec.Command = f.changeCommand(now.GetCommand(), spec.Command, argv)
	return spec, checkSize(spec.Command)
}

// changeCommand is a command with what is given.
func (f *scheduleFlags) changeCommand(now, given *weftv1.Command, argv []string) *weftv1.Command {
	c := &weftv1.Command{}
	if now != nil {
		c = proto.CloneOf(now)
	}
	if len(argv) > 0 {
		c.Argv = argv
	}
	if f.given("dir") {
		c.Dir = given.GetDir()
	}
	if f.given("env") {
		c.Env = given.GetEnv()
	}
	if f.given("shell") {
		c.Shell = given.GetShell()
	}
	return c
}
