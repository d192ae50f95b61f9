package queue

import (
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// NewTask is a task to be accepted.
type NewTask struct {
	Index        uint64 // in its call
	Queue        string
	Spec         Spec
	AfterIndexes []uint64 // tasks of its call that have to end first, besides Spec.Options.After
}

// Enqueue accepts tasks of a call, each on its own merits: the effects tell which, and why not. An index
// that was accepted before is accepted again if the task is equal. A task whose queue is full waits for room,
// unless the call wants it refused.
func (c *Core) Enqueue(step *pure.Step, callID uint64, tasks []NewTask) {
	k := c.calls[callID]
	var accepted pure.Ranges
	for i := range tasks {
		n := &tasks[i]
		if len(n.AfterIndexes) > 0 { // they become tasks, and the command stays what was asked for
			own := *n
			n = &own
		}
		switch err := c.enqueueOrWait(step, k, n, nil); err {
		case nil:
			accepted.Add(n.Index, n.Index)
		case waits:
		default:
			step.Tell(&Rejected{Call: callID, Index: n.Index, Reason: err})
		}
	}
	if len(accepted) > 0 {
		step.Tell(&Accepted{Call: callID, Ranges: accepted})
	}
}

// waits says that a task of a call is neither accepted nor refused yet.
var waits = &pure.Refusal{Message: "it waits for room in its queue"}

// enqueueOrWait accepts a task of a call, refuses it or has it wait. from is the queue where it has waited and
// has its turn, nil for a new one.
func (c *Core) enqueueOrWait(step *pure.Step, k *call, n *NewTask, from *queue) *pure.Refusal {
	err := c.enqueueOne(step, k, n, from)
	if err == nil || err.Reason != pure.QueueFull || k.rejects {
		return err
	}
	q, err := c.findQueue(step, k.Namespace, n.Queue)
	if err != nil {
		return err
	}
	if err := c.wait(step, &putter{queue: q, namespace: k.Namespace, task: *n, call: k}); err != nil {
		return err
	}
	return waits
}

// tellEnqueued tells what became of one task.
func (c *Core) tellEnqueued(step *pure.Step, k *call, n *NewTask, err *pure.Refusal) {
	if err != nil {
		step.Tell(&Rejected{Call: k.ID, Index: n.Index, Reason: err})
		return
	}
	step.Tell(&Accepted{Call: k.ID, Ranges: pure.Ranges{{First: n.Index, Last: n.Index}}})
}

func (c *Core) enqueueOne(step *pure.Step, k *call, n *NewTask, from *queue) *pure.Refusal {
	if k == nil {
		return callFinished("")
	}
	if k.Accepted.Contains(n.Index) {
		return c.again(step, k, n)
	}
	switch {
	case k.waiting[n.Index] != nil && k.waiting[n.Index].sameWork(n):
		return waits // it is on its way
	case k.waiting[n.Index] != nil:
		return otherTask(k, n)
	case k.Finished:
		return callFinished(k.Name)
	case k.open+len(k.waiting) >= CallTasksMax:
		return pure.Refuse(pure.CallWindowFull, "too many tasks of the call are not acknowledged", "limit", CallTasksMax)
	case k.bytes+k.waitingBytes >= CallBytesMax:
		return pure.Refuse(pure.CallWindowFull, "too many bytes of the call are not acknowledged", "limit", CallBytesMax)
	case len(k.Accepted) >= CallRangesMax && !k.adjoins(n.Index):
		return pure.Refuse(pure.CallSparse, "the indexes of the call's tasks have too many holes", "limit", CallRangesMax)
	}
	switch on, err := k.resolve(n); {
	case err != nil:
		return err
	case on != nil:
		p := &putter{namespace: k.Namespace, task: *n, call: k}
		if err := c.wait(step, p); err != nil {
			return err
		}
		on.behind = append(on.behind, p)
		return waits
	}
	_, _, err := c.put(step, k.Namespace, n, k, "", from)
	return err
}

// resolve turns indexes of the call into tasks. If one of them waits for room itself, it is returned: behind it
// there will be a task, or a refusal.
func (k *call) resolve(n *NewTask) (on *putter, err *pure.Refusal) {
	if len(n.AfterIndexes) == 0 {
		return nil, nil
	}
	options := *n.Spec.options()
	options.After = slices.Clone(options.After)
	for i, index := range n.AfterIndexes {
		field := fmt.Sprintf("after_indexes[%d]", i)
		t := k.byIndex[index]
		switch {
		case index >= n.Index:
			return nil, pure.Refuse(pure.InvalidField, field+": must be below the task's own index: tasks that are after one another in a circle never run",
				"field", field, "index", index)
		case k.waiting[index] != nil:
			return k.waiting[index], nil
		case t == nil:
			return nil, pure.Refuse(pure.TaskNotFound, "the call has no task at this index, or its outcome was acknowledged",
				"field", field, "index", index)
		}
		options.After = append(options.After, t.ID)
	}
	n.AfterIndexes, n.Spec.Options = nil, &options
	return nil, nil
}

// again answers for an index that was accepted before. If another client of the call has acknowledged its
// outcome, the one that asks for the task anew does not have it, and would wait for ever: it is told once
// more, or that it is gone.
func (c *Core) again(step *pure.Step, k *call, n *NewTask) *pure.Refusal {
	t := k.byIndex[n.Index]
	missed := k.missed.Contains(n.Index) && !k.retold.Contains(n.Index)
	switch {
	case t == nil && missed:
		return gone(n.Index)
	case t == nil:
		return nil
	case !c.sameInCall(k, t, n):
		return otherTask(k, n)
	case missed:
		k.retold.Add(n.Index, n.Index)
		c.resumeAdvanced(step, t)
		step.Tell(&Finished{Call: k.ID, Index: t.Index, ID: t.ID, Outcome: t.Outcome})
	}
	return nil
}

// sameInCall tells whether a task of a call was asked for in the same words. What it is after has to be among
// what it was after, but for what has ended: that is left out, as the call may have forgotten it.
func (c *Core) sameInCall(k *call, t *task, n *NewTask) bool {
	had := t.Options.After
	if len(had) == 0 && len(n.AfterIndexes) == 0 {
		return t.same(n)
	}
	options := *n.Spec.options()
	after := slices.Clone(options.After)
	for _, index := range n.AfterIndexes {
		if on := k.byIndex[index]; on != nil {
			after = append(after, on.ID)
		}
	}
	for _, id := range after {
		if !slices.Contains(had, id) {
			return false
		}
	}
	for _, id := range had {
		if on := c.tasks[id]; on != nil && !on.State.Final() && !slices.Contains(after, id) {
			return false
		}
	}
	asked := *n
	options.After = had
	asked.AfterIndexes, asked.Spec.Options = nil, &options
	return t.same(&asked)
}

// callFinished is the refusal of tasks by a call that is over; the core may have forgotten it already.
// otherTask refuses a task at the index of another one.
func otherTask(k *call, n *NewTask) *pure.Refusal {
	message := fmt.Sprintf("the call %s has another task at index %d: submit what it was given there before, or give the call another name", k.Name, n.Index)
	return pure.Refuse(pure.RequestMismatch, message, "index", n.Index)
}

func callFinished(callName string) *pure.Refusal {
	return pure.Refuse(pure.CallFinished, "the call was finished or cancelled and takes no more tasks", "call_id", callName)
}

// adjoins tells whether an index extends a stretch of accepted ones, and so needs no stretch of its own. What waits
// for room will be accepted: the stretches beside it are one then.
func (k *call) adjoins(index uint64) bool {
	return index > 0 && k.has(index-1) || index+1 != 0 && k.has(index+1)
}

func (k *call) has(index uint64) bool { return k.Accepted.Contains(index) || k.waiting[index] != nil }

// equal tells whether options are the same.
func (o *Options) equal(p *Options) bool {
	if o == p {
		return true
	}
	return slices.Equal(o.Labels, p.Labels) && slices.Equal(o.WorkerLabels, p.WorkerLabels) && slices.Equal(o.After, p.After) &&
		o.Timeout == p.Timeout && o.Grace == p.Grace && o.AttemptsMax == p.AttemptsMax &&
		o.InitialBackoff == p.InitialBackoff && o.Multiplier == p.Multiplier && o.BackoffMax == p.BackoffMax &&
		o.Jitter == p.Jitter && o.Retention == p.Retention && o.FailedRetention == p.FailedRetention && o.Daemon == p.Daemon &&
		o.FailOnWorkerLost == p.FailOnWorkerLost && o.Priority == p.Priority && o.Deadline == p.Deadline &&
		o.UniqueKey == p.UniqueKey && o.FairnessKey == p.FairnessKey && o.Exclusive == p.Exclusive &&
		o.RunOnFailure == p.RunOnFailure
}
