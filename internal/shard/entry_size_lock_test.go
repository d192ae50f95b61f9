package shard

import (
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// crowd is a machine at whose objects as many wait as may, with names as long as may be.
type crowd struct {
	*sized
	namespace, long string
	id              session.ID
	ticket          uint64
	answered        int
}

func newCrowd(t *testing.T) *crowd {
	r := &crowd{sized: newSized(t), namespace: strings.Repeat("n", 256), long: strings.Repeat("o", 256), id: session.ID{200}}
	r.do(&OpenSession{State: session.State{ID: r.id, Namespace: r.namespace, Kind: session.Client, TTL: time.Hour}})
	return r
}

// ask has a holder ask for something, with a request id as long as may be.
func (r *crowd) ask(holder int, op LockOp) {
	r.t.Helper()
	r.ticket++
	request := strings.Repeat("r", 240) + time.Duration(r.ticket).String()
	r.m.Decide(&Synchronize{
		Namespace: r.namespace, Op: op, Holder: lockservice.HolderID{Session: r.id, Number: uint64(holder)}, Label: strings.Repeat("l", 256),
		Origin: lockservice.Origin{RequestID: request, Hash: [16]byte{1}}, Ticket: r.ticket,
	}, func(value any, err error) {
		if _, meets := op.(*WaitBarrier); err != nil && !meets {
			r.t.Fatalf("%T: %v", op, err)
		}
		r.answered++
	})
	if r.m.Full() {
		r.append()
	}
}

// settle has everything be done, and holds the entries to what the journal takes. All are answered.
func (r *crowd) settle() {
	r.t.Helper()
	r.finish()
	r.check()
	if r.answered != int(r.ticket) {
		r.t.Errorf("%d of %d are answered", r.answered, r.ticket)
	}
}

// Ten thousand share a lock as soon as its writer gives it up.
func TestASharedLocksHerdFitsItsEntries(t *testing.T) {
	r := newCrowd(t)
	r.ask(0, &AcquireLock{Name: r.long, Mode: lockservice.Exclusive})
	for i := range lockservice.WaitersMax {
		r.ask(i+1, &AcquireLock{Name: r.long, Mode: lockservice.Shared, Published: strings.Repeat("p", 4096)})
	}
	r.append()
	r.ask(0, &ReleaseLock{Name: r.long, Token: r.m.locks.Lock(r.namespace, r.long).Holders[0].Token})
	r.settle()
	if v := r.m.locks.Lock(r.namespace, r.long); v.HoldersCount != lockservice.WaitersMax || v.WaitersCount != 0 {
		t.Errorf("%d have it, %d wait", v.HoldersCount, v.WaitersCount)
	}
}

// A term that ends in the middle of it goes on where it was.
func TestAHerdOutlivesARestart(t *testing.T) {
	r := newCrowd(t)
	r.ask(0, &AcquireLock{Name: "l", Mode: lockservice.Exclusive})
	for i := range 3000 {
		r.ask(i+1, &AcquireLock{Name: "l", Mode: lockservice.Shared})
	}
	r.append()
	r.ask(0, &ReleaseLock{Name: "l", Token: r.m.locks.Lock(r.namespace, "l").Holders[0].Token})
	r.append()
	before := r.m.locks.Lock(r.namespace, "l")
	if before.HoldersCount == 0 || before.WaitersCount == 0 {
		t.Fatalf("%d have it, %d wait: it is not in the middle", before.HoldersCount, before.WaitersCount)
	}
	r.restart()
	r.finish()
	if v := r.m.locks.Lock(r.namespace, "l"); v.HoldersCount != 3000 || v.WaitersCount != 0 {
		t.Errorf("%d have it, %d wait", v.HoldersCount, v.WaitersCount)
	}
}

// All who wait at a condition are notified at once: that is one entry.
func TestANotificationOfAllFitsItsEntry(t *testing.T) {
	r := newCrowd(t)
	for i := range lockservice.WaitersMax {
		r.ask(i, &AcquireLock{Name: r.long, Mode: lockservice.Exclusive})
		r.ask(i, &WaitCondition{Name: r.long, Lock: r.long, Token: r.m.locks.Lock(r.namespace, r.long).Holders[0].Token})
	}
	r.ask(lockservice.WaitersMax, &AcquireLock{Name: r.long, Mode: lockservice.Exclusive})
	r.append()
	token, entries := r.m.locks.Lock(r.namespace, r.long).Holders[0].Token, len(r.entries)
	r.ask(lockservice.WaitersMax, &NotifyCondition{Name: r.long, Lock: r.long, Token: token, Count: lockservice.WaitersMax + 1})
	r.append()
	r.measure()
	if v := r.m.locks.Lock(r.namespace, r.long); v.WaitersCount != lockservice.WaitersMax || len(r.entries) != entries+1 {
		t.Errorf("%d wait for the lock, in %d entries", v.WaitersCount, len(r.entries)-entries)
	}
	if last := len(r.entries[len(r.entries)-1]); last > 1<<20 {
		t.Errorf("the entry has %d bytes", last)
	}
	r.check()
}

// As many meet at a barrier as may, or have it broken.
func TestTheLargestBarrierFitsItsEntry(t *testing.T) {
	for _, broken := range []bool{false, true} {
		r := newCrowd(t)
		for i := range lockservice.WaitersMax {
			if i == lockservice.WaitersMax-1 {
				for !r.m.Full() && len(r.m.enc.buf) < batchBytesMax-2000 { // behind a batch that is nearly full
					r.ask(lockservice.WaitersMax+int(r.ticket), &AcquireLock{Name: r.long, Mode: lockservice.Shared, Published: strings.Repeat("p", 1000)})
				}
				if broken {
					r.ask(i, &BreakBarrier{Name: r.long})
					break
				}
			}
			r.ask(i, &WaitBarrier{Name: r.long, Parties: lockservice.WaitersMax})
		}
		r.append()
		r.finish()
		r.check()
	}
}
