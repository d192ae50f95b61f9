package lockservice

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// lock is there while somebody holds it or waits for it.
type lock struct {
	heldBy
	name   name
	number uint64
}

func (c *Core) lock(n name) *lock {
	l := c.locks.byName[n]
	if l == nil {
		l = &lock{name: n, heldBy: heldBy{queue: newQueue()}}
		l.number = c.locks.add(n, l)
	}
	return l
}

// tidyLock forgets a lock that nobody has or waits for. A condition's lock may be forgotten: its name is enough.
func (c *Core) tidyLock(k Kind, n name) {
	if l := c.locks.byName[n]; k == KindLock && l != nil && len(l.grants) == 0 && l.queue.Len() == 0 {
		c.locks.remove(n, l.number)
	}
}

// compatible tells whether a lock can be held in a mode beside those who have it.
func (l *heldBy) compatible(m Mode) bool {
	return len(l.grants) == 0 || m == Shared && l.grants[0].Mode == Shared
}

// grantOf returns what a holder has of a lock: the shorter of two lists is searched.
func (l *heldBy) grantOf(c *Core, id HolderID) *Grant {
	h := c.holders[id]
	if h == nil {
		return nil
	}
	if len(l.grants) <= len(h.grants) {
		for _, g := range l.grants {
			if g.holder == h {
				return g
			}
		}
		return nil
	}
	for _, g := range h.grants {
		if g.inObject < len(l.grants) && l.grants[g.inObject] == g {
			return g
		}
	}
	return nil
}

// AcquireLock is a request for a lock.
type AcquireLock struct {
	Request
	Mode      Mode
	Reentrant bool
	Published string
}

// AcquireLock acquires a lock, or waits for it.
func (c *Core) AcquireLock(step *pure.Step, a *AcquireLock) (Decision, error) {
	if d, known, err := c.recall(a.Namespace, &a.Origin); known {
		return d, err
	}
	n := name{a.Namespace, a.Name}
	l := c.locks.byName[n]
	if l == nil {
		return c.grantLock(step, a)
	}
	c.bury(step, &l.heldBy)
	if g := l.grantOf(c, a.Holder); g != nil && a.Reentrant && (g.Mode == Exclusive || a.Mode == Shared) {
		if err := c.roomFor(a.Namespace, &a.Origin, 0); err != nil {
			return Decision{}, err
		}
		c.emit(step, &GrantChanged{Token: g.Token, Depth: g.Depth + 1, Published: g.Published})
		return c.keep(step, a.Namespace, &a.Origin, Answer{Outcome: Done, Token: g.Token, Depth: g.Depth})
	}
	if l.queue.Len() == 0 && l.compatible(a.Mode) {
		return c.grantLock(step, a)
	}
	return c.wait(step, &WaiterState{
		Kind: KindLock, Namespace: a.Namespace, Name: a.Name, Holder: a.Holder, Label: a.Label, Mode: a.Mode,
		Depth: 1, Published: a.Published, Wait: a.Wait, Origin: a.Origin,
	}, l.queue.Len())
}

func (c *Core) grantLock(step *pure.Step, a *AcquireLock) (Decision, error) {
	if err := c.room(a.Namespace, int64(objectBytes+len(a.Published))); err != nil {
		return Decision{}, err
	}
	token := step.Next()
	c.emit(step, &GrantPut{GrantState{
		Token: token, Kind: KindLock, Namespace: a.Namespace, Name: a.Name, Holder: a.Holder, Label: a.Label,
		Mode: a.Mode, Depth: 1, Published: a.Published, Since: step.Wall,
	}})
	return c.keep(step, a.Namespace, &a.Origin, Answer{Outcome: Done, Token: token, Depth: 1})
}

// bury gives up what holders that are gone still have of something, so that nobody meets them.
func (c *Core) bury(step *pure.Step, held *heldBy) {
	if len(c.leaving) == 0 {
		return
	}
	for _, g := range slices.Clone(held.grants) { // giving one up may hand others on
		if c.grants[g.Token] == g && c.dead(g.Holder) {
			c.drop(step, g)
		}
	}
}

