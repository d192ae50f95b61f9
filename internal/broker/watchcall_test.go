package broker

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// viewer follows a call.
type viewer struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[weftv1.WatchCallResponse]
	last   *weftv1.WatchCallResponse
	tasks  []*weftv1.Task // that were told, in order
}

func (h *harness) watchCall(name string) *viewer {
	h.t.Helper()
	stream, err := h.tasks.WatchCall(h.ctx(), &weftv1.WatchCallRequest{CallId: name})
	if err != nil {
		h.t.Fatal(err)
	}
	v := &viewer{t: h.t, stream: stream}
	v.next()
	return v
}

func (v *viewer) next() {
	v.t.Helper()
	m, err := v.stream.Recv()
	if err != nil {
		v.t.Fatal(err)
	}
	v.last, v.tasks = m, append(v.tasks, m.GetTasks()...)
}

func (v *viewer) until(cond func(*weftv1.TaskCounts) bool) {
	v.t.Helper()
	for !cond(v.last.GetCounts()) {
		v.next()
	}
}

func TestWatchCall(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	early := h.watchCall("c")
	if early.last.GetOver() || early.last.GetCounts() == nil || len(early.tasks) > 0 {
		t.Fatalf("the first response is %v", early.last)
	}
	c.submit(0, 2)
	early.until(func(n *weftv1.TaskCounts) bool { return n.GetReady() == 3 })
	late := h.watchCall("c")
	if late.last.GetCounts().GetReady() != 3 || len(late.tasks) > 0 {
		t.Fatalf("the first response is %v", late.last)
	}
	got := h.reserve(&weftv1.ReserveTasksRequest{TasksMax: 2, Lease: durationpb.New(patience)})
	a, b := got.GetTasks()[0], got.GetTasks()[1]
	for _, do := range []func() error{
		func() error {
			_, err := h.tasks.AdvanceTask(h.ctx(), &weftv1.AdvanceTaskRequest{
				TaskId: a.GetTaskId(), Token: a.GetToken(), Progress: &weftv1.Progress{Done: 1, Total: 2}, Partials: []*weftv1.Payload{text("p")},
			})
			return err
		},
		func() error {
			late.until(func(*weftv1.TaskCounts) bool {
				return len(late.tasks) > 0 && late.tasks[len(late.tasks)-1].GetProgress().GetDone() == 1
			})
			_, err := h.tasks.CompleteTask(h.ctx(), &weftv1.CompleteTaskRequest{
				TaskId: a.GetTaskId(), Token: a.GetToken(), Output: &weftv1.CompleteTaskRequest_Result{Result: text("r")},
			})
			return err
		},
		func() error {
			_, err := h.tasks.FailTask(h.ctx(), &weftv1.FailTaskRequest{
				TaskId: b.GetTaskId(), Token: b.GetToken(), Error: &weftv1.TaskError{Reason: "no_stock"},
			})
			return err
		},
		func() error {
			_, err := h.tasks.CancelCall(h.ctx(), &weftv1.CancelCallRequest{CallId: "c"})
			return err
		},
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []*viewer{early, late} {
		for !v.last.GetOver() {
			v.next()
		}
		if _, err := v.stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end comes %v", err)
		}
		n := v.last.GetCounts()
		if n.GetSucceeded() != 1 || n.GetFailed() != 1 || n.GetCancelled() != 1 || n.GetReady()+n.GetRunning()+n.GetCancelling() != 0 {
			t.Errorf("at the end there are %v", n)
		}
		last := map[string]*weftv1.Task{}
		for _, m := range v.tasks {
			last[m.GetId()] = m
		}
		if m := last[a.GetTaskId()]; m.GetOutcome().GetResult() != nil || m.GetSpec().GetWork() != nil || m.GetPartialsCount() != 1 ||
			m.GetCallId() != "c" || m.GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED {
			t.Errorf("told is %v", m)
		}
		if m := last[b.GetTaskId()]; m.GetOutcome().GetError().GetReason() != "no_stock" {
			t.Errorf("told is %v", m)
		}
	}
	if again := h.watchCall("c"); !again.last.GetOver() || again.last.GetCounts().GetFailed() != 1 {
		t.Errorf("of a call that is over is told %v", again.last)
	}
}

// A watcher is told when the broker stops, and by the next one what there is then.
func TestWatchCallOverARestart(t *testing.T) {
	h := newHarness(t)
	h.attach(&weftv1.ExecuteAttach{CallId: "c"}).submit(0, 0)
	v := h.watchCall("c")
	h.restart()
	_, err := v.stream.Recv()
	wantRefusal(t, err, pure.NotReady)
	stream, err := h.tasks.WatchCall(h.ctx(), &weftv1.WatchCallRequest{CallId: "c"}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetCounts().GetReady() != 1 {
		t.Errorf("%v, %v", m, err)
	}
}

// What waits for a slow watcher is told as one, a response has a bounded number of tasks, and one that falls too far
// behind is disconnected.
func TestWatchCallIsBounded(t *testing.T) {
	var sent []*weftv1.WatchCallResponse
	w := &callWatch{places: map[uint64]int{}, send: func(m *weftv1.WatchCallResponse) error {
		sent = append(sent, m)
		return nil
	}}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	change := func(id uint64, before, after queue.State) *queue.CallChange {
		return &queue.CallChange{Before: before, Task: queue.Snapshot{TaskState: queue.TaskState{
			Spec: queue.Spec{Options: queue.DefaultOptions}, ID: id, State: after, Extra: queue.NoExtra,
		}}}
	}
	o := shard.NewOutbox()
	for range 3 {
		o.Push(change(1, queue.Ready, queue.Running))
		o.Push(change(1, queue.Running, queue.Ready))
	}
	o.Push(change(1, 0, queue.Ready))
	if err := w.take(o); err != nil || len(sent) != 2 || len(sent[1].GetTasks()) != 1 || sent[1].GetCounts().GetReady() != 1 {
		t.Fatalf("%v, sent is %v", err, sent)
	}
	for id := range uint64(callTasksMax + 1) {
		o.Push(change(id, 0, queue.Ready))
	}
	if err := w.take(o); err != nil || len(sent) != 4 || len(sent[2].GetTasks()) != callTasksMax || len(sent[3].GetTasks()) != 1 {
		t.Fatalf("%v, %d responses", err, len(sent))
	}
	for o.Err() == nil {
		o.Push(change(1, queue.Ready, queue.Ready))
	}
	wantRefusal(t, w.take(o), pure.SlowStream)
}
