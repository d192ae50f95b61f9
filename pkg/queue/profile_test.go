package queue

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// A queue has so many profiles: what asks for one more is refused, and changes nothing.
func TestAQueueHasSoManyProfiles(t *testing.T) {
	b := newBench(Config{})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{}); err != nil {
		t.Fatal(err)
	}
	waiter := uint64(0)
	reserve := func(labels ...string) error {
		waiter++
		return b.core.Reserve(b.step(), Reservation{
			Waiter: waiter, Namespace: "n", Queue: "q", Labels: labels, TasksMax: 1, Session: session.ID{9},
		})
	}
	hello := func(label string) error {
		_, err := b.core.Connect(b.step(), Hello{
			Namespace: "n", Session: session.ID{8}, Name: "w", Queues: []string{"", "q"}, Kinds: []string{"k"},
			Labels: []string{"l", label}, Slots: 1, Credits: 1,
		})
		return err
	}
	overloaded := func(err error) {
		t.Helper()
		if refusal := (*pure.Refusal)(nil); !errors.As(err, &refusal) || refusal.Reason != pure.Overloaded {
			t.Errorf("refused is %v", err)
		}
	}
	if err := hello("worker"); err != nil {
		t.Fatal(err)
	}
	for i := range profilesMax - 1 {
		if err := reserve("l", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	overloaded(reserve("l", "another"))
	overloaded(hello("another"))
	if w := b.core.peers[session.ID{8}].worker; w == nil || w.labels[1] != "worker" {
		t.Error("a refused worker's stream changed what is served")
	}
	for _, err := range []error{reserve("l", "0"), reserve(), hello("worker")} { // they are there, or always may be
		if err != nil {
			t.Error(err)
		}
	}
	b.core.Forget(2)
	if err := reserve("l", "another"); err != nil {
		t.Error(err)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}