// wait makes a waiter, unless its holder waits already, too many wait, or it would wait for ever.
func (c *Core) wait(step *pure.Step, st *WaiterState, waiting int) (Decision, error) {
	if st.Wait.Try() && st.Kind != KindBarrier && st.Kind != KindCondition {
		return c.keep(step, st.Namespace, &st.Origin, Answer{Outcome: TimedOut})
	}
	if err := c.busy(st.Holder); err != nil {
		return Decision{}, err
	}
	if waiting >= WaitersMax {
		return Decision{}, pure.Refuse(pure.StateFull, "as many wait for it as may", "limit", WaitersMax, st.Kind.String(), st.Name)
	}
	if err := c.room(st.Namespace, int64(512+len(st.Published))); err != nil {
		return Decision{}, err
	}
	if refusal := c.wouldDeadlock(st); refusal != nil {
		return Decision{}, refusal
	}
	st.ID, st.Since = step.Next(), step.Wall
	st.Order = st.ID
	c.emit(step, &WaiterPut{*st})
	return Decision{Waiter: st.ID}, nil
}

// wake gives a lock to those who wait for it longest, as far as it goes, and then looks whether who is next can ever
// get it.
func (c *Core) wake(step *pure.Step, l *lock) {
	for {
		w, _, ok := l.queue.Min()
		switch {
		case !ok:
			return
		case !c.dead(w.Holder) && !l.compatible(w.Mode):
			c.detect(step, w)
			return
		case c.Full(step):
			c.postpone(errand{KindLock, l.name})
			return
		case c.dead(w.Holder):
			c.bereave(step, w)
		default:
			c.grantWaiter(step, w)
		}
	}
}

// grantWaiter gives a waiter what it waits for.
func (c *Core) grantWaiter(step *pure.Step, w *Waiter) {
	n := w.lockName()
	a := Answer{Outcome: Done, Token: step.Next(), Depth: w.Depth, Notified: w.Notified}
	c.emit(step, &WaiterEnded{ID: w.ID})
	c.emit(step, &GrantPut{GrantState{
		Token: a.Token, Kind: w.heldKind(), Namespace: n.namespace, Name: n.name, Holder: w.Holder, Label: w.Label,
		Mode: w.Mode, Depth: w.Depth, Permits: w.Permits, Published: w.Published, Since: step.Wall,
	}})
	c.resolve(step, w, a)
}

// resolve answers a waiter that has ended.
func (c *Core) resolve(step *pure.Step, w *Waiter, a Answer) {
	object := ""
	if w.Kind == KindCondition || a.Permits != 0 || a.Act {
		object = w.Name
	}
	if a.Outcome != Abandoned || w.Origin.Number != 0 { // a request with an id that is cut off may come again, and wait anew
		c.record(step, w.Namespace, &w.Origin, a, object)
	}
	step.Tell(&Resolved{Waiter: w.ID, Origin: w.Origin, Answer: a})
}

// end ends a waiter that nobody is to hear of. What it kept others from is theirs to look at.
func (c *Core) end(step *pure.Step, w *Waiter) {
	c.emit(step, &WaiterEnded{ID: w.ID})
	if w.Notified {
		c.notifyOne(step, name{w.Namespace, w.Name})
	}
}

// bereave ends a waiter whose holder is gone.
func (c *Core) bereave(step *pure.Step, w *Waiter) {
	refusal := gone(c, w)
	c.end(step, w)
	step.Tell(&Resolved{Waiter: w.ID, Origin: w.Origin, Err: refusal})
}

func gone(c *Core, w *Waiter) *pure.Refusal {
	return pure.Refuse(pure.LeaseLost, c.nameOf(w.Holder, w.Label)+" is gone: its session or its attempt has ended", "token", w.Holder.Number)
}

