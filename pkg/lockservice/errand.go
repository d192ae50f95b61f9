package lockservice

import (
	"maps"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// errand is something free that those who wait for it are yet to be given, because one step may do only so much: ten thousand
// may wait for a lock that is free to be shared. Nobody comes before them, since they are in its queue. A replay finds them
// again.
type errand struct {
	kind Kind
	name name
}

// Full tells whether a step has done as much as it may.
func (c *Core) Full(step *pure.Step) bool { return step.Work() >= c.cfg.StepRecordsMax }

func (c *Core) postpone(e errand) {
	if !c.sent[e] {
		c.sent[e] = true
		c.errands = append(c.errands, e)
	}
}

// Pending tells whether [Core.Work] has something to do.
func (c *Core) Pending() bool { return len(c.leaving)+len(c.errands) > 0 }

func (c *Core) runErrands(step *pure.Step) {
	for len(c.errands) > 0 && !c.Full(step) {
		e := c.errands[0]
		c.errands = c.errands[1:]
		delete(c.sent, e)
		if e.kind == KindSemaphore {
			c.wakeSemaphore(step, c.semaphores.byName[e.name])
		} else if l := c.locks.byName[e.name]; l != nil {
			c.wake(step, l)
		}
	}
	if len(c.errands) == 0 {
		c.errands = nil
	}
}

// resumeErrands looks for all of them after a replay.
func (c *Core) resumeErrands() {
	for _, number := range slices.Sorted(maps.Keys(c.locks.byNo)) {
		if l := c.locks.byNo[number]; l.queue.Len() > 0 {
			c.postpone(errand{KindLock, l.name})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(c.semaphores.byNo)) {
		if s := c.semaphores.byNo[number]; s.queue.Len() > 0 {
			c.postpone(errand{KindSemaphore, name{s.Namespace, s.Name}})
		}
	}
}
