//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
)

// guarded has a task of a worker north hold a lock, with a worker south that is free, and waits until it does.
func (b *lockBook) guarded(ttl time.Duration) (north, south *lockProcess, f *client.SpecFuture, first note) {
	b.world.Helper()
	north = b.process("north", ttl, 1)
	f = b.world.submit(b.client, "guarded", "stock")[0]
	first = b.await("the first attempt has the lock", 1, guardedIn("north", noteHas))[0]
	south = b.process("south", longTTL, 1)
	b.world.connected(b.client, 2)
	return north, south, f, first
}

// guardedIn matches notes of a worker's attempts.
func guardedIn(worker string, phase notePhase) func(*note) bool {
	return func(n *note) bool { return n.Do == doGuarded && n.Process == worker && n.Phase == phase }
}

// letGo lets an attempt go on.
func (p *lockProcess) letGo(n note) {
	p.book.world.Helper()
	p.tell(lockOrder{Do: doGoOn, Of: n.Order})
}

// endsAt has the task end on a worker, and checks who had the lock.
func (b *lockBook) endsAt(p *lockProcess, f *client.SpecFuture, first note) {
	b.world.Helper()
	has := b.await("the next attempt has the lock", 1, guardedIn(p.name, noteHas))[0]
	if has.Token <= first.Token {
		b.world.Errorf("the next attempt has token %d after %d", has.Token, first.Token)
	}
	p.letGo(has)
	o, err := f.Wait(b.world.context())
	if err != nil || o.Err() != nil || o.Worker != p.name || o.Attempts != 2 {
		b.world.Errorf("outcome %+v, %v", o, err)
	}
	b.untilLock("stock", 0, 0)
	b.checkBeliefs(nil)
}

// stillHas checks that a lock is had by whoever got that token, and that somebody waits for it.
func (b *lockBook) stillHas(n note) {
	b.world.Helper()
	state := b.untilLock(n.Name, 1, 1)
	if got := state.GetHolders()[0].GetToken(); got != n.Token {
		b.world.Errorf("%s is had with token %d, by the attempt that is not over with %d", n.Name, got, n.Token)
	}
}

// guardedTTL is longer than it takes until the task of a worker that does not come back runs elsewhere.
const guardedTTL = 5 * time.Second

// The task of a worker that is killed runs elsewhere soon, and waits for the lock of its first attempt until that worker's session
// is over.
func TestLockOfKilledWorker(t *testing.T) {
	b := newWorld(t).lockBook()
	north, south, f, first := b.guarded(guardedTTL)
	north.Kill()
	b.await("the task runs again", 1, guardedIn("south", noteCalled))
	b.stillHas(first)
	b.endsAt(south, f, first)
}

// So it is when the broker is killed before that.
func TestLockOfKilledWorkerAndBroker(t *testing.T) {
	b := newWorld(t).lockBook()
	north, south, f, first := b.guarded(guardedTTL)
	north.Kill()
	b.await("the task runs again", 1, guardedIn("south", noteCalled))
	b.stillHas(first)
	if err := b.broker.restart(); err != nil {
		t.Fatal(err)
	}
	b.stillHas(first)
	b.endsAt(south, f, first)
}

// A worker that is only cut off goes on for as long as it may, and so long its lock is its own, although the task runs elsewhere
// already.
func TestLockOfWorkerCutOff(t *testing.T) {
	b := newWorld(t).lockBook()
	north, south, f, first := b.guarded(guardedTTL)
	north.path.sever()
	b.await("the task runs again", 1, guardedIn("south", noteCalled))
	b.stillHas(first)
	left := b.await("the first attempt stops", 1, guardedIn("north", noteLeaves))[0]
	b.endsAt(south, f, first)
	north.path.mend()
	if left.Error == "" {
		t.Errorf("the first attempt stopped without a reason")
	}
}

// A worker that comes back in time is told that its attempt is superseded; the lock is free when it reports the end, long
// before its session is over.
func TestLockOfWorkerThatComesBack(t *testing.T) {
	b := newWorld(t).lockBook()
	north, south, f, first := b.guarded(patience)
	north.path.sever()
	b.await("the task runs again", 1, guardedIn("south", noteCalled))
	b.stillHas(first)
	north.path.mend()
	b.await("the first attempt stops", 1, guardedIn("north", noteLeaves))
	b.endsAt(south, f, first)
}

// A worker that drains keeps the lock with the attempt that it lets end; one whose attempts are stopped reports that, and the lock is
// free, long before its session is over.
func TestLockOfDrainedWorker(t *testing.T) {
	b := newWorld(t).lockBook()
	north, south, f, first := b.guarded(patience)
	send(t, north.Process, syscall.SIGTERM)
	b.world.draining(b.client, "north")
	if state := b.untilLock("stock", 1, 0); state.GetHolders()[0].GetToken() != first.Token {
		t.Errorf("the lock while its worker drains: %v", state)
	}
	send(t, north.Process, syscall.SIGTERM)
	b.endsAt(south, f, first)
	b.world.exits(north.Process, 0)
}
