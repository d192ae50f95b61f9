package queue

import (
	"math"

	"github.com/weftq/weft/internal/pure"
)

// fairKey is a fairness key in a queue. Keys take turns: the one that was served the longest ago is next. One
// that was not seen for a while is next at once, but not before those that have waited for two rounds
// already, so that a stream of ever new keys cannot starve the others. The idea is that of start-time fair
// queueing (Goyal, Vin and Cheng 1996), with tasks of equal size.
type fairKey struct {
	queue   *queue
	name    string
	turn    int64 // the least is next; volatile
	running int   // its tasks that are held
	groups  []*group
	options *Options // of the last task, shared by others that are equal
	place   int32    // in queue.idleKeys, while it has neither ready nor running tasks
}

// idleKeysMax is how many keys without tasks a queue remembers: one that comes back soon has to wait for its
// turn.
const idleKeysMax = 1024

// key returns a fairness key, known from now on.
func (q *queue) key(name string) *fairKey {
	k := q.keys[name]
	if k == nil {
		k = &fairKey{queue: q, name: name, turn: math.MinInt64}
		q.keys[name] = k
	}
	return k
}

// activate notes that a key has ready tasks in one more lane.
func (k *fairKey) activate(g *group) {
	q := k.queue
	if len(k.groups) == 0 {
		q.idleKeys.Remove(k)
		q.activeKeys++
		q.settleLate()
		k.turn = max(k.turn, q.clock-lead(q.activeKeys))
	}
	g.keyPlace = len(k.groups)
	k.groups = append(k.groups, g)
}

// lead is how far ahead a new key is put among so many: two rounds, as a power of two, so that keys which
// come together have the same turn and are served in the order of their tasks.
func lead(active int) int64 {
	n := int64(2)
	for n < int64(active) {
		n *= 2
	}
	return 2 * n
}

func (k *fairKey) deactivate(g *group) {
	last := len(k.groups) - 1
	moved := k.groups[last]
	k.groups[g.keyPlace], moved.keyPlace = moved, g.keyPlace
	k.groups[last] = nil
	k.groups = k.groups[:last]
	if last == 0 {
		k.queue.activeKeys--
		k.queue.settleLate()
		k.rest()
	}
}

// rest remembers a key without tasks for a while.
func (k *fairKey) rest() {
	q := k.queue
	if len(k.groups) > 0 || k.running > 0 || k.name == "" {
		return
	}
	if k.turn == math.MinInt64 || k.turn <= q.clock-lead(q.activeKeys+1) {
		delete(q.keys, k.name) // it would be as new
		return
	}
	q.idleKeys.Set(k, pure.Key{A: k.turn})
	if q.idleKeys.Len() > idleKeysMax {
		oldest, _, _ := q.idleKeys.Min()
		q.idleKeys.Remove(oldest)
		delete(q.keys, oldest.name)
	}
}

// serve ends a key's turn, before its task leaves its place: that finds the place of the task's group, and
// whether the key is to be remembered. A key that is alone is behind nobody: it may have tasks in thousands of lanes,
// and their places are found when another one comes.
func (k *fairKey) serve() {
	q := k.queue
	q.clock++
	if q.activeKeys == 1 {
		q.late = k
		return
	}
	k.turn = q.clock
}

// settleLate makes up for the turns of a key that was alone: it is not any more, or has no task left.
func (q *queue) settleLate() {
	if k := q.late; k != nil {
		q.late, k.turn = nil, q.clock
		k.settle(nil)
	}
}

// settle finds the places of a key's groups after its turn, but for the one whose task has left.
func (k *fairKey) settle(but *group) {
	if k.queue.late == k {
		return
	}
	for _, g := range k.groups {
		if g != but {
			g.settle()
		}
	}
}

// parked tells whether a key runs as many tasks as it may.
func (k *fairKey) parked() bool {
	limit := k.queue.MaxRunningPerKey
	return limit > 0 && k.name != "" && k.running >= int(limit)
}

// run counts the key's held tasks.
func (c *Core) run(k *fairKey, n int) {
	was := k.parked()
	if k.running == 0 {
		k.queue.idleKeys.Remove(k)
	}
	k.running += n
	if k.parked() != was {
		c.resettle(k)
	}
	k.rest()
}

// resettle puts a key's groups where its limit has them.
func (c *Core) resettle(k *fairKey) {
	for _, g := range k.groups {
		g.settle()
		for _, x := range g.lane.links {
			c.soil(x.profile)
		}
	}
}
