package queue

import (
	"testing"

	"github.com/weftq/weft/pkg/session"
)

// steps works until something is so, and returns how many steps that took.
func (b *bench) steps(t *testing.T, so func() bool) (n int) {
	t.Helper()
	for ; !so(); n++ {
		if !b.core.Pending() {
			t.Fatal("all is done, and it is not so")
		}
		b.core.Work(b.step())
	}
	return n
}

// A long purge holds up nobody else: neither a session's end, nor dependents, nor a worker.
func TestALongPurgeHoldsUpNobody(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{}); err != nil {
		t.Fatal(err)
	}
	put := func(after ...uint64) uint64 {
		options := *DefaultOptions
		options.After = after
		s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Queue: "q", Spec: Spec{Kind: "k", Options: &options}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	for range 1000 {
		if _, err := submitOne(b); err != nil {
			t.Fatal(err)
		}
	}
	first, held, lost := put(), session.ID{9}, session.ID{8}
	next, other := put(first), put()
	for i, id := range []session.ID{held, lost} {
		if err := b.core.Reserve(b.step(), Reservation{Waiter: uint64(i + 1), Namespace: "n", Queue: "q", TasksMax: 1, Session: id}); err != nil {
			t.Fatal(err)
		}
	}
	b.goOn()
	if _, err := b.core.PurgeQueue(b.step(), "n", "", 0); err != nil {
		t.Fatal(err)
	}
	b.core.Work(b.step())
	b.core.SessionEnded(b.step(), lost, false)
	if n := b.steps(t, func() bool { return b.core.tasks[other].State == Ready }); n > 1 {
		t.Errorf("what an ended session held is given up after %d steps", n)
	}
	for _, a := range b.core.HeldBy(held) {
		b.core.Report(b.step(), held, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
	}
	if n := b.steps(t, func() bool { return b.core.tasks[next].State == Ready }); n > 2 {
		t.Errorf("a dependent is told after %d steps", n)
	}
	if _, err := b.core.Connect(b.step(), Hello{
		Namespace: "n", Session: session.ID{7}, Name: "w", Queues: []string{"q"}, Kinds: []string{"k"}, Slots: 1, Credits: 1,
	}); err != nil {
		t.Fatal(err)
	}
	if n := b.steps(t, func() bool { return b.core.Attempts(session.ID{7}) == 1 }); n > 2 {
		t.Errorf("a worker is given a task after %d steps", n)
	}
	if n := b.counts(t); len(b.core.sweeps) != 1 || n[Cancelled] > 100 {
		t.Errorf("the purge is over: %v", n)
	}
	b.goOn()
	if n := b.counts(t); n[Ready] > 0 {
		t.Errorf("the purge left %v", n)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

// A purge that is asked for again and again comes to its end, and one of nothing is none.
func TestAPurgeAgainAndAgain(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{}); err != nil {
		t.Fatal(err)
	}
	if err := b.core.CloseQueue(b.step(), "n", "q", true); err != nil || len(b.core.sweeps) > 0 {
		t.Errorf("%v, and an empty queue is swept: %d", err, len(b.core.sweeps))
	}
	for range 500 {
		if _, err := submitOne(b); err != nil {
			t.Fatal(err)
		}
	}
	for range 500 {
		if err := b.core.CloseQueue(b.step(), "n", "", true); err != nil {
			t.Fatal(err)
		}
		b.core.Work(b.step())
	}
	if n := b.counts(t); n[Ready] > 0 || b.core.Pending() {
		t.Errorf("%v are left", n)
	}
}
