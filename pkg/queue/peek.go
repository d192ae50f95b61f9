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
	if queueName == "" {
		queueName = DefaultQueue
	}
	q := c.queueNames[name{namespace, queueName}]
	if q == nil {
		return nil, nil // the default queue before its first use
	}
	turns := q.peekTurns(min(n, PeekMax))
	var out []Snapshot
	for clock := q.clock; len(out) < min(n, PeekMax); clock++ {
		var next *peeked
		for _, k := range turns {
			if k.first() != nil && (next == nil || k.before(next)) {
				next = k
			}
		}
		if next == nil {
			break
		}
		out = append(out, c.snapshot(next.take()))
		if len(turns) > 1 {
			next.turn = clock + 1
		}
	}
	return out, nil
}

// peeked is a fairness key while a queue is looked at.
type peeked struct {
	turn  int64
	walks []pure.Walk[*task] // one a lane
}

// peekTurns returns the keys that may come within the next n turns.
func (q *queue) peekTurns(n int) []*peeked {
	var out []*peeked
	known := map[*fairKey]*peeked{}
	for _, l := range q.lanesInOrder() {
		groups := l.heads.Walk()
		for range n {
			g, _, ok := groups.Peek()
			if !ok {
				break
			}
			groups.Step()
			k := known[g.key]
			if k == nil {
				k = &peeked{turn: g.key.turn}
				known[g.key] = k
				out = append(out, k)
			}
			k.walks = append(k.walks, g.ready.Walk())
		}
	}
	return out
}

// first is the walk whose task is next, nil if there is none.
func (k *peeked) first() (first *pure.Walk[*task]) {
	least := pure.Key{}
	for i := range k.walks {
		if _, key, ok := k.walks[i].Peek(); ok && (first == nil || key.B < least.B) {
			first, least = &k.walks[i], key
		}
	}
	return first
}

func (k *peeked) before(o *peeked) bool {
	if k.turn != o.turn {
		return k.turn < o.turn
	}
	_, a, _ := k.first().Peek()
	_, b, _ := o.first().Peek()
	return a.B < b.B
}

func (k *peeked) take() *task {
	walk := k.first()
	t, _, _ := walk.Peek()
	walk.Step()
	return t
}
