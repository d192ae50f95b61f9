//go:build linux

package e2e

import (
	"iter"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// A worker that is told to stop under load charges nobody: every task has one try, and all of them succeed,
// each in one run.
func TestDrainUnderLoad(t *testing.T) {
	const tasks = 3000
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 20, Drain: patience})
	south := l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 20, Drain: patience})
	c := w.client(b.addr)
	w.connected(c, 2)
	tokens := make(map[string]uint64)
	for r := range client.MapSpecs(w.context(), c, inputs("sleep", "5ms/", tasks), client.Unordered()) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		tokens[string(r.Outcome.Payload.Bytes())] = r.Outcome.Token
		if len(tokens) == tasks/3 {
			send(t, north, syscall.SIGTERM)
		}
	}
	w.exits(north, 0)
	if err := south.Stop(stopPatience); err != nil {
		t.Error(err)
	}
	if len(tokens) != tasks {
		t.Errorf("%d outcomes of %d", len(tokens), tasks)
	}
	l.checkRuns(tokens)
	if runs := l.await(w.context(), 0, begins("")); len(runs) != tasks {
		t.Errorf("%d runs of %d tasks", len(runs), tasks)
	}
}

// The second signal stops what runs; it runs again elsewhere, although it has one try only.
func TestDrainCutShort(t *testing.T) {
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 2, Drain: patience})
	c := w.client(b.addr)
	futures := w.submit(c, "hold", "ends", "is cut")
	runs := l.await(ctx, 2, begins("north"))
	if runs[0].Task != "ends" {
		runs[0], runs[1] = runs[1], runs[0]
	}
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 2})
	w.connected(c, 2)

	send(t, north, syscall.SIGTERM)
	w.draining(c, "north")
	l.release(&runs[0])
	if o, err := futures[0].Wait(ctx); err != nil || o.Err() != nil || o.Token != runs[0].Token {
		t.Errorf("what could end: %+v, %v", o, err)
	}
	send(t, north, syscall.SIGTERM)
	again := l.await(ctx, 1, begins("south"))[0]
	l.release(&again)
	if o, err := futures[1].Wait(ctx); err != nil || o.Err() != nil || o.Token != again.Token {
		t.Errorf("what was cut: %+v, %v", o, err)
	}
	w.exits(north, 0)
}

// inputs are tasks of a kind with numbered payloads.
func inputs(kind, prefix string, n int) iter.Seq[client.Spec] {
	return func(yield func(client.Spec) bool) {
		for _, name := range taskNames(n) {
			if !yield(client.Spec{Kind: kind, Payload: task.Text(prefix + name)}) {
				return
			}
		}
	}
}

// draining waits until the broker knows that a worker takes no more.
func (w *world) draining(c *client.Client, name string) {
	w.Helper()
	ctx := w.context()
	w.until(name+" drains", func() bool {
		for worker, err := range c.Workers(ctx) {
			if err != nil {
				w.Fatal(err)
			}
			if worker.GetName() == name && worker.GetDraining() {
				return true
			}
		}
		return false
	})
}

// exits waits for a process's own end and checks how it was.
func (w *world) exits(p *procs.Process, code int) {
	w.Helper()
	select {
	case <-p.Gone():
	case <-time.After(stopPatience):
		w.Fatalf("process %d does not end", p.Pid())
	}
	if got := p.ExitCode(); got != code {
		w.Errorf("process %d exited with %d, want %d", p.Pid(), got, code)
	}
}
