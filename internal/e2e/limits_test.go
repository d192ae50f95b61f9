//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A namespace, or a broker, that holds what it may takes no more and says which limit it is. It drains, and then takes
// tasks again: those that ended, and for which nobody waits, make room, the oldest first.
func TestStateFull(t *testing.T) {
	for _, c := range []struct {
		name, flag string
		limit      int
		payload    string
		of         map[string]string
	}{
		{"tasks", "--namespace-tasks-max", 200, "small", map[string]string{"namespace": "default"}},
		{"tasks of all", "--state-tasks-max", 200, "small", nil},
		{"bytes", "--namespace-bytes-max", 1 << 20, strings.Repeat("x", 10<<10), map[string]string{"namespace": "default"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			b, l := w.broker(c.flag, strconv.Itoa(c.limit)), w.ledger()
			a := w.api(b.addr)
			metadata := map[string]string{"limit": strconv.Itoa(c.limit)}
			maps.Copy(metadata, c.of)
			specs := make([]*weftv1.TaskSpec, 250)
			for i := range specs {
				specs[i] = text("echo", fmt.Sprint(i, " ", c.payload))
			}
			first := a.fill(specs, metadata)
			_, err := a.tasks.SubmitTask(a.ctx, &weftv1.SubmitTaskRequest{Task: specs[0]})
			refused(t, err, weftv1.ErrorReason_ERROR_REASON_STATE_FULL, metadata)
			if err := b.restart(); err != nil { // the limit counts what a replay finds
				t.Fatal(err)
			}
			if more := a.fill(specs[:10], metadata); len(more) != 0 {
				t.Errorf("%d more tasks are taken after a restart", len(more))
			}

			l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 10})
			a.drained("")
			second := a.fill(specs, metadata)
			a.drained("")
			if len(first) == 0 || len(first) >= len(specs) || len(second) < len(first)*9/10 {
				t.Errorf("%d tasks were taken, then %d", len(first), len(second))
			}
			_, err = a.tasks.GetTask(a.ctx, &weftv1.GetTaskRequest{TaskId: first[0]})
			if status.Code(err) != codes.NotFound {
				t.Errorf("the oldest task should have made room: %v", err)
			}
		})
	}
}

// fill submits tasks and returns the names of those that were taken: all, until the namespace is full.
func (a *api) fill(specs []*weftv1.TaskSpec, metadata map[string]string) (taken []string) {
	a.world.Helper()
	resp := must(a, a.tasks.SubmitTasks, &weftv1.SubmitTasksRequest{Tasks: specs})
	full := 0
	for i, r := range resp.GetResults() {
		switch {
		case r.GetTaskId() != "" && full == 0:
			taken = append(taken, r.GetTaskId())
		case r.GetReason() == weftv1.ErrorReason_ERROR_REASON_STATE_FULL && maps.Equal(r.GetMetadata(), metadata):
			full++
		default:
			a.world.Fatalf("task %d after %d refusals: %v", i, full, r)
		}
	}
	return taken
}

// Results that nobody has taken yet stop the dispatch when they exceed the limit by a quarter, and it goes on
// as soon as they are acknowledged.
func TestResultsStopDispatch(t *testing.T) {
	const tasks, resultBytes = 200, 32 << 10
	w := newWorld(t)
	b, l := w.broker("--namespace-bytes-max", strconv.Itoa(1<<20)), w.ledger()
	a, c := w.api(b.addr), w.client(b.addr, client.WithSessionTTL(time.Second)) // acknowledgements go with heartbeats
	call := c.NewCall(client.ExplicitAck(), client.OnUpdate(func(client.Update) {}))
	defer call.Close()
	futures := make([]*client.SpecFuture, tasks)
	for i := range futures {
		var err error
		futures[i], err = call.Submit(a.ctx, client.Spec{Kind: "grow", Payload: task.Text(strconv.Itoa(resultBytes))})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := call.Flush(a.ctx); err != nil {
		t.Fatal(err)
	}
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 4})
	var last string
	for id, found := range a.list(&weftv1.ListTasksRequest{CallId: call.ID()}) {
		if found.GetCallIndex() == tasks-1 {
			last = id
		}
	}
	a.why(last, "state_full")
	w.until("nothing runs", func() bool { return a.queue("").GetCounts().GetRunning() == 0 })
	counts := a.queue("").GetCounts()
	if most := uint64((1<<20)*5/4/resultBytes + 4 + 1); counts.GetSucceeded() > most || counts.GetReady() == 0 {
		t.Errorf("%v: at most %d results are to be kept", counts, most)
	}
	for i, f := range futures { // each one acknowledged makes room for another
		o, err := f.Wait(a.ctx)
		if err != nil || o.Err() != nil || len(o.Payload.Bytes()) != resultBytes {
			t.Fatalf("future %d: %v, %v", i, o, err)
		}
		f.Ack()
	}
	call.Finish()
	if err := call.Wait(a.ctx); err != nil {
		t.Error(err)
	}
}
