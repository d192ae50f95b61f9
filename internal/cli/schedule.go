package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// schedulesCommand is `schedules`.
func (a *App) schedulesCommand() *cobra.Command {
	var format format
	var full bool
	cmd := &cobra.Command{
		Use:   "schedules",
		Short: "List schedules, when they run next and how the last run went",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				return scheduleListing().print(a, format, c.Schedules(ctx, full))
			})
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "with payloads and commands (with -o json)")
	formatFlag(cmd, &format)
	return cmd
}

// scheduleListing is how schedules are listed.
func scheduleListing() *listing[*weftv1.Schedule] {
	return &listing[*weftv1.Schedule]{
		head: []string{"SCHEDULE", "CRON", "ZONE", "STATE", "NEXT", "LAST", "TASK", "REFUSED"},
		row: func(s *weftv1.Schedule) []string {
			return []string{
				s.GetName(), s.GetCron(), s.GetTimeZone(), scheduleState(s), moment(s.GetNextRunAt()),
				moment(s.GetLastRun().GetScheduledAt()), s.GetLastRun().GetTaskId(),
				refusedRun(s),
			}
		},
		name: (*weftv1.Schedule).GetName,
	}
}

// scheduleState is what is to be known of a schedule at once.
func scheduleState(s *weftv1.Schedule) string {
	switch {
	case s.GetPaused():
		return "paused"
	case s.GetNextRunAt() == nil:
		return "over"
	}
	return "active"
}

// refusedRun is when the last run was refused, and why; empty if it was not. What was in its way may be gone: only
// the next run tells.
func refusedRun(s *weftv1.Schedule) string {
	e := s.GetLastError()
	if e == nil {
		return ""
	}
	return moment(e.GetScheduledAt()) + " " + policyWord(e.GetReason().String(), "ERROR_REASON_")
}

// tellSchedule says what became of a schedule: as a line for people, or as it is now.
func (a *App) tellSchedule(s *weftv1.Schedule, format format, line string) error {
	if format != formatTable {
		return scheduleListing().print(a, format, one(s))
	}
	_, err := fmt.Fprintln(a.Out, line)
	return err
}

// warnNobody warns of a schedule whose runs nobody takes as things are.
func (a *App) warnNobody(ctx context.Context, c *client.Client, s *weftv1.Schedule) {
	queue, kind := orDefault(s.GetTask().GetQueue()), orCommand(s.GetTask().GetKind())
	if _, err := c.Queue(queue).Info(ctx); errors.Is(err, client.ErrQueueNotFound) {
		a.Say("there is no queue %s: every run is refused until there is%s", queue, a.advice(err))
		return
	}
	serves := false
	for w, err := range c.Workers(ctx) {
		switch {
		case err != nil:
			return // it was made all the same
		case !slices.Contains(w.GetQueues(), queue):
		case len(w.GetKinds()) == 0 || slices.Contains(w.GetKinds(), kind):
			return
		default:
			serves = true
		}
	}
	if serves {
		a.Say("no worker of queue %s handles kind %s now: the runs wait for one", queue, kind)
		return
	}
	a.Say("no worker serves queue %s now: the runs wait for one", queue)
}

// scheduleCommand is `schedule`.
func (a *App) scheduleCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "schedule", Short: "Act on one schedule: tasks by the clock", Args: cobra.NoArgs}
	cmd.AddCommand(
		a.scheduleCreateCommand(), a.scheduleUpdateCommand(), a.scheduleShowCommand(), a.scheduleNextCommand(),
		a.turnSchedule("pause", "Stop its runs; tasks of earlier ones go on", "paused", (*client.Client).PauseSchedule),
		a.turnSchedule("resume", "Go on, at its next time from now", "resumed", (*client.Client).ResumeSchedule),
		a.oneSchedule("delete", "Forget it; tasks of its runs go on", func(ctx context.Context, c *client.Client, name string) error {
			err := c.DeleteSchedule(ctx, name)
			if err == nil {
				fmt.Fprintf(a.Out, "%s is deleted\n", name)
			}
			return err
		}),
		a.scheduleRunCommand(),
	)
	return cmd
}

