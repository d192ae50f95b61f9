//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// graphTask is a task of a graph and what has to come of it.
type graphTask struct {
	spec  *weftv1.TaskSpec
	after []int
	want  weftv1.TaskState
}

// graph is tasks that are after earlier ones: a chain, a fan, the join of the fan, and some at random. Some of
// them fail; what is after those is cancelled, or runs all the same, as each one asks for.
func graph(rng *rand.Rand, n int) []graphTask {
	tasks := make([]graphTask, n)
	for i := range tasks {
		g := &tasks[i]
		g.spec, g.want = text("sleep", fmt.Sprint("2ms/", i)), weftv1.TaskState_TASK_STATE_SUCCEEDED
		switch part := n / 4; {
		case i == 0:
		case i < part: // the chain
			g.after = []int{i - 1}
		case i < 2*part: // the fan
			g.after = []int{part - 1}
		case i == 2*part: // the join
			for k := part; k < 2*part; k++ {
				g.after = append(g.after, k)
			}
		default:
			for range 1 + rng.IntN(3) {
				g.after = append(g.after, rng.IntN(i))
			}
			slices.Sort(g.after)
			g.after = slices.Compact(g.after)
			if rng.IntN(10) == 0 {
				g.spec.Kind, g.want = "fail", weftv1.TaskState_TASK_STATE_FAILED
			}
			if rng.IntN(2) == 0 {
				g.spec.OnDependencyFailure = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
			}
		}
		for _, k := range g.after {
			if tasks[k].want != weftv1.TaskState_TASK_STATE_SUCCEEDED &&
				g.spec.GetOnDependencyFailure() != weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN {
				g.want = weftv1.TaskState_TASK_STATE_CANCELLED
			}
		}
	}
	return tasks
}

// Tasks begin after those that they are after have ended, and a failure cancels exactly what depends on it,
// although the broker is killed meanwhile.
func TestAfterOverBrokerKill(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 100
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tasks := graph(rand.New(rand.NewPCG(seed, 0)), n)
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a := w.api(b.addr)
	a.execute("graph", tasks)
	for _, name := range []string{"north", "south"} {
		l.worker(workerConfig{Name: name, Broker: b.addr, Slots: 8})
	}
	for _, at := range []int{n / 8, n / 3, n / 2} {
		l.await(a.ctx, at, begins(""))
		if err := b.restart(); err != nil {
			t.Fatal(err)
		}
	}
	a.drained("")
	ended := make([]*weftv1.Task, n)
	for _, found := range a.list(&weftv1.ListTasksRequest{CallId: "graph"}) {
		ended[found.GetCallIndex()] = found
	}
	began := make(map[string]event)
	for _, e := range l.await(a.ctx, 0, begins("")) {
		if first, ok := began[e.Task]; !ok || e.At.Before(first.At) {
			began[e.Task] = e
		}
	}
	for i, g := range tasks {
		o := ended[i].GetOutcome()
		first, ran := began[g.spec.GetPayload().GetText()]
		if o.GetState() != g.want || ran != (g.want != weftv1.TaskState_TASK_STATE_CANCELLED) {
			t.Errorf("task %d after %v: %v, it ran: %v; want %v", i, g.after, ended[i], ran, g.want)
		}
		for _, k := range g.after {
			if at := ended[k].GetOutcome().GetFinishedAt().AsTime(); ran && first.At.Before(at) {
				t.Errorf("task %d began at %v, task %d ended at %v", i, first.At, k, at)
			}
		}
	}
}

// execute submits a graph as one call, whose tasks know each other by their indexes, and returns when all of
// it is durable.
func (a *api) execute(call string, tasks []graphTask) {
	a.world.Helper()
	stream, err := a.tasks.Execute(a.ctx)
	if err != nil {
		a.world.Fatal(err)
	}
	attach := &weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: call}}
	frame := &weftv1.ExecuteRequest{}
	for i, g := range tasks {
		task := &weftv1.ExecuteTask{Index: uint64(i), Spec: g.spec}
		for _, k := range g.after {
			task.AfterIndexes = append(task.AfterIndexes, uint64(k))
		}
		frame.Tasks = append(frame.Tasks, task)
	}
	for _, m := range []*weftv1.ExecuteRequest{attach, frame} {
		if err := stream.Send(m); err != nil {
			a.world.Fatal(err)
		}
	}
	for accepted := 0; accepted < len(tasks); {
		m, err := stream.Recv()
		if err != nil || len(m.GetRejected()) > 0 {
			a.world.Fatalf("%v, %v", m, err)
		}
		for _, r := range m.GetAccepted() {
			accepted += int(r.GetLast() - r.GetFirst() + 1)
		}
	}
	if err := stream.CloseSend(); err != nil {
		a.world.Fatal(err)
	}
}
