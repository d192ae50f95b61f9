package queue

import (
	"errors"
	"reflect"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// A namespace that is too large itself brings the whole below its limit: others may go on.
func TestUnstuffedByANamespaceThatIsNot(t *testing.T) {
	b := newBench(Config{Limits: Limits{Bytes: 100_000, NamespaceBytes: 40_000}})
	large, refusal := b.core.findQueue(b.step(), "a", "")
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, _, err := b.core.Submit(b.step(), "b", "", NewTask{Spec: Spec{Kind: "k"}}, 0); err != nil {
		t.Fatal(err)
	}
	b.core.account(large, 130_000, 0)
	id := session.ID{8}
	if err := b.core.Reserve(b.step(), Reservation{Waiter: 2, Namespace: "b", TasksMax: 1, Session: id}); err != nil {
		t.Fatal(err)
	}
	b.goOn()
	if n := len(b.core.HeldBy(id)); n != 0 || !b.core.stuffedAll() {
		t.Fatal("the whole is not too large")
	}
	b.core.account(large, -20_000, 0)
	b.goOn()
	if !b.core.stuffed(large) || b.core.stuffedAll() {
		t.Fatal("it is not the namespace alone that is too large")
	}
	if n := len(b.core.HeldBy(id)); n != 1 {
		t.Error("another namespace may run its task, and does not")
	}
}

// goOn does all work.
func (b *bench) goOn() {
	for b.core.Pending() {
		b.core.Work(b.step())
	}
}

// ended runs tasks of a namespace that succeed.
func (b *bench) ended(t *testing.T, namespace string, n int) {
	t.Helper()
	id := session.ID{9}
	for range n {
		if _, _, err := b.core.Submit(b.step(), namespace, "", NewTask{Spec: Spec{Kind: "k"}}, 0); err != nil {
			t.Fatal(err)
		}
		if err := b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: namespace, TasksMax: 1, Session: id}); err != nil {
			t.Fatal(err)
		}
		for _, a := range b.core.HeldBy(id) {
			b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
		}
	}
}

// Outcomes do not make room for what has no room without them either.
func TestARefusedSubmissionForgetsNothing(t *testing.T) {
	for name, limits := range map[string]Limits{"bytes": {Bytes: 100_000}, "of the namespace": {NamespaceBytes: 50_000}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(Config{Limits: limits})
			b.ended(t, "n", 20)
			for {
				spec := Spec{Kind: "k", Payload: Payload{1, make([]byte, 50)}}
				if _, _, err := b.core.Submit(b.step(), "other", "", NewTask{Spec: spec}, 0); err != nil {
					break
				}
			}
			spec := Spec{Kind: "k", Payload: Payload{1, make([]byte, 60_000)}}
			_, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: spec}, 0)
			if n := b.counts(t)[Succeeded]; err == nil || n != 20 {
				t.Errorf("%v, and %d of 20 outcomes are left", err, n)
			}
			if limits.Bytes == 0 {
				return
			}
			spec.Payload.Data = make([]byte, 500)
			_, _, err = b.core.Submit(b.step(), "n", "", NewTask{Spec: spec}, 0)
			if n := b.counts(t)[Succeeded]; err != nil || n == 0 || n == 20 {
				t.Errorf("%v, and %d of 20 outcomes are left", err, n)
			}
			if err := b.core.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Room is made of the oldest ended tasks of all namespaces.
func TestTheOldestEndedTasksOfAllMakeRoom(t *testing.T) {
	b := newBench(Config{Limits: Limits{Bytes: 100_000}})
	for i := range 50 {
		b.ended(t, string(rune('a'+i%10)), 1)
	}
	large, refusal := b.core.findQueue(b.step(), "large", "")
	if refusal != nil {
		t.Fatal(refusal)
	}
	by := 125_000 - b.core.bytes
	b.core.account(large, by, 0)
	b.core.account(large, 1000, 0)
	b.goOn()
	b.core.account(large, -by-1000, 0)
	if b.core.spaces["a"].retained.Len() == 5 || b.core.spaces["j"].retained.Len() != 5 {
		t.Errorf("%d and %d of 5 are left", b.core.spaces["a"].retained.Len(), b.core.spaces["j"].retained.Len())
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

// The tasks of all namespaces together are bounded, and the ended ones of a namespace make room for its others.
func TestTheTasksOfAllAreBounded(t *testing.T) {
	b := newBench(Config{Limits: Limits{Tasks: 10, NamespaceTasks: 8}})
	submit := func(namespace string) error {
		_, _, err := b.core.Submit(b.step(), namespace, "", NewTask{Spec: Spec{Kind: "k"}}, 0)
		return err
	}
	full := func(err error, limit int) {
		t.Helper()
		r, _ := errors.AsType[*pure.Refusal](err)
		if want := pure.Refuse(pure.StateFull, "the broker holds as many tasks as it may", "limit", limit); !reflect.DeepEqual(r, want) {
			t.Errorf("%v, want %v", r, want)
		}
	}
	b.ended(t, "n", 3)
	for range 7 {
		if err := submit("m"); err != nil {
			t.Fatal(err)
		}
	}
	full(submit("m"), 10)
	full(submit("another"), 10)
	for range 3 {
		if err := submit("n"); err != nil {
			t.Errorf("the ended tasks of the namespace make no room: %v", err)
		}
	}
	full(submit("n"), 10)
	if n := len(b.core.tasks); n != 10 {
		t.Errorf("%d tasks are kept", n)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}