// scheduleRunCommand is `schedule run`.
func (a *App) scheduleRunCommand() *cobra.Command {
	var format format
	cmd := a.oneSchedule("run", "Run it now, beside its times, and print the task", func(ctx context.Context, c *client.Client, name string) error {
		taskID, err := c.RunSchedule(ctx, name)
		if err != nil {
			return err
		}
		return a.made(format, taskID, &weftv1.RunScheduleResponse{TaskId: taskID})
	})
	formatFlag(cmd, &format)
	return cmd
}

// oneSchedule is a command about a schedule that needs nothing but its name.
func (a *App) oneSchedule(verb, short string, do func(context.Context, *client.Client, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " SCHEDULE",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error { return do(ctx, c, args[0]) })
		},
	}
}

// turnSchedule is one of those that says what the schedule is then.
func (a *App) turnSchedule(verb, short, done string, do func(*client.Client, context.Context, string) (*weftv1.Schedule, error)) *cobra.Command {
	var format format
	cmd := a.oneSchedule(verb, short, func(ctx context.Context, c *client.Client, name string) error {
		s, err := do(c, ctx, name)
		if err != nil {
			return err
		}
		return a.tellSchedule(s, format, name+" is "+done)
	})
	formatFlag(cmd, &format)
	return cmd
}

// scheduleShowCommand is `schedule show`.
func (a *App) scheduleShowCommand() *cobra.Command {
	var format format
	cmd := &cobra.Command{
		Use:   "show SCHEDULE",
		Short: "Show a schedule whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.Schedule(ctx, args[0])
				if err != nil {
					return err
				}
				if format != formatTable {
					return scheduleListing().print(a, format, one(s))
				}
				return a.showSchedule(s)
			})
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

// showSchedule prints a schedule for people.
func (a *App) showSchedule(m *weftv1.Schedule) error {
	s := &sheet{tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)}
	s.line("schedule", m.GetName())
	s.line("state", scheduleState(m))
	s.line("cron", m.GetCron())
	s.line("zone", m.GetTimeZone())
	s.line("catch-up", policyWord(m.GetCatchUp().String(), "CATCH_UP_POLICY_"))
	if w := m.GetCatchUpWindow(); w != nil {
		s.line("catch-up window", w.AsDuration().String())
	}
	s.line("overlap", policyWord(m.GetOverlap().String(), "OVERLAP_POLICY_"))
	s.line("queue", orDefault(m.GetTask().GetQueue()))
	s.line("kind", orCommand(m.GetTask().GetKind()))
	s.work(m.GetTask())
	s.retries(m.GetTask().GetRetry())
	for _, k := range sortedKeys(m.GetTask().GetLabels()) {
		s.line("label", k+"="+m.GetTask().GetLabels()[k])
	}
	s.line("created", moment(m.GetCreatedAt()))
	s.line("updated", moment(m.GetUpdatedAt()))
	s.line("next run", moment(m.GetNextRunAt()))
	if r := m.GetLastRun(); r != nil {
		s.line("last run", moment(r.GetScheduledAt())+", "+r.GetTaskId())
	}
	if e := m.GetLastError(); e != nil {
		s.line("refused", moment(e.GetScheduledAt())+", "+policyWord(e.GetReason().String(), "ERROR_REASON_")+": "+e.GetMessage())
	}
	if k := m.GetLastSkip(); k != nil {
		s.line("last skip", moment(k.GetScheduledAt())+", "+policyWord(k.GetReason().String(), "SCHEDULE_SKIP_REASON_"))
	}
	return s.w.Flush()
}

// scheduleNextCommand is `schedule next`.
func (a *App) scheduleNextCommand() *cobra.Command {
	var n int
	cmd := &cobra.Command{
		Use:   "next SCHEDULE",
		Short: "Print its next times, one a line",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 || n > 100 {
				return Usage("--count %d: not from 1 to 100", n)
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.Schedule(ctx, args[0])
				if err != nil {
					return err
				}
				times, err := c.NextScheduleRuns(ctx, args[0], n)
				if err != nil {
					return err
				}
				zone, err := time.LoadLocation(s.GetTimeZone())
				if err != nil {
					zone = time.UTC // this machine knows fewer zones than the broker
				}
				for _, t := range times {
					fmt.Fprintln(a.Out, t.In(zone).Format(time.RFC3339))
				}
				return nil
			})
		},
	}
	cmd.Flags().IntVarP(&n, "count", "c", 5, "how many, at most 100")
	return cmd
}
