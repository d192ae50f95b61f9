package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Dependency is a task that another one is after; see [After] and [AfterTasks].
type Dependency struct {
	future *SpecFuture
	taskID string
}

// After has a task wait for tasks of the same call, by their futures.
func After(futures ...*SpecFuture) []Dependency {
	out := make([]Dependency, len(futures))
	for i, f := range futures {
		out[i].future = f
	}
	return out
}

// AfterTasks has a task wait for any tasks of the namespace, by the broker's names for them.
func AfterTasks(taskIDs ...string) []Dependency {
	out := make([]Dependency, len(taskIDs))
	for i, id := range taskIDs {
		out[i].taskID = id
	}
	return out
}

// errOtherCall refuses a future that the broker cannot find by its index.
var errOtherCall = errors.New("client: a task can be after futures of its own call only: " +
	"name the others by AfterTasks")

// futuresBefore are the futures that a task of the call is after.
func (c *Call) futuresBefore(spec *Spec) (before []*SpecFuture, err error) {
	for _, d := range spec.After {
		switch {
		case d.future == nil:
		case d.future.call != c:
			return nil, errOtherCall
		default:
			before = append(before, d.future)
		}
	}
	return before, nil
}

// alone refuses what makes sense within a call only.
func (s *Spec) alone() error {
	for _, d := range s.After {
		if d.future != nil {
			return errOtherCall
		}
	}
	return nil
}

// taskIDsBefore are the names of the tasks that a task is after.
func (s *Spec) taskIDsBefore() (ids []string) {
	for _, d := range s.After {
		if d.future == nil {
			ids = append(ids, d.taskID)
		}
	}
	return ids
}

// Tasks that are after others of their call travel with the indexes of those. An index that was acknowledged
// is unknown to the broker, so what has ended here is decided here, whenever the task is written into a
// frame: acknowledgements never precede it in the same frame, as they are of outcomes that came before.
// What the broker does not know because it has not taken it yet (it is on its way, or waits for room in its
// queue) is waited for: the task is refused, and held back until then.

// appendTo appends the encoded task, with the indexes of those that it is after and that have not ended.
func (f *SpecFuture) appendTo(b []byte) []byte {
	if len(f.after) == 0 {
		return append(b, f.encoded...)
	}
	f.sentSure = !f.tooEarly()
	var open []byte
	for _, d := range f.after {
		if d.state < futureResolved {
			open = protowire.AppendVarint(open, d.index)
		}
	}
	return appendDependent(b, f.encoded, open)
}

// failDependent ends a task that never runs. One of a call that was met again may have run before, so it is
// sent at any rate.
func (c *Call) failDependent(f *SpecFuture) {
	f.outcome = dependencyFailed(f.failedBefore())
	c.publish(f)
	c.void(f)
}

// failedBefore is a future whose end has decided that this one never runs, nil if there is none.
func (f *SpecFuture) failedBefore() *SpecFuture {
	if f.runOnFailure {
		return nil
	}
	for _, d := range f.after {
		if d.state >= futureResolved && (d.err != nil || d.outcome.Err() != nil) {
			return d
		}
	}
	return nil
}

// dependencyFailed is the outcome of a task that is after one that did not succeed.
func dependencyFailed(failed *SpecFuture) Outcome {
	name := failed.taskID
	if name == "" {
		name = fmt.Sprintf("number %d of its call", failed.index)
	}
	return Outcome{
		State: weftv1.TaskState_TASK_STATE_CANCELLED,
		Error: &task.Error{
			Reason: task.ReasonDependencyFailed, Message: "it is after task " + name + ", which did not succeed",
		},
	}
}

// appendDependent appends an encoded task with the indexes that it is after.
func appendDependent(b, encoded, indexes []byte) []byte {
	if len(indexes) == 0 {
		return append(b, encoded...)
	}
	_, _, tag := protowire.ConsumeTag(encoded)
	body, _ := protowire.ConsumeBytes(encoded[tag:])
	size := len(body) + sizeTag(taskAfterIndexes) + protowire.SizeBytes(len(indexes))
	b = protowire.AppendTag(b, requestTasks, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // a size is not negative
	b = append(b, body...)
	b = protowire.AppendTag(b, taskAfterIndexes, protowire.BytesType)
	return protowire.AppendBytes(b, indexes)
}

// unknownBefore handles a refusal for want of a task that is to end first, and reports whether it did: the
// task is sent again without it if it has ended meanwhile, or once the broker has it. If the broker had them
// all before, it has forgotten one, and the answer would be the same.
func (c *Call) unknownBefore(f *SpecFuture, r *weftv1.ExecuteRejection) bool {
	if len(f.after) == 0 || r.GetReason() != weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND ||
		!strings.HasPrefix(r.GetMetadata()["field"], "after_indexes") || f.sentSure {
		return false
	}
	if f.state == futureSent {
		f.state = futureQueued
		c.held = append(c.held, f)
	}
	return true
}

// tooEarly reports whether the broker may not have a task yet that is to end first.
func (f *SpecFuture) tooEarly() bool {
	return slices.ContainsFunc(f.after, func(d *SpecFuture) bool { return d.state < futureAccepted })
}

// releaseHeld queues the tasks whose predecessors the broker has by now, or that have ended.
func (c *Call) releaseHeld() {
	if len(c.held) == 0 {
		return
	}
	kept := c.held[:0]
	for _, f := range c.held {
		if f.tooEarly() {
			kept = append(kept, f)
			continue
		}
		c.queue.push(f)
		c.wake()
	}
	clear(c.held[len(kept):])
	c.held = kept
}
