package broker

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// fakeWorker is a worker by script: what it was told adds up in seen.
type fakeWorker struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[weftv1.WorkRequest, weftv1.WorkResponse]
	cancel context.CancelFunc // as if its connection broke
	seen   *weftv1.WorkResponse
}

// dial opens a Work stream that has said nothing yet.
func (h *harness) dialWorker() *fakeWorker {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := h.workers.Work(ctx, grpc.WaitForReady(true))
	if err != nil {
		h.t.Fatal(err)
	}
	return &fakeWorker{h.t, stream, cancel, &weftv1.WorkResponse{}}
}

// hello fills in what a hello needs.
func hello(m *weftv1.WorkHello) *weftv1.WorkHello {
	if m.Queues == nil {
		m.Queues = []string{"default"}
	}
	if m.Kinds == nil {
		m.Kinds = []string{"k", commandKind}
	}
	if m.SessionTtl == nil {
		m.SessionTtl = durationpb.New(time.Minute) // a test on a busy machine is no heartbeat
	}
	if m.Slots == 0 {
		m.Slots = 10
	}
	return m
}

// worker connects a worker and waits for its welcome.
func (h *harness) worker(m *weftv1.WorkHello) *fakeWorker {
	h.t.Helper()
	w := h.dialWorker()
	w.send(&weftv1.WorkRequest{Hello: hello(m)})
	w.until("welcome", func(r *weftv1.WorkResponse) bool { return r.GetWelcome() != nil })
	return w
}

func (w *fakeWorker) session() string { return w.seen.GetWelcome().GetSessionId() }

func (w *fakeWorker) send(m *weftv1.WorkRequest) {
	w.t.Helper()
	if err := w.stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // of a stream that has ended: end says why
		w.t.Fatal(err)
	}
}

// until receives until cond holds.
func (w *fakeWorker) until(what string, cond func(*weftv1.WorkResponse) bool) {
	w.t.Helper()
	for !cond(w.seen) {
		m, err := w.stream.Recv()
		if err != nil {
			w.t.Fatalf("waiting for %s: %v; seen %v", what, err, w.seen)
		}
		proto.Merge(w.seen, m)
	}
}

// beat waits until everything that was sent is decided and told.
func (w *fakeWorker) beat(number uint64) {
	w.t.Helper()
	w.send(&weftv1.WorkRequest{Heartbeat: number})
	w.until("heartbeat", func(r *weftv1.WorkResponse) bool { return r.GetHeartbeat() == number })
}

// assigned waits for the nth assignment.
func (w *fakeWorker) assigned(n int) *weftv1.Assignment {
	w.t.Helper()
	w.until("assignment", func(r *weftv1.WorkResponse) bool { return len(r.GetAssignments()) >= n })
	return w.seen.GetAssignments()[n-1]
}

// end receives until the stream ends, and returns why: nil if in order.
func (w *fakeWorker) end() error {
	w.t.Helper()
	for {
		if _, err := w.stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func success(a *weftv1.Assignment, result string) *weftv1.AttemptReport {
	return &weftv1.AttemptReport{
		TaskId: a.GetTaskId(), Token: a.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
		Output: &weftv1.AttemptReport_Result{Result: text(result)},
	}
}

// fakeCaller is a call's client by script.
type fakeCaller struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[weftv1.ExecuteRequest, weftv1.ExecuteResponse]
	cancel context.CancelFunc
	seen   *weftv1.ExecuteResponse
}

func (h *harness) dialCaller() *fakeCaller {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := h.tasks.Execute(ctx, grpc.WaitForReady(true))
	if err != nil {
		h.t.Fatal(err)
	}
	return &fakeCaller{h.t, stream, cancel, &weftv1.ExecuteResponse{}}
}

// attach attaches to a call and waits for the broker's word.
func (h *harness) attach(m *weftv1.ExecuteAttach) *fakeCaller {
	h.t.Helper()
	c := h.dialCaller()
	if m.SessionTtl == nil {
		m.SessionTtl = durationpb.New(time.Minute)
	}
	c.send(&weftv1.ExecuteRequest{Attach: m})
	c.until("attached", func(r *weftv1.ExecuteResponse) bool { return r.GetAttached() != nil })
	return c
}

func (c *fakeCaller) send(m *weftv1.ExecuteRequest) {
	c.t.Helper()
	if err := c.stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatal(err)
	}
}

func (c *fakeCaller) until(what string, cond func(*weftv1.ExecuteResponse) bool) {
	c.t.Helper()
	for !cond(c.seen) {
		m, err := c.stream.Recv()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v; seen %v", what, err, c.seen)
		}
		proto.Merge(c.seen, m)
	}
}

func (c *fakeCaller) beat(number uint64) {
	c.t.Helper()
	c.send(&weftv1.ExecuteRequest{Heartbeat: number})
	c.until("heartbeat", func(r *weftv1.ExecuteResponse) bool { return r.GetHeartbeat() == number })
}

func (c *fakeCaller) end() error {
	c.t.Helper()
	for {
		if _, err := c.stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// taskAt is a task of kind k at an index.
func taskAt(index uint64, payload string) *weftv1.ExecuteTask {
	return &weftv1.ExecuteTask{Index: index, Spec: &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text(payload)}}}
}

// submit submits tasks with small payloads at indexes from first to last and waits until they are accepted.
func (c *fakeCaller) submit(first, last uint64) {
	c.t.Helper()
	req := &weftv1.ExecuteRequest{}
	for i := first; i <= last; i++ {
		req.Tasks = append(req.Tasks, taskAt(i, "x"))
	}
	c.send(req)
	c.until("acceptance", func(r *weftv1.ExecuteResponse) bool {
		for _, x := range r.GetAccepted() {
			if x.GetFirst() <= first && x.GetLast() >= last {
				return true
			}
		}
		return false
	})
}

func indexRange(first, last uint64) *weftv1.IndexRange {
	return &weftv1.IndexRange{First: first, Last: last}
}
