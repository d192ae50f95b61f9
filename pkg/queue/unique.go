package queue

import "github.com/weftq/weft/internal/pure"

// leader returns the live task that a new one of the same unique key joins, nil if there is none.
func (q *queue) leader(n *NewTask, o *Options) (*task, *pure.Refusal) {
	if o.UniqueKey == "" {
		return nil, nil
	}
	t := q.unique[o.UniqueKey]
	if t == nil || t.sameWork(&n.Spec) {
		return t, nil
	}
	return nil, pure.Refuse(pure.UniqueMismatch, "a live task of this unique key has another kind or payload",
		"task_id", FormatID(t.ID), "unique_key", o.UniqueKey)
}

// followers is how many tasks have joined one.
func (t *task) followers() (n int) {
	if t.waits == nil {
		return 0
	}
	for _, d := range t.waits.dependents {
		if d.State == Blocked && d.Joined == t.ID {
			n++
		}
	}
	return n
}

// detach lets a call's part in a task end that others have joined: another task takes its place in the call,
// which is cancelled, and the task goes on for the others.
func (c *Core) detach(step *pure.Step, t *task) {
	k, index := t.call, t.Index
	c.emit(step, &TaskDetached{ID: t.ID})
	c.putState = TaskState{
		Spec: t.Spec, ID: step.Next(), Queue: t.Queue, Call: k.ID, Index: index, CreatedAt: t.CreatedAt,
		State: Cancelled, Extra: &Extra{Joined: t.ID},
		Outcome: &Outcome{State: Cancelled, Error: cancelledError, FinishedAt: step.Wall},
	}
	c.putState.Payload = Payload{}
	c.rec.put = TaskPut{State: &c.putState}
	c.emit(step, &c.rec.put)
	left := c.tasks[c.putState.ID]
	if k.attached {
		step.Tell(&Finished{Call: k.ID, Index: index, ID: left.ID, Outcome: left.Outcome})
	}
}

func (c *Core) applyDetached(rec *TaskDetached) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	if t.call != nil {
		t.call.remove(t)
	}
	t.call, t.Call, t.Index = nil, 0, 0
	t.with(func(x *Extra) { x.Detached = true })
}

// abandoned cancels a task whose submitter has left when the last one that joined it does.
func (c *Core) abandoned(step *pure.Step, id uint64) {
	if t := c.tasks[id]; t != nil && t.Detached && !t.State.Final() && t.followers() == 0 {
		c.cancel(step, t, -1)
	}
}
