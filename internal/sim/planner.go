package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/schedule"
)

// nextOf is the calendar: a line is a number of seconds, counted from 1970.
func nextOf(line, _ string, after pure.Wall) (pure.Wall, bool) {
	var n int64
	if _, err := fmt.Sscan(line, &n); err != nil || n <= 0 {
		return 0, false
	}
	period := pure.Wall(n) * pure.Wall(time.Second)
	return (after/period + 1) * period, true
}

// planner makes schedules, changes them, and takes them away in the end.
type planner struct {
	s     *sim
	names []string
	under int // requests under way
	calls int
	calm  bool // it has seen that everything due was dealt with
}

func newPlanner(s *sim) *planner {
	p := &planner{s: s}
	for i := range 1 + s.r.IntN(4) {
		p.names = append(p.names, fmt.Sprintf("plan-%d", i))
	}
	s.after(s.upTo(time.Second), p.act)
	return p
}

// act does one thing now and then, and begins no more when the run is calm: then it ends its schedules.
func (p *planner) act() {
	if p.done() {
		return
	}
	p.s.after(time.Millisecond+p.s.upTo(3*time.Second), p.act)
	name := p.names[p.s.r.IntN(len(p.names))]
	switch {
	case p.s.calm:
		p.end()
	case p.s.one(3):
		p.ask(&shard.CreateSchedule{Namespace: namespace, Name: name, Definition: p.definition(), Paused: p.s.one(8)})
	case p.s.one(8):
		p.ask(&shard.DropSchedule{Namespace: namespace, Name: name})
	case p.s.one(3): //nolint:gocritic // the dice are thrown anew
		p.calls++
		cmd := &shard.RunSchedule{Namespace: namespace, Name: name, RequestID: fmt.Sprintf("%s/%d", name, p.calls)}
		p.ask(cmd)
		if p.s.one(3) {
			p.ask(cmd)
		}
	case p.s.one(4):
		p.ask(&shard.ListSchedules{Namespace: namespace, Max: 2})
	default:
		p.ask(p.update(name))
	}
}

func (p *planner) ask(cmd shard.Command) {
	p.under++
	p.s.call("planner", cmd, 5*time.Second, func(any, error) { p.under-- })
}

func (p *planner) line() string { return fmt.Sprint(10 + p.s.r.IntN(200)) }

func (p *planner) definition() schedule.Definition {
	d := schedule.Definition{
		Cron: p.line(), CatchUp: schedule.CatchUp(1 + p.s.r.IntN(3)), Overlap: schedule.Overlap(1 + p.s.r.IntN(2)),
		Task: p.s.newTask(0),
	}
	if d.CatchUp != schedule.CatchUpSkip && p.s.one(3) {
		d.Window = time.Second + p.s.upTo(time.Hour)
	}
	// Nobody looks after these tasks, so they end by themselves.
	p.s.behaviours[len(p.s.behaviours)-1] = behaviour{takes: p.s.upTo(3 * time.Second), spooled: p.s.one(5)}
	d.Task.Spec.Payload.Data = binary.LittleEndian.AppendUint64(nil, uint64(len(p.s.behaviours)-1))
	d.Task.Spec.RunAt = 0
	if o := d.Task.Spec.Options; o != nil {
		o.Daemon, o.UniqueKey, o.Deadline, o.After = false, "", 0, nil
	}
	return d
}

func (p *planner) update(name string) *shard.UpdateSchedule {
	c := &shard.UpdateSchedule{Namespace: namespace, Name: name}
	if p.s.one(2) {
		paused := p.s.one(2)
		c.Change.Paused = &paused
	}
	if p.s.one(3) {
		line := p.line()
		c.Change.Cron = &line
	}
	if p.s.one(3) {
		task := p.definition().Task
		c.Change.Task = &task
	}
	if p.s.one(4) {
		overlap := schedule.Overlap(1 + p.s.r.IntN(2))
		c.Change.Overlap = &overlap
	}
	return c
}

// end takes the schedules away, once each has come to the present.
func (p *planner) end() {
	if p.under > 0 || !p.calm && !p.s.model.plans.present() {
		return
	}
	p.calm = true
	for _, x := range p.s.model.plans.living() {
		p.ask(&shard.DropSchedule{Namespace: namespace, Name: x.name})
	}
}

// done tells whether all schedules are gone, after each of them had come to the present.
func (p *planner) done() bool {
	return p.s.calm && p.calm && p.under == 0 && len(p.s.model.plans.living()) == 0
}

// runsOf is the schedule and the time that a task's labels name.
func runsOf(labels []string) (name, at string) {
	for i := 0; i+1 < len(labels); i += 2 {
		switch labels[i] {
		case schedule.LabelName:
			name = labels[i+1]
		case schedule.LabelAt:
			at = labels[i+1]
		}
	}
	return name, at
}

// runText is a moment as labels have it.
func runText(at pure.Wall) string { return time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano) }
