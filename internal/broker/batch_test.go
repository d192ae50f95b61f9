package broker

import (
	"slices"
	"testing"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Each task of a batch is taken on its own merits, and the same batch again is the same tasks.
func TestSubmitTasks(t *testing.T) {
	h := newHarness(t)
	fit := &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text("x")}}
	once := &weftv1.TaskSpec{Kind: "k", UniqueKey: "u"}
	req := &weftv1.SubmitTasksRequest{RequestId: "r", Tasks: []*weftv1.TaskSpec{
		fit, {Kind: "no name"}, {Kind: "k", Queue: "nowhere"}, once, once, {Kind: "k", After: []string{"tzzz"}}, {Kind: "k", Daemon: true},
	}}
	first, err := h.tasks.SubmitTasks(h.ctx(), req)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, r := range first.GetResults() {
		reasons = append(reasons, r.GetReason().String()+" "+r.GetMetadata()["field"])
	}
	want := []string{
		"ERROR_REASON_UNSPECIFIED ", "ERROR_REASON_INVALID_FIELD tasks[1].kind", "ERROR_REASON_QUEUE_NOT_FOUND ",
		"ERROR_REASON_UNSPECIFIED ", "ERROR_REASON_UNSPECIFIED ", "ERROR_REASON_TASK_NOT_FOUND after[0]",
		"ERROR_REASON_INVALID_FIELD tasks[6].daemon",
	}
	if !slices.Equal(reasons, want) {
		t.Errorf("refused %q, want %q", reasons, want)
	}
	r := first.GetResults()
	if r[3].GetTaskId() != r[4].GetTaskId() || r[3].GetJoined() || !r[4].GetJoined() {
		t.Errorf("of one unique key: %v and %v", r[3], r[4])
	}
	if _, err := h.tasks.CancelTask(h.ctx(), &weftv1.CancelTaskRequest{TaskId: r[4].GetTaskId()}); err != nil {
		t.Fatal(err) // a request that joined a task is answered with it for as long as it is known
	}
	again, err := h.tasks.SubmitTasks(h.ctx(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range again.GetResults() {
		if x.GetTaskId() != r[i].GetTaskId() {
			t.Errorf("task %d is %s, was %s", i, x.GetTaskId(), r[i].GetTaskId())
		}
	}
}

// The tasks of a batch have ids of their own, whatever ids other requests have.
func TestRequestIDsOfABatchAreItsOwn(t *testing.T) {
	h := newHarness(t)
	batch := &weftv1.SubmitTasksRequest{RequestId: "r", Tasks: []*weftv1.TaskSpec{{Kind: "k"}, {Kind: "l"}}}
	first, err := h.tasks.SubmitTasks(h.ctx(), batch)
	if err != nil {
		t.Fatal(err)
	}
	known := []string{first.GetResults()[0].GetTaskId(), first.GetResults()[1].GetTaskId()}
	for _, id := range []string{"r", "r/0", "r/1", "r0"} {
		own, err := h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{RequestId: id, Task: &weftv1.TaskSpec{Kind: "other"}})
		if err != nil || slices.Contains(known, own.GetTaskId()) {
			t.Errorf("request %s: %v, %v", id, own, err)
		}
		known = append(known, own.GetTaskId())
	}
	_, err = h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{RequestId: "r\x000", Task: &weftv1.TaskSpec{Kind: "k"}})
	wantRefusal(t, err, pure.InvalidField, "field", "request_id")
	batch.Tasks[0] = &weftv1.TaskSpec{Kind: "other"}
	other, err := h.tasks.SubmitTasks(h.ctx(), batch)
	if err != nil || other.GetResults()[0].GetMetadata()["request_id"] != "r" || other.GetResults()[1].GetTaskId() != known[1] {
		t.Errorf("with another body: %v, %v", other, err)
	}
}

func TestSubmitTasksBounds(t *testing.T) {
	h := newHarness(t)
	large := &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: &weftv1.Payload{
		Value: &weftv1.Payload_Data{Data: make([]byte, payloadBytesMax)},
	}}}
	for what, tasks := range map[string][]*weftv1.TaskSpec{
		"none": nil, "too many": slices.Repeat([]*weftv1.TaskSpec{{Kind: "k"}}, 1001), "too large": slices.Repeat([]*weftv1.TaskSpec{large}, 9),
	} {
		h.unchanged(func() {
			_, err := h.tasks.SubmitTasks(h.ctx(), &weftv1.SubmitTasksRequest{Tasks: tasks})
			if got := refused(t, err); got.reason != "INVALID_FIELD" || got.meta["field"] != "tasks" {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}
