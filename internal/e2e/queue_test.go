//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Puts that wait for room and gets that wait for a task, each in a process of its own, while the broker is killed
// again and again: each of them is answered once. No task is lost, doubled, or handed out twice.
func TestQueueBrokerKill(t *testing.T) {
	const each = 5
	w := newWorld(t)
	b := w.broker()
	ctx, c := w.context(), w.client(b.addr)
	full, empty := c.Queue("full"), c.Queue("empty")
	if err := full.Create(ctx, client.MaxSize(1)); err != nil {
		t.Fatal(err)
	}
	if err := empty.Create(ctx); err != nil {
		t.Fatal(err)
	}
	put := func(q *client.Queue, kind, text string) string {
		t.Helper()
		id, err := q.Put(ctx, client.Spec{Kind: kind, Payload: task.Text(text)})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	put(full, "", "first")
	other := put(empty, "other", "") // nobody gets it: it tells whether somebody waits for another kind
	var puts, gets []*queuer
	var names []string
	for i := range each {
		names = append(names, fmt.Sprint("task", i))
		puts = append(puts, w.queuer(b.addr, "full", names[i]))
		gets = append(gets, w.queuer(b.addr, "empty"))
	}
	restart := func() {
		t.Helper()
		b.Kill()
		if err := b.start(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		w.until("a get waits at the broker", func() bool {
			e, err := c.Explain(ctx, other)
			return err == nil && e.Reason == "no_kind"
		})
		restart()
	}
	var killing sync.WaitGroup
	killing.Go(restart) // and once while they are answered
	for _, name := range names {
		put(empty, "", name)
	}
	var drained []string
	for range each + 1 {
		h, err := full.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Done(ctx); err != nil {
			t.Fatal(err)
		}
		drained = append(drained, h.Payload().String())
	}
	killing.Wait()
	var ids, got []string
	for i := range each {
		ids = append(ids, puts[i].result())
		got = append(got, gets[i].result())
	}
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("the gets have %v", got)
	}
	if slices.Sort(drained); !slices.Equal(drained, append([]string{"first"}, names...)) {
		t.Errorf("%v were put", drained)
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != each {
		t.Errorf("the puts have %v", ids)
	}
	n := 0
	for found, err := range c.List(ctx, client.Filter{Kind: client.DataKind}) {
		if n++; err != nil || found.GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED || found.GetAttempts() != 1 {
			t.Errorf("%v, %v", found, err)
		}
	}
	if n != 2*each+1 {
		t.Errorf("%d tasks of %d", n, 2*each+1)
	}
}
