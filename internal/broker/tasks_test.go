package broker

import (
	"testing"

	"google.golang.org/grpc"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestUnaryTaskLife(t *testing.T) {
	h := newHarness(t)
	ctx := h.ctx()
	sub, err := h.tasks.SubmitTask(ctx, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{
		Kind: "echo", Work: &weftv1.TaskSpec_Payload{Payload: text("hi")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.tasks.ReserveTasks(ctx, &weftv1.ReserveTasksRequest{Lease: durationpb.New(60e9)})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.GetTasks()) != 1 || res.GetTasks()[0].GetTaskId() != sub.GetTaskId() || res.GetTasks()[0].GetPayload().GetText() != "hi" {
		t.Fatalf("reserved %v", res)
	}
	h.restart()
	done := &weftv1.CompleteTaskRequest{
		TaskId: sub.GetTaskId(), Token: res.GetTasks()[0].GetToken(),
		Output: &weftv1.CompleteTaskRequest_Result{Result: text("ho")},
	}
	for range 2 { // once more with the same token is the same
		if _, err := h.tasks.CompleteTask(ctx, done, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	w, err := h.tasks.WaitTask(ctx, &weftv1.WaitTaskRequest{TaskId: sub.GetTaskId()})
	if err != nil || w.GetTask().GetOutcome().GetPayload().GetText() != "ho" {
		t.Fatalf("%v, %v", w, err)
	}
}

func TestExecuteAndWork(t *testing.T) {
	h := newHarness(t)
	work, err := h.workers.Work(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *weftv1.WorkRequest) {
		t.Helper()
		if err := work.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&weftv1.WorkRequest{Hello: &weftv1.WorkHello{Queues: []string{"default"}, Kinds: []string{"echo"}, Slots: 10, Credits: 10}})
	call, err := h.tasks.Execute(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c1"}}); err != nil {
		t.Fatal(err)
	}
	req := &weftv1.ExecuteRequest{}
	for i := range uint64(25) {
		req.Tasks = append(req.Tasks, &weftv1.ExecuteTask{Index: i, Spec: &weftv1.TaskSpec{
			Kind: "echo", Work: &weftv1.TaskSpec_Payload{Payload: text("x")},
		}})
	}
	if err := call.Send(req); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			m, err := work.Recv()
			if err != nil {
				return
			}
			out := &weftv1.WorkRequest{}
			for _, a := range m.GetAssignments() {
				out.Credits++
				out.Reports = append(out.Reports, &weftv1.AttemptReport{
					TaskId: a.GetTaskId(), Token: a.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
					Output: &weftv1.AttemptReport_Result{Result: a.GetPayload()},
				})
			}
			if out.Credits > 0 {
				_ = work.Send(out)
			}
		}
	}()
	seen := map[uint64]bool{}
	for len(seen) < 25 {
		m, err := call.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range m.GetOutcomes() {
			if seen[o.GetIndex()] || o.GetOutcome().GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED {
				t.Fatalf("%v", o)
			}
			seen[o.GetIndex()] = true
		}
	}
}
