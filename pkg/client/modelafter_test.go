package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// modelAfter keeps what the tasks of a model are after, as the broker does: one whose outcome was acknowledged
// is unknown, and so is one that waits for room in its queue.
type modelAfter struct {
	before map[uint64][]uint64 // as the test has it, to be compared
	run    map[uint64]bool     // those that run whatever becomes of the others
	state  map[uint64]weftv1.TaskState
	room   []*weftv1.ExecuteTask // wait for room
	late   int                   // how many tasks are still to wait for room
}

// fails says which tasks fail by themselves.
func (a *modelAfter) fails(i uint64) bool { return i%7 == 3 }

// refuse refuses a task that is after one that the broker does not know, or has it wait for room.
func (a *modelAfter) refuse(m *modelBroker, x *weftv1.ExecuteTask, response *weftv1.ExecuteResponse) bool {
	if a == nil {
		return false
	}
	for n, i := range x.GetAfterIndexes() {
		if !slices.Contains(a.before[x.GetIndex()], i) {
			m.t.Errorf("task %d is after %v, and not %d", x.GetIndex(), a.before[x.GetIndex()], i)
		}
		if !m.accepted.has(i) || m.acked.has(i) {
			response.Rejected = append(response.Rejected, &weftv1.ExecuteRejection{
				Index: x.GetIndex(), Reason: weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND,
				Metadata: map[string]string{"field": fmt.Sprintf("after_indexes[%d]", n), "index": fmt.Sprint(i)},
			})
			return true
		}
	}
	if a.late > 0 && m.rng.IntN(4) == 0 {
		a.late--
		a.room = append(a.room, x)
		return true
	}
	return false
}

// mayBeVoid tells whether the client may say that a task never comes: it was decided there.
func (a *modelAfter) mayBeVoid(m *modelBroker, i uint64) bool {
	return a != nil && !m.accepted.has(i) && a.want(i) == weftv1.TaskState_TASK_STATE_CANCELLED
}

// leave forgets what waited for room on a stream that is gone.
func (a *modelAfter) leave() {
	if a != nil {
		a.room = nil
	}
}

// admit takes what waited for room.
func (a *modelAfter) admit(m *modelBroker, response *weftv1.ExecuteResponse) {
	if a == nil || m.rng.IntN(2) == 0 && m.cuts > 0 {
		return
	}
	for _, x := range a.room {
		if i := x.GetIndex(); !m.accepted.has(i) {
			m.take(i)
			response.Accepted = append(response.Accepted, &weftv1.IndexRange{First: i, Last: i})
		}
	}
	a.room = nil
}

// free moves the tasks that may end to the front, and counts them.
func (a *modelAfter) free(m *modelBroker) int {
	if a == nil {
		return len(m.open)
	}
	blocked := func(i uint64) bool {
		return slices.ContainsFunc(a.before[i], func(d uint64) bool { return slices.Contains(m.open, d) })
	}
	slices.SortStableFunc(m.open, func(i, j uint64) int {
		switch bi, bj := blocked(i), blocked(j); {
		case bi == bj:
			return 0
		case bi:
			return 1
		default:
			return -1
		}
	})
	n := slices.IndexFunc(m.open, blocked)
	if n < 0 {
		n = len(m.open)
	}
	return n
}

// want is how a task ends.
func (a *modelAfter) want(i uint64) weftv1.TaskState {
	if s, ok := a.state[i]; ok {
		return s
	}
	s := weftv1.TaskState_TASK_STATE_SUCCEEDED
	if a.fails(i) {
		s = weftv1.TaskState_TASK_STATE_FAILED
	}
	for _, d := range a.before[i] {
		if !a.run[i] && a.want(d) != weftv1.TaskState_TASK_STATE_SUCCEEDED {
			s = weftv1.TaskState_TASK_STATE_CANCELLED
		}
	}
	a.state[i] = s
	return s
}

func (a *modelAfter) outcome(i uint64) *weftv1.ExecuteOutcome {
	o := success(i)
	o.Outcome.State = a.want(i)
	if o.Outcome.State == weftv1.TaskState_TASK_STATE_CANCELLED {
		o.Outcome.Error = &weftv1.TaskError{Reason: task.ReasonDependencyFailed}
	}
	return o
}

// Tasks that are after others, with cuts, refusals for want of room and acknowledgements that overtake: every
// future ends as the rules say, wherever that was decided, and nothing is taken twice.
func TestRandomCutsWithDependencies(t *testing.T) {
	calls, tasks := 24, 150
	if testing.Short() {
		calls = 6
	}
	var wg sync.WaitGroup
	for seed := range uint64(calls) {
		wg.Go(func() { runDependencies(t, seed, tasks) })
	}
	wg.Wait()
}

// spec is a task that is after some of the last ones.
func (a *modelAfter) spec(m *modelBroker, rng *rand.Rand, i uint64, fs []*SpecFuture) Spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec := Spec{Kind: "k", Payload: task.Text(fmt.Sprint("p", i))}
	for range min(rng.IntN(4), len(fs)) {
		d := fs[len(fs)-1-rng.IntN(min(len(fs), 10))]
		a.before[i] = append(a.before[i], d.index)
		spec.After = append(spec.After, After(d)...)
	}
	if a.run[i] = rng.IntN(3) == 0; a.run[i] {
		spec.OnDependencyFailure = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
	}
	return spec
}

func runDependencies(t *testing.T, seed uint64, tasks int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	a := &modelAfter{
		before: make(map[uint64][]uint64), run: make(map[uint64]bool), state: make(map[uint64]weftv1.TaskState), late: tasks,
	}
	m := &modelBroker{
		t: t, rng: rand.New(rand.NewPCG(seed, 2)), cuts: 12, runs: make(map[uint64]int), window: 20 + int(seed)*5, after: a,
	}
	var opts []CallOption
	if seed%3 == 0 {
		opts = append(opts, ExplicitAck())
	}
	call := (&fakeBroker{execute: m.execute}).start(t).NewCall(opts...)
	ctx := testContext(t)
	var waiters sync.WaitGroup
	var fs []*SpecFuture
	for i := range uint64(tasks) {
		f, err := call.Submit(ctx, a.spec(m, rng, i, fs))
		if err != nil {
			t.Errorf("seed %d: submit %d: %v", seed, i, err)
			return
		}
		fs = append(fs, f)
		waiters.Go(func() {
			o, err := f.Wait(ctx)
			m.mu.Lock()
			want := a.want(i)
			m.mu.Unlock()
			if err != nil || o.State != want {
				t.Errorf("seed %d: task %d after %v: %v, %v; want %v", seed, i, a.before[i], o, err, want)
			}
			f.Ack()
		})
		if rng.IntN(8) == 0 {
			if err := call.Flush(ctx); err != nil {
				t.Errorf("seed %d: flush: %v", seed, err)
			}
		}
	}
	waiters.Wait()
	call.Finish()
	if err := call.Wait(ctx); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	for i, n := range m.runs {
		if n != 1 {
			t.Errorf("seed %d: task %d was taken %d times", seed, i, n)
		}
	}
}
