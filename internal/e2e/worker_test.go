//go:build linux

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// elsewhereMax is the promise: so long after a worker was killed, its young tasks run elsewhere.
const elsewhereMax = 1500 * time.Millisecond

// measureMax is how often the promise is measured: on a machine that has no time for the measured processes
// it says nothing of them.
const measureMax = 3

func TestWorkerKill(t *testing.T) {
	var took time.Duration
	for range measureMax {
		if took = killWorker(t); took <= elsewhereMax {
			t.Logf("all run elsewhere %v after the kill", took)
			return
		}
		t.Logf("the last one runs elsewhere only %v after the kill", took)
	}
	t.Errorf("the tasks of a worker that was killed run elsewhere after %v, promised are %v", took, elsewhereMax)
}

// killWorker kills a worker with young tasks and returns when the last of them runs elsewhere.
func killWorker(t *testing.T) time.Duration {
	const tasks = 8
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: tasks})
	c := w.client(b.addr)
	futures := w.submit(c, "hold", taskNames(tasks)...)
	l.await(ctx, tasks, begins("north"))
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: tasks})
	w.connected(c, 2)

	killed := time.Now()
	north.Kill()
	var last time.Time
	for _, e := range l.await(ctx, tasks, begins("south")) {
		if e.At.After(last) {
			last = e.At
		}
		l.release(&e)
	}
	for i, f := range futures {
		o, err := f.Wait(ctx)
		if err != nil || o.Err() != nil {
			t.Fatal(err, o)
		}
		if o.Worker != "south" || o.Attempts != 2 || string(o.Payload.Bytes()) != taskNames(tasks)[i] {
			t.Errorf("outcome %+v", o)
		}
	}
	return last.Sub(killed)
}

// A worker that was stopped for longer than its session lives comes back with a result that nobody wants any
// more: the outcome is that of the other worker, once.
func TestLateResult(t *testing.T) {
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 1, TTL: time.Second})
	c := w.client(b.addr)
	f := w.submit(c, "hold", "late")[0]
	first := l.await(ctx, 1, begins("north"))[0]
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 1, TTL: time.Second})
	w.connected(c, 2)

	send(t, north, syscall.SIGSTOP)
	second := l.await(ctx, 1, begins("south"))[0]
	if second.Token <= first.Token || second.Number != 2 {
		t.Fatalf("the second run %+v follows %+v", second, first)
	}
	l.release(&first) // its result is there as soon as it goes on
	send(t, north, syscall.SIGCONT)
	l.await(ctx, 1, func(e *event) bool { return e.Worker == "north" && e.Phase == end })
	w.connected(c, 2) // it has come back
	id := f.TaskID()
	_, err := weftv1.NewTaskServiceClient(c.Conn()).CompleteTask(ctx, &weftv1.CompleteTaskRequest{TaskId: id, Token: first.Token})
	if code := status.Code(err); code != codes.FailedPrecondition {
		t.Errorf("a result with the old token: %v", err)
	}
	select {
	case <-f.Done():
		t.Error("the task ended by its old attempt")
	default:
	}
	l.release(&second)
	o, err := f.Wait(ctx)
	if err != nil || o.Err() != nil {
		t.Fatal(err, o)
	}
	if o.Worker != "south" || o.Token != second.Token || o.Attempts != 2 {
		t.Errorf("outcome %+v, the second run %+v", o, second)
	}
	if runs := l.await(ctx, 0, begins("")); len(runs) != 2 {
		t.Errorf("runs: %+v", runs)
	}
}

// A worker that was stopped for longer than its session lives knows at its first look: its handler's context is done
// before anything else has happened. What it brings is refused, and the task runs once more.
func TestStoppedWorkersContext(t *testing.T) {
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 1, TTL: time.Second})
	c := w.client(b.addr)
	f := w.submit(c, "spin", "round")[0]
	first := l.await(ctx, 1, begins("north"))[0]
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 1, TTL: time.Second})
	w.connected(c, 2)

	send(t, north, syscall.SIGSTOP)
	over := time.After(2 * stoppedMin) // this is the stop
	second := l.await(ctx, 1, begins("south"))[0]
	<-over
	send(t, north, syscall.SIGCONT)
	ended := l.await(ctx, 1, func(e *event) bool { return e.Worker == "north" && e.Phase == end })[0]
	if ended.Error != task.ErrLeaseLost.Error() {
		t.Errorf("the handler that was stopped ended by %q", ended.Error)
	}
	w.connected(c, 2) // it has come back
	_, err := weftv1.NewTaskServiceClient(c.Conn()).CompleteTask(ctx, &weftv1.CompleteTaskRequest{TaskId: f.TaskID(), Token: first.Token})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a result with the old token: %v", err)
	}
	l.release(&second)
	o, err := f.Wait(ctx)
	if err != nil || o.Err() != nil || o.Worker != "south" || o.Token != second.Token || o.Attempts != 2 {
		t.Errorf("outcome %+v, %v; the second run %+v", o, err, second)
	}
	if runs := l.await(ctx, 0, begins("")); len(runs) != 2 {
		t.Errorf("runs: %+v", runs)
	}
}

// A task that is longer than its worker's session lives keeps its lease.
func TestLongTaskKeepsLease(t *testing.T) {
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 1, TTL: time.Second})
	l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 1, TTL: time.Second})
	c := w.client(b.addr, client.WithSessionTTL(time.Second))
	o, err := w.submit(c, "sleep", "4s")[0].Wait(ctx)
	if err != nil || o.Err() != nil {
		t.Fatal(err, o)
	}
	if runs := l.await(ctx, 0, begins("")); len(runs) != 1 || o.Attempts != 1 || o.Token != runs[0].Token {
		t.Errorf("runs %+v, outcome %+v", runs, o)
	}
}

// submit submits a task for each payload in one call, which lasts as long as the test.
func (w *world) submit(c *client.Client, kind string, payloads ...string) []*client.SpecFuture {
	w.Helper()
	call := c.NewCall(client.OnUpdate(func(client.Update) {})) // so that a future knows its task's name
	w.Cleanup(call.Close)
	var futures []*client.SpecFuture
	for _, p := range payloads {
		f, err := call.Submit(w.context(), client.Spec{Kind: kind, Payload: task.Text(p), Daemon: true})
		if err != nil {
			w.Fatal(err)
		}
		futures = append(futures, f)
	}
	return futures
}

func taskNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("task ", i)
	}
	return names
}

// connected waits until the broker has so many workers.
func (w *world) connected(c *client.Client, workers int) {
	w.Helper()
	ctx := w.context()
	w.until(fmt.Sprintf("%d workers are connected", workers), func() bool {
		n := 0
		for _, err := range c.Workers(ctx) {
			if err != nil {
				w.Fatal(err)
			}
			n++
		}
		return n == workers
	})
}

func send(t *testing.T, p *procs.Process, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}
