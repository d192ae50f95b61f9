//go:build linux

package e2e

import (
	"math/rand/v2"
	"syscall"
	"testing"
)

// waiting has a process wait at the lock's condition.
func (p *lockProcess) waiting(lock string) *errand {
	p.book.world.Helper()
	e := p.do(lockOrder{Do: doWait, Name: lock})
	e.reaches(noteCalled, 1)
	p.book.untilLock(lock, 0, 0) // it has given it up, so it waits
	return e
}

// A waiter that is gone before anybody notifies swallows nothing.
func TestConditionWaiterStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		first, second := north.waiting("desk"), south.waiting("desk")
		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			west.do(lockOrder{Do: doNotify, Name: "desk", N: 1}).succeeds()
			first.reaches(noteHas, 2)
			first.goOn()
			first.succeeds()
		} else {
			b.untilSessions(1)
			tr.lost(first) // none of what follows is for it
		}
		west.do(lockOrder{Do: doNotify, Name: "desk", N: 1}).succeeds()
		second.reaches(noteHas, 2)
		second.goOn()
		second.succeeds()
		b.untilLock("desk", 0, 0)
	})
}

// A notification whose waiter cannot have heard of it passes on to the next one.
func TestConditionNotifiedStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		first, second := north.waiting("desk"), south.waiting("desk")
		if !tr.spares {
			tr.strike(north)
		}
		west.do(lockOrder{Do: doNotify, Name: "desk", N: 1}).succeeds() // the one who waits longest
		if tr.spares {
			tr.strike(north)
			tr.mend(north)
			first.reaches(noteHas, 2)
			first.goOn()
			first.succeeds()
			west.do(lockOrder{Do: doNotify, Name: "desk", N: 1}).succeeds()
		}
		second.reaches(noteHas, 2)
		if !tr.spares {
			tr.lost(first)
		}
		second.goOn()
		second.succeeds()
		b.untilLock("desk", 0, 0)
	})
}

// So it does if the broker is killed as well before the waiter's end is found out.
func TestConditionNotifiedStruckAndBrokerKilled(t *testing.T) {
	for _, tr := range troubles(t) {
		if tr.spares {
			continue
		}
		t.Run(tr.name, func(t *testing.T) {
			b := newWorld(t).lockBook()
			north := b.process("north", tr.ttl(), 0)
			south, west := b.process("south", longTTL, 0), b.process("west", longTTL, 0)
			first, second := north.waiting("desk"), south.waiting("desk")
			tr.strike(north)
			west.do(lockOrder{Do: doNotify, Name: "desk", N: 1}).succeeds()
			if err := b.broker.restart(); err != nil {
				t.Fatal(err)
			}
			second.reaches(noteHas, 2)
			tr.lost(first)
			second.goOn()
			second.succeeds()
			b.untilLock("desk", 0, 0)
			b.checkBeliefs(nil)
		})
	}
}

// Who holds the lock is struck while others wait to come back from the condition.
func TestConditionHolderStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		first, second := south.waiting("desk"), west.waiting("desk")
		notifies := north.do(lockOrder{Do: doNotify, Name: "desk", N: 2})
		notifies.succeeds()
		first.reaches(noteHas, 2)
		holder := north.do(lockOrder{Do: doHold, Name: "desk"})
		b.untilLock("desk", 1, 2)
		first.goOn()
		second.reaches(noteHas, 2)
		second.goOn()
		holder.has()
		third := south.behind("desk")
		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			holder.goOn()
			holder.succeeds()
		}
		third.has()
		if !tr.spares {
			tr.lost(holder)
		}
		third.goOn()
		third.succeeds()
		first.succeeds()
		second.succeeds()
		b.untilLock("desk", 0, 0)
	})
}

// behind has a process wait behind the holder of a lock.
func (p *lockProcess) behind(lock string) *errand {
	p.book.world.Helper()
	e := p.do(lockOrder{Do: doHold, Name: lock})
	p.book.untilLock(lock, 1, 1)
	return e
}

// Of many who wait, as many go on as were notified, those who wait longest first: also if some of them are stopped meanwhile and never
// come back, and the broker is killed.
func TestConditionCounts(t *testing.T) {
	const ofEach = 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := newWorld(t).lockBook()
	doomed := b.process("doomed", struckTTL, 0)
	processes := []*lockProcess{doomed, b.process("south", longTTL, 0), b.process("west", longTTL, 0)}
	var order []*lockProcess // of the waiters
	for range ofEach {
		order = append(order, processes...)
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var lasting []*errand
	for _, p := range order {
		if e := p.waiting("desk"); p != doomed {
			lasting = append(lasting, e)
			e.goOn() // as soon as it is back
		}
	}
	send(t, doomed.Process, syscall.SIGSTOP) // it hears of nothing any more
	killed := rng.IntN(2 * ofEach)
	for told := 0; told < len(lasting); {
		n := 1 + rng.IntN(min(3, len(lasting)-told))
		processes[1].do(lockOrder{Do: doNotify, Name: "desk", N: n}).succeeds()
		if told <= killed && killed < told+n {
			if err := b.broker.restart(); err != nil {
				t.Fatal(err)
			}
		}
		told += n
	}
	doomed.Kill()
	last := uint64(0)
	for i, e := range lasting {
		n := e.reaches(noteHas, 2)
		e.succeeds()
		if n.Token <= last {
			t.Errorf("waiter %d of %d is back with token %d, the one before it with %d", i, len(lasting), n.Token, last)
		}
		last = n.Token
	}
	b.untilLock("desk", 0, 0)
	b.checkBeliefs(nil)
}

// A barrier breaks for all when one of its parties is gone, and only then.
func TestBarrierStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		const parties = 3
		meet := lockOrder{Do: doBarrier, Name: "meeting", N: parties}
		waits := []*errand{north.do(meet)}
		b.untilBarrier("meeting", 1)
		waits = append(waits, south.do(meet))
		b.untilBarrier("meeting", 2)
		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			b.untilBarrier("meeting", 2)
			waits = append(waits, west.do(meet))
			waits[2].goOn()
			for i, e := range waits {
				if n := e.succeeds(); n.Index != i {
					t.Errorf("%s came as number %d, and is told %d", n.Process, i, n.Index)
				}
			}
			return
		}
		if n := waits[1].done(); !n.Broken {
			t.Errorf("%s was told %q", n.Process, n.Error)
		}
		tr.lost(waits[0])
		if n := west.do(meet).done(); !n.Broken { // it stays so
			t.Errorf("%s was told %q", n.Process, n.Error)
		}
		if err := b.client.Barrier("meeting", parties).Reset(b.world.context()); err != nil {
			t.Fatal(err)
		}
		again := []*errand{south.do(meet), west.do(meet), south.do(meet)}
		for _, e := range again {
			e.goOn() // whoever is the last
		}
		for _, e := range again {
			e.succeeds()
		}
	})
}

// So it does when the party is gone that acts for all; while it acts, nobody goes on.
func TestBarrierActorStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		meet := lockOrder{Do: doBarrier, Name: "meeting", N: 3}
		waits := []*errand{south.do(meet), west.do(meet)}
		b.untilBarrier("meeting", 2)
		acts := north.do(meet)
		acts.has()
		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			acts.goOn()
			for _, e := range append(waits, acts) {
				if n := e.succeeds(); n.At < acts.reaches(noteLeaves, 1).At {
					t.Errorf("%s went on before the action had ended", n.Process)
				}
			}
			return
		}
		for _, e := range waits {
			if n := e.done(); !n.Broken {
				t.Errorf("%s was told %q", n.Process, n.Error)
			}
		}
		tr.lost(acts)
	})
}
