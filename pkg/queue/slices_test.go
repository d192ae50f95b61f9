package queue

import (
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// bulkMax is the work of one step in these tests; a step may end a few records beyond it.
const bulkMax = 10

// work decides something, and then goes on with bulk work, and holds every step to its bound.
func (b *bench) work(t *testing.T, decide func(*pure.Step)) {
	t.Helper()
	step := b.step()
	decide(step)
	for {
		if n := step.Work(); n > 2*bulkMax {
			t.Fatalf("one step does the work of %d records, and %d are the most", n, bulkMax)
		}
		if !b.core.Pending() {
			break
		}
		step = b.step()
		b.core.Work(step)
	}
	if err := b.core.Check(); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) counts(t *testing.T) [states]uint64 {
	t.Helper()
	view, err := b.core.Queue("n", "")
	if err != nil {
		t.Fatal(err)
	}
	return view.Counts
}

// failSome runs tasks that fail.
func (b *bench) failSome(t *testing.T, n int) {
	t.Helper()
	id := session.ID{9}
	for range n {
		b.work(t, func(step *pure.Step) {
			if err := b.core.Reserve(step, Reservation{Waiter: 1, Namespace: "n", TasksMax: 1, Session: id}); err != nil {
				t.Fatal(err)
			}
		})
		for _, a := range b.core.HeldBy(id) {
			b.work(t, func(step *pure.Step) {
				b.core.Report(step, id, []Report{{ID: a.ID, Token: a.Token, End: EndError, Error: &Error{Reason: "error"}}})
			})
		}
	}
}

func TestAPurgeBehindAnother(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	for i := range 35 {
		options := *DefaultOptions
		if i < 5 {
			options.Priority = 10 // these wait behind the others
		}
		if _, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Options: &options}}, 0); err != nil {
			t.Fatal(err)
		}
	}
	b.failSome(t, 30)
	if _, err := b.core.PurgeQueue(b.step(), "n", "", 1<<Failed); err != nil {
		t.Fatal(err)
	}
	b.core.Work(b.step()) // passes those that wait
	if n := b.counts(t); n[Failed] == 0 || n[Failed] == 30 || n[Ready] != 5 {
		t.Fatalf("the first purge is not in its middle: %v", n)
	}
	b.work(t, func(step *pure.Step) {
		if _, err := b.core.PurgeQueue(step, "n", "", 1<<Ready); err != nil {
			t.Fatal(err)
		}
	})
	if n := b.counts(t); n[Failed] > 0 || n[Ready] > 0 || n[Cancelled] != 5 {
		t.Errorf("left are %v", n)
	}
}

func TestAPurgeIsNoWorkOfAReservation(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	for range 100 {
		if _, err := submitOne(b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.core.PurgeQueue(b.step(), "n", "", 0); err != nil {
		t.Fatal(err)
	}
	last, err := submitOne(b)
	if err != nil {
		t.Fatal(err)
	}
	id := session.ID{9}
	b.work(t, func(step *pure.Step) {
		if err := b.core.Reserve(step, Reservation{Waiter: 1, Namespace: "n", TasksMax: 3, Session: id}); err != nil {
			t.Fatal(err)
		}
	})
	if held := b.core.HeldBy(id); len(held) != 1 || held[0].ID != last {
		t.Errorf("the reservation gets %v, and not task %d alone", held, last)
	}
}

func TestManyThatWaitForRoomAreCancelledInSlices(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{MaxSize: 1}); err != nil {
		t.Fatal(err)
	}
	tasks := newTasks(0, 100, 1, 0)
	for i := range tasks {
		tasks[i].Queue = "q"
	}
	b.enqueue(tasks...)
	ended := map[uint64]int{}
	if err := b.core.CancelIndexes(b.step(), b.call, pure.Range{First: 50, Last: 80}, -1, false); err != nil {
		t.Fatal(err)
	}
	for b.core.Pending() {
		step := b.step()
		b.core.Work(step)
		if n := step.Work(); n > 2*bulkMax {
			t.Fatalf("one step does the work of %d records, and %d are the most", n, bulkMax)
		}
		for _, e := range step.Effects {
			if e, ok := e.(*Finished); ok {
				ended[e.Index]++
			}
		}
	}
	b.work(t, func(step *pure.Step) { b.core.CancelCallID(step, b.call, -1) })
	if k := b.core.calls[b.call]; len(k.tasks) != 100 || len(k.waiting) > 0 {
		t.Errorf("%d tasks are accepted, %d wait", len(k.tasks), len(k.waiting))
	}
	if len(ended) != 31 {
		t.Errorf("%d of 31 are told to be cancelled", len(ended))
	}
}

func TestTheWaitersOfAClosedQueueAreRefusedInSlices(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	id := session.ID{9}
	for i := range uint64(1000) {
		if err := b.core.Reserve(b.step(), Reservation{Waiter: i + 1, Namespace: "n", TasksMax: 1, Session: id}); err != nil {
			t.Fatal(err)
		}
	}
	before := b.seq
	b.work(t, func(step *pure.Step) {
		if err := b.core.CloseQueue(step, "n", "", false); err != nil {
			t.Fatal(err)
		}
	})
	if b.seq-before < 5 || b.core.Waiting() > 0 {
		t.Errorf("%d steps, and %d still wait", b.seq-before, b.core.Waiting())
	}
}

// Putting off what is due is work.
func TestOutcomesArePutOffInSlices(t *testing.T) {
	b := newBench(Config{StepRecordsMax: bulkMax})
	const tasks = 1000
	b.enqueue(newTasks(0, tasks, 1, 0)...)
	if err := b.core.CancelIndexes(b.step(), b.call, pure.Range{First: 0, Last: tasks - 1}, -1, false); err != nil {
		t.Fatal(err)
	}
	b.work(t, func(*pure.Step) {})
	steps := 0
	for wall := b.step().Wall.Add(2 * RetentionUnacknowledged); b.core.Due(wall, 0); steps++ {
		step := b.step()
		step.Wall = wall
		b.core.Advance(step)
	}
	if steps < 5 || b.counts(t)[Cancelled] != tasks {
		t.Errorf("%d steps, and there are %v", steps, b.counts(t))
	}
}
