package queue

import (
	"fmt"
	"testing"

	"github.com/weftq/weft/pkg/session"
)

// BenchmarkDepth is what it costs to put a task, hand the next one out and finish it, in a queue of so many
// tasks of so many fairness keys. It should hardly grow: every operation is O(log n).
func BenchmarkDepth(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		for depth := 1000; depth <= 1_000_000; depth *= 10 {
			b.Run(fmt.Sprintf("keys=%d/tasks=%d", keys, depth), func(b *testing.B) { benchDepth(b, depth, keys) })
		}
	}
}

func benchDepth(b *testing.B, depth, keys int) {
	w := newBench(Config{})
	worker := session.ID{2}
	if _, err := w.core.Connect(w.step(), Hello{
		Namespace: "n", Session: worker, Name: "w", Queues: []string{DefaultQueue}, Kinds: []string{"k"}, Slots: 1,
	}); err != nil {
		b.Fatal(err)
	}
	options := make([]*Options, keys)
	for i := range options {
		o := *DefaultOptions
		if keys > 1 {
			o.FairnessKey = fmt.Sprint("key ", i)
		}
		options[i] = &o
	}
	submitted := 0
	put := func() {
		spec := Spec{Kind: "k", Payload: Payload{1, make([]byte, 256)}, Options: options[submitted%keys]}
		if _, _, err := w.core.Submit(w.step(), "n", "", NewTask{Spec: spec}, 0); err != nil {
			b.Fatal(err)
		}
		submitted++
	}
	for range depth {
		put()
	}
	for b.Loop() {
		put()
		w.core.Credit(worker, 1)
		step := w.step()
		w.core.Work(step)
		a := step.Effects[0].(*Assigned)
		w.core.Report(w.step(), worker, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
		w.core.drop(w.core.tasks[a.ID])
	}
}

// BenchmarkKinds is what it costs to hand out a task, finish it and put another in a queue with ready tasks of so many
// kinds, all of one fairness key.
func BenchmarkKinds(b *testing.B) {
	for _, kinds := range []int{1, 100, 5000} {
		b.Run(fmt.Sprintf("kinds=%d", kinds), func(b *testing.B) { benchKinds(b, kinds) })
	}
}

func benchKinds(b *testing.B, kinds int) {
	w := newBench(Config{})
	worker := session.ID{2}
	if _, err := w.core.Connect(w.step(), Hello{
		Namespace: "n", Session: worker, Name: "w", Queues: []string{DefaultQueue}, Slots: 1,
	}); err != nil {
		b.Fatal(err)
	}
	submitted := 0
	put := func() {
		spec := Spec{Kind: fmt.Sprint("kind ", submitted%kinds)}
		if _, _, err := w.core.Submit(w.step(), "n", "", NewTask{Spec: spec}, 0); err != nil {
			b.Fatal(err)
		}
		submitted++
	}
	for range 2 * kinds {
		put()
	}
	for b.Loop() {
		put()
		w.core.Credit(worker, 1)
		step := w.step()
		w.core.Work(step)
		a := step.Effects[0].(*Assigned)
		w.core.Report(w.step(), worker, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
		w.core.drop(w.core.tasks[a.ID])
	}
}

// A new key's first task is next, and those that wait long enough are not kept waiting by ever new keys.
func TestANewKeyIsNext(t *testing.T) {
	w := newBench(Config{})
	worker := session.ID{2}
	if _, err := w.core.Connect(w.step(), Hello{
		Namespace: "n", Session: worker, Name: "w", Queues: []string{DefaultQueue}, Kinds: []string{"k"}, Slots: 1,
	}); err != nil {
		t.Fatal(err)
	}
	put := func(key string) uint64 {
		o := *DefaultOptions
		o.FairnessKey = key
		s, _, err := w.core.Submit(w.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Options: &o}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	take := func() uint64 {
		w.core.Credit(worker, 1)
		step := w.step()
		w.core.Work(step)
		a := step.Effects[0].(*Assigned)
		w.core.Report(w.step(), worker, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
		return a.ID
	}
	const keys = 10_000
	var old uint64
	for range 3 {
		put("big")
		for i := range keys {
			old = put(fmt.Sprint("key ", i))
		}
	}
	for range keys + keys/2 { // everybody has had a turn
		take()
	}
	if id := put("new"); take() != id {
		t.Error("a new key has to wait")
	}
	for i := range 8 * keys {
		put(fmt.Sprint("newer ", i))
		if take() == old {
			return
		}
	}
	t.Error("ever new keys keep an old one waiting")
}

// A key that was alone for a while, with tasks of several kinds, takes turns with one that comes.
func TestAKeyThatWasAloneTakesTurns(t *testing.T) {
	w := newBench(Config{})
	put := func(key string, kind int) {
		o := *DefaultOptions
		o.FairnessKey = key
		if _, _, err := w.core.Submit(w.step(), "n", "", NewTask{Spec: Spec{Kind: fmt.Sprint("kind ", kind), Options: &o}}, 0); err != nil {
			t.Fatal(err)
		}
	}
	taken := func(n int) (keys string) {
		for range n {
			step := w.step()
			if err := w.core.Reserve(step, Reservation{Waiter: 1, Namespace: "n", TasksMax: 1, Session: session.ID{2}}); err != nil {
				t.Fatal(err)
			}
			w.core.Work(step)
			keys += step.Effects[0].(*Reserved).Tasks[0].Options.FairnessKey
			if err := w.core.Check(); err != nil {
				t.Fatal(err)
			}
		}
		return keys
	}
	for i := range 40 {
		put("a", i%8)
	}
	got := taken(20)
	put("b", 0)
	put("b", 9)
	put("b", 3)
	got += " " + taken(8)
	put("b", 9)
	got += " " + taken(2)
	put("c", 1)
	put("b", 1)
	put("c", 2)
	got += " " + taken(6)
	if want := "aaaaaaaaaaaaaaaaaaaa bababaaa ba cbacaa"; got != want {
		t.Errorf("taken are %s, want %s", got, want)
	}
}
