//go:build linux

package e2e

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// scheduledRun is a run of a schedule, and when its task was submitted.
type scheduledRun struct{ at, submitted time.Time }

// A broker that was down for several scheduled times makes exactly those runs up that the policy promises, and
// none twice. It may have been too busy at other times too, so the runs are held against when each was submitted.
func TestSchedulesOverBrokerKill(t *testing.T) {
	const window = 2 * time.Second
	down := 5 * time.Second
	if testing.Short() {
		down = 3 * time.Second
	}
	w := newWorld(t)
	b := w.broker()
	c := w.client(b.addr)
	ctx := w.context()
	policies := map[string]client.Schedule{
		"skip":   {CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_SKIP},
		"latest": {CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_LATEST},
		"all":    {CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_ALL},
		"window": {CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_ALL, CatchUpWindow: window},
	}
	for name, s := range policies {
		s.Name, s.Cron, s.Task = name, "@every 1s", client.Spec{Kind: "k", Labels: map[string]string{"policy": name}}
		if _, err := c.CreateSchedule(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	w.until("each has run", func() bool { return fewestRuns(w, c) >= 1 })
	b.Kill()
	back := time.Now().Add(down)
	w.until("several times are missed", func() bool { return time.Now().After(back) })
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	before := fewestRuns(w, c)
	w.until("each goes on", func() bool { return fewestRuns(w, c) >= before+2 })
	for name, runs := range scheduledRuns(w, c) {
		longest := time.Duration(0)
		for i, r := range runs[1:] {
			gap := r.at.Sub(runs[i].at)
			longest = max(longest, gap)
			late := r.submitted.Sub(r.at)
			missed := r.submitted.Sub(runs[i].at.Add(time.Second)) // how late the one after the last run was
			switch {
			case gap <= 0:
				t.Errorf("%s: two runs at %v", name, r.at)
			case gap == time.Second || late < 0:
			case name == "all":
				t.Errorf("%s: no run between %v and %v", name, runs[i].at, r.at)
			case name == "window" && (late > window || r.submitted.Sub(r.at.Add(-time.Second)) <= window):
				t.Errorf("%s: %v is the first run of those missed since %v, at %v", name, r.at, runs[i].at, r.submitted)
			case name != "window" && late >= time.Second:
				t.Errorf("%s: of the runs missed since %v, it is the one at %v that was made up at %v", name, runs[i].at, r.at, r.submitted)
			}
			if late < 0 || missed < 0 {
				t.Errorf("%s: the run at %v was submitted at %v", name, r.at, r.submitted)
			}
		}
		if name != "all" && longest < down-window-time.Second {
			t.Errorf("%s: no gap in %v", name, runs)
		}
		t.Logf("%s: %d runs, longest gap %v", name, len(runs), longest)
	}
}

// scheduledRuns returns the runs of all schedules, by their policy.
func scheduledRuns(w *world, c *client.Client) map[string][]scheduledRun {
	w.Helper()
	runs := make(map[string][]scheduledRun)
	for found, err := range c.List(w.context(), client.Filter{}) {
		if err != nil {
			w.Fatal(err)
		}
		labels := found.GetSpec().GetLabels()
		at, err := time.Parse(time.RFC3339, labels[task.LabelScheduledAt])
		if err != nil {
			w.Fatal(err)
		}
		runs[labels["policy"]] = append(runs[labels["policy"]], scheduledRun{at, found.GetCreatedAt().AsTime()})
	}
	for _, of := range runs {
		slices.SortFunc(of, func(a, b scheduledRun) int {
			return cmp.Or(a.at.Compare(b.at), a.submitted.Compare(b.submitted))
		})
	}
	return runs
}

// fewestRuns is how often the schedule with the fewest runs has run.
func fewestRuns(w *world, c *client.Client) int {
	w.Helper()
	runs := scheduledRuns(w, c)
	return min(len(runs["skip"]), len(runs["latest"]), len(runs["all"]), len(runs["window"]))
}
