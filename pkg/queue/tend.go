package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// soilQueueState notes that a queue's counts changed, if anybody waits for that.
func (c *Core) soilQueueState(q *queue) {
	if q.MaxRunning > 0 && !q.limited() {
		c.soilQueue(q)
	}
	if q.dirty || q.putters.Len() == 0 && len(q.joiners) == 0 && !q.Closed && !q.Deleting {
		return
	}
	q.dirty = true
	c.dirtyQueues = append(c.dirtyQueues, q)
}

// tend answers whoever waits for a queue's state, and tells whether it came to the end.
func (c *Core) tend(step *pure.Step, q *queue) bool {
	if !c.admit(step, q) {
		return false
	}
	if q.unfinished() == 0 {
		for _, waiter := range q.joiners {
			delete(c.joiners, waiter)
			step.Tell(&QueueJoined{Waiter: waiter, Queue: QueueView{q.QueueState, q.left()}})
		}
		q.joiners = nil
	}
	if q.spent() && q.waiting > 0 && !c.refuseWaiters(step, q) {
		return false
	}
	if q.Deleting && q.unfinished() == 0 && q.tasks() == 0 && c.queues[q.ID] == q {
		if c.full(step) {
			return false
		}
		c.emit(step, &QueueDropped{ID: q.ID})
	}
	return true
}

// tasks is how many tasks a queue has, ended ones included.
func (q *queue) tasks() (n uint64) {
	for _, x := range q.counts {
		n += x
	}
	return n
}

// refuseWaiters tells the reservations at a spent queue that nothing will come, and tells whether it came to the
// end.
func (c *Core) refuseWaiters(step *pure.Step, q *queue) bool {
	for _, p := range slices.Clone(q.inOrder) {
		for {
			w, _, ok := p.waiters.Min()
			if !ok {
				break
			}
			if c.full(step) {
				return false
			}
			step.Look()
			c.removeWaiter(w)
			step.Tell(&Reserved{Waiter: w.id, Err: closed(q)})
		}
	}
	return true
}

// JoinQueue answers when every task of a queue has ended, by the effect [QueueJoined], or at once if they have.
func (c *Core) JoinQueue(step *pure.Step, namespace, queueName string, waiter uint64) (done bool, err error) {
	q, refusal := c.findQueue(step, namespace, queueName)
	switch {
	case refusal != nil:
		return false, refusal
	case q.unfinished() == 0:
		return true, nil
	case len(q.joiners) >= WaitersMax:
		return false, pure.Refuse(pure.Overloaded, "too many wait for the queue's end", "limit", WaitersMax)
	}
	q.joiners = append(q.joiners, waiter)
	c.joiners[waiter] = q
	return false, nil
}

// ForgetJoin ends a JoinQueue that still waits, and tells whether it did. It returns the queue as it is, unless it
// was deleted: another one may have its name.
func (c *Core) ForgetJoin(waiter uint64) (view QueueView, waited bool, err error) {
	q := c.joiners[waiter]
	if q == nil {
		return QueueView{}, false, nil
	}
	q.joiners = without(q.joiners, waiter)
	delete(c.joiners, waiter)
	if c.queueNames[name{q.Namespace, q.Name}] != q {
		return QueueView{}, true, noQueue(q.Namespace, q.Name)
	}
	return QueueView{q.QueueState, q.left()}, true, nil
}
