package queue

import "github.com/weftq/weft/internal/pure"

// PeekMax is how many tasks [Core.Peek] shows at most.
const PeekMax = 100

// Peek returns the next ready tasks of a queue, at most n, in the order in which one who takes everything
// would be given them.
func (c *Core) Peek(namespace, queueName string, n int) ([]Snapshot, error) {
	if _, err := c.Queue(namespace, queueName); err != nil {
		return nil, err
	}
	queueName = orDefault(queueName)
	q := c.queueNames[name{namespace, queueName}]
	if q == nil {
		return nil, nil // the default queue before its first use
	}
	n = min(n, PeekMax)
	keys := q.peekKeys(n)
	alone := keys.Len() == 1
	var out []Snapshot
	for clock := q.clock; len(out) < n; clock++ {
		k, _, ok := keys.Min()
		if !ok {
			break
		}
		out = append(out, c.snapshot(k.take()))
		if !alone {
			k.turn = clock + 1
		}
		if first, order := k.first(); first == nil {
			keys.Remove(k)
		} else {
			keys.Set(k, pure.Key{A: k.turn, B: order})
		}
	}
	return out, nil
}

// peeked is a fairness key while a queue is looked at.
type peeked struct {
	turn  int64
	walks []pure.Walk[*task] // one a lane; those of the lanes whose tasks come first
	place int32
}

// peekedLane is a lane while a queue is looked at: its groups in turn.
type peekedLane struct {
	groups pure.Walk[*group]
	place  int32
}

// peekKeys returns the keys that may come within the next n turns, by turn. A key that was served is behind all
// others, and so n keys are enough, and of each the n groups whose tasks come first.
func (q *queue) peekKeys(n int) pure.Heap[*peeked] {
	lanes := pure.NewHeap(func(l *peekedLane) *int32 { return &l.place })
	for _, l := range q.lanes { // each finds its own place: no order is needed
		if groups := l.heads.Walk(); l.heads.Len() > 0 {
			_, key, _ := groups.Peek()
			lanes.Set(&peekedLane{groups: groups}, key)
		}
	}
	out := pure.NewHeap(func(k *peeked) *int32 { return &k.place })
	known := map[*fairKey]*peeked{}
	for len(known) < n {
		l, key, ok := lanes.Min()
		if !ok {
			break
		}
		g, _, _ := l.groups.Peek()
		k := known[g.key]
		if k == nil {
			k = &peeked{turn: key.A}
			known[g.key] = k
			out.Set(k, key)
		}
		if len(k.walks) < n {
			k.walks = append(k.walks, g.ready.Walk())
		}
		l.groups.Step()
		if _, next, more := l.groups.Peek(); more {
			lanes.Set(l, next)
		} else {
			lanes.Remove(l)
		}
	}
	return out
}

// first is the walk whose task is next and the task's order, nil if there is none.
func (k *peeked) first() (first *pure.Walk[*task], order uint64) {
	for i := range k.walks {
		if _, key, ok := k.walks[i].Peek(); ok && (first == nil || key.B < order) {
			first, order = &k.walks[i], key.B
		}
	}
	return first, order
}

func (k *peeked) take() *task {
	walk, _ := k.first()
	t, _, _ := walk.Peek()
	walk.Step()
	return t
}
