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
			return d, pure.Refuse(pure.TaskNotFound, "there is no task "+FormatID(id)+", or its outcome is past its retention",
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

// dependencyFailed is the reason of what is cancelled because of another task.
const dependencyFailed = "dependency_failed"

func dependencyError(t *task) *Error {
	return &Error{Reason: dependencyFailed, Message: "it is after task " + FormatID(t.ID) + ", which " + endWord(t.State)}
}

// forsaken tells whether a task was cancelled because one that it is after did not succeed.
func (t *task) forsaken() bool {
	return t.State == Cancelled && t.Joined == 0 && t.Outcome.End == 0 && t.Outcome.Error != nil && t.Outcome.Error.Reason == dependencyFailed
}

// mended tells whether those that a forsaken task is after have succeeded meanwhile, or may still. Of one that is
// forgotten nobody knows; what is to run again decides then.
func (c *Core) mended(t *task) bool {
	live, unknown := false, false
	for _, id := range t.Options.After {
		switch on := c.tasks[id]; {
		case on == nil:
			unknown = true
		case !on.State.Final():
			live = true
		case on.State != Succeeded:
			return false
		}
	}
	return live || !unknown
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

// awaiting is who waits for a task.
type awaiting struct {
	dependents []*task // some may do so no more
	live       int32   // how many do
	joined     int32   // how many of those have joined it
}

// awaited tells whether others wait for a task.
func (t *task) awaited() bool { return t.waits != nil }

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
			if on.waits == nil {
				on.waits = &awaiting{}
			}
			on.waits.add(c, on, t)
			c.retain(on)
		}
	}
}

// waitsRoom is how many tasks may be listed that wait no more.
const waitsRoom = 64

func (w *awaiting) add(c *Core, on, t *task) {
	if len(w.dependents) > 2*int(w.live)+waitsRoom {
		w.dependents = slices.DeleteFunc(w.dependents, func(d *task) bool { return !c.depends(d, on) })
	}
	w.dependents = append(w.dependents, t)
	w.live++
	if t.Joined != 0 {
		w.joined++
	}
}

// depends tells whether a task waits for another.
func (c *Core) depends(t, on *task) bool {
	return c.tasks[t.ID] == t && t.State == Blocked && slices.Contains(t.awaits(), on.ID)
}

// undepend takes a task that waits no more off the books of the others.
func (c *Core) undepend(t *task) {
	if t.State != Blocked {
		return
	}
	for _, id := range t.awaits() {
		c.release(t, id)
	}
	if len(t.Waits) > 0 {
		t.with(func(x *Extra) { x.Waits = nil })
	}
}

// release counts one task less that waits for another.
func (c *Core) release(t *task, id uint64) {
	on := c.tasks[id]
	if on == nil || on.waits == nil {
		return
	}
	if t.Joined != 0 {
		on.waits.joined--
	}
	if on.waits.live--; on.waits.live == 0 {
		on.waits = nil
		c.retain(on)
	}
}

// redepend makes everybody's dependents anew, after a replay, and begins to tell those of tasks that ended.
func (c *Core) redepend() {
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		t.waits = nil
	}
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		c.depend(t)
	}
	for t := c.taskAges.Oldest(); t != nil; t = c.taskAges.Next(t) {
		if t.awaited() && t.State.Final() {
			c.sweep(&sweep{ended: t})
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
	c.release(t, rec.Dependency)
	t.with(func(x *Extra) { x.Waits = without(x.Waits, rec.Dependency) })
	t.Next = rec.Next
	c.grow(t, weight(&t.TaskState)-before)
	c.setState(t, rec.State, rec.Since)
	c.enter(t)
}

// sweepEnded tells the dependents of a task that it has ended, and tells whether it came to the end.
func (c *Core) sweepEnded(step *pure.Step, s *sweep) bool {
	on := s.ended
	for on.waits != nil && len(on.waits.dependents) > 0 && c.tasks[on.ID] == on && on.State.Final() {
		if c.full(step) {
			return false
		}
		step.Look()
		t := on.waits.dependents[0]
		on.waits.dependents = on.waits.dependents[1:]
		if c.depends(t, on) {
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
		o.Spooled, o.Taken = false, false
		c.finish(step, t, &o)
		return
	case on.State != Succeeded && !t.Options.RunOnFailure:
		c.finish(step, t, &Outcome{State: Cancelled, Error: dependencyError(on)})
		return
	case t.queue.purges(t): // which may say nothing of ready ones
		c.purgeOne(step, t)
		return
	}
	rec := &TaskUnblocked{ID: t.ID, Dependency: on.ID, State: Ready}
	switch {
	case len(t.Waits) > 1:
		rec.State = Blocked
	case t.RunAt > step.Wall:
		rec.State, rec.Next = Scheduled, t.RunAt
	}
	rec.Since = t.queue.since(step, rec.State)
	c.emit(step, rec)
	c.tellUpdate(step, t)
}
