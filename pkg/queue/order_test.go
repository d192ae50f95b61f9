package queue

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// orderModel says which task a consumer gets next, by looking at all of them.
type orderModel struct {
	settings Settings
	paused   bool
	clock    int64 // attempts begun
	tasks    []*orderTask
	keys     map[string]*orderKey
}

type orderTask struct {
	id          uint64
	kind, key   string
	labels      []string
	priority    int16
	ready, runs bool
}

// orderKey is a fairness key: the one that was served the longest ago is next. One that is new, or was away for
// two rounds, is next at once, but not before those that have waited for two rounds already.
type orderKey struct{ turn int64 }

func (m *orderModel) count(key string, of func(*orderTask) bool) (n int) {
	for _, t := range m.tasks {
		if t.key == key && of(t) {
			n++
		}
	}
	return n
}

func isReady(t *orderTask) bool { return t.ready }
func runs(t *orderTask) bool    { return t.runs }

// active is how many keys have ready tasks.
func (m *orderModel) active() (n int) {
	for key := range m.keys {
		if m.count(key, isReady) > 0 {
			n++
		}
	}
	return n
}

// rounds is two rounds of so many keys, as a power of two.
func rounds(keys int) int64 {
	n := 2
	for n < keys {
		n *= 2
	}
	return int64(2 * n)
}

// set makes a task ready or not, and its key new or known with it.
func (m *orderModel) set(t *orderTask, ready, runs bool) {
	before := m.count(t.key, isReady)
	if m.keys[t.key] == nil {
		m.keys[t.key] = &orderKey{turn: math.MinInt64}
	}
	t.ready, t.runs = ready, runs
	k := m.keys[t.key]
	switch after := m.count(t.key, isReady); {
	case before == 0 && after > 0:
		k.turn = max(k.turn, m.clock-rounds(m.active()))
	case after == 0 && t.key != "" && m.count(t.key, func(t *orderTask) bool { return t.runs }) == 0 && k.turn <= m.clock-rounds(m.active()+1):
		delete(m.keys, t.key) // as good as new
	}
}

func (m *orderModel) parked(key string) bool {
	limit := int(m.settings.MaxRunningPerKey)
	return key != "" && limit > 0 && m.count(key, runs) >= limit
}

// less tells whether one task comes before another of the same turn.
func (m *orderModel) less(a, b *orderTask) bool {
	switch {
	case m.settings.Order == LIFO:
		return a.id > b.id
	case m.settings.Order == ByPriority && a.priority != b.priority:
		return a.priority < b.priority
	}
	return a.id < b.id
}

// next is the task for a consumer of these kinds (none is any) with these labels.
func (m *orderModel) next(takes func(*orderTask) bool) (best *orderTask) {
	for _, t := range m.tasks {
		if !t.ready || m.parked(t.key) || !takes(t) {
			continue
		}
		if best == nil {
			best = t
			continue
		}
		mine, other := m.keys[t.key].turn, m.keys[best.key].turn
		if mine < other || mine == other && m.less(t, best) {
			best = t
		}
	}
	return best
}

func (m *orderModel) running() int {
	n := 0
	for _, t := range m.tasks {
		if t.runs {
			n++
		}
	}
	return n
}

func (m *orderModel) opens() bool {
	return !m.paused && (m.settings.MaxRunning == 0 || m.running() < int(m.settings.MaxRunning))
}

func (m *orderModel) serve(t *orderTask) {
	m.clock++
	m.keys[t.key].turn = m.clock
	m.set(t, false, true)
}

// take is what a reservation of n gets.
func (m *orderModel) take(n int, takes func(*orderTask) bool) (out []uint64) {
	for len(out) < n && m.opens() {
		t := m.next(takes)
		if t == nil {
			break
		}
		m.serve(t)
		out = append(out, t.id)
	}
	return out
}

// ahead is what one who takes everything would be given: limits say when, not what.
func (m *orderModel) ahead(n int) (out []uint64) {
	c := &orderModel{settings: m.settings, clock: m.clock, keys: map[string]*orderKey{}}
	c.settings.MaxRunningPerKey = 0
	for key, k := range m.keys {
		c.keys[key] = &orderKey{k.turn}
	}
	for _, t := range m.tasks {
		if t.ready && !m.parked(t.key) {
			again := *t
			c.tasks = append(c.tasks, &again)
		}
	}
	for len(out) < n {
		t := c.next(func(*orderTask) bool { return true })
		if t == nil {
			break
		}
		c.clock++
		c.keys[t.key].turn, t.ready = c.clock, false
		out = append(out, t.id)
	}
	return out
}

// orderRun plays one sequence at the core and at the model.
type orderRun struct {
	*rapid.T
	b      *bench
	m      *orderModel
	waiter uint64
}

var orderHolder = session.ID{7}

func TestTheOrderOfTasks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &orderRun{T: t, b: newBench(Config{}), m: &orderModel{keys: map[string]*orderKey{}}}
		r.m.settings = Settings{Order: Order(rapid.IntRange(1, 3).Draw(t, "order"))}
		if err := r.b.core.CreateQueue(r.b.step(), "n", "q", r.m.settings); err != nil {
			t.Fatal(err)
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": r.put, "reserve": r.reserve, "end": r.end, "cancel": r.cancel, "pause": r.pause, "update": r.update,
			"peek": r.peek, "": r.check,
		})
	})
}

func (r *orderRun) work() {
	for r.b.core.Pending() {
		r.b.core.Work(r.b.step())
	}
}

