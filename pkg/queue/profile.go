package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
)

// profile is what some consumers of a queue have in common: the kinds that they take and the labels that they
// have. Workers of one deployment are one profile, and so are reservations of the same kinds.
type profile struct {
	queue   *queue
	name    string
	kinds   []string // none is any; sorted
	labels  []string
	lanes   pure.Heap[*link] // that it takes from and that have tasks, by whose turn it is
	links   map[*lane]*link  // all that it takes from
	workers []*sub
	idle    []*sub // those that may have credit, in turn; out of date entries are dropped when met
	waiters pure.Heap[*waiter]
	dirty   bool
}

// sub is a worker's service of one queue.
type sub struct {
	worker  *worker
	profile *profile
	idle    bool  // in profile.idle
	weight  int64 // among the worker's
	gain    int64 // see Core.turn
}

// anyProfile is the name of the profile that takes every kind and has no labels: it stays once it was there.
const anyProfile = "/"

func profileName(kinds, labels []string) string {
	return concatenated(kinds) + anyProfile + concatenated(labels)
}

// profilesMax is how many profiles a queue has, beside that of any kind: every new lane is held against all of
// them.
const profilesMax = 256

// profileRoom refuses a profile that would be one too many of a queue.
func (q *queue) profileRoom(kinds, labels []string) *pure.Refusal {
	n, others := profileName(kinds, labels), len(q.profiles)
	if q.profiles[anyProfile] != nil {
		others--
	}
	if n == anyProfile || q.profiles[n] != nil || others < profilesMax {
		return nil
	}
	return pure.Refuse(pure.Overloaded, "the queue is asked for tasks by too many different kinds and labels",
		"queue", q.Name, "limit", profilesMax)
}

// sortedKinds are the kinds of a profile.
func sortedKinds(kinds []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(kinds)))
}

// profile returns a profile of a queue, made if need be. kinds are sorted and not to be changed.
func (q *queue) profile(kinds, labels []string) *profile {
	n := profileName(kinds, labels)
	p := q.profiles[n]
	if p == nil {
		p = &profile{
			queue: q, name: n, kinds: kinds, labels: labels, links: map[*lane]*link{},
			lanes:   pure.NewHeap(func(x *link) *int32 { return &x.place }),
			waiters: pure.NewHeap(func(w *waiter) *int32 { return &w.place }),
		}
		q.profiles[n] = p
		q.inOrder = append(q.inOrder, p)
		for _, l := range q.lanes { // each finds its own place: no order is needed
			p.join(l)
		}
	}
	return p
}

// join links a lane if the profile takes from it.
func (p *profile) join(l *lane) {
	if len(p.kinds) > 0 {
		if _, ok := slices.BinarySearch(p.kinds, l.name.kind); !ok {
			return
		}
	}
	if !hasLabels(p.labels, l.labels) {
		return
	}
	x := &link{lane: l, profile: p}
	p.links[l] = x
	l.links = append(l.links, x)
	if _, key, ok := l.heads.Min(); ok {
		p.lanes.Set(x, key)
	}
}

// leave undoes join, at the profile's side.
func (p *profile) leave(x *link) {
	p.lanes.Remove(x)
	delete(p.links, x.lane)
}

// forgetIfUnused drops a profile that nobody has.
func (p *profile) forgetIfUnused() {
	if len(p.workers) > 0 || p.waiters.Len() > 0 || p.name == anyProfile {
		return
	}
	delete(p.queue.profiles, p.name)
	p.queue.inOrder = without(p.queue.inOrder, p)
	for l, x := range p.links {
		l.links = without(l.links, x)
	}
}

// next is the task that a consumer of the profile is to be given, nil if there is none. Whether the queue
// hands out anything is another question.
func (p *profile) next() *task {
	x, _, ok := p.lanes.Min()
	if !ok {
		return nil
	}
	return x.lane.first()
}

// wanted tells whether somebody may wait for a task.
func (p *profile) wanted() bool { return p.waiters.Len() > 0 || len(p.idle) > 0 }

// nextIdle returns the next worker with credit, and puts it at the end of the turn.
func (p *profile) nextIdle() *worker {
	for len(p.idle) > 0 {
		s := p.idle[0]
		p.idle = p.idle[1:]
		if s.worker.credits == 0 || s.worker.gone {
			s.idle = false
			continue
		}
		p.idle = append(p.idle, s)
		return s.worker
	}
	p.idle = nil
	return nil
}

// soil notes that a profile may have a task for somebody.
func (c *Core) soil(p *profile) {
	if !p.dirty && p.wanted() {
		p.dirty = true
		c.dirtyProfiles = append(c.dirtyProfiles, p)
	}
}

// match hands out tasks to whoever of a profile waits, and tells whether it came to the end.
func (c *Core) match(step *pure.Step, p *profile) bool {
	for {
		t := p.next()
		if t == nil || !p.wanted() || !c.opens(step, p.queue) {
			return true
		}
		if c.full(step) {
			return false
		}
		if c.covered(step, t) {
			continue
		}
		if w, _, ok := p.waiters.Min(); ok {
			c.grant(step, w)
			continue
		}
		w := p.nextIdle()
		if w == nil {
			return true
		}
		c.assign(step, t, w)
	}
}
