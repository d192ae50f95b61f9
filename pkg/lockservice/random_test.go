package lockservice

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// world is a core with sessions, time and a journal.
type world struct {
	t        *testing.T
	core     *Core
	alive    map[session.ID]bool
	counter  uint64
	seq      uint64
	lease    pure.Lease
	tape     []entry
	rules    *rules
	told     int                  // waiters that the request of the step under way says to have notified
	slice    int                  // the records of a step of bulk work
	resolved map[uint64]*Resolved // of durable waiters, since the last look
	waits    map[uint64]string    // waiters that are not resolved, and for what
}

type entry struct {
	seq uint64
	rec any
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, alive: map[session.ID]bool{}, seq: 1, lease: 1, resolved: map[uint64]*Resolved{}, waits: map[uint64]string{}}
	w.core, w.rules = w.fresh(), newRules(w)
	w.core.Serve(w.lease)
	return w
}

func (w *world) fresh() *Core {
	return New(Config{
		Alive:       func(id session.ID) bool { return w.alive[id] },
		SessionName: func(id session.ID) string { return fmt.Sprintf("s%d", id[0]) }, StepRecordsMax: w.slice,
	})
}

// Record implements pure.Sink: it keeps a copy.
func (w *world) Record(rec any) int {
	data, err := json.Marshal(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	dup := reflect.New(reflect.TypeOf(rec).Elem())
	if err := json.Unmarshal(data, dup.Interface()); err != nil {
		w.t.Fatal(err)
	}
	w.tape = append(w.tape, entry{w.seq, dup.Interface()})
	return len(data)
}

func (w *world) do(fn func(step *pure.Step)) {
	w.t.Helper()
	step := &pure.Step{Wall: pure.Wall(w.lease), Lease: w.lease, Seq: w.seq, Sink: w, Counter: &w.counter}
	from := len(w.tape)
	w.told = 0
	fn(step)
	w.rules.step(w.tape[from:], w.told)
	for _, e := range step.Effects {
		r := e.(*Resolved)
		if r.Waiter < volatileIDs && w.waits[r.Waiter] == "" {
			w.t.Fatalf("waiter %d is resolved, and does not wait: %+v", r.Waiter, r)
		}
		delete(w.waits, r.Waiter)
		w.resolved[r.Waiter] = r
	}
	for id, what := range w.waits {
		if w.core.waiters[id] == nil {
			w.t.Fatalf("waiter %d for a %s is gone without a word", id, what)
		}
	}
	w.seq++
	if err := w.core.Check(); err != nil {
		w.t.Fatalf("after %d: %v", w.seq, err)
	}
}

func sid(n int) session.ID { return session.ID{byte(n), 1} }

// replayed compares what a replay from a sequence on gives with what lives.
func (w *world) replayed(from uint64) {
	w.t.Helper()
	c := w.fresh()
	for _, e := range w.tape {
		if e.seq >= from {
			c.Apply(e.rec, e.seq)
		}
	}
	if err := c.Complete(); err != nil {
		w.t.Fatal(err)
	}
	c.Serve(w.lease)
	if got, want := c.Dump(), w.core.Dump(); !slices.Equal(got, want) {
		for _, line := range got {
			if !slices.Contains(want, line) {
				w.t.Errorf("only replayed: %s", line)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				w.t.Errorf("only live:     %s", line)
			}
		}
		w.t.Fatal("the replay differs")
	}
	if from == 0 && c.Strangers != 0 {
		w.t.Fatalf("%d records about strangers", c.Strangers)
	}
	if len(c.leaving) == len(w.core.leaving) { // otherwise what leaves is at another place
		if err := c.Check(); err != nil {
			w.t.Fatalf("replayed: %v", err)
		}
	}
}

// player does random things.
type player struct {
	*world
	rng     *rand.Rand
	numbers map[Channel]uint64
	ended   [10]int // how often the session of a client has ended: the next one has another id
}

// sid is the id of a client's session.
func (p *player) sid(client int) session.ID { return sid(client + 10*p.ended[client]) }

func TestRandom(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.slice = []int{0, 0, 1, 3}[seed%4]
			w.core = w.fresh()
			w.core.Serve(w.lease)
			p := &player{world: w, rng: rand.New(rand.NewPCG(uint64(seed), 1)), numbers: map[Channel]uint64{}}
			for range 400 {
				p.do(p.step)
				for p.rng.IntN(3) > 0 && p.core.Pending() {
					p.do(p.core.Work)
				}
				if p.rng.IntN(40) == 0 {
					p.compact()
				}
			}
			p.settle()
		})
	}
}

