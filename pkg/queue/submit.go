package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// NewTask is a task to be accepted.
type NewTask struct {
	Index uint64 // in its call
	Queue string
	Spec  Spec
}

// CreateQueue makes a queue, or finds it.
func (c *Core) CreateQueue(step *pure.Step, namespace, queueName string) {
	c.makeQueue(step, namespace, queueName)
}

func (c *Core) makeQueue(step *pure.Step, namespace, queueName string) *queue {
	if q := c.queueNames[name{namespace, queueName}]; q != nil {
		return q
	}
	id := step.Next()
	c.emit(step, &QueuePut{State: QueueState{ID: id, Namespace: namespace, Name: queueName, CreatedAt: step.Wall}})
	return c.queues[id]
}

// findQueue finds a queue, and makes the default one.
func (c *Core) findQueue(step *pure.Step, namespace, queueName string) (*queue, *pure.Refusal) {
	if queueName == "" {
		queueName = DefaultQueue
	}
	if q := c.queueNames[name{namespace, queueName}]; q != nil {
		return q, nil
	}
	if queueName == DefaultQueue {
		return c.makeQueue(step, namespace, queueName), nil
	}
	return nil, pure.Refuse(pure.QueueNotFound, "there is no queue "+queueName+" in namespace "+namespace+
		": create it first", "queue", queueName)
}

// Enqueue accepts tasks of a call, each on its own merits: the effects tell which, and why not. An index
// that was accepted before is accepted again if the task is equal.
func (c *Core) Enqueue(step *pure.Step, callID uint64, tasks []NewTask) {
	k := c.calls[callID]
	var accepted pure.Ranges
	for i := range tasks {
		n := &tasks[i]
		if err := c.enqueueOne(step, k, n); err != nil {
			step.Tell(&Rejected{Call: callID, Index: n.Index, Reason: err})
			continue
		}
		accepted.Add(n.Index, n.Index)
	}
	if len(accepted) > 0 {
		step.Tell(&Accepted{Call: callID, Ranges: accepted})
	}
}

func (c *Core) enqueueOne(step *pure.Step, k *call, n *NewTask) *pure.Refusal {
	if k == nil {
		return callFinished("")
	}
	if k.Accepted.Contains(n.Index) {
		return c.again(step, k, n)
	}
	switch {
	case k.Finished:
		return callFinished(k.Name)
	case k.open >= CallTasksMax:
		return pure.Refuse(pure.CallWindowFull, "too many tasks of the call are not acknowledged", "limit", CallTasksMax)
	case k.bytes >= CallBytesMax:
		return pure.Refuse(pure.CallWindowFull, "too many bytes of the call are not acknowledged", "limit", CallBytesMax)
	case len(k.Accepted) >= CallRangesMax && !k.adjoins(n.Index):
		return pure.Refuse(pure.CallSparse, "the indexes of the call's tasks have too many holes", "limit", CallRangesMax)
	}
	_, err := c.put(step, k.Namespace, n, k, "")
	return err
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
	case !t.same(n):
		return pure.Refuse(pure.RequestMismatch, "the call has another task at this index", "index", n.Index)
	case missed:
		k.retold.Add(n.Index, n.Index)
		step.Tell(&Finished{Call: k.ID, Index: t.Index, ID: t.ID, Outcome: t.Outcome})
	}
	return nil
}

// callFinished is the refusal of tasks by a call that is over; the core may have forgotten it already.
func callFinished(callName string) *pure.Refusal {
	return pure.Refuse(pure.CallFinished, "the call was finished or cancelled and takes no more tasks", "call_id", callName)
}

// adjoins tells whether an index extends a stretch of accepted ones, and so needs no stretch of its own.
func (k *call) adjoins(index uint64) bool {
	return index > 0 && k.Accepted.Contains(index-1) || index+1 != 0 && k.Accepted.Contains(index+1)
}

// Submit accepts a task of its own.
func (c *Core) Submit(step *pure.Step, namespace, requestID string, n NewTask) (uint64, error) {
	if requestID != "" {
		if t := c.requests[name{namespace, requestID}]; t != nil {
			if !t.same(&n) {
				return 0, pure.Refuse(pure.RequestMismatch, "a request with this id had another body", "request_id", requestID)
			}
			return t.ID, nil
		}
	}
	t, err := c.put(step, namespace, &n, nil, requestID)
	if err != nil {
		return 0, err
	}
	return t.ID, nil
}

func (c *Core) put(step *pure.Step, namespace string, n *NewTask, k *call, requestID string) (*task, *pure.Refusal) {
	if c.bytesMax > 0 && c.bytes >= c.bytesMax {
		return nil, pure.Refuse(pure.StateFull, "the broker holds as many bytes of tasks as it may", "limit", c.bytesMax)
	}
	q, err := c.findQueue(step, namespace, n.Queue)
	if err != nil {
		return nil, err
	}
	c.putState = TaskState{
		Spec: n.Spec, ID: step.Next(), Queue: q.ID, Index: n.Index, RequestID: requestID,
		CreatedAt: step.Wall, State: Ready,
	}
	if c.putState.Options == nil {
		c.putState.Options = DefaultOptions
	}
	if k != nil {
		c.putState.Call = k.ID
	}
	if n.Spec.RunAt > step.Wall {
		c.putState.State, c.putState.Next = Scheduled, n.Spec.RunAt
	}
	c.rec.put = TaskPut{State: &c.putState}
	c.emit(step, &c.rec.put)
	return c.tasks[c.putState.ID], nil
}

// same tells whether a task was asked for in the same words.
func (t *task) same(n *NewTask) bool {
	queueName := n.Queue
	if queueName == "" {
		queueName = DefaultQueue
	}
	options := n.Spec.Options
	if options == nil {
		options = DefaultOptions
	}
	return t.queue.Name == queueName && t.Kind == n.Spec.Kind && t.RunAt == n.Spec.RunAt &&
		t.Payload.Encoding == n.Spec.Payload.Encoding && string(t.Payload.Data) == string(n.Spec.Payload.Data) &&
		t.Options.equal(options)
}

func (o *Options) equal(p *Options) bool {
	if o == p {
		return true
	}
	return slices.Equal(o.Labels, p.Labels) &&
		o.Timeout == p.Timeout && o.Grace == p.Grace && o.AttemptsMax == p.AttemptsMax &&
		o.InitialBackoff == p.InitialBackoff && o.Multiplier == p.Multiplier && o.BackoffMax == p.BackoffMax &&
		o.Jitter == p.Jitter && o.Retention == p.Retention && o.Daemon == p.Daemon &&
		o.FailOnWorkerLost == p.FailOnWorkerLost
}
