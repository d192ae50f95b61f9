//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// told is what somebody was told of a task's end.
type told struct {
	state    weftv1.TaskState
	token    uint64
	finished time.Time
}

func (o told) String() string { return fmt.Sprint(o.state, " with ", o.token, " at ", o.finished) }

func toldBy(o *weftv1.Outcome) told {
	return told{o.GetState(), o.GetToken(), o.GetFinishedAt().AsTime()}
}

// race is tasks that are cancelled in whatever state they are, by their index, their name and their call,
// while workers run them and the broker is killed.
type race struct {
	api   *api
	c     *client.Client
	group *errgroup.Group
	ctx   context.Context
	tasks int // of each part
	seed  uint64
	ended milestones // of the part that is cancelled by index

	mu        sync.Mutex
	told      map[string]told      // by task
	cancelled map[string]time.Time // by task: when its cancellation was acknowledged
	waited    map[string]bool      // of those: it was over with that
	call      string               // that was cancelled by its name
	callAt    time.Time            // when that was acknowledged
}

// Whatever a cancellation meets, a task has one outcome, which is the one that was told; one whose
// cancellation was acknowledged is not begun again, and nothing is left.
func TestCancelRaces(t *testing.T) {
	const kills = 3
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	r := &race{
		api: w.api(b.addr), c: w.client(b.addr), tasks: 1500, seed: rand.Uint64(),
		told: make(map[string]told), cancelled: make(map[string]time.Time), waited: make(map[string]bool),
	}
	if testing.Short() {
		r.tasks = 300
	}
	t.Logf("seed %d", r.seed)
	for _, name := range []string{"north", "south"} {
		l.worker(workerConfig{Name: name, Broker: b.addr, Slots: 100})
	}
	r.group, r.ctx = errgroup.WithContext(r.api.ctx)
	r.group.Go(r.byIndex)
	r.group.Go(r.byName)
	r.group.Go(func() error { return r.byCall(false) })
	r.group.Go(func() error { return r.byCall(true) })
	for k := range kills {
		r.reaches((k + 1) * r.tasks / (kills + 1))
		if err := b.restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.group.Wait(); err != nil {
		t.Fatal(err)
	}
	r.api.drained("")
	r.check(l)
}

// reaches waits until so many tasks of the first part have ended: it is everybody's clock.
func (r *race) reaches(n int) {
	r.ended.reaches(r.ctx, n)
}

// spec is a task that takes no time, some, or two attempts. What it came to stays.
func (r *race) spec(part string, i int, rng *rand.Rand) client.Spec {
	s := client.Spec{
		Kind: []string{"echo", "sleep", "flaky"}[rng.IntN(3)], Payload: task.Text(fmt.Sprintf("%dms/%s/%d", rng.IntN(40), part, i)),
		Retention: time.Hour,
	}
	if s.Kind == "flaky" {
		s.Retry = client.Retry{Attempts: 3, Backoff: time.Duration(rng.IntN(20)) * time.Millisecond}
	}
	return s
}

// byIndex is a call, a third of whose tasks are cancelled by their index.
func (r *race) byIndex() error {
	rng := rand.New(rand.NewPCG(r.seed, 1))
	call := r.c.NewCall(client.OnUpdate(func(client.Update) {}))
	defer call.Close()
	for i := range r.tasks {
		f, err := call.Submit(r.ctx, r.spec("index", i, rng))
		if err != nil {
			return err
		}
		r.group.Go(func() error { return r.follow(f, true) })
		if at := rng.IntN(3 * r.tasks); at < r.tasks { // it may not be sent yet, or have ended long ago
			r.group.Go(func() error {
				r.reaches(min(at, r.tasks*9/10))
				f.Cancel(0)
				return nil
			})
		}
	}
	call.Finish()
	return call.Wait(r.ctx)
}

// follow notes what a future is told, and lets the clock go on if it is one of the first part.
func (r *race) follow(f *client.SpecFuture, clock bool) error {
	o, err := f.Wait(r.ctx)
	if err != nil {
		return err
	}
	if clock {
		r.ended.add()
	}
	if id := f.TaskID(); id != "" { // it was cancelled before it was sent
		r.note(id, told{o.State, o.Token, o.FinishedAt})
	}
	return nil
}

// note compares what was told before.
func (r *race) note(id string, o told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.told[id]; ok && before != o {
		r.api.world.Errorf("%s ended as %v, and then as %v", id, before, o)
	}
	r.told[id] = o
}

// byName submits tasks of no call, every fourth with a unique key, cancels a third of them, and waits for all.
func (r *race) byName() error {
	const batch = 50
	rng := rand.New(rand.NewPCG(r.seed, 2))
	for first := 0; first < r.tasks; first += batch {
		req := &weftv1.SubmitTasksRequest{RequestId: fmt.Sprint("batch ", first)}
		for i := first; i < min(first+batch, r.tasks); i++ {
			req.Tasks = append(req.Tasks, r.named(i, rng))
		}
		resp, err := again(r.ctx, r.api.tasks.SubmitTasks, req)
		if err != nil {
			return err
		}
		for i, submitted := range resp.GetResults() {
			id := submitted.GetTaskId()
			if id == "" {
				return fmt.Errorf("task %d: %v", first+i, submitted)
			}
			r.group.Go(func() error { return r.await(id) })
			if at := rng.IntN(3 * r.tasks); at < r.tasks {
				r.group.Go(func() error { return r.cancel(id, min(at, r.tasks*9/10)) })
			}
		}
		r.reaches(first * 8 / 10)
	}
	return nil
}

func (r *race) named(i int, rng *rand.Rand) *weftv1.TaskSpec {
	like := r.spec("name", i, rng)
	s := text(like.Kind, string(like.Payload.Bytes()))
	if like.Retry.Attempts > 0 {
		s.Retry = &weftv1.RetryPolicy{AttemptsMax: 3, InitialBackoff: durationpb.New(like.Retry.Backoff)}
	}
	if i%4 == 0 {
		s.UniqueKey = fmt.Sprint("unique ", i)
	}
	return s
}

// await waits for a task's end, which is then what it stays.
func (r *race) await(id string) error {
	resp, err := again(r.ctx, r.api.tasks.WaitTask, &weftv1.WaitTaskRequest{TaskId: id})
	if err == nil {
		r.note(id, toldBy(resp.GetTask().GetOutcome()))
	}
	return err
}

func (r *race) cancel(id string, at int) error {
	r.reaches(at)
	resp, err := again(r.ctx, r.api.tasks.CancelTask, &weftv1.CancelTaskRequest{TaskId: id})
	if err != nil {
		return err
	}
	if s := resp.GetState(); s == weftv1.TaskState_TASK_STATE_CANCELLED || s == weftv1.TaskState_TASK_STATE_CANCELLING {
		r.mu.Lock()
		r.cancelled[id] = time.Now()
		if s == weftv1.TaskState_TASK_STATE_CANCELLED {
			r.waited[id] = true
		}
		r.mu.Unlock()
	}
	return nil
}

// byCall is a call that is cancelled as a whole: on its own stream, or by its name from elsewhere.
func (r *race) byCall(elsewhere bool) error {
	part := fmt.Sprint("call ", elsewhere)
	rng := rand.New(rand.NewPCG(r.seed, uint64(len(part))))
	call := r.c.NewCall(client.OnUpdate(func(client.Update) {}))
	defer call.Close()
	for i := range r.tasks {
		f, err := call.Submit(r.ctx, r.spec(part, i, rng))
		if err != nil {
			return err
		}
		r.group.Go(func() error { return r.follow(f, false) })
	}
	if err := call.Flush(r.ctx); err != nil {
		return err
	}
	r.reaches(rng.IntN(r.tasks / 2))
	if elsewhere {
		if _, err := r.c.CancelCall(r.ctx, call.ID(), 0); err != nil {
			return err
		}
		r.mu.Lock()
		r.call, r.callAt = call.ID(), time.Now()
		r.mu.Unlock()
	} else {
		call.Cancel(0)
	}
	call.Finish()
	return call.Wait(r.ctx)
}

// check compares the tasks as they are at the end with what was told and with what ran.
func (r *race) check(l *ledger) {
	t := r.api.world
	began := make(map[string][]event)
	for _, e := range l.await(r.api.ctx, 0, begins("")) {
		began[e.Task] = append(began[e.Task], e)
	}
	states := make(map[weftv1.TaskState]int)
	for id, left := range r.api.list(&weftv1.ListTasksRequest{}) {
		o := left.GetOutcome()
		states[left.GetState()]++
		r.note(id, toldBy(o))
		acknowledged, cancelled := r.cancelled[id]
		if left.GetCallId() == r.call {
			acknowledged, cancelled = r.callAt, true
		}
		if started := o.GetStartedAt(); cancelled && started != nil && started.AsTime().After(acknowledged) {
			t.Errorf("its cancellation was acknowledged at %v: %v", acknowledged, left)
		}
		ran := false
		for _, e := range began[left.GetSpec().GetPayload().GetText()] {
			ran = ran || e.Token == o.GetToken()
			if e.Token > o.GetToken() || r.waited[id] && e.At.After(acknowledged) {
				t.Errorf("it began as %+v, cancelled at %v: %v", e, acknowledged, left)
			}
		}
		succeeded := left.GetState() == weftv1.TaskState_TASK_STATE_SUCCEEDED
		if succeeded && (!ran || r.waited[id]) || !succeeded && left.GetState() != weftv1.TaskState_TASK_STATE_CANCELLED {
			t.Errorf("cancelled %v, ran %v: %v", r.waited[id], ran, left)
		}
		delete(r.told, id)
	}
	for id, o := range r.told {
		t.Errorf("%s ended as %v, and is not there", id, o)
	}
	t.Logf("%v; %d cancelled by name, of which %d at once", states, len(r.cancelled), len(r.waited))
}
