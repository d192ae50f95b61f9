package queue

import "github.com/weftq/weft/internal/pure"

// OldestBase is the least base of any queue, call or task.
func (c *Core) OldestBase() (base uint64, ok bool) {
	if q := c.queueAges.Oldest(); q != nil {
		base, ok = q.age.Base(), true
	}
	if k := c.callAges.Oldest(); k != nil && (!ok || k.age.Base() < base) {
		base, ok = k.age.Base(), true
	}
	if t := c.taskAges.Oldest(); t != nil && (!ok || t.age.Base() < base) {
		base, ok = t.age.Base(), true
	}
	return base, ok
}

// OldestIntent is the least sequence of a session's end whose bulk work is not done. Until it is, a replay
// needs that record: it says whether the session was closed or lost.
func (c *Core) OldestIntent() (seq uint64, ok bool) {
	for i := range c.sweeps {
		if p := c.sweeps[i].peer; p != nil && p.endedAt != 0 && (!ok || p.endedAt < seq) {
			seq, ok = p.endedAt, true
		}
	}
	return seq, ok
}

// CopyOldest writes the whole state of the entity with the least base anew, which makes it the youngest.
func (c *Core) CopyOldest(step *pure.Step) {
	base, _ := c.OldestBase()
	if q := c.queueAges.Oldest(); q != nil && q.age.Base() == base {
		c.emit(step, &QueuePut{State: q.QueueState})
		return
	}
	if k := c.callAges.Oldest(); k != nil && k.age.Base() == base {
		c.emit(step, &CallPut{State: k.CallState})
		return
	}
	t := c.taskAges.Oldest()
	c.rec.put = TaskPut{State: &t.TaskState}
	c.emit(step, &c.rec.put)
}
