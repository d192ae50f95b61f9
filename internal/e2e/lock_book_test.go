//go:build linux

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// lockBook gives orders to the processes that use the lock service, and knows what they did.
type lockBook struct {
	world    *world
	broker   *brokerProcess
	client   *client.Client
	listener net.Listener
	group    sync.WaitGroup

	mu      sync.Mutex
	notes   []note
	orders  int
	open    []net.Conn
	changed chan struct{} // closed with the next note
}

// lockBook starts a broker for them as well.
func (w *world) lockBook() *lockBook {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	b := &lockBook{world: w, listener: listener, changed: make(chan struct{})}
	w.Cleanup(b.close)
	b.broker = w.broker()
	b.client = w.client(b.broker.addr, client.WithSessionTTL(patience))
	return b
}

func (b *lockBook) close() {
	_ = b.listener.Close()
	b.mu.Lock()
	for _, conn := range b.open {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.group.Wait()
}

func (b *lockBook) read(conn net.Conn) {
	from := json.NewDecoder(conn)
	for {
		var n note
		if from.Decode(&n) != nil {
			return
		}
		b.mu.Lock()
		b.notes = append(b.notes, n)
		close(b.changed)
		b.changed = make(chan struct{})
		b.mu.Unlock()
	}
}

// await waits for so many notes that match, and returns them.
func (b *lockBook) await(what string, n int, match func(*note) bool) []note {
	b.world.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var found []note
	for from := 0; ; {
		b.mu.Lock()
		for ; from < len(b.notes); from++ {
			if match(&b.notes[from]) {
				found = append(found, b.notes[from])
			}
		}
		changed := b.changed
		b.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.world.Fatalf("%s: %d of %d: %+v", what, len(found), n, found)
		}
	}
}

// lockProcess is one that uses the lock service.
type lockProcess struct {
	*procs.Process
	book *lockBook
	name string
	path *proxy // between it and the broker
	conn net.Conn
}

// process starts one, whose sessions have that TTL.
func (b *lockBook) process(name string, ttl time.Duration, slots int) *lockProcess {
	b.world.Helper()
	p := &lockProcess{book: b, name: name, path: b.world.proxy(b.broker.addr)}
	text, err := json.Marshal(lockerConfig{
		Name: name, Broker: p.path.addr(), Book: b.listener.Addr().String(), TTL: ttl, Slots: slots,
	})
	if err != nil {
		b.world.Fatal(err)
	}
	p.Process, err = b.world.process(name, procs.Command{
		Path: os.Args[0], Env: []string{envRole + "=" + roleLocker, envLocker + "=" + string(text)},
	})
	if err != nil {
		b.world.Fatal(err)
	}
	var ready workercmd.Ready
	if err := p.Ready(b.world.context(), &ready); err != nil {
		b.world.Fatal(err)
	}
	if p.conn, err = b.listener.Accept(); err != nil { // it has dialled before it was ready
		b.world.Fatal(err)
	}
	b.mu.Lock()
	b.open = append(b.open, p.conn)
	b.mu.Unlock()
	b.group.Go(func() { b.read(p.conn) })
	return p
}

// errand is an order that a process was given.
type errand struct {
	process *lockProcess
	order   lockOrder
}

// do gives an order.
func (p *lockProcess) do(o lockOrder) *errand {
	p.book.world.Helper()
	p.book.mu.Lock()
	p.book.orders++
	o.ID = p.book.orders
	p.book.mu.Unlock()
	p.tell(o)
	return &errand{p, o}
}

func (p *lockProcess) tell(o lockOrder) {
	p.book.world.Helper()
	if err := json.NewEncoder(p.conn).Encode(o); err != nil {
		p.book.world.Fatal(err)
	}
}

// goOn lets it go on.
func (e *errand) goOn() {
	e.process.book.world.Helper()
	e.process.tell(lockOrder{Do: doGoOn, Of: e.order.ID})
}

// in matches its notes of a phase.
func (e *errand) in(phase notePhase) func(*note) bool {
	return func(n *note) bool { return n.Process == e.process.name && n.Order == e.order.ID && n.Phase == phase }
}

// reaches waits until it is in a phase, for the nth time.
func (e *errand) reaches(phase notePhase, nth int) note {
	e.process.book.world.Helper()
	what := fmt.Sprintf("%s: %s %s %q", e.process.name, e.order.Do, e.order.Name, phase)
	return e.process.book.await(what, nth, e.in(phase))[nth-1]
}

