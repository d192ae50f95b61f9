//go:build linux

package e2e

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

// contentions are what processes contend for while troubles come and go: a lock, one that is shared as well, and permits.
func contentions() []lockOrder {
	lock := lockOrder{Do: doContend, Name: "one", Within: 5 * time.Millisecond}
	writes := lockOrder{Do: doContend, Name: "book", Within: 5 * time.Millisecond}
	reads := writes
	reads.Shared = true
	one := lockOrder{Do: doContend, Name: "permits", N: 1, Within: 5 * time.Millisecond}
	two := one
	two.N = 2
	return []lockOrder{lock, lock, writes, reads, reads, one, two}
}

// contender is a process that contends, and the orders of it.
type contender struct {
	*lockProcess
	errands []*errand
}

func (b *lockBook) contender(name string) *contender {
	b.world.Helper()
	c := &contender{lockProcess: b.process(name, contendTTL, 0)}
	for _, o := range contentions() {
		c.errands = append(c.errands, c.do(o))
	}
	return c
}

// contendTTL is that of the sessions of those who contend.
const contendTTL = 1500 * time.Millisecond

// Whatever happens to those who contend for locks and permits, and to the broker: nobody believes to have what another one has,
// a writer is beside nobody, tokens rise, and in the end everyone has had a turn, and all is free.
func TestLockContention(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 5
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := newWorld(t).lockBook()
	processes := []*contender{b.contender("north"), b.contender("south"), b.contender("west")}
	kinds := append(troubles(t), trouble{
		name: "broker stopped",
		strike: func(p *lockProcess) {
			send(t, b.broker.Process, syscall.SIGSTOP)
		},
		mend: func(p *lockProcess) { send(t, b.broker.Process, syscall.SIGCONT) },
	})
	for round := range rounds {
		i := rng.IntN(len(processes))
		tr := kinds[(round+int(seed%uint64(len(kinds))))%len(kinds)]
		p := processes[i]
		b.turns(processes)
		t.Logf("round %d: %s, %s", round, tr.name, p.name)
		p.hasSomething(rng)
		tr.strike(p.lockProcess)
		if tr.mend == nil {
			processes[i] = b.contender(p.name + "+")
			continue
		}
		least := contendTTL // or else nobody gets what it has
		if tr.name == "broker stopped" {
			least = 0
		}
		<-time.After(least + rand.N(contendTTL)) // how long it lasts, which is the test
		tr.mend(p.lockProcess)
	}
	b.turns(processes)
	for _, p := range processes {
		for _, e := range p.errands {
			e.goOn()
		}
	}
	for _, p := range processes {
		for _, e := range p.errands {
			e.succeeds()
		}
	}
	b.untilLock("one", 0, 0)
	b.untilLock("book", 0, 0)
	b.untilSemaphore("permits", permitsAll, 0)
	if n := b.sharedAtOnce("book"); n < 2 {
		t.Errorf("at most %d readers at a time", n)
	} else {
		t.Logf("up to %d readers at a time", n)
	}
	t.Logf("%d grants", b.checkBeliefs(map[string]int{"permits": permitsAll}))
}

// hasSomething waits until it has something, just now.
func (c *contender) hasSomething(rng *rand.Rand) {
	since, has := sharedClock(), c.errands[rng.IntN(len(c.errands))].in(noteHas)
	c.book.await(c.name+" has something", 1, func(n *note) bool { return n.At > since && has(n) })
}

// turns waits until everyone has had a turn since now.
func (b *lockBook) turns(processes []*contender) {
	b.world.Helper()
	since := sharedClock()
	for _, p := range processes {
		for _, e := range p.errands {
			has := e.in(noteHas)
			b.await("a turn of "+p.name+" at "+e.order.Name, 1, func(n *note) bool { return n.At > since && has(n) })
		}
	}
}

// sharedAtOnce is how many believed to share a lock at a time.
func (b *lockBook) sharedAtOnce(name string) (most int) {
	held := b.beliefs()[name]
	for _, x := range held {
		if x.Weight == wholeLock {
			continue
		}
		beside := slices.DeleteFunc(slices.Clone(held), func(y *belief) bool {
			return y.Weight == wholeLock || y.At > x.At || y.end < x.At
		})
		most = max(most, len(beside))
	}
	return most
}
