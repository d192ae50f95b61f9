package queue

import (
	"testing"

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
