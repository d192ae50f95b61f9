package lockservice

import (
	"cmp"
	"maps"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// watchKind says what a watcher waits for.
type watchKind uint8

const (
	watchedEvent watchKind = 1
	watchedValue watchKind = 2
)

// watcher waits for an event or a value. It is volatile: its client asks again after a cut, with what it has seen.
type watcher struct {
	id      uint64
	kind    watchKind
	name    name
	until   Until // of a value
	origin  Origin
	session session.ID // whose end ends it, if it has one
	place   int32
}

type watchedName struct {
	kind watchKind
	name name
}

// watchers are all of them.
type watchers struct {
	last      uint64
	byID      map[uint64]*watcher
	byOrigin  map[originKey]*watcher // of streams' commands
	byName    map[watchedName]map[uint64]*watcher
	bySession map[session.ID]map[uint64]*watcher
	deadlines pure.Heap[*watcher]

	locks, values map[name]int // followed by so many streams
	changed       []any
}

// watchersMax bounds them: they are in memory alone, and in nobody's bytes.
const watchersMax = 250_000

// volatileIDs is where the ids of volatile waiters begin: the shard's counter does not come as far.
const volatileIDs = 1 << 63

func newWatchers() watchers {
	return watchers{
		last: volatileIDs, byID: map[uint64]*watcher{}, byName: map[watchedName]map[uint64]*watcher{},
		byOrigin: map[originKey]*watcher{}, bySession: map[session.ID]map[uint64]*watcher{},
		deadlines: pure.NewHeap(func(w *watcher) *int32 { return &w.place }),
		locks:     map[name]int{}, values: map[name]int{},
	}
}

// watch makes a watcher.
func (c *Core) watch(step *pure.Step, w *watcher, wait Wait) (Decision, error) {
	key := watchedName{w.kind, w.name}
	if len(c.watchers.byName[key]) >= WaitersMax {
		return Decision{}, pure.Refuse(pure.StateFull, "as many wait for it as may", "limit", WaitersMax, "name", w.name.name)
	}
	if len(c.watchers.byID) >= watchersMax {
		return Decision{}, pure.Refuse(pure.Overloaded, "as many wait for events and values as may", "limit", watchersMax)
	}
	c.watchers.last++
	w.id = c.watchers.last
	c.watchers.byID[w.id] = w
	list(c.watchers.byName, key, w)
	list(c.watchers.bySession, w.session, w)
	if origin, ok := keyOf(w.name.namespace, &w.origin); ok {
		c.watchers.byOrigin[origin] = w
	}
	if wait.Timed {
		c.watchers.deadlines.Set(w, pure.Key{A: int64(step.Lease.Add(wait.For)), B: w.id})
	}
	return Decision{Waiter: w.id}, nil
}

func list[K comparable](m map[K]map[uint64]*watcher, key K, w *watcher) {
	if m[key] == nil {
		m[key] = map[uint64]*watcher{}
	}
	m[key][w.id] = w
}

func unlist[K comparable](m map[K]map[uint64]*watcher, key K, w *watcher) {
	if delete(m[key], w.id); len(m[key]) == 0 {
		delete(m, key)
	}
}

func (c *Core) unwatch(w *watcher) {
	delete(c.watchers.byID, w.id)
	unlist(c.watchers.byName, watchedName{w.kind, w.name}, w)
	unlist(c.watchers.bySession, w.session, w)
	if origin, ok := keyOf(w.name.namespace, &w.origin); ok && c.watchers.byOrigin[origin] == w {
		delete(c.watchers.byOrigin, origin)
	}
	c.watchers.deadlines.Remove(w)
}

// wakeWatchers answers those who have what they wait for, in the order in which they came.
func (c *Core) wakeWatchers(step *pure.Step, k watchKind, n name) {
	var reached []*watcher
	for _, w := range c.watchers.byName[watchedName{k, n}] {
		if _, ok := c.reached(w); ok {
			reached = append(reached, w)
		}
	}
	slices.SortFunc(reached, func(a, b *watcher) int { return cmp.Compare(a.id, b.id) })
	for _, w := range reached {
		a, _ := c.reached(w)
		c.unwatch(w)
		step.Tell(&Resolved{Waiter: w.id, Origin: w.origin, Answer: a})
	}
}

// reached tells whether a watcher has what it waits for.
func (c *Core) reached(w *watcher) (Answer, bool) {
	if w.kind == watchedEvent {
		st := c.Event(w.name.namespace, w.name.name)
		return eventAnswer(&st), st.Set
	}
	st := c.Value(w.name.namespace, w.name.name)
	return valueAnswer(&st), w.until.holds(&st)
}

// present answers a watcher whose time is over, or that is abandoned, with what there is.
func (c *Core) present(step *pure.Step, w *watcher, o Outcome) {
	a, _ := c.reached(w)
	a.Outcome = o
	c.unwatch(w)
	step.Tell(&Resolved{Waiter: w.id, Origin: w.origin, Answer: a})
}

// dropWatchers ends those of a session that is over.
func (c *Core) dropWatchers(step *pure.Step, id session.ID) {
	if id.IsZero() {
		return // of requests that need no session
	}
	for _, number := range slices.Sorted(maps.Keys(c.watchers.bySession[id])) {
		w := c.watchers.byID[number]
		c.unwatch(w)
		step.Tell(&Resolved{Waiter: number, Origin: w.origin, Err: pure.Refuse(pure.LeaseLost, "the session has ended")})
	}
}

// Disconnect forgets the volatile waiters of a channel whose stream is gone: it will ask again, unless that was its end.
func (c *Core) Disconnect(step *pure.Step, ch Channel) {
	c.endWindow(step, ch)
	for _, w := range c.watchers.bySession[ch.Session] {
		if w.origin.Number != 0 && w.origin.Channel == ch.Number {
			c.unwatch(w)
		}
	}
}

// Follow has [LockChanged] or [ValueChanged] told of a name, or no longer.
func (c *Core) Follow(locks bool, namespace, object string, on bool) {
	m, n := c.watchers.values, name{namespace, object}
	if locks {
		m = c.watchers.locks
	}
	if on {
		m[n]++
	} else if m[n]--; m[n] <= 0 {
		delete(m, n)
	}
}
