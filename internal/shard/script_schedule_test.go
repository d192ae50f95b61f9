package shard

import (
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/internal/cron"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
)

func init() {
	scriptCommands["schedule"] = (*script).schedule
	scriptCommands["reschedule"] = (*script).reschedule
	scriptCommands["unschedule"] = (*script).unschedule
	scriptCommands["run-schedule"] = (*script).runSchedule
	scriptCommands["schedules"] = (*script).schedules
	scriptCommands["runs"] = (*script).runs
	scriptCommands["down"] = (*script).down
	scriptCommands["at"] = (*script).at
	scriptCommands["next"] = (*script).next
}

// scriptCron is the calendar of scripts.
var scriptCron cron.Table

var (
	catchUps = []string{"", "skip", "latest", "all"}
	overlaps = []string{"", "allow", "skip"}
	skips    = []string{"", "missed", "overlap"}
)

func wordOf(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	panic("no such word: " + word)
}

// line is a cron line, in the command's input: it has blanks.
func (s *script) line(d *datadriven.TestData) string { return strings.TrimSpace(d.Input) }

func (s *script) schedule(d *datadriven.TestData) {
	w := words{d}
	spec := w.spec(s)
	spec.Options.UniqueKey = w.text("unique", "")
	s.decide(&CreateSchedule{
		Namespace: scriptNamespace, Name: w.first(), Paused: w.has("paused"), Definition: schedule.Definition{
			Cron: s.line(d), Zone: w.text("zone", ""), Window: w.span("window", 0),
			CatchUp: schedule.CatchUp(wordOf(catchUps, w.text("catch-up", "skip"))),
			Overlap: schedule.Overlap(wordOf(overlaps, w.text("overlap", "allow"))),
			Task:    queue.NewTask{Queue: w.text("queue", ""), Spec: spec},
		},
	}, s.replyTo(s.scheduleText))
}

func (s *script) reschedule(d *datadriven.TestData) {
	w := words{d}
	c := &UpdateSchedule{Namespace: scriptNamespace, Name: w.first()}
	if line := s.line(d); line != "" {
		c.Change.Cron = &line
	}
	if w.has("paused") {
		paused := w.text("paused", "") == "true"
		c.Change.Paused = &paused
	}
	if w.has("window") {
		window := w.span("window", 0)
		c.Change.Window = &window
	}
	if w.has("kind") {
		c.Change.Task = &queue.NewTask{Spec: w.spec(s)}
	}
	s.decide(c, s.replyTo(s.scheduleText))
}

func (s *script) unschedule(d *datadriven.TestData) {
	s.decide(&DropSchedule{Namespace: scriptNamespace, Name: words{d}.first()}, s.replyTo(func(any) string { return "dropped" }))
}

func (s *script) runSchedule(d *datadriven.TestData) {
	w := words{d}
	s.decide(&RunSchedule{Namespace: scriptNamespace, Name: w.first(), RequestID: w.text("request", "")},
		s.replyTo(func(v any) string { return queue.FormatID(v.(uint64)) }))
}

// clock writes a moment of scripts.
func clock(at pure.Wall) string {
	if at == 0 {
		return "none"
	}
	return time.Unix(0, int64(at)).UTC().Format("02 15:04:05")
}

func (s *script) scheduleText(v any) string {
	st := v.(schedule.State)
	text := fmt.Sprintf("%s next %s, last %s", st.Name, clock(st.Next), clock(st.LastAt))
	if st.LastTask != 0 {
		text += " as " + queue.FormatID(st.LastTask)
	}
	if st.Paused {
		text += ", paused"
	}
	if st.Behind != 0 {
		text += fmt.Sprintf(", behind %d", st.Behind)
	}
	if st.Failure.Reason != "" {
		text += fmt.Sprintf(", at %s refused, %s", clock(st.Failure.At), st.Failure.Reason)
	}
	if st.Skipped.Reason != 0 {
		text += fmt.Sprintf(", at %s skipped, %s", clock(st.Skipped.At), skips[st.Skipped.Reason])
	}
	return text
}

// schedules writes what every schedule is.
func (s *script) schedules(*datadriven.TestData) {
	s.decide(&ListSchedules{Namespace: scriptNamespace, Max: 1000}, s.replyTo(func(v any) string {
		var lines []string
		for _, st := range v.(SchedulePage).Schedules {
			lines = append(lines, s.scheduleText(st))
		}
		return strings.Join(lines, "\n")
	}))
}

// runs writes the tasks that are runs, and how many there are of a schedule if there are many.
func (s *script) runs(*datadriven.TestData) {
	counts, first, last := map[string]int{}, map[string]string{}, map[string]string{}
	s.decide(&ListTasks{Filter: queue.Filter{Namespace: scriptNamespace}, Max: 100_000}, func(v any, _ error) {
		for _, t := range v.(TaskPage).Tasks {
			name := schedule.RunOf(&t.TaskState)
			if name == "" {
				continue
			}
			labels := t.Options.Labels
			at := fmt.Sprintf("%s %v, %s", queue.FormatID(t.ID), t.State, labels[len(labels)-1])
			if counts[name]++; counts[name] == 1 {
				first[name] = at
			}
			last[name] = at
		}
	})
	for _, name := range sortedNames(counts) {
		if counts[name] == 1 {
			s.say("%s: %s", name, first[name])
			continue
		}
		s.say("%s: %d runs, from %s to %s", name, counts[name], first[name], last[name])
	}
}

// down lets the wall clock run while there is no broker, and starts it again.
func (s *script) down(d *datadriven.TestData) {
	by, err := time.ParseDuration(words{d}.first())
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	s.wall = s.wall.Add(by)
	s.start()
	s.settle()
}

// at moves the wall clock alone to a time of its day.
func (s *script) at(d *datadriven.TestData) {
	to, err := time.Parse("15:04:05", words{d}.first())
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	day := time.Unix(0, int64(s.wall)).UTC().Truncate(24 * time.Hour)
	s.wall = pure.Wall(day.Add(to.Sub(to.Truncate(24 * time.Hour))).UnixNano())
	s.m.Tick(s.wall, 0)
	s.settle()
}

// next writes how long the loop may sleep.
func (s *script) next(*datadriven.TestData) {
	d, ok := s.m.Next()
	s.say("%v %v", d, ok)
}
