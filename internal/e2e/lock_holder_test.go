//go:build linux

package e2e

import "testing"

// What a holder has goes to who waits for it when its session is over, and not before; and to nobody if it is only the broker that
// was gone.
func TestLockHolderStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		first := north.do(lockOrder{Do: doHold, Name: "stock"})
		first.has()
		second := south.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 1)
		third := west.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 2)

		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			b.untilLock("stock", 1, 2)
			first.goOn()
			first.succeeds()
		} else {
			second.has() // nobody gave it up
			tr.lost(first)
		}
		second.has()
		second.goOn()
		second.succeeds()
		third.has()
		third.goOn()
		third.succeeds()
		b.untilLock("stock", 0, 0)
	})
}

// Whoever waits and is gone is passed over.
func TestLockWaiterStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		holder := west.do(lockOrder{Do: doHold, Name: "stock"})
		holder.has()
		first := north.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 1)
		second := south.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 2)

		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			holder.goOn()
			first.has()
			first.goOn()
			first.succeeds()
		} else {
			b.untilLock("stock", 1, 1)
			holder.goOn()
		}
		holder.succeeds()
		second.has()
		if !tr.spares {
			tr.lost(first)
		}
		second.goOn()
		second.succeeds()
		b.untilLock("stock", 0, 0)
	})
}

// A grant that reaches its waiter only after the session is over is none.
func TestLockGrantedToStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		holder := west.do(lockOrder{Do: doHold, Name: "stock"})
		holder.has()
		first := north.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 1)
		second := south.do(lockOrder{Do: doHold, Name: "stock"})
		b.untilLock("stock", 1, 2)

		if !tr.spares {
			tr.strike(north)
		}
		holder.goOn()
		if tr.spares {
			tr.strike(north) // while the grant is on its way, or just afterwards
			tr.mend(north)
			first.has()
			first.goOn()
			first.succeeds()
		}
		holder.succeeds()
		second.has()
		if !tr.spares {
			tr.lost(first)
		}
		second.goOn()
		second.succeeds()
		b.untilLock("stock", 0, 0)
	})
}

// Permits come back with the end of their holder, all of them, and once. A waiter that is gone holds up nobody behind it.
func TestSemaphoreStruck(t *testing.T) {
	underTroubles(t, func(b *lockBook, tr *trouble, north, south, west *lockProcess) {
		has := north.do(lockOrder{Do: doPermits, Name: "permits", N: 2})
		has.has()
		waits := north.do(lockOrder{Do: doPermits, Name: "permits", N: 3})
		b.untilSemaphore("permits", 1, 1)
		behind := south.do(lockOrder{Do: doPermits, Name: "permits", N: 1}) // there is one, but it may not overtake
		b.untilSemaphore("permits", 1, 2)
		last := west.do(lockOrder{Do: doPermits, Name: "permits", N: 2})
		b.untilSemaphore("permits", 1, 3)

		tr.strike(north)
		if tr.spares {
			tr.mend(north)
			b.untilSemaphore("permits", 1, 3)
			has.goOn()
			has.succeeds()
			waits.has()
			waits.goOn()
			waits.succeeds()
		}
		behind.has()
		last.has()
		b.untilSemaphore("permits", 0, 0)
		if !tr.spares {
			tr.lost(has)
			if tr.mend != nil {
				if n := waits.done(); !n.Lost {
					t.Errorf("the waiter was told: %q", n.Error)
				}
			}
			b.untilSemaphore("permits", 0, 0) // what it gives back now is not its own any more
		}
		for _, e := range []*errand{behind, last} {
			e.goOn()
			e.succeeds()
		}
		b.untilSemaphore("permits", permitsAll, 0)
	})
}
