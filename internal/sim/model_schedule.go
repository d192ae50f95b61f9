package sim

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/schedule"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// plans is what the journal says of schedules, and of tasks that are their runs.
type plans struct {
	m     *model
	byID  map[uint64]*plan
	put   map[uint64][2]string // new tasks of the entry that are runs, with their labels
	fired map[uint64]bool      // and those that a record of the entry names
}

type plan struct {
	id        uint64
	name      string
	last      *journalv1.SchedulePut // as it would be written now
	dropped   bool
	ran       map[int64]uint64 // tasks by scheduled time
	requested map[uint64]bool  // tasks that were asked for by hand
}

func newPlans(m *model) *plans {
	return &plans{m: m, byID: map[uint64]*plan{}, put: map[uint64][2]string{}, fired: map[uint64]bool{}}
}

// living returns the schedules that exist, by id.
func (p *plans) living() (out []*plan) {
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		if !p.byID[id].dropped {
			out = append(out, p.byID[id])
		}
	}
	return out
}

// present tells whether nothing is due of any schedule.
func (p *plans) present() bool {
	if !p.m.s.broker.up || p.m.s.broker.frame != nil {
		return false
	}
	for _, x := range p.living() {
		if !x.last.Paused && x.last.Progress.Next <= int64(p.m.s.wall()) {
			return false
		}
	}
	return true
}

func (p *plans) record(rec *journalv1.Record) {
	switch c := rec.Change.(type) {
	case *journalv1.Record_TaskPut:
		if name, at := runsOf(c.TaskPut.Options.GetLabels()); name != "" && p.m.tasks[c.TaskPut.Id].attempts == 0 && !p.known(c.TaskPut.Id) {
			p.put[c.TaskPut.Id] = [2]string{name, at}
		}
	case *journalv1.Record_SchedulePut:
		p.schedulePut(c.SchedulePut)
	case *journalv1.Record_ScheduleFired:
		p.scheduleFired(c.ScheduleFired)
	case *journalv1.Record_ScheduleDropped:
		if x := p.alive(c.ScheduleDropped.Id); x != nil {
			x.dropped = true
		}
	}
}

// known tells whether a task was written before: then it is copied.
func (p *plans) known(task uint64) bool {
	for _, x := range p.byID {
		if x.requested[task] {
			return true
		}
		for _, id := range x.ran {
			if id == task {
				return true
			}
		}
	}
	return false
}

func (p *plans) alive(id uint64) *plan {
	x := p.byID[id]
	if x == nil || x.dropped {
		p.m.fail("a record about schedule %d, which is not there", id)
		return nil
	}
	return x
}

func (p *plans) schedulePut(r *journalv1.SchedulePut) {
	x := p.byID[r.Id]
	if x == nil {
		for _, other := range p.living() {
			if other.name == r.Name {
				p.m.fail("schedule %s is made twice", r.Name)
			}
		}
		p.byID[r.Id] = &plan{id: r.Id, name: r.Name, last: r, ran: map[int64]uint64{}, requested: map[uint64]bool{}}
		p.sound(r)
		return
	}
	was := x.last
	moved := was.Cron != r.Cron || was.Zone != r.Zone || was.Paused && !r.Paused
	switch {
	case x.dropped:
		p.m.fail("schedule %d is written after its end", r.Id)
	case r.UpdatedAt == was.UpdatedAt && !moved && r.Paused == was.Paused && !proto.Equal(r.Progress, was.Progress):
		p.m.fail("schedule %d is copied and not as it was", r.Id)
	case r.Progress.Through < was.Progress.Through || r.Progress.LastTask != was.Progress.LastTask:
		p.m.fail("schedule %d is changed and goes back, from %v to %v", r.Id, was.Progress, r.Progress)
	case !moved && r.Progress.Next != was.Progress.Next:
		p.m.fail("the times of schedule %d are as they were, and its next one is not", r.Id)
	}
	x.last = r
	p.sound(r)
}

// sound holds a schedule's next time to its line.
func (p *plans) sound(r *journalv1.SchedulePut) {
	if next, _ := nextOf(r.Cron, r.Zone, pure.Wall(r.Progress.Through)); int64(next) != r.Progress.Next {
		p.m.fail("after %d, schedule %d has its next time at %d, and not at %d", r.Progress.Through, r.Id, r.Progress.Next, next)
	}
}