func (p *player) compact() {
	for range p.rng.IntN(20) {
		if _, ok := p.core.OldestBase(); ok {
			p.do(p.core.CopyOldest)
		}
	}
	p.replayed(0)
	if base, ok := p.core.OldestBase(); ok {
		p.replayed(base)
	}
}

// settle ends every session: nothing may be left but what is nobody's.
func (p *player) settle() {
	for id := range 6 {
		p.end(p.sid(id))
	}
	for p.core.Pending() {
		p.do(p.core.Work)
	}
	p.replayed(0)
	if len(p.core.grants)+len(p.core.waiters)+len(p.core.holders)+len(p.core.peers)+len(p.core.locks.byName) != 0 {
		p.t.Fatalf("left: %d grants, %d waiters, %d holders, %d peers, %d locks: %v", len(p.core.grants), len(p.core.waiters),
			len(p.core.holders), len(p.core.peers), len(p.core.locks.byName), p.core.Dump())
	}
	p.lease = p.lease.Add(2 * MemoryTime)
	for p.core.Due(p.lease) {
		p.do(p.core.Advance)
	}
	if len(p.core.requests)+len(p.core.watchers.byID) != 0 {
		p.t.Fatalf("left: %v", p.core.Dump())
	}
}

func (p *player) end(id session.ID) {
	if !p.alive[id] {
		return
	}
	p.do(func(step *pure.Step) {
		p.sessionEnds(step, id)
	})
}

func (p *player) sessionEnds(step *pure.Step, id session.ID) {
	p.rules.lost = p.rules.unheard(id)
	p.ended[id[0]%10]++
	step.Emit(&session.Ended{ID: id})
	delete(p.alive, id)
	p.core.SessionEnded(step, id)
	for ch := range p.numbers {
		if ch.Session == id {
			delete(p.numbers, ch)
		}
	}
}

func (p *player) request(names string) Request {
	id := p.sid(p.rng.IntN(5))
	p.alive[id] = true
	r := Request{
		Namespace: "n", Name: string(names[p.rng.IntN(len(names))]), Holder: HolderID{id, uint64(p.rng.IntN(3))},
		Origin: p.origin(id),
	}
	switch p.rng.IntN(3) {
	case 0:
		r.Wait = Wait{Timed: true, For: time.Duration(p.rng.IntN(3)) * time.Second}
	case 1:
		r.Wait = Wait{Timed: true}
	}
	return r
}

func (p *player) origin(id session.ID) Origin {
	switch p.rng.IntN(3) {
	case 0:
		ch := Channel{id, uint64(p.rng.IntN(2) + 1)}
		p.numbers[ch]++
		o := Origin{Session: id, Channel: ch.Number, Number: p.numbers[ch], Below: p.core.Told(ch)}
		if p.rng.IntN(4) == 0 {
			p.core.Acknowledge(ch, o.Number)
		}
		return o
	case 1:
		return Origin{RequestID: fmt.Sprint(p.rng.IntN(1000)), Hash: [16]byte{1}}
	}
	return Origin{}
}

// took notes what a request came to.
func (p *player) took(what string, d Decision, err error) {
	if _, ok := errors.AsType[*pure.Refusal](err); err != nil && !ok {
		p.t.Fatalf("%s: %v", what, err)
	}
	if d.Waiter != 0 && d.Waiter < volatileIDs {
		p.waits[d.Waiter] = what
	}
}

func (p *player) step(step *pure.Step) {
	switch p.rng.IntN(20) {
	case 0, 1, 2:
		mode := Exclusive
		if p.rng.IntN(2) == 0 {
			mode = Shared
		}
		d, err := p.core.AcquireLock(step, &AcquireLock{Request: p.request("abc"), Mode: mode, Reentrant: p.rng.IntN(2) == 0})
		p.took("lock", d, err)
	case 3, 4, 5:
		p.release(step)
	case 6, 16, 17, 18, 19:
		p.condition(step)
	case 7, 8:
		d, err := p.core.AcquireSemaphore(step, &AcquireSemaphore{Request: p.request("xy"), Spec: p.spec(), Permits: int64(p.rng.IntN(2) + 1)})
		p.took("semaphore", d, err)
	case 9:
		r := p.request("x")
		d, err := p.core.ReleaseSemaphore(step, &ReleaseSemaphore{
			Namespace: "n", Name: r.Name, Spec: SemaphoreSpec{Permits: 2, Free: true, Bounded: true}, Permits: 1, Origin: r.Origin,
		})
		p.took("release", d, err)
	case 10, 11:
		p.barrier(step)
	case 12:
		p.object(step)
	case 13:
		for range p.rng.IntN(3) {
			p.lease = p.lease.Add(time.Second)
		}
		step.Lease = p.lease
		p.core.Advance(step)
	case 14:
		for id, w := range p.core.waiters {
			if p.rng.IntN(2) == 0 && w.Origin == (Origin{}) {
				p.core.AbandonWaiter(step, id)
				break
			}
		}
	case 15:
		p.leave(step)
	}
}

