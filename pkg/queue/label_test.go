package queue

import (
	"testing"

	"github.com/weftq/weft/pkg/session"
)

// A label's value may be anything: no two lists of labels are taken for the same.
func TestLabelsWithAnyValue(t *testing.T) {
	lists := [][]string{
		{"a", "1\x00gpu\x00yes"}, {"a", "1", "gpu", "yes"}, {"a", "13:gpu3:yes"}, {"a", "1/"}, {"a", "1"}, nil,
	}
	b := newBench(Config{})
	var ids []uint64
	for _, labels := range lists {
		o := *DefaultOptions
		o.WorkerLabels = labels
		s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Options: &o}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	for i, labels := range lists {
		id := session.ID{byte(i + 1)}
		if err := b.core.Reserve(b.step(), Reservation{Waiter: uint64(i + 1), Namespace: "n", TasksMax: 5, Labels: labels, Session: id}); err != nil {
			t.Fatal(err)
		}
		for _, a := range b.core.HeldBy(id) {
			for k := range ids {
				if ids[k] == a.ID && !hasLabels(labels, lists[k]) {
					t.Errorf("one with the labels %q is given a task for %q", labels, lists[k])
				}
			}
		}
		if b.core.tasks[ids[i]].State != Running {
			t.Errorf("the task for %q waits", labels)
		}
	}
	names := map[string]bool{}
	for _, kinds := range [][]string{nil, {"k"}, {"k", "l"}, {"k\x01l"}, {"/"}} {
		for _, labels := range lists {
			names[profileName(kinds, labels)] = true
		}
	}
	if len(names) != 5*len(lists) || profileName(nil, nil) != anyProfile {
		t.Errorf("%d names of %d profiles", len(names), 5*len(lists))
	}
}
