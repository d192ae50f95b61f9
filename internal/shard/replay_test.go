package shard

import (
	"errors"
	"testing"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// body writes an entry of records.
func body(records ...any) []byte {
	e := newEncoder()
	for _, r := range records {
		e.Record(r)
	}
	return e.buf
}

func putTask(id uint64) *queue.TaskPut {
	return &queue.TaskPut{State: &queue.TaskState{
		Extra: queue.NoExtra,
		ID:    id, Queue: 1, Spec: queue.Spec{Kind: "k", Options: queue.DefaultOptions}, State: queue.Ready,
	}}
}

var putQueue = &queue.QueuePut{State: queue.QueueState{ID: 1, Namespace: "n", Name: "q"}}

// strangers are records about entities that are not there.
func strangers() []any {
	return []any{
		&queue.TaskDispatched{ID: 9, Token: 10}, &queue.TaskRetried{ID: 9}, &queue.TaskReady{ID: 9}, &queue.TaskLosses{ID: 9},
		&queue.TaskCancelling{ID: 9}, &queue.TaskDropped{ID: 9},
		&queue.TaskFinished{ID: 9, Outcome: &queue.Outcome{State: queue.Succeeded}},
		&queue.TaskJoined{ID: 9}, &queue.TaskUnblocked{ID: 9, State: queue.Ready}, &queue.TaskRevived{ID: 9, State: queue.Ready}, &queue.TaskDetached{ID: 9}, &queue.QueueDropped{ID: 9},
		&queue.CallAcknowledged{ID: 9}, &queue.CallChanged{ID: 9}, &queue.CallDropped{ID: 9},
		&session.Ended{ID: session.ID{9}, Reason: session.Expired},
	}
}

// entries replays entries from a first sequence, and returns the first error and where it was.
func entries(m *Machine, first uint64, bodies ...[]byte) (int, error) {
	m.Restart(first)
	for i, b := range bodies {
		if err := m.Entry(first+uint64(i), 100, b); err != nil {
			return i, err
		}
	}
	return len(bodies), m.Serve(first + uint64(len(bodies)))
}

func wantCorrupt(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*journal.CorruptError](err); !ok {
		t.Errorf("got %v, want corruption", err)
	}
}

func TestStrangersBelowTheFloorAreIgnored(t *testing.T) {
	for _, rec := range strangers() {
		m := NewMachine(Config{})
		if at, err := entries(m, 5, body(putQueue, rec), body(&floor{5})); err != nil {
			t.Errorf("%T at entry %d: %v", rec, at, err)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%T: %v", rec, err)
		}
	}
}

func TestStrangersAboveTheFloorAreCorruption(t *testing.T) {
	for _, rec := range strangers() {
		at, err := entries(NewMachine(Config{}), 5, body(putQueue), body(&floor{5}), body(rec))
		wantCorrupt(t, err)
		if at != 2 {
			t.Errorf("%T is noticed at entry %d", rec, at)
		}
	}
}

func TestAJournalFromItsBeginningHasNoStrangers(t *testing.T) {
	for _, rec := range strangers() {
		_, err := entries(NewMachine(Config{}), 1, body(rec))
		wantCorrupt(t, err)
	}
}

// A floor below the journal's first sequence was written before the last purge: it says nothing.
func TestAnOlderFloorSaysNothing(t *testing.T) {
	m := NewMachine(Config{})
	at, err := entries(m, 5, body(putQueue, &floor{3}), body(&queue.TaskReady{ID: 9}))
	wantCorrupt(t, err) // in the end: there was no floor
	if at != 2 {
		t.Errorf("stopped at entry %d: %v", at, err)
	}
	if at, err := entries(m, 5, body(&floor{3}), body(&queue.TaskReady{ID: 9}), body(&floor{6})); err != nil {
		t.Errorf("at entry %d: %v", at, err)
	}
}

func TestATaskWithoutItsQueueIsCorruption(t *testing.T) {
	_, err := entries(NewMachine(Config{}), 1, body(putTask(2)))
	wantCorrupt(t, err)
}

// A queue whose whole state was copied forward comes after its tasks; the request ids of those count in its
// namespace all the same.
func TestATaskMayComeBeforeItsQueue(t *testing.T) {
	m := NewMachine(Config{})
	early := putTask(2)
	early.State.RequestID = "r"
	if at, err := entries(m, 5, body(early), body(putQueue, &floor{5})); err != nil {
		t.Fatalf("at entry %d: %v", at, err)
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	var id any
	m.Decide(&SubmitTask{Namespace: "n", RequestID: "r", Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k"}}},
		func(value any, err error) { id = value })
	m.Flush()
	if (id != queue.Submitted{ID: 2}) {
		t.Errorf("the request made %v", id)
	}
}

func TestAReplayThatBeginsAgainForgets(t *testing.T) {
	m := NewMachine(Config{})
	m.Restart(1)
	if err := m.Entry(1, 100, body(putQueue, putTask(2))); err != nil {
		t.Fatal(err)
	}
	if at, err := entries(m, 3, body(putQueue), body(&floor{3})); err != nil {
		t.Fatalf("at entry %d: %v", at, err)
	}
	if got := m.Dump(); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
}

func TestLengthsBeyondTheEntry(t *testing.T) {
	b := body(putQueue)
	for n := 1; n < len(b); n++ {
		if err := decode(b[:n], func(any) error { return nil }); err == nil {
			t.Errorf("the first %d of %d bytes are read", n, len(b))
		}
	}
}