func (p *player) spec() SemaphoreSpec {
	if p.rng.IntN(3) == 0 {
		return SemaphoreSpec{Permits: 2, Free: true, Bounded: true}
	}
	return SemaphoreSpec{Permits: 3}
}

func (p *player) anyGrant() *Grant {
	var all []uint64
	for token := range p.core.grants {
		all = append(all, token)
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return p.core.grants[all[p.rng.IntN(len(all))]]
}

func (p *player) release(step *pure.Step) {
	g := p.anyGrant()
	if g == nil || g.holder.waits != nil {
		return
	}
	o := p.origin(g.Holder.Session)
	if g.Kind == KindSemaphore {
		s := p.core.semaphores.byName[name{g.Namespace, g.Name}]
		d, err := p.core.ReleaseSemaphore(step, &ReleaseSemaphore{
			Namespace: "n", Name: g.Name, Spec: s.Spec, Session: g.Holder.Session, Token: g.Token, Origin: o,
		})
		p.took("release", d, err)
		return
	}
	d, err := p.core.ReleaseLock(step, &ReleaseLock{
		Namespace: "n", Name: g.Name, Session: g.Holder.Session, Token: g.Token, All: p.rng.IntN(2) == 0, Origin: o,
	})
	p.took("release", d, err)
}

func (p *player) condition(step *pure.Step) {
	g := p.anyGrant()
	if g == nil || g.Kind != KindLock {
		return
	}
	at := &At{Namespace: "n", Condition: g.Name + "!", Lock: g.Name, Session: g.Holder.Session, Token: g.Token}
	if p.rng.IntN(2) == 0 {
		d, err := p.core.Notify(step, at, p.rng.IntN(3)+1, p.origin(g.Holder.Session))
		p.told = int(d.Answer.Count)
		p.took("notify", d, err)
		return
	}
	d, err := p.core.WaitCondition(step, at, Wait{Timed: p.rng.IntN(2) == 0, For: time.Second}, p.origin(g.Holder.Session))
	p.took("condition", d, err)
}

func (p *player) barrier(step *pure.Step) {
	r := p.request("B")
	switch p.rng.IntN(12) {
	case 0:
		d, err := p.core.ResetBarrier(step, "n", r.Name, r.Origin)
		p.took("reset", d, err)
	case 1, 2, 3:
		if b := p.core.barriers.byName[name{"n", r.Name}]; b != nil && b.Acting {
			r.Holder = b.Actor
			r.Origin = p.origin(r.Holder.Session)
			d, err := p.core.CompleteBarrier(step, &r, b.Generation)
			p.took("complete", d, err)
		}
	case 4:
		if p.rng.IntN(4) == 0 {
			d, err := p.core.AbortBarrier(step, "n", r.Name, r.Origin)
			p.took("abort", d, err)
		}
	default:
		if r.Wait.Try() {
			r.Wait.For = time.Second
		}
		d, err := p.core.WaitBarrier(step, &WaitBarrier{Request: r, Parties: 3, Action: p.rng.IntN(2) == 0})
		p.took("barrier", d, err)
	}
}

func (p *player) object(step *pure.Step) {
	r := p.request("e")
	switch p.rng.IntN(6) {
	case 0, 1:
		d, err := p.core.SetEvent(step, "n", "e", p.rng.IntN(2) == 0, r.Origin)
		p.took("event", d, err)
	case 2:
		d, err := p.core.WaitEvent(step, "n", "e", 0, r.Wait, Origin{}, r.Holder.Session)
		p.took("event", d, err)
	case 3:
		d, err := p.core.AddValue(step, &Change{Namespace: "n", Name: "v", Origin: r.Origin}, Data{Type: Int64, Number: 1})
		p.took("add", d, err)
	case 4:
		d, err := p.core.WaitValue(step, "n", "v", Until{Comparison: AtLeast, Data: Data{Type: Int64, Number: 5}}, r.Wait, Origin{}, r.Holder.Session)
		p.took("value", d, err)
	case 5:
		d, err := p.core.DeleteValue(step, &Change{Namespace: "n", Name: "v", Origin: r.Origin})
		p.took("delete", d, err)
	}
}

func (p *player) leave(step *pure.Step) {
	if p.rng.IntN(4) != 0 {
		return
	}
	id := p.sid(p.rng.IntN(5))
	if !p.alive[id] {
		return
	}
	if p.rng.IntN(2) == 0 {
		p.core.EndHolder(step, HolderID{id, 0})
		return
	}
	p.sessionEnds(step, id)
}