// has waits until it has what it asked for.
func (e *errand) has() note { e.process.book.world.Helper(); return e.reaches(noteHas, 1) }

// done waits until it is carried out.
func (e *errand) done() note { e.process.book.world.Helper(); return e.reaches(noteDone, 1) }

// succeeds waits for that.
func (e *errand) succeeds() note {
	e.process.book.world.Helper()
	n := e.done()
	if n.Error != "" {
		e.process.book.world.Errorf("%s: %s %s: %s", e.process.name, e.order.Do, e.order.Name, n.Error)
	}
	return n
}

// lock is a lock as the broker has it.
func (b *lockBook) lock(name string) *weftv1.Lock {
	b.world.Helper()
	state, err := b.client.Lock(name).State(b.world.context())
	if err != nil {
		b.world.Fatal(err)
	}
	return state
}

// untilLock waits until a lock has so many holders and waiters.
func (b *lockBook) untilLock(name string, holders, waiters uint32) *weftv1.Lock {
	b.world.Helper()
	var state *weftv1.Lock
	b.world.until(fmt.Sprintf("%s has %d holders and %d waiters", name, holders, waiters), func() bool {
		state = b.lock(name)
		return state.GetHoldersCount() == holders && state.GetWaitersCount() == waiters
	})
	return state
}

// untilSemaphore waits until a semaphore has so many permits left and waiters. One that is as declared is not listed.
func (b *lockBook) untilSemaphore(name string, available int64, waiters uint32) {
	b.world.Helper()
	ctx, locks := b.world.context(), weftv1.NewLockServiceClient(b.client.Conn())
	b.world.until(fmt.Sprintf("%s has %d permits and %d waiters", name, available, waiters), func() bool {
		all, err := again(ctx, locks.ListSemaphores, &weftv1.ListSemaphoresRequest{})
		if err != nil {
			b.world.Fatal(err)
		}
		for _, s := range all.GetSemaphores() {
			if s.GetName() == name {
				return s.GetAvailable() == available && s.GetWaitersCount() == waiters
			}
		}
		return available == permitsAll && waiters == 0
	})
}

// untilBarrier waits until so many wait at a barrier.
func (b *lockBook) untilBarrier(name string, waiting int) {
	b.world.Helper()
	ctx, locks := b.world.context(), weftv1.NewLockServiceClient(b.client.Conn())
	b.world.until(fmt.Sprintf("%d wait at %s", waiting, name), func() bool {
		all, err := again(ctx, locks.ListBarriers, &weftv1.ListBarriersRequest{})
		if err != nil {
			b.world.Fatal(err)
		}
		for _, x := range all.GetBarriers() {
			if x.GetName() == name {
				return int(x.GetWaitersCount()) == waiting
			}
		}
		return waiting == 0
	})
}

// belief is a time in which a process believed to have something: from when it got it to the last look at its context that
// was not done.
type belief struct {
	note // the beginning
	end  int64
}

// beliefs are those in a book, by object.
func (b *lockBook) beliefs() map[string][]*belief {
	type holding struct {
		process string
		order   int
	}
	began := make(map[holding]note)
	current := make(map[holding]*belief)
	all := make(map[string][]*belief)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.notes {
		who := holding{n.Process, n.Order}
		switch n.Phase {
		case noteHas:
			began[who] = n
			delete(current, who)
		case noteSees:
			if current[who] == nil { // at the first look; one who has lost it before that believes nothing
				current[who] = &belief{note: began[who]}
				all[n.Name] = append(all[n.Name], current[who])
			}
			current[who].end = n.At
		case noteLeaves:
			if held := current[who]; held != nil && n.Error == "" {
				held.end = n.At
			}
		}
	}
	return all
}

// checkBeliefs looks whether more was believed to be had at a time than there is, and whether tokens of locks rise in the order of
// the grants. What is no lock is listed with how much there is of it. It returns how many grants there were.
func (b *lockBook) checkBeliefs(most map[string]int) (grants int) {
	b.world.Helper()
	all := b.beliefs()
	for _, object := range slices.Sorted(maps.Keys(all)) {
		held := all[object]
		grants += len(held)
		limit, other := most[object]
		if !other {
			limit = wholeLock
			b.checkTokens(held)
		}
		b.checkOverlaps(held, limit)
	}
	return grants
}