// quit ends a waiter, with an answer unless its holder is gone, and wakes those whom it kept waiting.
func (c *Core) quit(step *pure.Step, w *Waiter, outcome Outcome) {
	if c.dead(w.Holder) {
		outcome = 0 // its session keeps no answers any more
	}
	if b := c.barriers.byName[name{w.Namespace, w.Name}]; w.Kind == KindBarrier && !b.early(w) {
		c.breakBarrier(step, b)
		return
	}
	if outcome == 0 {
		c.bereave(step, w)
	} else {
		c.end(step, w)
		c.resolve(step, w, Answer{Outcome: outcome})
	}
	switch {
	case w.atLock():
		if l := c.locks.byName[w.lockName()]; l != nil {
			c.wake(step, l)
		}
	case w.Kind == KindSemaphore:
		c.wakeSemaphore(step, c.semaphores.byName[name{w.Namespace, w.Name}])
	}
}

// drop ends a grant, and gives what it held to others.
func (c *Core) drop(step *pure.Step, g *Grant) {
	n, k := name{g.Namespace, g.Name}, g.Kind
	c.emit(step, &GrantDropped{Token: g.Token})
	if k == KindSemaphore {
		c.wakeSemaphore(step, c.semaphores.byName[n])
		return
	}
	if l := c.locks.byName[n]; l != nil {
		c.wake(step, l)
	}
}

// ReleaseLock gives up a lock, or one level of it.
type ReleaseLock struct {
	Namespace, Name string
	Session         session.ID
	Token           uint64
	All             bool
	Origin          Origin
}

// ReleaseLock gives up a lock, or one level of it.
func (c *Core) ReleaseLock(step *pure.Step, r *ReleaseLock) (Decision, error) {
	if d, known, err := c.recall(r.Namespace, &r.Origin); known {
		return d, err
	}
	g, err := c.owned(KindLock, name{r.Namespace, r.Name}, r.Session, r.Token)
	if err != nil {
		return Decision{}, err
	}
	depth := g.Depth - 1
	if r.All {
		depth = 0
	}
	if depth > 0 {
		c.emit(step, &GrantChanged{Token: g.Token, Depth: depth, Published: g.Published})
	} else {
		c.drop(step, g)
	}
	return c.keep(step, r.Namespace, &r.Origin, Answer{Outcome: Done, Depth: depth})
}

// owned returns a grant of a session.
func (c *Core) owned(k Kind, n name, id session.ID, token uint64) (*Grant, error) {
	g := c.grants[token]
	if g == nil || g.Kind != k || g.Namespace != n.namespace || g.Name != n.name || g.Holder.Session != id || c.dead(g.Holder) {
		return nil, pure.Refuse(pure.NotHeld, "the session does not hold the "+k.String()+" "+n.name+" by this token",
			k.String(), n.name, "token", token)
	}
	return g, nil
}

// GrantOf returns a live grant by its token, nil if there is none.
func (c *Core) GrantOf(token uint64) *Grant { return c.grants[token] }

// CheckLock tells whether a token is of a live grant of a lock.
func (c *Core) CheckLock(namespace string, g Guard) error {
	grant := c.grants[g.Token]
	if grant == nil || grant.Kind != KindLock || grant.Namespace != namespace || grant.Name != g.Lock || c.dead(grant.Holder) {
		return pure.Refuse(pure.TokenStale, "the token is of no live grant of the lock "+g.Lock, "lock", g.Lock, "token", g.Token)
	}
	return nil
}

// PublishLock changes what a holder of a lock shows.
type PublishLock struct {
	Namespace, Name string
	Session         session.ID
	Token           uint64
	Published       string
	Origin          Origin
}

// PublishLock changes what a holder of a lock shows.
func (c *Core) PublishLock(step *pure.Step, p *PublishLock) (Decision, error) {
	if d, known, err := c.recall(p.Namespace, &p.Origin); known {
		return d, err
	}
	g, err := c.owned(KindLock, name{p.Namespace, p.Name}, p.Session, p.Token)
	if err != nil {
		return Decision{}, err
	}
	if err := c.room(p.Namespace, int64(len(p.Published)-len(g.Published))); err != nil {
		return Decision{}, err
	}
	st := g.GrantState
	st.Published = p.Published
	c.emit(step, &GrantPut{st})
	return c.keep(step, p.Namespace, &p.Origin, Answer{Outcome: Done})
}
