package queue

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// Retry makes final tasks ready again, all of them or none, and returns how many. A call's task belongs to none from
// then on. A request with an id is answered again, and changes nothing, while one of its tasks is known and no other
// request has had that one tried again.
func (c *Core) Retry(step *pure.Step, namespace, requestID string, ids []uint64) (tasks int, err error) {
	type uniqueKey struct {
		queue *queue
		key   string
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids))) // what others are after comes before them
	with := fingerprint(ids)
	if done, err := c.retried(namespace, requestID, ids, with); done || err != nil {
		return len(ids), err
	}
	keys := map[uniqueKey]uint64{}
	bytes := int64(0)
	for _, id := range ids {
		t, err := c.find(namespace, id)
		if err != nil {
			return 0, err
		}
		if err := c.revivable(t); err != nil {
			return 0, err
		}
		if key := t.Options.UniqueKey; key != "" {
			k := uniqueKey{t.queue, key}
			if other := keys[k]; other != 0 {
				return 0, pure.Refuse(pure.UniqueMismatch, "two of the tasks have the same unique key",
					"task_id", FormatID(other), "unique_key", key)
			}
			keys[k] = id
		}
		if bytes += weight(&t.TaskState); bytes > retryBytesMax && len(ids) > 1 {
			return 0, pure.Refuse(pure.InvalidField, "task_ids: the tasks must not be larger than 4 MiB together",
				"field", "task_ids", "limit", retryBytesMax)
		}
	}
	for _, id := range ids {
		c.revive(step, c.tasks[id], requestID, with)
	}
	return len(ids), nil
}

// retried tells whether a request was made before: all of its tasks were tried again then.
func (c *Core) retried(namespace, requestID string, ids []uint64, with uint64) (done bool, err error) {
	if requestID == "" {
		return false, nil
	}
	for _, id := range ids {
		t, err := c.find(namespace, id)
		switch {
		case err != nil || t.RetriedBy != requestID:
		case t.RetriedWith != with:
			return false, requestMismatch(requestID)
		default:
			done = true
		}
	}
	return done, nil
}

// fingerprint tells lists of ids apart.
func fingerprint(ids []uint64) uint64 {
	h := fnv.New64a()
	for _, id := range ids {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, id))
	}
	return h.Sum64()
}

func (c *Core) revivable(t *task) error {
	key := t.Options.UniqueKey
	switch {
	case !t.State.Final() || t.State == Succeeded || t.Joined != 0:
		return pure.Refuse(pure.TaskNotFinal, fmt.Sprintf("task %s is %v: only one that failed, was cancelled or expired can be tried again",
			FormatID(t.ID), t.State),
			"task_id", FormatID(t.ID), "state", t.State)
	case t.queue.Closed:
		return closed(t.queue)
	case key != "" && t.queue.unique[key] != nil:
		return pure.Refuse(pure.UniqueMismatch, "another task of its unique key is live",
			"task_id", FormatID(t.queue.unique[key].ID), "unique_key", key)
	}
	return nil
}

// What one page of tries makes ready at most: the outcomes that calls keep of them are in one journal entry.
const (
	retryMax      = 1000
	retryBytesMax = 4 << 20
)

// RetryQueue makes the failed tasks of a queue ready again, and has those that were cancelled because of one of
// them wait for it again, as far as what they are after may still succeed. It takes those with ids above after, a
// page at a time, and returns how many and the id to go on from, 0 at the end. What others are after has a lower
// id, and so is ready again before them.
func (c *Core) RetryQueue(step *pure.Step, namespace, queueName, kind string, after uint64) (tasks int, next uint64, err error) {
	q, refusal := c.findQueue(step, namespace, queueName)
	if refusal != nil {
		return 0, 0, refusal
	}
	page := c.order.After(after)
	page = slices.Clone(page[:min(len(page), examinedMax+1)]) // what is revived adds to the order
	bytes := int64(0)
	for examined, id := range page {
		if tasks == retryMax || examined == examinedMax || examined > 0 && c.full(step) {
			return tasks, id - 1, nil
		}
		t := c.tasks[id]
		if t == nil || t.queue != q || kind != "" && t.Kind != kind || c.revivable(t) != nil ||
			t.State != Failed && !(t.forsaken() && c.mended(t)) {
			continue
		}
		if bytes += weight(&t.TaskState); bytes > retryBytesMax && tasks > 0 {
			return tasks, id - 1, nil
		}
		c.revive(step, t, "", 0)
		tasks++
	}
	return tasks, 0, nil
}

// revive has a final task begin anew, for a request of so many tasks. Its call keeps the outcome for a client that may
// not have it yet.
func (c *Core) revive(step *pure.Step, t *task, requestID string, with uint64) {
	if !t.Acknowledged {
		c.tellReleased(step, t)
		if t.call != nil {
			o := *t.Outcome
			o.Spooled = false
			c.standIn(step, t, &o)
		}
	}
	k := t.call
	rec := &TaskRevived{ID: t.ID, State: Ready, Undue: t.Options.Deadline != 0 && t.Options.Deadline <= step.Wall}
	for _, id := range t.Options.After {
		if on := c.tasks[id]; on != nil && !on.State.Final() && !slices.Contains(rec.Waits, id) {
			rec.State, rec.Waits = Blocked, append(rec.Waits, id)
		}
	}
	if requestID != "" {
		rec.RequestID, rec.With = requestID, with
	}
	rec.Since = t.queue.since(step, rec.State)
	c.emit(step, rec)
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
		c.leaveCall(t, true)
		t.call, t.Call, t.Index = nil, 0, 0
	}
	if rec.Undue {
		options := *t.Options
		options.Deadline = 0
		t.Options = &options
	}
	o := t.Outcome
	t.with(func(x *Extra) {
		x.Losses, x.Suspects, x.CancelGrace, x.Detached = 0, nil, 0, false
		x.LastError, x.Waits = o.Error, rec.Waits
		x.RetriedBy, x.RetriedWith = rec.RequestID, rec.With
		if o.End != 0 {
			x.History = remembered(t, &TaskRetried{End: o.End, Error: o.Error, EndedAt: o.FinishedAt, Worker: o.Worker})
		}
	})
	t.Tries, t.Outcome, t.Acknowledged, t.Next = 0, nil, false, 0
	c.account(t.queue, weight(&t.TaskState)-before, 0)
	c.setState(t, rec.State, rec.Since)
	c.enter(t)
	c.depend(t)
}
