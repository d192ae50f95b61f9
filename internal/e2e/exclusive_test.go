//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// exclusiveTTL leaves a worker that was cut off a second of its session, a quarter, to stop its attempts in.
const exclusiveTTL = 4 * time.Second

// An exclusive task of a worker whose connection is cut begins elsewhere when the worker's session has ended,
// and not before the worker has stopped it; another task begins sooner.
func TestExclusiveCut(t *testing.T) {
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a, path := w.api(b.addr), w.proxy(b.addr)
	l.worker(workerConfig{Name: "north", Broker: path.addr(), Slots: 2, TTL: exclusiveTTL})
	exclusive := text("hold", "exclusive")
	exclusive.Exclusive = true
	id := a.submitAll("", exclusive, text("hold", "ordinary"))[0]
	l.await(a.ctx, 2, begins("north"))
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 2, TTL: exclusiveTTL})
	w.connected(w.client(b.addr), 2)

	path.close() // both ends see it, and there is no way back
	first := l.await(a.ctx, 1, begins("south"))[0]
	if first.Task != "ordinary" {
		t.Errorf("%s begins first elsewhere", first.Task)
	}
	second := l.await(a.ctx, 2, begins("south"))[1]
	stopped := l.await(a.ctx, 1, func(e *event) bool {
		return e.Worker == "north" && e.Phase == end && e.Task == "exclusive"
	})[0]
	if stopped.Error == "" || stopped.At.After(second.At) {
		t.Errorf("the first run ended %+v, the second one began %+v", stopped, second)
	}
	l.release(&first)
	l.release(&second)
	a.endedBy(id, &second)
}

// A worker that was stopped with an exclusive task, and goes on later, is told that it has lost it.
func TestExclusiveStopped(t *testing.T) {
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a := w.api(b.addr)
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 1, TTL: time.Second})
	exclusive := text("hold", "exclusive")
	exclusive.Exclusive = true
	id := a.submitAll("", exclusive)[0]
	l.await(a.ctx, 1, begins("north"))
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 1, TTL: time.Second})
	w.connected(w.client(b.addr), 2)

	send(t, north, syscall.SIGSTOP)
	second := l.await(a.ctx, 1, begins("south"))[0]
	goesOn := time.Now()
	send(t, north, syscall.SIGCONT)
	stopped := l.await(a.ctx, 1, func(e *event) bool { return e.Worker == "north" && e.Phase == end })[0]
	if stopped.Error == "" {
		t.Errorf("the first run ended well: %+v", stopped)
	}
	if stopped.At.Before(goesOn) && stopped.At.After(second.At) {
		t.Errorf("it ran while it was stopped: %+v", stopped)
	}
	l.release(&second)
	a.endedBy(id, &second)
}

// endedBy waits for a task's end, which has to be the success of that run.
func (a *api) endedBy(id string, run *event) {
	a.world.Helper()
	o := must(a, a.tasks.WaitTask, &weftv1.WaitTaskRequest{TaskId: id}).GetTask().GetOutcome()
	if o.GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED || o.GetToken() != run.Token || o.GetWorker() != run.Worker {
		a.world.Errorf("outcome %v, the run that should have brought it %+v", o, run)
	}
}
