package queue

import (
	"testing"

	"github.com/weftq/weft/pkg/session"
)

// What failed after failed tasks were purged is not purged with those of another state.
func TestPurgesOfOtherStatesHaveTheirOwnLimits(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	put := func() uint64 {
		id, err := submitOne(b)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	purge := func(in uint32) {
		if _, err := b.core.PurgeQueue(b.step(), "n", "", in); err != nil {
			t.Fatal(err)
		}
	}
	for range 51 {
		put()
	}
	b.failSome(t, 50)
	purge(1 << Failed)
	b.core.Work(b.step())
	later := put()
	id := session.ID{7}
	if err := b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: "n", TasksMax: 2, Session: id}); err != nil {
		t.Fatal(err)
	}
	held := b.core.HeldBy(id) // one that was there when failed tasks were purged, and one that was not
	for _, a := range held {
		b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: EndError, Error: &Error{Reason: "error"}}})
	}
	ready := put()
	purge(1 << Ready)
	b.goOn()
	if n := b.counts(t); len(held) != 2 || n[Failed] != 2 || b.core.tasks[later] == nil || b.core.tasks[ready].State != Cancelled {
		t.Errorf("of %d that failed later, left are %v", len(held), n)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

// A purge of scheduled tasks alone cancels one whose time comes before it does.
func TestAPurgeOfScheduledTasksThatAreDue(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	for range 100 {
		if _, err := submitOne(b); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", RunAt: b.step().Wall + 1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.core.PurgeQueue(b.step(), "n", "", 1<<Scheduled); err != nil {
		t.Fatal(err)
	}
	step := b.step()
	step.Wall += 2
	b.core.Advance(step)
	b.goOn()
	if n := b.counts(t); b.core.tasks[s.ID].State != Cancelled || n[Ready] != 100 {
		t.Errorf("it is %v, %v", b.core.tasks[s.ID].State, n)
	}
}

// What is purged is in no queue's way from that moment on, although bulk work has not come to it.
func TestWhatIsPurgedTakesNoRoom(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{MaxSize: 100}); err != nil {
		t.Fatal(err)
	}
	submit := func(waiter uint64) (waits bool) {
		_, waits, err := b.core.Submit(b.step(), "n", "", NewTask{Queue: "q", Spec: Spec{Kind: "k"}}, waiter)
		if err != nil {
			t.Fatal(err)
		}
		return waits
	}
	for range 100 {
		submit(0)
	}
	if !submit(1) {
		t.Error("the queue is full, and takes a task")
	}
	if n, err := b.core.PurgeQueue(b.step(), "n", "q", 0); n != 100 || err != nil {
		t.Errorf("%d of 100 are purged, %v", n, err)
	}
	if n, err := b.core.PurgeQueue(b.step(), "n", "q", 0); n != 0 || err != nil {
		t.Errorf("%d are purged a second time, %v", n, err)
	}
	if done, err := b.core.JoinQueue(b.step(), "n", "q", 2); !done || err != nil {
		t.Errorf("the end of a queue that was purged is awaited: %v", err)
	}
	if err := b.core.UpdateQueue(b.step(), "n", "q", func(s *Settings) { s.Order = LIFO }); err != nil {
		t.Error(err)
	}
	b.core.Work(b.step())
	b.core.Work(b.step())
	view, _ := b.core.Queue("n", "q")
	if view.Counts[Ready] != 1 || view.Counts[Cancelled] > 50 || b.core.putters[1] != nil {
		t.Errorf("the submission that waited is not in, or the purge is over: %v", view.Counts)
	}
	if submit(3) {
		t.Error("what is purged makes a submission wait")
	}
	b.goOn()
	view, _ = b.core.Queue("n", "q")
	if err := b.core.Check(); err != nil || view.Counts[Ready] != 2 || view.Counts[Cancelled] != 100 {
		t.Errorf("left are %v, %v", view.Counts, err)
	}
}
