package lockservice

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// condition is there while somebody waits at it to be notified.
type condition struct {
	lock  string
	queue pure.Heap[*Waiter]
}

func (c *Core) condition(n name, lockName string) *condition {
	k := c.conditions[n]
	if k == nil {
		k = &condition{lock: lockName, queue: newQueue()}
		c.conditions[n] = k
	}
	return k
}

func (c *Core) tidyCondition(n name) {
	if k := c.conditions[n]; k != nil && k.queue.Len() == 0 {
		delete(c.conditions, n)
	}
}

// At is a condition and the grant of its lock.
type At struct {
	Namespace, Condition, Lock string
	Session                    session.ID
	Token                      uint64
}

// exclusive returns the grant, which has to be exclusive, and refuses another lock than that of those who wait.
func (c *Core) exclusive(at *At) (*Grant, error) {
	g, err := c.owned(KindLock, name{at.Namespace, at.Lock}, at.Session, at.Token)
	if err != nil {
		return nil, err
	}
	if g.Mode != Exclusive {
		return nil, pure.Refuse(pure.NotHeld, "the lock "+at.Lock+" is held shared, and a condition needs it exclusively",
			"lock", at.Lock, "token", at.Token)
	}
	if k := c.conditions[name{at.Namespace, at.Condition}]; k != nil && k.lock != at.Lock {
		return nil, pure.Refuse(pure.LockMismatch, "others wait at the condition "+at.Condition+" with the lock "+k.lock,
			"condition", at.Condition, "lock", k.lock)
	}
	return g, nil
}

// WaitCondition gives up a lock and waits at a condition, in one step. The waiter is resolved when its holder has the
// lock again.
func (c *Core) WaitCondition(step *pure.Step, at *At, wait Wait, origin Origin) (Decision, error) {
	if d, known, err := c.recall(at.Namespace, &origin); known {
		return d, err
	}
	g, err := c.exclusive(at)
	if err != nil {
		return Decision{}, err
	}
	waiting := 0
	if k := c.conditions[name{at.Namespace, at.Condition}]; k != nil {
		waiting = k.queue.Len()
	}
	d, err := c.wait(step, &WaiterState{
		Kind: KindCondition, Namespace: at.Namespace, Name: at.Condition, Lock: at.Lock, Holder: g.Holder, Label: g.Label,
		Mode: Exclusive, Depth: g.Depth, Published: g.Published, Wait: wait, Origin: origin,
	}, waiting)
	if err == nil {
		c.drop(step, g)
	}
	return d, err
}

// Notify wakes those who wait at a condition, the ones that wait longest first, at most so many.
func (c *Core) Notify(step *pure.Step, at *At, count int, origin Origin) (Decision, error) {
	if d, known, err := c.recall(at.Namespace, &origin); known {
		return d, err
	}
	if _, err := c.exclusive(at); err != nil {
		return Decision{}, err
	}
	notified := c.notify(step, name{at.Namespace, at.Condition}, count)
	return c.keep(step, at.Namespace, &origin, Answer{Outcome: Done, Count: uint64(notified)})
}

// notifyOne hands on a notification that its waiter never heard of.
func (c *Core) notifyOne(step *pure.Step, n name) { c.notify(step, n, 1) }

func (c *Core) notify(step *pure.Step, n name, count int) (notified int) {
	var first *Waiter
	for notified < count {
		k := c.conditions[n]
		if k == nil {
			break
		}
		w, _, _ := k.queue.Min()
		if c.dead(w.Holder) {
			c.bereave(step, w)
			continue
		}
		c.emit(step, &WaiterMoved{ID: w.ID, Order: step.Next(), Notified: true})
		if notified++; first == nil {
			first = w
		}
	}
	if first != nil {
		c.contend(step, first)
	}
	return notified
}

// contend looks after a waiter that waits for its lock again: it gets it, or may be in a cycle now.
func (c *Core) contend(step *pure.Step, w *Waiter) {
	if l := c.locks.byName[w.lockName()]; len(l.grants) == 0 {
		c.wake(step, l)
		return
	}
	c.detect(step, w)
}

func (c *Core) applyWaiterMoved(w *Waiter, rec *WaiterMoved) {
	c.dequeue(w)
	c.deadlines.Remove(w)
	w.Back, w.Notified, w.Order = true, rec.Notified, rec.Order
	c.enqueue(w)
}

// passUnheard hands on the notifications that a session's clients have never acknowledged. Who has given up the lock that it
// came back with has heard.
func (c *Core) passUnheard(step *pure.Step, p *peer) {
	for _, w := range sortedWindows(p) {
		heard := max(w.told, w.below)
		for i := range w.answers {
			if k := &w.answers[i]; k.Answer.Notified && k.Number >= heard && c.grants[k.Answer.Token] != nil {
				c.notifyOne(step, name{w.namespace, k.Object})
			}
		}
	}
}
