//go:build linux

package e2e

import (
	"fmt"
	"testing"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Tasks at the head of a queue that nobody can run delay none behind them, and each says why it waits.
func TestUnservableHead(t *testing.T) {
	const each = 100
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a := w.api(b.addr)
	a.create(&weftv1.Queue{Name: "mixed", Order: weftv1.QueueOrder_QUEUE_ORDER_FIFO, MaxRunningPerKey: 1})
	heads := make(map[string][]string) // by why they wait
	for reason, make := range map[string]func(string) *weftv1.TaskSpec{
		"no_kind": func(name string) *weftv1.TaskSpec { return text("nobodys", name) },
		"no_labels": func(name string) *weftv1.TaskSpec {
			s := text("echo", name)
			s.WorkerLabels = map[string]string{"gpu": "yes"}
			return s
		},
		"key_limit": func(name string) *weftv1.TaskSpec {
			s := text("hold", name)
			s.FairnessKey = "busy"
			return s
		},
	} {
		var specs []*weftv1.TaskSpec
		for i := range each {
			s := make(fmt.Sprint(reason, " ", i))
			s.Queue = "mixed"
			specs = append(specs, s)
		}
		heads[reason] = a.submitAll("", specs...)
	}
	var behind []*weftv1.TaskSpec
	for i := range each {
		s := text("echo", fmt.Sprint("behind ", i))
		s.Queue, s.FairnessKey = "mixed", fmt.Sprint("key ", i%10)
		behind = append(behind, s)
	}
	ids := a.submitAll("", behind...)

	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 4, Queues: []string{"mixed"}, Drain: -1})
	for _, id := range ids {
		if got := must(a, a.tasks.WaitTask, &weftv1.WaitTaskRequest{TaskId: id}).GetTask(); got.GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED {
			t.Errorf("a task behind: %v", got)
		}
	}
	held := l.await(a.ctx, 1, func(e *event) bool { return e.Phase == begin && e.Task == "key_limit 0" })
	for reason, ids := range heads {
		a.why(ids[each-1], reason)
	}
	counts := a.queue("mixed").GetCounts()
	if counts.GetRunning() != 1 || counts.GetReady() != 3*each-1 {
		t.Errorf("what nobody runs waits: %v", counts)
	}
	l.release(&held[0])
	l.await(a.ctx, 1, func(e *event) bool { return e.Phase == begin && e.Task == "key_limit 1" })
}
