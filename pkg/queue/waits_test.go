package queue

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// newQueue makes a queue q.
func (b *bench) newQueue(t *testing.T, s Settings) {
	t.Helper()
	if err := b.core.CreateQueue(b.step(), "n", "q", s); err != nil {
		t.Fatal(err)
	}
}

// putInQ puts a task there.
func (b *bench) putInQ(t *testing.T) uint64 {
	t.Helper()
	s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Queue: "q", Spec: Spec{Kind: "k"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// drainWork does all bulk work and returns its effects.
func (b *bench) drainWork() (effects []any) {
	for b.core.Pending() {
		s := b.step()
		b.core.Work(s)
		effects = append(effects, s.Effects...)
	}
	return effects
}

// A reservation that stops in what a call's cancellation covers goes on behind it.
func TestAReservationBehindACancelledCallIsAnswered(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	b.enqueue(newTasks(0, 100, 1, 0)...)
	last, _ := submitOne(b)
	b.core.CancelCallID(b.step(), b.call, -1) // its sweep has not run yet
	id := session.ID{9}
	if err := b.core.Reserve(b.step(), Reservation{Waiter: 1, Namespace: "n", TasksMax: 1, Session: id}); err != nil {
		t.Fatal(err)
	}
	b.drainWork()
	if held := b.core.HeldBy(id); len(held) != 1 || held[0].ID != last {
		t.Errorf("waits for ever: %v", held)
	}
}

// A call whose last waiting submissions are cancelled by several requests is dropped once.
func TestACallIsDroppedOnce(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	b.newQueue(t, Settings{MaxSize: 1})
	b.putInQ(t)
	// Somebody else's bulk work is before it.
	for range 50 {
		_, _ = submitOne(b)
	}
	_, _ = b.core.PurgeQueue(b.step(), "n", "", 0)
	tasks := newTasks(0, 4, 1, 0)
	for i := range tasks {
		tasks[i].Queue = "q"
	}
	b.enqueue(tasks...)
	_ = b.core.CancelIndexes(b.step(), b.call, pure.Range{First: 0, Last: 1}, -1, false)
	_ = b.core.CancelIndexes(b.step(), b.call, pure.Range{First: 2, Last: 3}, -1, false)
	b.core.Finish(b.step(), b.call)
	b.core.Detach(b.call) // its stream is gone
	b.drainWork()
	if b.core.Strangers > 0 {
		t.Errorf("%d records about what is not there: the journal is corrupt from here on", b.core.Strangers)
	}
}

// A task that waits for room is after one whose outcome is acknowledged meanwhile: it runs all the same.
func TestWhatWaitsForRoomKeepsWhatItIsAfter(t *testing.T) {
	b := newBench(Config{})
	b.newQueue(t, Settings{MaxSize: 1})
	blocker := b.putInQ(t)
	b.enqueue(newTasks(0, 1, 1, 0)...)
	n := newTasks(1, 1, 1, 0)
	n[0].Queue, n[0].AfterIndexes = "q", []uint64{0}
	b.enqueue(n...)
	id := session.ID{9}
	_ = b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: "n", TasksMax: 1, Session: id})
	for _, a := range b.core.HeldBy(id) {
		b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
	}
	b.drainWork()
	b.core.Acknowledge(b.step(), b.call, pure.Ranges{{First: 0, Last: 0}})
	_, _ = b.core.Cancel(b.step(), "n", blocker, -1)
	for _, e := range b.drainWork() {
		if r, ok := e.(*Rejected); ok {
			t.Errorf("index %d is rejected: %v %v", r.Index, r.Reason.Reason, r.Reason.Message)
		}
	}
}

// A request that joined a call's task has it still when the call cancels or acknowledges it.
func TestARequestThatJoinedKeepsTheTask(t *testing.T) {
	for _, how := range []string{"cancelled", "acknowledged"} {
		b := newBench(Config{})
		o := *DefaultOptions
		o.UniqueKey = "u"
		n := NewTask{Spec: Spec{Kind: "k", Options: &o}}
		b.enqueue(n)
		s, _, err := b.core.Submit(b.step(), "n", "r", n, 0)
		if err != nil || !s.Joined {
			t.Fatal(err)
		}
		if how == "cancelled" {
			b.core.CancelCallID(b.step(), b.call, -1)
			b.drainWork()
		} else {
			id := session.ID{9}
			_ = b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: "n", TasksMax: 1, Session: id})
			a := b.core.HeldBy(id)[0]
			b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
			b.core.Acknowledge(b.step(), b.call, pure.Ranges{{First: 0, Last: 0}})
			b.drainWork()
		}
		got, err := b.core.Task("n", s.ID)
		if err != nil || got.State == Cancelled {
			t.Errorf("%s by the call: %v, %v", how, got.State, err)
		}
	}
}

