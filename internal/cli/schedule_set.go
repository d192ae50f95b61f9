package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// windowMax is how late a missed run may be made up at most.
const windowMax = 366 * 24 * time.Hour

// scheduleFlags are the flags of what makes or changes a schedule.
type scheduleFlags struct {
	commandFlags
	keepFlags
	kind    string
	payload string

	cron    string
	zone    string
	catchUp string
	window  time.Duration
	overlap string
	paused  bool
}

func (f *scheduleFlags) add(cmd *cobra.Command) {
	f.commandFlags.add(cmd)
	flags := cmd.Flags()
	flags.SetInterspersed(true) // the command is what follows the two dashes
	flags.StringVar(&f.kind, "kind", "", "tasks of this `kind`, for a worker's handler")
	flags.StringVar(&f.payload, "payload", "", "the handler's input, `text`")
	f.keepFlags.add(cmd, "the queue's, else 24h")
	flags.StringVar(&f.cron, "cron", "", "when: a `line` of five fields as in crontab(5), or @daily, \"@every 90s\" and the like")
	flags.StringVar(&f.zone, "zone", "", "the time `zone`, as Europe/Berlin (default UTC)")
	flags.StringVar(&f.catchUp, "catch-up", "", "`policy` for missed runs: skip, latest or all (default skip)")
	flags.DurationVar(&f.window, "catch-up-window", 0, "how late a missed run may be made up (default without limit)")
	flags.StringVar(&f.overlap, "overlap", "", "`policy` for a run while the last one goes on: allow or skip (default allow)")
}

// schedule reads a command line: the schedule without its task, and the command behind two dashes.
func (f *scheduleFlags) schedule(cmd *cobra.Command, args []string) (s client.Schedule, argv []string, err error) {
	names := args
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		names, argv = args[:dash], args[dash:]
	}
	if len(names) != 1 {
		return s, nil, Usage("%s: one name, and the command behind --", cmd.CommandPath())
	}
	if !plainName(names[0]) {
		return s, nil, Usage("schedule %s: a name is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(names[0]))
	}
	s = client.Schedule{Name: names[0], Cron: f.cron, TimeZone: f.zone, CatchUpWindow: f.window, Paused: f.paused}
	catchUp, err := parsePolicy("--catch-up", f.catchUp, "CATCH_UP_POLICY_", weftv1.CatchUpPolicy_value)
	if err != nil {
		return s, nil, err
	}
	overlap, err := parsePolicy("--overlap", f.overlap, "OVERLAP_POLICY_", weftv1.OverlapPolicy_value)
	if err != nil {
		return s, nil, err
	}
	s.CatchUp, s.Overlap = weftv1.CatchUpPolicy(catchUp), weftv1.OverlapPolicy(overlap)
	return s, argv, nil
}

// task is what to submit.
func (f *scheduleFlags) task(cmd *cobra.Command, argv []string) (client.Spec, error) {
	spec, err := f.spec()
	if err != nil {
		return spec, err
	}
	if err := f.checkWork(); err != nil {
		return spec, err
	}
	f.keep(&spec)
	switch {
	case f.kind == "" && f.payload != "":
		return spec, Usage("%s: --payload needs --kind", cmd.CommandPath())
	case f.kind == "":
		spec.Command = withArgs(spec.Command, argv, nil)
		return spec, cmp.Or(commandArgs(cmd, argv), checkArgs(argv), checkSize(spec.Command))
	case len(argv) > 0:
		return spec, Usage("%s: --kind takes no command", cmd.CommandPath())
	}
	spec.Kind, spec.Command, spec.Payload = f.kind, nil, task.Text(f.payload)
	return spec, nil
}

// checkWork refuses what no task can have.
func (f *scheduleFlags) checkWork() error {
	if f.given("catch-up-window") && (f.window <= 0 || f.window > windowMax) {
		return Usage("--catch-up-window %v: more than 0s and at most %v is possible", f.window, windowMax)
	}
	return cmp.Or(f.keepFlags.check(), checkText("--payload", f.payload), checkName("--kind", f.kind))
}

// parsePolicy reads a policy; empty is the default one.
func parsePolicy(flag, word, prefix string, values map[string]int32) (int32, error) {
	if word == "" {
		return 0, nil
	}
	n, ok := values[prefix+strings.ToUpper(word)]
	if !ok || n == 0 {
		var words []string
		for name, n := range values {
			if n != 0 {
				words = append(words, policyWord(name, prefix))
			}
		}
		slices.Sort(words)
		return 0, Usage("%s %q: none of %s", flag, word, strings.Join(words, ", "))
	}
	return n, nil
}

// policyWord is a value of an enum for people.
func policyWord(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

// scheduleCreateCommand is `schedule create`.
func (a *App) scheduleCreateCommand() *cobra.Command {
	var flags scheduleFlags
	var format format
	cmd := &cobra.Command{
		Use:   "create SCHEDULE --cron LINE [flags] -- COMMAND ARG...",
		Short: "Make a schedule; doing so again with equal words changes nothing",
		Long: "Make a schedule: a command, or with --kind a task for a handler, submitted by the clock. Each time\n" +
			"has one run at most. The task's labels weft.schedule and weft.scheduled_at say which run it is.",
		Example: "  " + a.Name + " schedule create backup --cron '30 2 * * *' --zone Europe/Berlin -- backup.sh /srv",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, argv, err := flags.schedule(cmd, args)
			if err != nil {
				return err
			}
			if s.Task, err = flags.task(cmd, argv); err != nil {
				return err
			}
			if s.Cron == "" {
				return Usage("%s: --cron is needed", cmd.CommandPath())
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				made, err := c.CreateSchedule(ctx, s)
				if err != nil {
					return err
				}
				a.warnNobody(ctx, c, made)
				return a.tellSchedule(made, format, made.GetName())
			})
		},
	}
	flags.add(cmd)
	formatFlag(cmd, &format)
	cmd.Flags().BoolVar(&flags.paused, "paused", false, "without runs until it is resumed")
	return cmd
}