func (r *orderRun) check(t *rapid.T) {
	r.work()
	if err := r.b.core.Check(); err != nil {
		t.Fatal(err)
	}
}

func (r *orderRun) put(t *rapid.T) {
	x := &orderTask{
		kind:     rapid.SampledFrom([]string{"a", "b"}).Draw(t, "kind"),
		key:      rapid.SampledFrom([]string{"", "k1", "k2", "k3", "k4", "k5"}).Draw(t, "key"),
		labels:   rapid.SampledFrom([][]string{nil, {"gpu", "y"}}).Draw(t, "labels"),
		priority: int16(rapid.IntRange(-2, 2).Draw(t, "priority")),
	}
	o := *DefaultOptions
	o.FairnessKey, o.Priority, o.WorkerLabels = x.key, x.priority, x.labels
	o.AttemptsMax, o.InitialBackoff = 3, 1
	s, _, err := r.b.core.Submit(r.b.step(), "n", "", NewTask{Queue: "q", Spec: Spec{Kind: x.kind, Options: &o}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	x.id = s.ID
	r.m.tasks = append(r.m.tasks, x)
	r.m.set(x, true, false)
}

func (r *orderRun) reserve(t *rapid.T) {
	kinds := rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "kinds")
	labels := rapid.SampledFrom([][]string{nil, {"gpu", "y"}}).Draw(t, "labels")
	n := rapid.IntRange(1, 4).Draw(t, "n")
	got := r.reserveOf(t, n, kinds, labels)
	want := r.m.take(n, func(x *orderTask) bool {
		return (len(kinds) == 0 || slices.Contains(kinds, x.kind)) && hasLabels(labels, x.labels)
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("a reservation of %d gets %v, want %v", n, got, want)
	}
}

func (r *orderRun) reserveOf(t *rapid.T, n int, kinds, labels []string) (got []uint64) {
	r.waiter++
	step := r.b.step()
	err := r.b.core.Reserve(step, Reservation{
		Waiter: r.waiter, Namespace: "n", Queue: "q", Kinds: kinds, Labels: labels, TasksMax: n, Session: orderHolder,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.b.core.Forget(r.waiter)
	for _, e := range step.Effects {
		if e, ok := e.(*Reserved); ok {
			for _, a := range e.Tasks {
				got = append(got, a.ID)
			}
		}
	}
	return got
}

// one is some task of these, nil if there is none.
func (r *orderRun) one(t *rapid.T, of func(*orderTask) bool) *orderTask {
	var some []*orderTask
	for _, x := range r.m.tasks {
		if of(x) {
			some = append(some, x)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return rapid.SampledFrom(some).Draw(t, "task")
}

// end has an attempt succeed, fail for good, or give its task back.
func (r *orderRun) end(t *rapid.T) {
	x := r.one(t, runs)
	if x == nil {
		return
	}
	report := Report{ID: x.id, Token: r.b.core.tasks[x.id].Token, End: EndReleased}
	back := rapid.Bool().Draw(t, "released")
	if !back {
		report.End = EndSucceeded
	}
	r.b.core.Report(r.b.step(), orderHolder, []Report{report})
	r.m.set(x, back, false)
}

func (r *orderRun) cancel(t *rapid.T) {
	x := r.one(t, isReady)
	if x == nil {
		return
	}
	if _, err := r.b.core.Cancel(r.b.step(), "n", x.id, -1); err != nil {
		t.Fatal(err)
	}
	r.m.set(x, false, false)
}

func (r *orderRun) pause(t *rapid.T) {
	r.m.paused = rapid.Bool().Draw(t, "paused")
	if err := r.b.core.PauseQueue(r.b.step(), "n", "q", r.m.paused); err != nil {
		t.Fatal(err)
	}
}

func (r *orderRun) update(t *rapid.T) {
	s := r.m.settings
	s.MaxRunning = uint32(rapid.SampledFrom([]int{0, 0, 3, 6}).Draw(t, "max running"))
	s.MaxRunningPerKey = uint32(rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "max running per key"))
	if !slices.ContainsFunc(r.m.tasks, isReady) {
		s.Order = Order(rapid.IntRange(1, 3).Draw(t, "order"))
	}
	if err := r.b.core.UpdateQueue(r.b.step(), "n", "q", func(to *Settings) { *to = s }); err != nil {
		t.Fatal(err)
	}
	r.m.settings = s
}

// peek holds what is said to come next to the model, and, without limits, to what then comes.
func (r *orderRun) peek(t *rapid.T) {
	n := rapid.IntRange(1, 8).Draw(t, "n")
	page, err := r.b.core.Peek("n", "q", n)
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for i := range page {
		got = append(got, page[i].ID)
	}
	if want := r.m.ahead(n); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("the next %d are said to be %v, want %v", n, got, want)
	}
	if r.m.settings.MaxRunningPerKey > 0 || r.m.settings.MaxRunning > 0 || r.m.paused || !rapid.Bool().Draw(t, "then") {
		return
	}
	var then []uint64
	for range got {
		then = append(then, r.reserveOf(t, 1, nil, []string{"gpu", "y"})...)
		r.m.take(1, func(*orderTask) bool { return true })
	}
	if fmt.Sprint(then) != fmt.Sprint(got) {
		t.Fatalf("the next %d are said to be %v, and are %v", n, got, then)
	}
}

var _ pure.Sink = nowhere{}
