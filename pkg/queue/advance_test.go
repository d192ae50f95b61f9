package queue

import (
	"slices"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// holder is the session that holds everything in these tests.
var holder = session.ID{9}

// hold submits tasks of the call and hands all out.
func (b *bench) hold(t *testing.T, n int) (held []Assignment) {
	t.Helper()
	for i := range uint64(n) {
		b.enqueue(NewTask{Index: i, Spec: Spec{Kind: "k"}})
	}
	for len(held) < n {
		step := b.step()
		if err := b.core.Reserve(step, Reservation{Waiter: step.Next(), Namespace: "n", TasksMax: n, Session: holder}); err != nil {
			t.Fatal(err)
		}
		for _, e := range step.Effects {
			if r, ok := e.(*Reserved); ok {
				held = append(held, r.Tasks...)
			}
		}
	}
	return held
}

func (b *bench) check(t *testing.T) {
	t.Helper()
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

// What the tasks of a call bring counts for its window.
func TestPartialsCountForTheWindow(t *testing.T) {
	b := newBench(Config{})
	large := Payload{Encoding: 1, Data: make([]byte, PartialsBytesMax)}
	held := b.hold(t, 64)
	for i, a := range held {
		if _, refused := b.enqueue(NewTask{Index: 1000 + uint64(i), Spec: Spec{Kind: "other"}}); len(refused) > 0 {
			t.Fatalf("after %d: %v", i, refused)
		}
		if err := b.core.AdvanceAttempt(b.step(), "n", &Advance{ID: a.ID, Token: a.Token, Partials: []Payload{large}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, refused := b.enqueue(NewTask{Index: 2000, Spec: Spec{Kind: "k"}}); refused[pure.CallWindowFull] != 1 {
		t.Errorf("%v", refused)
	}
	b.check(t)
}

// A list of partial results that somebody has is not changed by what comes later: it grows behind it.
func TestSnapshotsKeepTheirPartials(t *testing.T) {
	b := newBench(Config{})
	a := b.hold(t, 1)[0]
	var seen [][]Payload
	var told []Payload
	for i := range uint32(200) {
		step := b.step()
		if err := b.core.AdvanceAttempt(step, "n", &Advance{
			ID: a.ID, Token: a.Token, Offset: i, Partials: []Payload{{Encoding: 1, Data: []byte{byte(i)}}},
		}); err != nil {
			t.Fatal(err)
		}
		for _, e := range step.Effects {
			told = append(told, e.(*Advanced).Partials...)
		}
		s, err := b.core.Task("n", a.ID)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, s.Partials)
		step = b.step()
		b.core.Resume(step, b.call)
		if again := step.Effects[0].(*Advanced).Partials; len(again) != int(i)+1 || cap(again) != len(again) {
			t.Fatalf("%d told again, room for %d", len(again), cap(again))
		}
	}
	for n, list := range seen {
		if len(list) != n+1 || !slices.EqualFunc(list, told[:n+1], func(a, b Payload) bool { return a.Data[0] == b.Data[0] }) {
			t.Fatalf("after %d: %v", n, list)
		}
	}
	b.check(t)
}

// A task that has left its call grows on without what it left there.
func TestWhatATaskLeftDoesNotGrow(t *testing.T) {
	b := newBench(Config{})
	a := b.hold(t, 1)[0]
	advance := func(a Assignment, offset uint32) {
		t.Helper()
		if err := b.core.AdvanceAttempt(b.step(), "n", &Advance{
			ID: a.ID, Token: a.Token, Offset: offset, Partials: []Payload{{Encoding: 1, Data: []byte{byte(offset)}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint32(3) { // the list has room for a fourth
		advance(a, i)
	}
	if _, err := b.core.ReportOne(b.step(), "n", Report{ID: a.ID, Token: a.Token, End: EndError}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.core.Retry(b.step(), "n", "", []uint64{a.ID}); err != nil {
		t.Fatal(err)
	}
	left := b.core.calls[b.call].byIndex[0]
	if left.ID == a.ID || len(left.Partials) != 3 || cap(left.Partials) != 3 {
		t.Fatalf("%d with %d, room for %d", left.ID, len(left.Partials), cap(left.Partials))
	}
	step := b.step()
	if err := b.core.Reserve(step, Reservation{Waiter: 99, Namespace: "n", TasksMax: 1, Session: holder}); err != nil {
		t.Fatal(err)
	}
	advance(step.Effects[0].(*Reserved).Tasks[0], 3)
	if len(left.Partials) != 3 || len(b.core.tasks[a.ID].Partials) != 4 {
		t.Errorf("%d and %d", len(left.Partials), len(b.core.tasks[a.ID].Partials))
	}
	b.check(t)
}

// Nothing of a watcher that does not read keeps checkpoints that others have replaced.
func TestWatchersAreToldNoCheckpoints(t *testing.T) {
	b := newBench(Config{})
	a := b.hold(t, 1)[0]
	save := func(progress *Progress) (effects []any) {
		t.Helper()
		step := b.step()
		if err := b.core.AdvanceAttempt(step, "n", &Advance{
			ID: a.ID, Token: a.Token, Progress: progress, Checkpoint: &Checkpoint{State: Payload{Encoding: 1, Data: []byte{byte(b.seq)}}},
		}); err != nil {
			t.Fatal(err)
		}
		return step.Effects
	}
	save(nil)
	s, err := b.core.Watch("n", a.ID)
	if err != nil || s.Checkpoint != nil {
		t.Errorf("%v, %v", s.Checkpoint, err)
	}
	if effects := save(nil); len(effects) != 0 {
		t.Errorf("told %v", effects)
	}
	effects := save(&Progress{Done: 1})
	changed := effects[len(effects)-1].(*Changed)
	if changed.Task.Checkpoint != nil || changed.Task.Progress.Done != 1 {
		t.Errorf("told %+v", changed.Task)
	}
	step := b.step()
	if _, err := b.core.ReportOne(step, "n", Report{ID: a.ID, Token: a.Token, End: EndError}); err != nil {
		t.Fatal(err)
	}
	for _, e := range step.Effects {
		if changed, ok := e.(*Changed); ok && (changed.Task.Checkpoint == nil || changed.Task.Progress != nil) {
			t.Errorf("told of the end: %+v", changed.Task)
		}
	}
	b.check(t)
}

// Check finds what advances must not leave.
func TestCheckFindsAdvances(t *testing.T) {
	for name, spoil := range map[string]func(*task){
		"too many":             func(t *task) { t.with(func(x *Extra) { x.Partials = make([]Payload, PartialsMax+1) }) },
		"progress of none":     func(t *task) { t.progress = &Progress{} },
		"a checkpoint of none": func(t *task) { t.with(func(x *Extra) { x.Checkpoint = &Checkpoint{} }) },
		"partials of none":     func(t *task) { t.with(func(x *Extra) { x.Partials = make([]Payload, 1) }) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(Config{})
			b.enqueue(NewTask{Spec: Spec{Kind: "k"}})
			b.check(t)
			one := b.core.calls[b.call].byIndex[0]
			before := weight(&one.TaskState)
			spoil(one)
			b.core.grow(one, weight(&one.TaskState)-before)
			if b.core.Check() == nil {
				t.Error("it finds nothing")
			}
		})
	}
}
