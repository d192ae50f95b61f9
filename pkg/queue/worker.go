package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// worker is a connected worker.
type worker struct {
	peer      *peer
	namespace string
	name      string
	kinds     []string
	queues    []string
	weights   []uint32 // of queues; nil is 1 each
	labels    []string
	slots     uint32
	credits   uint32
	draining  bool
	gone      bool
	subs      []*sub // one a queue
	dirty     bool
}

func (c *Core) soilWorker(w *worker) {
	for _, s := range w.subs {
		if !s.idle {
			s.idle = true
			s.profile.idle = append(s.profile.idle, s)
		}
	}
	if !w.dirty {
		w.dirty = true
		c.dirtyWorkers = append(c.dirtyWorkers, w)
	}
}

func (c *Core) addWorker(p *peer, queues []*queue, h Hello) {
	w := &worker{
		peer: p, namespace: h.Namespace, name: h.Name, kinds: h.Kinds, queues: h.Queues, weights: h.Weights,
		labels: h.Labels, slots: h.Slots, credits: h.Credits,
	}
	p.worker = w
	c.peers[p.id] = p // it may have been forgotten for a moment
	for i, q := range queues {
		if !slices.Contains(queues[:i], q) {
			w.serve(q)
		}
	}
	if w.credits > 0 {
		c.soilWorker(w)
	}
}

// serve subscribes a worker to a queue.
func (w *worker) serve(q *queue) {
	s := &sub{worker: w, profile: q.profile(sortedKinds(w.kinds), w.labels), weight: 1}
	if w.weights != nil {
		s.weight = int64(w.weights[slices.Index(w.queues, q.Name)])
	}
	s.profile.workers = append(s.profile.workers, s)
	w.subs = append(w.subs, s)
	if w.credits > 0 {
		s.idle = true
		s.profile.idle = append(s.profile.idle, s)
	}
}

func (c *Core) removeWorker(p *peer) {
	w := p.worker
	if w == nil {
		return
	}
	p.worker, w.gone, w.credits = nil, true, 0
	for _, s := range w.subs {
		if s.idle {
			s.profile.idle = slices.DeleteFunc(s.profile.idle, func(o *sub) bool { return o == s })
		}
		s.profile.workers = slices.DeleteFunc(s.profile.workers, func(o *sub) bool { return o == s })
		s.profile.forgetIfUnused()
	}
	w.subs = nil
}

// heldMax is how many attempts a worker may hold for each of its slots: it may be late with reports, but a
// worker that only ever takes must not be given the whole queue.
const heldMax = 2

// Credit lets a worker be sent n more tasks, never more than its slots at a time.
func (c *Core) Credit(id session.ID, n uint32) {
	p := c.peers[id]
	if p == nil || p.worker == nil || p.worker.draining || n == 0 {
		return
	}
	w := p.worker
	room := uint64(w.slots)*heldMax - min(uint64(w.slots)*heldMax, uint64(len(p.attempts)))
	w.credits = uint32(min(uint64(w.credits)+uint64(n), uint64(w.slots), room))
	c.soilWorker(w)
}

// Drain says that a worker takes no more tasks.
func (c *Core) Drain(id session.ID) {
	if p := c.peers[id]; p != nil && p.worker != nil {
		p.worker.draining, p.worker.credits = true, 0
	}
}

// fill hands tasks to a worker with credit, its queues in turn, and tells whether it came to the end.
func (c *Core) fill(step *pure.Step, w *worker) bool {
	for w.credits > 0 {
		t := c.turn(step, w)
		if t == nil {
			return true
		}
		if c.full(step) {
			return false
		}
		if !c.covered(step, t) {
			c.assign(step, t, w)
		}
	}
	return true
}

// turn is the next task for a worker. Its queues that have one take turns by their weights, evenly mixed (smooth
// weighted round robin, as nginx chooses its upstream servers): each gains its weight, and the one with the most
// gives a task and pays what all have gained.
func (c *Core) turn(step *pure.Step, w *worker) *task {
	var chosen *sub
	var next *task
	gained := int64(0)
	for _, s := range w.subs {
		t := s.profile.next()
		if t == nil || !c.opens(step, s.profile.queue) {
			continue
		}
		s.gain += s.weight
		gained += s.weight
		if chosen == nil || s.gain > chosen.gain {
			chosen, next = s, t
		}
	}
	if chosen != nil {
		chosen.gain -= gained
	}
	return next
}
