package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// waiter is a reservation that waits for a first task. It is volatile: it ends with its request.
type waiter struct {
	id       uint64
	queue    *queue
	profile  *profile
	tasksMax int
	peer     *peer // that will hold them
	place    int32 // in profile.waiters
}

// Reservation asks for tasks.
type Reservation struct {
	Waiter    uint64 // the caller's name for it
	Namespace string
	Queue     string
	Kinds     []string // none is any
	Labels    []string // that whoever runs them has, as Options.Labels
	TasksMax  int
	Session   session.ID // that will hold them
}

// Reserve hands out tasks that are ready, at once, or notes the reservation to be answered when there is
// one. The answer is the effect [Reserved].
func (c *Core) Reserve(step *pure.Step, r Reservation) error {
	q, err := c.findQueue(step, r.Namespace, r.Queue)
	if err != nil {
		return err
	}
	if q.waiting >= WaitersMax {
		return pure.Refuse(pure.Overloaded, "too many reservations wait at the queue", "limit", WaitersMax)
	}
	if q.spent() {
		return closed(q)
	}
	kinds := sortedKinds(r.Kinds)
	if err := q.profileRoom(kinds, r.Labels); err != nil {
		return err
	}
	w := &waiter{id: r.Waiter, queue: q, profile: q.profile(kinds, r.Labels), tasksMax: r.TasksMax, peer: c.peer(r.Session)}
	c.waiters[w.id] = w
	c.arrivals++
	w.profile.waiters.Set(w, pure.Key{B: c.arrivals})
	q.waiting++
	if w.peer.waiters == nil {
		w.peer.waiters = map[*waiter]struct{}{}
	}
	w.peer.waiters[w] = struct{}{}
	c.grant(step, w)
	return nil
}

// Forget ends a reservation that still waits, and tells whether it did.
func (c *Core) Forget(id uint64) bool {
	w := c.waiters[id]
	if w == nil {
		return false
	}
	c.removeWaiter(w)
	return true
}

func (c *Core) removeWaiter(w *waiter) {
	delete(c.waiters, w.id)
	w.profile.waiters.Remove(w)
	w.profile.forgetIfUnused()
	w.queue.waiting--
	delete(w.peer.waiters, w)
	c.forget(w.peer)
}

// GiveBack takes back what a session was handed out in this very step, as if it never had been.
func (c *Core) GiveBack(step *pure.Step, id session.ID) {
	p := c.peers[id]
	for p != nil && len(p.attempts) > 0 {
		c.retry(step, p.attempts[len(p.attempts)-1], EndReleased, 0, p.attempts[len(p.attempts)-1].Tries, nil)
	}
}

// grantBytesMax bounds the bytes of a reservation's tasks, but for its first: the answer is one message.
const grantBytesMax = 4 << 20

// grant answers a reservation with what is ready.
func (c *Core) grant(step *pure.Step, w *waiter) {
	var tasks []Assignment
	bytes := int64(0)
	for len(tasks) < w.tasksMax && c.opens(step, w.queue) {
		if len(tasks) == 0 && c.full(step) { // of what a cancellation or a purge covers
			c.soil(w.profile)
			break
		}
		t := w.profile.next()
		if t == nil {
			break
		}
		if c.covered(step, t) {
			continue
		}
		size := weight(&t.TaskState)
		if bytes += size; bytes > grantBytesMax && bytes > size {
			break
		}
		c.dispatch(step, t, w.peer)
		tasks = append(tasks, t.assignment())
	}
	if len(tasks) > 0 {
		c.removeWaiter(w)
		step.Tell(&Reserved{Waiter: w.id, Tasks: tasks})
	}
}

// HeldBy returns what a session holds, oldest attempt first.
func (c *Core) HeldBy(id session.ID) []Assignment {
	p := c.peers[id]
	if p == nil {
		return nil
	}
	out := make([]Assignment, 0, len(p.attempts))
	for _, t := range p.attempts {
		out = append(out, t.assignment())
	}
	slices.SortFunc(out, func(a, b Assignment) int {
		if a.Token < b.Token {
			return -1
		}
		return 1
	})
	return out
}

// Holder returns the session that holds a task, the zero one if none does.
func (c *Core) Holder(id uint64) session.ID {
	if t := c.tasks[id]; t != nil && t.peer != nil {
		return t.peer.id
	}
	return session.ID{}
}

// Knows tells whether a session holds something, or waits for something.
func (c *Core) Knows(id session.ID) bool { return c.peers[id] != nil }

// Runs tells whether a session holds the attempt of a token.
func (c *Core) Runs(id session.ID, token uint64) bool {
	p := c.peers[id]
	return p != nil && slices.ContainsFunc(p.attempts, func(t *task) bool { return t.Token == token })
}

// Attempts is how many attempts a session holds.
func (c *Core) Attempts(id session.ID) int {
	if p := c.peers[id]; p != nil {
		return len(p.attempts)
	}
	return 0
}
