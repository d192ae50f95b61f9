package queue

import (
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// dependencies is where a new task begins: the tasks that it waits for, and the one whose end has decided
// already that it never runs.
type dependencies struct {
	waits  []uint64
	failed *task
}

// dependencies looks at the tasks that a new one is after.
func (c *Core) dependencies(namespace string, o *Options) (d dependencies, err *pure.Refusal) {
	if len(o.After) > DependenciesMax {
		return d, pure.Refuse(pure.InvalidField, fmt.Sprintf("after: must have at most %d items", DependenciesMax),
			"field", "after", "limit", DependenciesMax)
	}
	for i, id := range o.After {
		t, err := c.find(namespace, id)
		switch {
		case err != nil:
			return d, pure.Refuse(pure.TaskNotFound, "no such task, or its outcome is past its retention",
				"field", fmt.Sprintf("after[%d]", i), "task_id", FormatID(id))
		case !t.State.Final():
			if !slices.Contains(d.waits, id) {
				d.waits = append(d.waits, id)
			}
		case t.State != Succeeded && !o.RunOnFailure && d.failed == nil:
			d.failed = t
		}
	}
	if d.failed != nil {
		d.waits = nil
	}
	return d, nil
}

func dependencyError(t *task) *Error {
	return &Error{Reason: "dependency_failed", Message: "it is after task " + FormatID(t.ID) + ", which " + endWord(t.State)}
}

func endWord(s State) string {
	switch s {
	case Cancelled:
		return "was cancelled"
	case Expired:
		return "expired"
	}
	return "failed"
}

// awaits returns what a blocked task waits for.
func (t *task) awaits() []uint64 {
	if t.Joined != 0 && t.State == Blocked {
		return []uint64{t.Joined}
	}
	return t.Waits
}

// depend makes a blocked task known to those that it waits for. What is not there a replay has still to meet:
// [Core.Serve] looks again.
func (c *Core) depend(t *task) {
	if t.State != Blocked {
		return
	}
	for _, id := range t.awaits() {
		if on := c.tasks[id]; on != nil {
			on.dependents = append(on.dependents, t)
			on.awaited++
		}
	}
}

// undepend takes a task that waits no more off the books of the others.
func (c *Core) undepend(t *task) {
	if t.State != Blocked {
		return
	}
	for _, id := range t.awaits() {
		c.release(id)
	}
	t.Waits = nil
}

// release counts one task less that waits for another.
func (c *Core) release(id uint64) {
	on := c.tasks[id]
	if on == nil {
		return
	}
	if on.awaited--; on.awaited == 0 {
		on.dependents = nil
	}
}

// redepend makes everybody's dependents anew, after a replay, and begins to tell those of tasks that ended.
func (c *Core) redepend() {
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		t.dependents, t.awaited = nil, 0
	}
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		c.depend(t)
	}
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		if t.awaited > 0 && t.State.Final() {
			c.sweeps = append(c.sweeps, sweep{ended: t})
		}
	}
}

func (c *Core) applyUnblocked(rec *TaskUnblocked) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	before := weight(&t.TaskState)
	c.release(rec.Dependency)
	t.Waits = without(t.Waits, rec.Dependency)
	t.Next = rec.Next
	c.grow(t, weight(&t.TaskState)-before)
	c.setState(t, rec.State)
	c.enter(t)
}

// sweepEnded tells the dependents of a task that it has ended, and tells whether it came to the end.
func (c *Core) sweepEnded(step *pure.Step, s *sweep) bool {
	on := s.ended
	for len(on.dependents) > 0 && c.tasks[on.ID] == on && on.State.Final() {
		if c.full(step) {
			return false
		}
		step.Look()
		t := on.dependents[0]
		on.dependents = on.dependents[1:]
		if c.tasks[t.ID] == t && t.State == Blocked && slices.Contains(t.awaits(), on.ID) {
			c.unblock(step, t, on)
		}
	}
	return true
}

// unblock goes on with a task after the end of one that it waited for.
func (c *Core) unblock(step *pure.Step, t, on *task) {
	switch {
	case t.Joined != 0:
		o := *on.Outcome
		o.Spooled = false
		c.finish(step, t, &o)
		return
	case on.State != Succeeded && !t.Options.RunOnFailure:
		c.finish(step, t, &Outcome{State: Cancelled, Error: dependencyError(on)})
		return
	}
	rec := &TaskUnblocked{ID: t.ID, Dependency: on.ID, State: Ready}
	switch {
	case len(t.Waits) > 1:
		rec.State = Blocked
	case t.RunAt > step.Wall:
		rec.State, rec.Next = Scheduled, t.RunAt
	}
	c.emit(step, rec)
	c.tellUpdate(step, t)
}
