package lockservice

import "github.com/weftq/weft/internal/pure"

// Abandon ends the wait of a request whose client no longer wants it: the waiter goes, or what it was granted
// meanwhile is given up. It is answered [Abandoned]; one that is unknown, or has come to something that nobody can take back,
// stays as it is.
func (c *Core) Abandon(step *pure.Step, namespace string, o Origin) {
	key, ok := keyOf(namespace, &o)
	if !ok {
		return
	}
	if w := c.origins[key]; w != nil {
		c.AbandonWaiter(step, w.ID)
		return
	}
	if w := c.watchers.byOrigin[key]; w != nil {
		c.present(step, w, Abandoned)
		return
	}
	if w := c.window(Channel{o.Session, o.Channel}); w != nil && o.Number != 0 {
		c.undo(step, w, &o)
	}
}

// AbandonWaiter is [Core.Abandon] of a waiter by its id.
func (c *Core) AbandonWaiter(step *pure.Step, id uint64) {
	if w := c.waiters[id]; w != nil {
		c.quit(step, w, Abandoned)
		return
	}
	if w := c.watchers.byID[id]; w != nil {
		c.present(step, w, Abandoned)
	}
}

// undo gives up what a command was granted whose client never wanted to hear of it.
func (c *Core) undo(step *pure.Step, w *window, o *Origin) {
	for i := range w.answers {
		k := w.answers[i]
		if k.Number != o.Number {
			continue
		}
		if k.Answer.Token != 0 || k.Answer.Permits != 0 || k.Answer.Act {
			c.TakeBack(step, w.namespace, k.Object, &k.Answer)
			c.record(step, w.namespace, o, Answer{Outcome: Abandoned}, "")
		}
		return
	}
}

// TakeBack gives up what an answer granted whose client never heard of it. object is the condition that it came back from, the
// free semaphore, or the barrier whose action it was to run.
func (c *Core) TakeBack(step *pure.Step, namespace, object string, a *Answer) {
	if a.Act {
		if b := c.barriers.byName[name{namespace, object}]; b != nil && b.Acting && b.Generation == a.Generation {
			c.breakBarrier(step, b)
		}
		return
	}
	if a.Permits != 0 {
		if s := c.semaphores.byName[name{namespace, object}]; s != nil && s.Spec.Free {
			c.setAvailable(step, s, s.Available+a.Permits)
			c.wakeSemaphore(step, s)
		}
		return
	}
	levels := uint32(1)
	if object != "" { // nobody knows the token of one that came back to its lock
		levels = a.Depth
	}
	c.giveBack(step, a.Token, levels)
	if a.Notified {
		c.notifyOne(step, name{namespace, object})
	}
}

// giveBack gives up levels of a grant that its client never heard of.
func (c *Core) giveBack(step *pure.Step, token uint64, levels uint32) {
	g := c.grants[token]
	if g == nil {
		return
	}
	if g.Depth > levels {
		c.emit(step, &GrantChanged{Token: token, Depth: g.Depth - levels, Published: g.Published})
		return
	}
	c.drop(step, g)
}