// checkOverlaps tells of the first time at which too much was had.
func (b *lockBook) checkOverlaps(held []*belief, limit int) {
	b.world.Helper()
	slices.SortFunc(held, func(x, y *belief) int { return cmp.Compare(x.At, y.At) })
	var now []*belief
	for _, x := range held {
		now = append(slices.DeleteFunc(now, func(y *belief) bool { return y.end < x.At }), x)
		weight := 0
		for _, y := range now {
			weight += y.Weight
		}
		if weight <= limit {
			continue
		}
		b.world.Errorf("too many have %s at a time:", x.Name)
		for _, y := range now {
			b.world.Errorf("  %s, order %d, token %d, %d of it, from %d to %d", y.Process, y.Order, y.Token, y.Weight, y.At, y.end)
		}
		return
	}
}

// checkTokens compares those of grants that exclude each other.
func (b *lockBook) checkTokens(held []*belief) {
	b.world.Helper()
	slices.SortFunc(held, func(x, y *belief) int { return cmp.Compare(x.At, y.At) })
	known := make(map[uint64]bool)
	var highest, exclusive uint64
	for _, x := range held {
		floor := exclusive // of one who shares it: others who do may have come later, and said so sooner
		if x.Weight == wholeLock {
			floor = highest
			exclusive = x.Token
		}
		if x.Token <= floor || known[x.Token] {
			b.world.Errorf("%s: %s has token %d after %d", x.Name, x.Process, x.Token, floor)
		}
		known[x.Token] = true
		highest = max(highest, x.Token)
	}
}

// trouble is what happens to a process, or to the broker behind its back.
type trouble struct {
	name   string
	strike func(*lockProcess)
	mend   func(*lockProcess) // nil: it is gone for good
	spares bool               // who is struck keeps what it has, and its place
}

// troubles are those that a process may have.
func troubles(t *testing.T) []trouble {
	return []trouble{
		{name: "killed", strike: func(p *lockProcess) { p.Kill() }},
		{
			name:   "stopped",
			strike: func(p *lockProcess) { send(t, p.Process, syscall.SIGSTOP) },
			mend:   func(p *lockProcess) { send(t, p.Process, syscall.SIGCONT) },
		},
		{
			name:   "cut off",
			strike: func(p *lockProcess) { p.path.part() },
			mend:   func(p *lockProcess) { p.path.mend() },
		},
		{
			name: "broker killed", spares: true,
			strike: func(p *lockProcess) {
				if err := p.book.broker.restart(); err != nil {
					t.Fatal(err)
				}
			},
			mend: func(*lockProcess) {},
		},
	}
}

// TTLs of the sessions here: of the process that is struck, and of those who wait for what it had. A machine that is busy does
// not lose the long one.
const (
	struckTTL = time.Second
	longTTL   = 15 * time.Second
)

// struckTTL is that of a process which is to be struck.
func (tr *trouble) ttl() time.Duration {
	if tr.spares {
		return longTTL
	}
	return struckTTL
}

// lost checks the end of an order of a process that was struck: it is told of it once it can be told again.
func (tr *trouble) lost(e *errand) {
	e.process.book.world.Helper()
	if tr.mend == nil {
		return
	}
	tr.mend(e.process)
	if n := e.done(); !n.Lost {
		e.process.book.world.Errorf("%s was told: %q", e.process.name, n.Error)
	}
}

// underTroubles runs a test for each trouble of a process north, with south and west to see what becomes of it.
func underTroubles(t *testing.T, run func(b *lockBook, tr *trouble, north, south, west *lockProcess)) {
	t.Helper()
	for _, tr := range troubles(t) {
		t.Run(tr.name, func(t *testing.T) {
			b := newWorld(t).lockBook()
			north := b.process("north", tr.ttl(), 0)
			run(b, &tr, north, b.process("south", longTTL, 0), b.process("west", longTTL, 0))
			b.checkBeliefs(map[string]int{"permits": permitsAll, "meeting": 1})
		})
	}
}

// untilSessions waits until so many sessions are left.
func (b *lockBook) untilSessions(n int) {
	b.world.Helper()
	ctx, sessions := b.world.context(), weftv1.NewSessionServiceClient(b.client.Conn())
	b.world.until(fmt.Sprintf("there are %d sessions", n), func() bool {
		all, err := again(ctx, sessions.ListSessions, &weftv1.ListSessionsRequest{})
		if err != nil {
			b.world.Fatal(err)
		}
		return len(all.GetSessions()) == n
	})
}
