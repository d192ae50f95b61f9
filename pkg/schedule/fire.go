package schedule

import (
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// Plan is what is to be done about a schedule that is due.
type Plan struct {
	Run bool // at Progress.Through, unless the last run's task is not over
	Progress
}

// Plan decides about the oldest time that is due. It changes nothing; the caller submits the task of
// [Schedule.TaskAt], and says by [Core.Fire] what came of it.
func (c *Core) Plan(s *Schedule, now pure.Wall) Plan {
	p := Plan{Run: true, Progress: s.Progress}
	at, behind := s.Next, false
	next, ok := c.next(s, at)
	switch later := ok && next <= now; {
	case s.CatchUp == CatchUpAll && s.Behind < BehindMax:
		if from := now.Add(-s.Window); s.Window > 0 && at < from {
			p.skip(at)
			at = c.within(s, at, from, now)
			next, ok = c.next(s, at)
		}
		behind = ok && next <= now
	case later:
		p.skip(at)
		at = c.latest(s, next, now)
	}
	if late := now - at; late > pure.Wall(s.allowance()) {
		p.Run = false
		p.skip(at)
	}
	p.move(c, s, at)
	p.Behind = 0
	if behind {
		p.Behind = s.Behind + 1
	}
	return p
}

// allowance is how late a run may be.
func (s *Schedule) allowance() time.Duration {
	switch {
	case s.CatchUp == CatchUpSkip, s.CatchUp == CatchUpAll && s.Behind >= BehindMax:
		return LateMax
	case s.Window > 0:
		return s.Window
	default:
		return 1<<63 - 1
	}
}

// skip notes a time without a run, unless one before it was noted in the same plan.
func (p *Plan) skip(at pure.Wall) {
	if p.Skipped.At <= p.Through || p.Skipped.Reason == 0 {
		p.Skipped = Skipped{At: at, Reason: SkipMissed}
	}
}

// move makes a time the last one that was dealt with.
func (p *Plan) move(c *Core, s *Schedule, at pure.Wall) {
	p.Through = at
	p.Next, _ = c.next(s, at)
}

func (c *Core) next(s *Schedule, after pure.Wall) (pure.Wall, bool) {
	return c.cfg.Next(s.Cron, s.Zone, after)
}

// within returns the first time from a moment on, or the last one before it if nothing later is due.
func (c *Core) within(s *Schedule, at, from, now pure.Wall) pure.Wall {
	if next, ok := c.next(s, from-1); ok && next <= now {
		return next
	}
	return c.latest(s, at, now)
}

// latest returns the last time that is not after now, given one that is not. It halves what is between, as the
// calendar only goes forward, and a schedule may have missed years.
func (c *Core) latest(s *Schedule, at, now pure.Wall) pure.Wall {
	for high := now; ; {
		next, ok := c.next(s, at)
		if !ok || next > now {
			return at
		}
		at = next
		middle := at + (high-at)/2
		if next, ok := c.next(s, middle); ok && next <= now {
			at = next
		} else {
			high = middle
		}
	}
}

// Fire records what came of a plan: a run with a task, a run that was refused, or none.
func (c *Core) Fire(step *pure.Step, s *Schedule, p Plan, task uint64, refused *pure.Refusal) {
	switch {
	case !p.Run:
	case refused != nil:
		p.Failure = Failure{At: p.Through, Reason: string(refused.Reason), Message: refused.Message}
	default:
		p.LastAt, p.LastTask, p.Failure = p.Through, task, Failure{}
	}
	if p.Next == 0 {
		p.Failure = Failure{At: p.Through, Reason: string(pure.InvalidField), Message: "the schedule has no next time"}
	}
	c.emit(step, &Fired{ID: s.ID, Progress: p.Progress})
}

// Hold turns a plan's run into a skipped one: the last run is not over.
func (p *Plan) Hold() {
	p.Run = false
	p.Skipped = Skipped{At: p.Through, Reason: SkipOverlap}
}

// Ran records a run by hand. The schedule's times stay as they are.
func (c *Core) Ran(step *pure.Step, s *Schedule, at pure.Wall, task uint64) {
	p := s.Progress
	p.LastAt, p.LastTask, p.Failure = at, task, Failure{}
	c.emit(step, &Fired{ID: s.ID, Progress: p})
}

// TaskAt is the task of a run.
func (s *Schedule) TaskAt(at pure.Wall) queue.NewTask {
	n := s.Task
	o := *n.Spec.Options
	o.Labels = withLabel(withLabel(o.Labels, LabelName, s.Name), LabelAt, stamp(at))
	n.Spec.Options = &o
	return n
}

// stamp writes a moment as RFC 3339 does, in UTC.
func stamp(at pure.Wall) string { return time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano) }

// withLabel returns labels, keys and values in turn and by key, with one more.
func withLabel(labels []string, key, value string) []string {
	i := 0
	for i < len(labels) && labels[i] < key {
		i += 2
	}
	if i < len(labels) && labels[i] == key {
		return slices.Concat(labels[:i], []string{key, value}, labels[i+2:])
	}
	return slices.Concat(labels[:i], []string{key, value}, labels[i:])
}

// RunOf returns the name of the schedule that a task is a run of, empty if it is none's.
func RunOf(t *queue.TaskState) string {
	labels := t.Options.Labels
	for i := 0; i+1 < len(labels); i += 2 {
		if labels[i] == LabelName {
			return labels[i+1]
		}
	}
	return ""
}
