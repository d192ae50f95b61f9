package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// CallView is a call and its tasks by state.
type CallView struct {
	ID     uint64
	Counts [states]uint64
	Over   bool // nothing of it is unfinished, and nothing more can come
}

// callNote is a change of a task to be told to those who watch its call.
type callNote struct {
	call   *call
	task   *task
	before State // 0 of a new one
	left   bool  // the task is no more the call's, and goes on
}

// WatchCall returns a call as it is now and makes each change of its tasks an effect, until UnwatchCall. One that is
// over already is not watched.
func (c *Core) WatchCall(namespace, callName string) (CallView, error) {
	k := c.callNames[name{namespace, callName}]
	if k == nil {
		return CallView{}, pure.Refuse(pure.CallNotFound, "no such call", "call_id", callName)
	}
	v := CallView{ID: k.ID, Counts: k.counts, Over: c.over(k)}
	if !v.Over {
		k.watched++
	}
	return v, nil
}

// UnwatchCall undoes one WatchCall.
func (c *Core) UnwatchCall(id uint64) {
	if k := c.calls[id]; k != nil && k.watched > 0 {
		k.watched--
	}
}

// over tells whether nothing of a call is unfinished and nothing more can come: it is finished, or no client has it.
func (c *Core) over(k *call) bool {
	if c.calls[k.ID] != k {
		return true
	}
	return k.unfinished() == 0 && len(k.waiting) == 0 && (k.Finished || k.Session.IsZero())
}

// unfinished is how many tasks have not ended.
func (k *call) unfinished() (n uint64) {
	for s := Scheduled; s < Succeeded; s++ {
		n += k.counts[s]
	}
	return n
}

// noteTask notes that a task has changed, and what it was before, for those who watch its call.
func (c *Core) noteTask(t *task, before State) {
	if t.call == nil || t.call.watched == 0 || t.noted {
		return
	}
	t.noted = true
	c.callNotes = append(c.callNotes, callNote{call: t.call, task: t, before: before})
	c.noteCall(t.call)
}

// noteCall notes that a call may be over.
func (c *Core) noteCall(k *call) {
	if k.watched > 0 && !k.noted {
		k.noted = true
		c.notedCalls = append(c.notedCalls, k)
	}
}

// leaveCall takes a task out of its call. One that has not ended, or begins anew, is missed there.
func (c *Core) leaveCall(t *task, missed bool) {
	k := t.call
	k.remove(t)
	c.noteCall(k)
	switch {
	case !missed || k.watched == 0:
	case t.noted:
		i := slices.IndexFunc(c.callNotes, func(n callNote) bool { return n.task == t })
		c.callNotes[i].left = true
	default:
		c.callNotes = append(c.callNotes, callNote{call: k, task: t, before: t.State, left: true})
	}
}

// TellCalls tells those who watch calls what has changed. It is the end of each step.
func (c *Core) TellCalls(step *pure.Step) {
	for i := range c.callNotes {
		n := &c.callNotes[i]
		n.task.noted = false
		e := &CallChange{Call: n.call.ID, Before: n.before}
		if !n.left {
			e.Partials = uint32(len(n.task.Partials))
			e.Task = c.brief(n.task, n.call)
		}
		step.Tell(e)
	}
	for _, k := range c.notedCalls {
		k.noted = false
		if k.watched > 0 && c.over(k) {
			k.watched = 0
			step.Tell(&CallOver{Call: k.ID})
		}
	}
	clear(c.callNotes)
	clear(c.notedCalls)
	c.callNotes, c.notedCalls = c.callNotes[:0], c.notedCalls[:0]
}

// brief is a task without what is large: it may wait for a slow watcher after the task is forgotten.
func (c *Core) brief(t *task, k *call) Snapshot {
	s := c.snapshot(t)
	s.CallName = k.Name
	s.Payload = Payload{}
	if t.Extra != NoExtra {
		s.Extra = &Extra{
			Losses: t.Losses, Suspects: t.Suspects, LastError: t.LastError.cut(), Waits: t.Waits, Joined: t.Joined,
		}
	}
	if t.Outcome != nil {
		o := *t.Outcome
		o.Result, o.Error = Payload{}, o.Error.cut()
		s.Outcome = &o
	}
	return s
}

// Weight is about how many bytes of the task wait with the effect, but for its progress.
func (e *CallChange) Weight() (n int) {
	t := &e.Task
	if t.Extra != nil {
		n += int(t.LastError.weight()) + 8*len(t.Waits)
	}
	if t.Outcome != nil {
		n += int(t.Outcome.Error.weight())
	}
	if t.Options != nil {
		for _, label := range t.Options.Labels {
			n += len(label)
		}
	}
	return n
}
