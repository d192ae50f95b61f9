//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// rollingDrain is less than the long tasks of TestRollingRestart take: some of them are given back.
const rollingDrain = 100 * time.Millisecond

// Four workers that are restarted one after the other, under load, charge nobody. Every task has one try and succeeds;
// an attempt that did not bring its outcome was released; and no task comes to its end twice.
func TestRollingRestart(t *testing.T) {
	const tasks = 3000
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	c := w.client(b.addr)
	names := []string{"north", "east", "south", "west"}
	workers := make(map[string]*procs.Process)
	start := func(name string) {
		workers[name] = l.worker(workerConfig{Name: name, Broker: b.addr, Slots: 8, Drain: rollingDrain})
	}
	for _, name := range names {
		start(name)
	}
	call := c.NewCall(client.OnUpdate(func(client.Update) {})) // so that a future knows its task's name
	t.Cleanup(call.Close)
	futures := make([]*client.SpecFuture, tasks)
	for i := range futures {
		took := "5ms"
		if i%10 == 0 {
			took = "400ms"
		}
		f, err := call.Submit(ctx, client.Spec{
			Kind: "sleep", Payload: task.Text(fmt.Sprintf("%s/%d", took, i)), Retention: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		futures[i] = f
	}
	l.await(ctx, 50, begins(""))
	for _, name := range names {
		send(t, workers[name], syscall.SIGTERM)
		w.exits(workers[name], 0)
		start(name)
	}
	released := 0
	outcomes := make(map[string]*client.Outcome)
	for i, f := range futures {
		o, err := f.Wait(ctx)
		if err != nil || o.Err() != nil {
			t.Fatalf("future %d: %+v, %v", i, o, err)
		}
		outcomes[o.Payload.String()] = o
		if o.Attempts > 1 {
			released += w.onlyReleased(c, f.TaskID(), o)
		}
	}
	if len(outcomes) != tasks || released == 0 {
		t.Errorf("%d outcomes of %d, %d attempts were released", len(outcomes), tasks, released)
	}
	t.Logf("%d attempts were released", released)
	for _, name := range names {
		if err := workers[name].Stop(stopPatience); err != nil {
			t.Error(err)
		}
	}
	l.checkEnds(outcomes)
}

// onlyReleased checks that a task's earlier attempts were released, and returns how many there were.
func (w *world) onlyReleased(c *client.Client, id string, o *client.Outcome) int {
	w.Helper()
	t, err := c.Get(w.context(), id)
	if err != nil {
		w.Fatal(err)
	}
	earlier := t.GetEarlierAttempts()
	if len(earlier) != o.Attempts-1 || t.GetWorkersLost() != 0 {
		w.Errorf("task %s: %d earlier attempts of %d, %d workers lost", id, len(earlier), o.Attempts-1, t.GetWorkersLost())
	}
	for _, a := range earlier {
		if a.GetEnd() != weftv1.AttemptEnd_ATTEMPT_END_RELEASED {
			w.Errorf("task %s: an attempt on %s ended by %v", id, a.GetWorker(), a.GetEnd())
		}
	}
	return len(earlier)
}

// checkEnds checks that every task came to its end in one run, that of its outcome, and that no other run followed it.
func (l *ledger) checkEnds(outcomes map[string]*client.Outcome) {
	l.world.Helper()
	runs, ended := make(map[string][]uint64), make(map[string][]uint64)
	for _, e := range l.all() {
		switch {
		case e.Phase == begin:
			runs[e.Task] = append(runs[e.Task], e.Token)
		case e.Error == "":
			ended[e.Task] = append(ended[e.Task], e.Token)
		}
	}
	for name, o := range outcomes {
		if !slices.Equal(ended[name], []uint64{o.Token}) || len(runs[name]) > o.Attempts || slices.Max(runs[name]) != o.Token {
			l.world.Errorf("task %s: outcome %+v, runs %v, of which came to the end %v", name, o, runs[name], ended[name])
		}
	}
}
