package queue

import (
	"github.com/weftq/weft/internal/pure"
)

// Retry makes final tasks ready again, all of them or none. A call's task belongs to none from then on.
func (c *Core) Retry(step *pure.Step, namespace string, ids []uint64) error {
	for _, id := range ids {
		t, err := c.find(namespace, id)
		if err != nil {
			return err
		}
		if err := c.revivable(t); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if t := c.tasks[id]; c.revivable(t) == nil { // the same id twice, or the same unique key
			c.revive(step, t)
		}
	}
	return nil
}

func (c *Core) revivable(t *task) error {
	key := t.Options.UniqueKey
	switch {
	case !t.State.Final() || t.State == Succeeded || t.Joined != 0:
		return pure.Refuse(pure.TaskNotFinal, "only a task that failed, was cancelled or expired can be tried again",
			"task_id", FormatID(t.ID), "state", t.State)
	case t.queue.Closed:
		return closed(t.queue)
	case key != "" && t.queue.unique[key] != nil:
		return pure.Refuse(pure.UniqueMismatch, "another task of its unique key is live",
			"task_id", FormatID(t.queue.unique[key].ID), "unique_key", key)
	}
	return nil
}

// retryMax is how many tasks one page of [Core.RetryQueue] makes ready.
const retryMax = 1000

// RetryQueue makes the failed tasks of a queue ready again, those with ids above after, a page at a time, and
// returns how many and the id to go on from, 0 at the end.
func (c *Core) RetryQueue(step *pure.Step, namespace, queueName, kind string, after uint64) (tasks int, next uint64, err error) {
	q, refusal := c.findQueue(step, namespace, queueName)
	if refusal != nil {
		return 0, 0, refusal
	}
	for examined, id := range c.order.After(after) {
		if tasks == retryMax || examined == examinedMax {
			return tasks, id - 1, nil
		}
		t := c.tasks[id]
		if t != nil && t.queue == q && t.State == Failed && (kind == "" || t.Kind == kind) && c.revivable(t) == nil {
			c.revive(step, t)
			tasks++
		}
	}
	return tasks, 0, nil
}

func (c *Core) revive(step *pure.Step, t *task) {
	k := t.call
	if k != nil && !t.Acknowledged {
		c.emit(step, &CallAcknowledged{ID: k.ID, Ranges: pure.Ranges{{First: t.Index, Last: t.Index}}, Kept: []uint64{t.Index}})
	}
	c.emit(step, &TaskRevived{ID: t.ID})
	c.tellUpdate(step, t)
	if k != nil {
		c.dropIfDone(step, k)
	}
}

func (c *Core) applyRevived(rec *TaskRevived) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	c.leave(t)
	before := weight(&t.TaskState)
	if t.call != nil {
		t.call.remove(t)
		t.call, t.Call, t.Index = nil, 0, 0
	}
	failed := t.Outcome.Error
	t.with(func(x *Extra) { x.LastError, x.Losses = failed, 0 })
	t.Tries, t.Outcome, t.Acknowledged, t.Next = 0, nil, false, 0
	c.bytes += weight(&t.TaskState) - before
	c.setState(t, Ready)
	c.enter(t)
}
