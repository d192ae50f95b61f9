package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// leader returns the live task that a new one of the same unique key joins, nil if there is none.
func (q *queue) leader(n *NewTask, o *Options) (*task, *pure.Refusal) {
	if o.UniqueKey == "" {
		return nil, nil
	}
	t := q.unique[o.UniqueKey]
	if t == nil || t.sameWork(&n.Spec) {
		return t, nil
	}
	return nil, pure.Refuse(pure.UniqueMismatch, "task "+FormatID(t.ID)+", which has this unique key and has not ended, has another kind or payload",
		"task_id", FormatID(t.ID), "unique_key", o.UniqueKey)
}

// followed tells whether others have joined a task: calls, or requests for it alone.
func (t *task) followed() bool { return t.waits != nil && t.waits.joined > 0 || len(t.Joiners) > 0 }

// detach lets a call's part in a task end that others have joined: it is cancelled for the call, and goes on for
// the others.
func (c *Core) detach(step *pure.Step, t *task) {
	k := t.call
	left := c.standIn(step, t, &Outcome{State: Cancelled, Error: cancelledError, FinishedAt: step.Wall})
	if k.attached {
		step.Tell(&Finished{Call: k.ID, Index: left.Index, ID: left.ID, Outcome: left.Outcome})
	}
}

// standIn takes a task from its call, and has another one take its place there, with an outcome.
func (c *Core) standIn(step *pure.Step, t *task, o *Outcome) *task {
	k, index := t.call, t.Index
	c.emit(step, &TaskDetached{ID: t.ID})
	c.putState = TaskState{
		Spec: t.Spec, ID: step.Next(), Queue: t.Queue, Call: k.ID, Index: index, CreatedAt: t.CreatedAt,
		State: o.State, Outcome: o,
		// The call's client may have still to be told the partial results; the task's own list may grow on.
		Extra: &Extra{Joined: t.ID, Partials: slices.Clip(t.Partials)},
	}
	if t.State.Final() {
		c.putState.Attempts, c.putState.Tries, c.putState.Token, c.putState.StartedAt = t.Attempts, t.Tries, t.Token, t.StartedAt
	} else {
		c.putState.Payload = Payload{}
	}
	c.rec.put = TaskPut{State: &c.putState}
	c.emit(step, &c.rec.put)
	return c.tasks[c.putState.ID]
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
	if t := c.tasks[id]; t != nil && t.Detached && !t.State.Final() && !t.followed() {
		c.cancel(step, t, -1)
	}
}

func (c *Core) applyJoined(rec *TaskJoined) {
	t := c.known(rec.ID)
	if t == nil || slices.Contains(t.Joiners, rec.RequestID) {
		return
	}
	before := weight(&t.TaskState)
	t.with(func(x *Extra) { x.Joiners = append(slices.Clone(x.Joiners), rec.RequestID) })
	c.grow(t, weight(&t.TaskState)-before)
	c.remember(t)
}
