package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// callHolder has a call of tasks that end when they are told to.
type callHolder struct {
	fakeBroker
	mu       sync.Mutex
	tasks    []*weftv1.Task
	changedC chan *weftv1.Task
	cutC     chan struct{} // cuts the stream of the moment
	watches  atomic.Int32
	single   atomic.Int32
	over     bool // from the beginning
	unknown  bool
}

func newCallHolder(n int) *callHolder {
	b := &callHolder{changedC: make(chan *weftv1.Task), cutC: make(chan struct{})}
	b.fakeBroker.tasks = b
	for i := range n {
		b.tasks = append(b.tasks, &weftv1.Task{
			Id: fmt.Sprint("t", i), Spec: &weftv1.TaskSpec{Kind: "double"}, State: weftv1.TaskState_TASK_STATE_RUNNING,
		})
	}
	return b
}

// end ends a task, and tells so if somebody is to hear it.
func (b *callHolder) end(i int, tell bool) {
	b.mu.Lock()
	t := &weftv1.Task{Id: b.tasks[i].GetId(), Spec: b.tasks[i].GetSpec(), Outcome: success(uint64(i)).GetOutcome()}
	t.Outcome.Result = &weftv1.Outcome_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Text{Text: fmt.Sprint(i)}}}
	b.tasks[i] = t
	b.mu.Unlock()
	if tell {
		b.changedC <- t
	}
}

func (b *callHolder) WatchCall(_ *weftv1.WatchCallRequest, s grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error {
	if b.watches.Add(1); b.unknown {
		return weftError(weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND, nil)
	}
	if err := s.Send(&weftv1.WatchCallResponse{Over: b.over}); err != nil || b.over {
		return err
	}
	for {
		select {
		case t := <-b.changedC:
			if err := s.Send(&weftv1.WatchCallResponse{Tasks: []*weftv1.Task{t}}); err != nil {
				return err
			}
		case <-b.cutC:
			return errCut
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

func (b *callHolder) ListTasks(context.Context, *weftv1.ListTasksRequest) (*weftv1.ListTasksResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &weftv1.ListTasksResponse{Tasks: b.tasks}, nil
}

func (b *callHolder) GetTask(_ context.Context, r *weftv1.GetTaskRequest) (*weftv1.GetTaskResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.tasks {
		if t.GetId() == r.GetTaskId() {
			return &weftv1.GetTaskResponse{Task: t}, nil
		}
	}
	return nil, weftError(weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND, nil)
}

func (b *callHolder) WatchTask(r *weftv1.WatchTaskRequest, s grpc.ServerStreamingServer[weftv1.WatchTaskResponse]) error {
	b.single.Add(1)
	if r.GetPartials() && r.GetTaskId() == "t1" {
		for _, p := range []string{"a", "b"} {
			p := &weftv1.Payload{Value: &weftv1.Payload_Text{Text: p}}
			if err := s.Send(&weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Partial{Partial: p}}); err != nil {
				return err
			}
		}
	}
	b.mu.Lock()
	t := b.tasks[1]
	b.mu.Unlock()
	return s.Send(&weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Task{Task: t}})
}

// attachAll attaches to the whole call.
func attachAll(ctx context.Context, t *testing.T, c *Client) (fs []*Future[int]) {
	t.Helper()
	for f, err := range AttachCall(ctx, c, doubled, "call") {
		if err != nil {
			t.Fatal(err)
		}
		fs = append(fs, f)
	}
	return fs
}

// One stream follows a call of many tasks, over a cut too; what ended meanwhile is found, and what is gone.
func TestAttachCallOnOneStream(t *testing.T) {
	const n = 1000
	b := newCallHolder(n)
	b.end(0, false)
	c := b.start(t)
	ctx := testContext(t)
	fs := attachAll(ctx, t, c)
	for i := 1; i < n/2; i++ {
		b.end(i, true)
	}
	for i := n / 2; i < n-1; i++ { // while nobody listens
		b.end(i, false)
	}
	b.mu.Lock()
	b.tasks = b.tasks[:n-1]
	b.mu.Unlock()
	b.cutC <- struct{}{}
	for i, f := range fs[:n-1] {
		if out, err := f.Wait(ctx); err != nil || out != i {
			t.Fatalf("task %d: %d, %v", i, out, err)
		}
	}
	if _, err := fs[n-1].Wait(ctx); !errors.Is(err, ErrTaskNotFound) {
		t.Errorf("the task that is gone: %v", err)
	}
	if w, s := b.watches.Load(), b.single.Load(); w != 2 || s != 0 {
		t.Errorf("%d streams of the call, %d of tasks", w, s)
	}
	var partials []string
	for p, err := range Partials[string](ctx, fs[1]) {
		if err != nil {
			t.Fatal(err)
		}
		partials = append(partials, p)
	}
	if len(partials) != 2 || b.single.Load() != 1 {
		t.Errorf("%q on %d streams", partials, b.single.Load())
	}
}

// A call that is over, or gone, still gives what is kept of it; a task that left it is followed by itself.
func TestAttachCallThatIsOver(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		b := newCallHolder(3)
		b.over, b.unknown = !unknown, unknown
		b.end(0, false)
		b.end(2, false)
		fs := attachAll(testContext(t), t, b.start(t))
		for _, i := range []int{0, 2} {
			if out, err := fs[i].Wait(testContext(t)); err != nil || out != i {
				t.Errorf("task %d: %d, %v", i, out, err)
			}
		}
		b.end(1, false)
		if out, err := fs[1].Wait(testContext(t)); err != nil || out != 1 {
			t.Errorf("%d, %v", out, err)
		}
	}
}

// Futures end with the context that they were attached by, and with the client.
func TestAttachEnds(t *testing.T) {
	b := newCallHolder(2)
	c := b.start(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(testContext(t))
	fs := attachAll(ctx, t, c)
	cancel(why)
	for _, f := range fs {
		if _, err := f.Wait(testContext(t)); !errors.Is(err, why) {
			t.Error(err)
		}
	}
	fs = attachAll(testContext(t), t, c)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, f := range fs {
		if _, err := f.Wait(testContext(t)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	for _, err := range AttachCall(testContext(t), c, doubled, "call") {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}
