package shard

import (
	"errors"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/schedule"
)

// fire deals with the oldest time of a schedule that is due: its task and the record that it ran are one step,
// and so one entry of the journal. A step has one run, as its payload may be large.
func (m *Machine) fire(step *pure.Step, s *schedule.Schedule) {
	plan := m.schedules.Plan(s, step.Wall)
	if plan.Run && s.Overlap == schedule.OverlapSkip && m.runs(s) {
		plan.Hold()
	}
	task, refused := uint64(0), (*pure.Refusal)(nil)
	if plan.Run {
		task, refused = m.submitRun(step, s, plan.Through, "")
	}
	m.schedules.Fire(step, s, plan, task, refused)
}

// runs tells whether the task of a schedule's last run is not over.
func (m *Machine) runs(s *schedule.Schedule) bool {
	if s.LastTask == 0 {
		return false
	}
	t, err := m.queue.Task(s.Namespace, s.LastTask)
	return err == nil && !t.State.Final()
}

// submitRun submits the task of a run.
func (m *Machine) submitRun(step *pure.Step, s *schedule.Schedule, at pure.Wall, requestID string) (uint64, *pure.Refusal) {
	if m.diskLow {
		return 0, diskLow()
	}
	t, _, err := m.queue.Submit(step, s.Namespace, requestID, s.TaskAt(at), 0)
	if err == nil {
		return t.ID, nil
	}
	if refusal, ok := errors.AsType[*pure.Refusal](err); ok {
		return 0, refusal
	}
	return 0, pure.Refuse(pure.Internal, err.Error())
}

// roomFor refuses what grows the state by so many bytes while there is no room.
func (m *Machine) roomFor(bytes int64) *pure.Refusal {
	if m.diskLow {
		return diskLow()
	}
	if most := m.cfg.Limits.Bytes; most > 0 && m.queue.Bytes()+m.schedules.Bytes()+m.locks.Bytes()+bytes > most {
		return pure.Refuse(pure.StateFull, "the broker holds as many bytes as it may", "limit", most)
	}
	return nil
}

// CreateSchedule makes a schedule. The reply is a schedule.State.
type CreateSchedule struct {
	Namespace  string
	Name       string
	Definition schedule.Definition
	Paused     bool
}

func (c *CreateSchedule) run(m *Machine, step *pure.Step) (any, error) {
	return scheduleState(m.schedules.Create(step, c.Namespace, c.Name, c.Definition, c.Paused))
}

// scheduleState is the reply of what is about one schedule.
func scheduleState(s *schedule.Schedule, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return s.State, nil
}

// UpdateSchedule changes a schedule. The reply is a schedule.State.
type UpdateSchedule struct {
	Namespace string
	Name      string
	Change    schedule.Change
}

func (c *UpdateSchedule) run(m *Machine, step *pure.Step) (any, error) {
	return scheduleState(m.schedules.Update(step, c.Namespace, c.Name, &c.Change))
}

// DropSchedule forgets a schedule.
type DropSchedule struct{ Namespace, Name string }

func (c *DropSchedule) run(m *Machine, step *pure.Step) (any, error) {
	return nil, m.schedules.Drop(step, c.Namespace, c.Name)
}

// GetSchedule returns a schedule (schedule.State).
type GetSchedule struct{ Namespace, Name string }

func (c *GetSchedule) run(m *Machine, _ *pure.Step) (any, error) {
	return scheduleState(m.schedules.Get(c.Namespace, c.Name))
}

// ListSchedules returns a page of schedules ([SchedulePage]).
type ListSchedules struct {
	Namespace string
	After     string
	Max       int
}

// SchedulePage is a page of schedules, and whether there are more.
type SchedulePage struct {
	Schedules []schedule.State
	More      bool
}

func (c *ListSchedules) run(m *Machine, _ *pure.Step) (any, error) {
	schedules, more := m.schedules.List(c.Namespace, c.After, c.Max)
	page := SchedulePage{More: more}
	for _, s := range schedules {
		page.Schedules = append(page.Schedules, s.State)
	}
	return page, nil
}

// RunSchedule submits a run now. The reply is the task's id (uint64).
type RunSchedule struct {
	Namespace string
	Name      string
	RequestID string
}

func (c *RunSchedule) run(m *Machine, step *pure.Step) (any, error) {
	s, err := m.schedules.Get(c.Namespace, c.Name)
	if err != nil {
		return nil, err
	}
	if t, ok := m.queue.Requested(c.Namespace, c.RequestID); ok {
		if schedule.RunOf(t) != c.Name && !slices.Contains(t.Joiners, c.RequestID) { // a run may have joined any task
			return nil, pure.Refuse(pure.RequestMismatch, "a request with this id had another body", "request_id", c.RequestID)
		}
		return t.ID, nil
	}
	id, refused := m.submitRun(step, s, step.Wall, c.RequestID)
	if refused != nil {
		return nil, refused
	}
	m.schedules.Ran(step, s, step.Wall, id)
	return id, nil
}
