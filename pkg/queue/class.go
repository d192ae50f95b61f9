package queue

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// class is the ready tasks of one kind in a queue, and the workers that run them. Tasks are indexed by
// class so that one that nobody serves delays no other.
type class struct {
	queue *queue
	kind  string
	ready pure.Heap[*task]
	subs  []*sub // workers that serve the class
	idle  []*sub // those that may have credit, in turn; out of date entries are dropped when met
	dirty bool
}

// sub is a worker's service of one class.
type sub struct {
	worker *worker
	class  *class
	idle   bool // in class.idle
}

// worker is a connected worker.
type worker struct {
	peer      *peer
	namespace string
	name      string
	kinds     []string
	queues    []string
	labels    []string
	slots     uint32
	credits   uint32
	draining  bool
	gone      bool
	subs      []*sub
	dirty     bool
}

func (c *Core) class(q *queue, kind string) *class {
	k := q.classes[kind]
	if k == nil {
		k = &class{queue: q, kind: kind, ready: pure.NewHeap(func(t *task) *int32 { return &t.readyPlace })}
		q.classes[kind] = k
	}
	return k
}

func (k *class) forgetIfUnused() {
	if k.ready.Len() == 0 && len(k.subs) == 0 {
		delete(k.queue.classes, k.kind)
	}
}

// enqueue puts a ready task at its place.
func (c *Core) enqueue(t *task) {
	t.class = c.class(t.queue, t.Kind)
	t.class.ready.Set(t, pure.Key{B: t.ID})
	c.soil(t.class)
}

func (c *Core) dequeue(t *task) {
	k := t.class
	t.class = nil
	k.ready.Remove(t)
	k.forgetIfUnused()
}

// soil notes that a class may have a task for a worker or a waiter.
func (c *Core) soil(k *class) {
	if !k.dirty {
		k.dirty = true
		c.dirtyClasses = append(c.dirtyClasses, k)
	}
}

func (c *Core) soilWorker(w *worker) {
	for _, s := range w.subs {
		if !s.idle {
			s.idle = true
			s.class.idle = append(s.class.idle, s)
		}
	}
	if !w.dirty {
		w.dirty = true
		c.dirtyWorkers = append(c.dirtyWorkers, w)
	}
}

func (c *Core) addWorker(p *peer, queues []*queue, h Hello) {
	w := &worker{
		peer: p, namespace: h.Namespace, name: h.Name, kinds: h.Kinds, queues: h.Queues,
		labels: h.Labels, slots: h.Slots, credits: h.Credits,
	}
	p.worker = w
	c.peers[p.id] = p // it may have been forgotten for a moment
	for _, q := range queues {
		for _, kind := range h.Kinds {
			k := c.class(q, kind)
			s := &sub{worker: w, class: k}
			k.subs = append(k.subs, s)
			w.subs = append(w.subs, s)
		}
	}
	if w.credits > 0 {
		c.soilWorker(w)
	}
}

func (c *Core) removeWorker(p *peer) {
	w := p.worker
	if w == nil {
		return
	}
	p.worker, w.gone, w.credits = nil, true, 0
	for _, s := range w.subs {
		s.class.subs = slices.DeleteFunc(s.class.subs, func(o *sub) bool { return o == s })
		s.class.idle = slices.DeleteFunc(s.class.idle, func(o *sub) bool { return o == s })
		s.class.forgetIfUnused()
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

// nextIdle returns the next worker with credit, and puts it at the end of the turn.
func (k *class) nextIdle() *worker {
	for len(k.idle) > 0 {
		s := k.idle[0]
		k.idle = k.idle[1:]
		if s.worker.credits == 0 || s.worker.gone {
			s.idle = false
			continue
		}
		k.idle = append(k.idle, s)
		return s.worker
	}
	k.idle = nil
	return nil
}
