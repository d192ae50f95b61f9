package schedule

import (
	"fmt"
	"reflect"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// Create makes a schedule. Its first run is at its first time after now. One with the same name and an equal
// definition is returned as it is, paused or not; another definition is SCHEDULE_EXISTS.
func (c *Core) Create(step *pure.Step, namespace, scheduleName string, d Definition, paused bool) (*Schedule, error) {
	d.normalize()
	if err := d.check(); err != nil {
		return nil, err
	}
	if s := c.byName[name{namespace, scheduleName}]; s != nil {
		if !s.Definition.equal(&d) {
			return nil, pure.Refuse(pure.ScheduleExists,
				"there is a schedule "+scheduleName+" with another definition: update it, or delete it first",
				"schedule", scheduleName)
		}
		return s, nil
	}
	if own := c.spaces[namespace]; own != nil && own.schedules >= SchedulesMax {
		return nil, pure.Refuse(pure.StateFull, fmt.Sprintf("schedule: namespace %s has as many schedules as it may: %d", namespace, SchedulesMax),
			"field", "schedule", "limit", SchedulesMax, "namespace", namespace)
	}
	st := State{
		Namespace: namespace, Name: scheduleName, Definition: d, Paused: paused,
		CreatedAt: step.Wall, UpdatedAt: step.Wall,
	}
	if err := c.wind(&st, step.Wall); err != nil {
		return nil, err
	}
	if err := c.room(&st, 0); err != nil {
		return nil, err
	}
	st.ID = step.Next()
	c.emit(step, &Put{State: st})
	return c.byID[st.ID], nil
}

// room refuses a schedule that is larger than it was where there is no room for that.
func (c *Core) room(st *State, before int64) error {
	more := weight(st) - before
	if more <= 0 {
		return nil
	}
	if own := c.spaces[st.Namespace]; own != nil && own.bytes+more > c.cfg.NamespaceBytes || more > c.cfg.NamespaceBytes {
		return pure.Refuse(pure.StateFull,
			fmt.Sprintf("schedule.task: the schedules of namespace %s are at most %d bytes together", st.Namespace, c.cfg.NamespaceBytes),
			"field", "schedule.task", "limit", c.cfg.NamespaceBytes, "namespace", st.Namespace)
	}
	if c.cfg.Room != nil {
		if refusal := c.cfg.Room(more); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Change is what an update sets; nil leaves a thing as it is.
type Change struct {
	Cron    *string
	Zone    *string
	CatchUp *CatchUp
	Window  *time.Duration
	Overlap *Overlap
	Task    *queue.NewTask
	Paused  *bool

	// Was is the task that Task was made of, nil if it does not matter: when the schedule has another one by now,
	// the change is refused as SUPERSEDED.
	Was *queue.NewTask
}

// Update changes a schedule. When its times change, or it was paused before, its next run is at its first time
// after now; what it missed until then is forgotten.
func (c *Core) Update(step *pure.Step, namespace, scheduleName string, change *Change) (*Schedule, error) {
	s, err := c.Get(namespace, scheduleName)
	if err != nil {
		return nil, err
	}
	if change.Was != nil && !reflect.DeepEqual(*change.Was, s.Task) {
		return nil, pure.Refuse(pure.Superseded, "another request changed the task of the schedule meanwhile", "schedule", scheduleName)
	}
	st := s.State
	change.apply(&st)
	st.normalize()
	if err := st.check(); err != nil {
		return nil, err
	}
	if st.equal(&s.Definition) && st.Paused == s.Paused {
		return s, nil
	}
	if st.Cron != s.Cron || st.Zone != s.Zone || s.Paused && !st.Paused {
		if err := c.wind(&st, step.Wall); err != nil {
			return nil, err
		}
	}
	if err := c.room(&st, s.weight); err != nil {
		return nil, err
	}
	st.UpdatedAt = step.Wall
	c.emit(step, &Put{State: st})
	return s, nil
}

// Definition is a change that sets everything, as a definition.
func (change *Change) Definition() Definition {
	var st State
	change.apply(&st)
	return st.Definition
}

func (change *Change) apply(st *State) {
	set(&st.Cron, change.Cron)
	set(&st.Zone, change.Zone)
	set(&st.CatchUp, change.CatchUp)
	set(&st.Window, change.Window)
	set(&st.Overlap, change.Overlap)
	set(&st.Task, change.Task)
	set(&st.Paused, change.Paused)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// wind finds a schedule's next time from now on. Where the clock was put back, that is after what was dealt
// with: nothing runs twice.
func (c *Core) wind(st *State, now pure.Wall) error {
	st.Through, st.Behind = max(st.Through, now), 0
	next, ok := c.cfg.Next(st.Cron, st.Zone, st.Through)
	if !ok {
		return invalid("schedule.cron", "it has no next time")
	}
	st.Next = next
	return nil
}

// Drop forgets a schedule. Tasks of its runs go on.
func (c *Core) Drop(step *pure.Step, namespace, scheduleName string) error {
	s, err := c.Get(namespace, scheduleName)
	if err != nil {
		return err
	}
	c.emit(step, &Dropped{ID: s.ID})
	return nil
}

// normalize gives what is equal one form, which is also that of the journal.
func (d *Definition) normalize() {
	if len(d.Task.Spec.Payload.Data) == 0 {
		d.Task.Spec.Payload.Data = nil
	}
	if d.Task.Spec.Options == nil {
		d.Task.Spec.Options = queue.DefaultOptions
	}
}

// check holds what is asked for together to its rules; the edge does so for each field.
func (d *Definition) check() error {
	if d.CatchUp == CatchUpSkip && d.Window != 0 {
		return invalid("schedule.catch_up_window", "is for the policies LATEST and ALL")
	}
	return nil
}

func invalid(field, rule string) *pure.Refusal {
	return pure.Refuse(pure.InvalidField, field+": "+rule, "field", field, "rule", rule)
}

// equal tells whether two definitions ask for the same. It looks at everything that a task may have.
func (d *Definition) equal(o *Definition) bool { return reflect.DeepEqual(d, o) }