func (p *plans) scheduleFired(r *journalv1.ScheduleFired) {
	x := p.alive(r.Id)
	if x == nil {
		return
	}
	was, now := x.last.Progress, r.Progress
	x.last = proto.CloneOf(x.last)
	x.last.Progress = now
	p.sound(x.last)
	ran := now.LastAt != was.LastAt || now.LastTask != was.LastTask
	switch {
	case now.Through == was.Through: // by hand
		if !ran || now.Next != was.Next || now.LastAt > int64(p.m.wallHigh) {
			p.m.fail("schedule %s fired and nothing came of it: %v", x.name, now)
		}
		x.requested[now.LastTask] = true
	case now.Through < was.Next || now.Through > int64(p.m.wallHigh):
		p.m.fail("schedule %s fired at %d, its next time was %d and it is %d", x.name, now.Through, was.Next, p.m.wallHigh)
	case ran && now.LastAt != now.Through:
		p.m.fail("schedule %s ran for %d at %d", x.name, now.LastAt, now.Through)
	case ran && x.ran[now.Through] != 0:
		p.m.fail("schedule %s ran twice at %d", x.name, now.Through)
	case ran:
		x.ran[now.Through] = now.LastTask
		p.inTime(x, now)
	default:
		p.because(x, now)
	}
	if x.last.Paused && now.Through != was.Through {
		p.m.fail("schedule %s is paused and fired at %d", x.name, now.Through)
	}
	p.leftOut(x, was, now)
	if !ran {
		return
	}
	p.fired[now.LastTask] = true
	if labels, ok := p.put[now.LastTask]; !ok || labels != [2]string{x.name, runText(pure.Wall(now.LastAt))} {
		p.m.fail("schedule %s ran at %d as task %d, which is %v in the entry", x.name, now.LastAt, now.LastTask, labels)
	}
}

// inTime holds a run to the policy for missed ones.
func (p *plans) inTime(x *plan, now *journalv1.ScheduleProgress) {
	late := time.Duration(int64(p.m.wallLow) - now.Through)
	window := time.Duration(x.last.CatchUpWindow)
	switch policy := schedule.CatchUp(x.last.CatchUp); {
	case policy == schedule.CatchUpSkip && late > schedule.LateMax, window > 0 && late > window:
		p.m.fail("schedule %s ran at %d, %v late", x.name, now.Through, late)
	case policy != schedule.CatchUpAll && now.Next <= int64(p.m.wallLow):
		p.m.fail("schedule %s ran at %d, and %d was due", x.name, now.Through, now.Next)
	}
}

// because wants a reason for a time without a run.
func (p *plans) because(x *plan, now *journalv1.ScheduleProgress) {
	if now.FailedAt == now.Through && now.FailureReason != "" {
		return
	}
	if now.SkippedAt > now.Through || now.SkipReason == 0 {
		p.m.fail("schedule %s did not run at %d, and says nothing of it: %v", x.name, now.Through, now)
	}
}

// leftOut holds the times between two records to the policy: with ALL and no window there are none, and none is
// missed.
func (p *plans) leftOut(x *plan, was, now *journalv1.ScheduleProgress) {
	if schedule.CatchUp(x.last.CatchUp) != schedule.CatchUpAll || x.last.CatchUpWindow != 0 || now.Through == was.Through ||
		was.Behind >= schedule.BehindMax {
		return
	}
	if now.Through != was.Next {
		p.m.fail("schedule %s makes up every run, and leaves out %d for %d", x.name, was.Next, now.Through)
	}
	if now.SkippedAt == now.Through && schedule.Skip(now.SkipReason) == schedule.SkipMissed {
		p.m.fail("schedule %s makes up every run, and missed %d", x.name, now.Through)
	}
}

// entryEnd wants each run's task and its record in one entry.
func (p *plans) entryEnd() {
	for _, id := range slices.Sorted(maps.Keys(p.put)) {
		if !p.fired[id] {
			p.m.fail("task %d is a run of %s, and no schedule fired in its entry", id, p.put[id][0])
		}
	}
	clear(p.put)
	clear(p.fired)
}

// replied holds what is told of schedules to the journal.
func (p *plans) replied(cmd shard.Command, value any) {
	switch c := cmd.(type) {
	case *shard.CreateSchedule:
		p.told(value.(schedule.State))
	case *shard.UpdateSchedule:
		p.told(value.(schedule.State))
	case *shard.ListSchedules:
		for _, st := range value.(shard.SchedulePage).Schedules {
			p.told(st)
		}
	case *shard.RunSchedule:
		if t := p.m.tasks[value.(uint64)]; t == nil || t.request != c.RequestID {
			p.m.s.fail("told too early: task %d of schedule %s is not in the journal", value, c.Name)
		}
	}
}

func (p *plans) told(st schedule.State) {
	if x := p.byID[st.ID]; x == nil || x.name != st.Name || int64(st.Through) > x.last.Progress.Through {
		p.m.s.fail("told too early: schedule %d, %s, through %d", st.ID, st.Name, st.Through)
	}
}
