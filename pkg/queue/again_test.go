package queue

import (
	"testing"

	"github.com/weftq/weft/internal/pure"
)

// A task that is after others is the same task when it is asked for again, with its predecessors by their
// indexes or without those that have ended; another payload is another task.
func TestAgainAfterOthers(t *testing.T) {
	b := newBench(Config{})
	task := func(index uint64, payload string, after ...uint64) NewTask {
		return NewTask{Index: index, Spec: Spec{Kind: "k", Payload: Payload{Data: []byte(payload)}}, AfterIndexes: after}
	}
	if n, refused := b.enqueue(task(0, ""), task(1, "x", 0)); n != 2 {
		t.Fatalf("%d accepted, refused %v", n, refused)
	}
	if n, refused := b.enqueue(task(1, "x", 0)); n != 1 || len(refused) != 0 {
		t.Errorf("again: %d accepted, refused %v", n, refused)
	}
	if _, refused := b.enqueue(task(1, "x")); refused[pure.RequestMismatch] != 1 {
		t.Errorf("without one that has not ended: refused %v", refused)
	}
	if err := b.core.CancelIndexes(b.step(), b.call, pure.Range{}, -1, false); err != nil {
		t.Fatal(err)
	}
	for b.core.Pending() {
		b.core.Work(b.step())
	}
	if n, refused := b.enqueue(task(1, "x"), task(1, "x", 0)); n != 1 || len(refused) != 0 { // one range
		t.Errorf("without one that has ended: %d accepted, refused %v", n, refused)
	}
	if _, refused := b.enqueue(task(1, "y", 0)); refused[pure.RequestMismatch] != 1 {
		t.Errorf("another payload: refused %v", refused)
	}
}
