package queue

import (
	"maps"
	"slices"
	"strings"

	"github.com/weftq/weft/internal/pure"
)

// queueOf returns a queue by its id, which a replay may meet before the queue itself, as in callOf.
func (c *Core) queueOf(id uint64) *queue {
	q := c.queues[id]
	if q == nil {
		q = &queue{
			QueueState: QueueState{ID: id}, unique: map[string]*task{},
			lanes: map[laneName]*lane{}, profiles: map[string]*profile{}, keys: map[string]*fairKey{},
			putters:  pure.NewHeap(func(p *putter) *int32 { return &p.place }),
			idleKeys: pure.NewHeap(func(k *fairKey) *int32 { return &k.place }),
		}
		c.queues[id] = q
	}
	return q
}

func (c *Core) applyQueuePut(rec *QueuePut, seq uint64) {
	q := c.queueOf(rec.State.ID)
	before := q.QueueState
	q.QueueState = rec.State
	if before.Name == "" {
		q.space = c.space(q.Namespace)
		q.space.bytes += q.bytes
		q.space.tasks += q.total
		q.space.queues++
	}
	c.recount(q, &before)
	c.nameQueue(q)
	if before.Order != q.Order { // of a new queue too: a replay may have met its tasks before
		q.reorder()
	}
	if before.MaxRunningPerKey != q.MaxRunningPerKey {
		for _, n := range slices.Sorted(maps.Keys(q.keys)) {
			c.resettle(q.keys[n])
		}
	}
	c.queueAges.Touch(q, seq)
	c.soilQueue(q)
	c.soilQueueState(q)
}

// nameQueue has a queue found by its name until it is deleted: its tasks may take a while to end, and there may
// be another one of that name by then.
func (c *Core) nameQueue(q *queue) {
	n := name{q.Namespace, q.Name}
	switch known := c.queueNames[n]; {
	case q.Deleting && known == q:
		delete(c.queueNames, n)
		c.byName = without(c.byName, q)
	case !q.Deleting && known == nil:
		c.queueNames[n] = q
		at, _ := slices.BinarySearchFunc(c.byName, n, compareNames)
		c.byName = slices.Insert(c.byName, at, q)
		c.subscribe(q)
	}
}

// reorder puts the ready tasks in the queue's order.
func (q *queue) reorder() {
	for _, l := range q.lanes { // each for itself
		for _, g := range l.groups {
			var tasks []*task
			g.ready.Each(func(t *task, _ pure.Key) { tasks = append(tasks, t) })
			for _, t := range tasks {
				g.ready.Set(t, pure.Key{B: q.order(t)})
			}
			if len(tasks) > 0 {
				g.settle()
			}
		}
	}
}

func (c *Core) applyQueueDropped(rec *QueueDropped) {
	q := c.queues[rec.ID]
	if q == nil {
		c.Strangers++
		return
	}
	for _, p := range q.inOrder {
		for _, s := range p.workers {
			s.worker.subs = without(s.worker.subs, s)
		}
	}
	delete(c.queues, q.ID)
	if q.Name == "" {
		return // a replay has met its tasks and not itself
	}
	c.queueAges.Remove(q)
	c.rates.Remove(q)
	q.space.queues--
	c.forgetSpace(q.space)
}

// subscribe has the workers that asked for a queue serve it: it may have been there before, under the same
// name.
func (c *Core) subscribe(q *queue) {
	for _, id := range c.peerIDs() {
		if w := c.peers[id].worker; w != nil && w.namespace == q.Namespace && slices.Contains(w.queues, q.Name) {
			w.serve(q)
		}
	}
}

// put writes a queue's state after a change.
func (c *Core) changeQueue(step *pure.Step, q *queue, with func(*QueueState)) {
	state := q.QueueState
	with(&state)
	c.emit(step, &QueuePut{State: state})
}

// CreateQueue makes a queue, or finds one with the same settings.
func (c *Core) CreateQueue(step *pure.Step, namespace, queueName string, s Settings) error {
	if s.Order == 0 {
		s.Order = ByPriority
	}
	if q := c.queueNames[name{namespace, queueName}]; q != nil {
		if !q.Settings.equal(&s) {
			fields := q.Settings.differ(&s)
			return pure.Refuse(pure.QueueExists, "there is a queue "+queueName+" with another "+strings.Join(fields, ", ")+": update it",
				"queue", queueName, "settings", strings.Join(fields, ","))
		}
		return nil
	}
	if err := countMax("queues", c.space(namespace).queues, queuesMax); err != nil {
		return err
	}
	c.makeQueue(step, namespace, queueName, s)
	return nil
}