func TestAnotherTaskAtAnIndexThatWaitsIsRefused(t *testing.T) {
	b := newBench(Config{})
	b.newQueue(t, Settings{MaxSize: 1})
	b.putInQ(t)
	b.enqueue(NewTask{Queue: "q", Spec: Spec{Kind: "one"}})
	_, refused := b.enqueue(NewTask{Queue: "q", Spec: Spec{Kind: "another"}})
	if len(refused) == 0 {
		t.Error("another task at the same index is not refused")
	}
}

func TestBytesThatWaitCountForTheCall(t *testing.T) {
	b := newBench(Config{})
	b.newQueue(t, Settings{MaxSize: 1})
	b.putInQ(t)
	tasks := newTasks(0, 200, 1, 512<<10)
	for i := range tasks {
		tasks[i].Queue = "q"
	}
	_, refused := b.enqueue(tasks...)
	if len(refused) == 0 {
		t.Errorf("%d MiB of one call wait, and %d are the most", b.core.waitedBytes>>20, CallBytesMax>>20)
	}
}

// What waits for room in a queue that is deleted is refused, and does not go into another one that has its name by
// then.
func TestWhatWaitsAtADeletedQueueIsRefused(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	b.newQueue(t, Settings{MaxSize: 1})
	b.putInQ(t)
	const waiting = 50
	for i := range uint64(waiting) {
		_, waits, err := b.core.Submit(b.step(), "n", fmt.Sprint("r", i), NewTask{Queue: "q", Spec: Spec{Kind: "k"}}, i+1)
		if !waits || err != nil {
			t.Fatalf("it does not wait: %v", err)
		}
	}
	tasks := newTasks(0, waiting, 1, 0)
	for i := range tasks {
		tasks[i].Queue = "q"
	}
	b.enqueue(tasks...)
	for range 100 { // somebody else's bulk work, which comes first
		_, _ = submitOne(b)
	}
	_, _ = b.core.PurgeQueue(b.step(), "n", "", 0)
	if err := b.core.DeleteQueue(b.step(), "n", "q", true); err != nil {
		t.Fatal(err)
	}
	b.newQueue(t, Settings{})
	refused := 0
	for _, e := range b.drainWork() {
		var err error
		switch e := e.(type) {
		case *Put:
			err = e.Err
		case *Rejected:
			err = e.Reason
		default:
			continue
		}
		if r, _ := errors.AsType[*pure.Refusal](err); r == nil || r.Reason != pure.QueueNotFound || r.Message != "queue q was deleted" {
			t.Errorf("%T: %v", e, err)
		}
		refused++
	}
	view, err := b.core.Queue("n", "q")
	if err != nil || view.Unfinished() > 0 || refused != 2*waiting || len(b.core.calls[b.call].waiting) > 0 {
		t.Errorf("%d of %d are refused, %v are in the new queue, %v", refused, 2*waiting, view.Counts, err)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

// A task that joined another ends as that one did, by the same attempt.
func TestTheOutcomeOfAJoinedTaskHasTheAttempt(t *testing.T) {
	b := newBench(Config{})
	b.enqueue(newTasks(0, 1, 1, 0)...)
	o := *DefaultOptions
	o.UniqueKey = "u"
	leader, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "u", Options: &o}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.enqueue(NewTask{Index: 1, Spec: Spec{Kind: "u", Options: &o}})
	id := session.ID{9}
	if err := b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: "n", Kinds: []string{"u"}, TasksMax: 1, Session: id}); err != nil {
		t.Fatal(err)
	}
	a := b.core.HeldBy(id)[0]
	b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
	var told *Outcome
	for _, e := range b.drainWork() {
		if e, ok := e.(*Finished); ok && e.Index == 1 {
			told = e.Outcome
		}
	}
	want := b.core.tasks[leader.ID].Outcome
	if told == nil || told.Token != a.Token || told.Attempts != 1 || told.StartedAt != want.StartedAt || want.StartedAt == 0 {
		t.Errorf("told is %+v, want %+v", told, want)
	}
	if s := b.core.calls[b.call].byIndex[1]; s.Token != a.Token || s.Attempts != 1 || s.StartedAt != want.StartedAt {
		t.Errorf("the task is %+v", s.TaskState)
	}
}