func (c *Core) makeQueue(step *pure.Step, namespace, queueName string, s Settings) *queue {
	id := step.Next()
	c.emit(step, &QueuePut{State: QueueState{
		ID: id, Namespace: namespace, Name: queueName, CreatedAt: step.Wall, Settings: s,
	}})
	return c.queues[id]
}

// differ names the settings that are not the same, as the API does.
func (s *Settings) differ(o *Settings) (names []string) {
	for _, d := range []struct {
		name string
		same bool
	}{
		{"order", s.Order == o.Order},
		{"max_size", s.MaxSize == o.MaxSize},
		{"max_running", s.MaxRunning == o.MaxRunning},
		{"max_running_per_key", s.MaxRunningPerKey == o.MaxRunningPerKey},
		{"rate_limit", s.Rate == o.Rate && s.Burst == o.Burst},
		{"defaults", s.Defaults == o.Defaults || s.Defaults != nil && o.Defaults != nil && s.Defaults.equal(o.Defaults)},
	} {
		if !d.same {
			names = append(names, d.name)
		}
	}
	return names
}

func (s *Settings) equal(o *Settings) bool { return len(s.differ(o)) == 0 }

// findQueue finds a queue, and makes the default one.
func (c *Core) findQueue(step *pure.Step, namespace, queueName string) (*queue, *pure.Refusal) {
	queueName = orDefault(queueName)
	if q := c.queueNames[name{namespace, queueName}]; q != nil {
		return q, nil
	}
	if queueName == DefaultQueue {
		return c.makeQueue(step, namespace, queueName, Settings{Order: ByPriority}), nil
	}
	return nil, noQueue(namespace, queueName)
}

func noQueue(namespace, queueName string) *pure.Refusal {
	return pure.Refuse(pure.QueueNotFound, "there is no queue "+queueName+" in namespace "+namespace, "queue", queueName)
}

// UpdateQueue changes a queue's settings.
func (c *Core) UpdateQueue(step *pure.Step, namespace, queueName string, with func(*Settings)) error {
	q, err := c.findQueue(step, namespace, queueName)
	if err != nil {
		return err
	}
	s := q.Settings
	with(&s)
	if s.Order == 0 {
		s.Order = ByPriority
	}
	switch {
	case s.equal(&q.Settings):
		return nil
	case s.Order != q.Order && q.counts[Ready] > q.gone[Ready]:
		return pure.Refuse(pure.QueueNotEmpty, "the order can be changed while no task is ready",
			"queue", q.Name, "tasks", q.counts[Ready]-q.gone[Ready])
	}
	c.changeQueue(step, q, func(state *QueueState) { state.Settings = s })
	return nil
}

// PauseQueue stops handing out a queue's tasks, or resumes it.
func (c *Core) PauseQueue(step *pure.Step, namespace, queueName string, paused bool) error {
	q, err := c.findQueue(step, namespace, queueName)
	if err != nil {
		return err
	}
	if q.Paused != paused {
		c.changeQueue(step, q, func(s *QueueState) { s.Paused = paused })
	}
	return nil
}

// CloseQueue has a queue take no more tasks; immediate purges those that wait, and lets nobody wait for what
// others hold.
func (c *Core) CloseQueue(step *pure.Step, namespace, queueName string, immediate bool) error {
	q, err := c.findQueue(step, namespace, queueName)
	if err != nil {
		return err
	}
	if !q.Closed || immediate && !q.AtOnce {
		c.changeQueue(step, q, func(s *QueueState) { s.Closed, s.AtOnce = true, s.AtOnce || immediate })
	}
	if immediate {
		c.purge(step, q, waitingStates)
	}
	return nil
}

// ReopenQueue undoes CloseQueue.
func (c *Core) ReopenQueue(step *pure.Step, namespace, queueName string) error {
	q, err := c.findQueue(step, namespace, queueName)
	if err != nil {
		return err
	}
	if q.Closed {
		c.changeQueue(step, q, func(s *QueueState) { s.Closed, s.AtOnce = false, false })
	}
	return nil
}

func closed(q *queue) *pure.Refusal {
	return pure.Refuse(pure.QueueClosed, "queue "+q.Name+" is closed", "queue", q.Name)
}
