package client

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// leaseBroker hands out one task with a short lease, and answers its renewals until it is told otherwise.
type leaseBroker struct {
	fakeBroker
	mu       sync.Mutex
	asked    []*weftv1.ReserveTasksRequest
	grant    func(n int, r *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error)
	renewedC chan struct{}
	lose     bool
	failed   []*weftv1.FailTaskRequest
}

// leaseTTL is the shortest lease that the API has.
const leaseTTL = time.Second

func (b *leaseBroker) ReserveTasks(ctx context.Context, r *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	n := len(b.asked)
	b.mu.Unlock()
	if b.grant != nil {
		return b.grant(n, r)
	}
	return granted(), nil
}

func granted() *weftv1.ReserveTasksResponse {
	return &weftv1.ReserveTasksResponse{
		Tasks: []*weftv1.Assignment{{TaskId: "t1", Token: 7}}, SessionId: "s1", Lease: durationpb.New(leaseTTL),
	}
}

func (b *leaseBroker) RenewTask(_ context.Context, r *weftv1.RenewTaskRequest) (*weftv1.RenewTaskResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lose || r.GetToken() != 7 {
		return nil, weftError(weftv1.ErrorReason_ERROR_REASON_LEASE_LOST, nil)
	}
	select {
	case b.renewedC <- struct{}{}:
	default:
	}
	return &weftv1.RenewTaskResponse{Lease: durationpb.New(leaseTTL)}, nil
}

func (b *leaseBroker) CompleteTask(context.Context, *weftv1.CompleteTaskRequest) (*weftv1.CompleteTaskResponse, error) {
	return &weftv1.CompleteTaskResponse{}, nil
}

func (b *leaseBroker) FailTask(_ context.Context, r *weftv1.FailTaskRequest) (*weftv1.FailTaskResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = append(b.failed, r)
	return &weftv1.FailTaskResponse{}, nil
}

// startLease serves the broker; the embedded fake alone would be registered without the methods here.
func (b *leaseBroker) startLease(t *testing.T) *Client {
	t.Helper()
	b.renewedC = make(chan struct{}, 1)
	b.tasks = b
	return b.start(t)
}

// notClosed finds a session that was closed, once the client is and nothing of it goes on.
func (b *leaseBroker) notClosed(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	select {
	case s := <-b.closed:
		t.Errorf("session %s is closed, and ends by itself", s)
	default:
	}
}

// A lease is renewed for as long as the task is held, also far beyond its length; then its session ends by itself.
func TestLeaseIsRenewed(t *testing.T) {
	b := &leaseBroker{}
	c := b.startLease(t)
	h, err := c.Queue("q").Get(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // more than one lease
		select {
		case <-b.renewedC:
		case <-h.Lost():
			t.Fatal("lost")
		}
	}
	if err := h.Done(testContext(t)); err != nil {
		t.Fatal(err)
	}
	b.notClosed(t, c)
}

// A lease that the broker does not renew, as the task was cancelled, is lost at once, and its session is closed.
func TestLeaseIsLost(t *testing.T) {
	b := &leaseBroker{lose: true}
	h, err := b.startLease(t).Queue("q").Get(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.Lost():
	case <-testContext(t).Done():
		t.Fatal("not lost")
	}
	if got := <-b.closed; got != "s1" {
		t.Errorf("closed session %q", got)
	}
}

// A get that was given up asks once more, and gives back what was granted at the same moment.
func TestGetGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(testContext(t))
	asked := make(chan struct{})
	b := &leaseBroker{}
	b.grant = func(n int, r *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
		if n == 1 {
			cancel()
			<-asked
			return nil, errCut
		}
		defer close(asked)
		if r.GetWait() != nil || r.GetRequestId() != b.asked[0].GetRequestId() {
			t.Errorf("asked again by %v", r)
		}
		return granted(), nil
	}
	if _, err := b.startLease(t).Queue("q").Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if got := <-b.closed; got != "s1" {
		t.Errorf("closed session %q", got)
	}
}

// A payload that cannot be read fails its task, and keeps nothing else from being got or given back.
func TestGetUnreadable(t *testing.T) {
	readable := 1
	unreadable := &weftv1.Payload{Value: &weftv1.Payload_Json{Json: &structpb.Value{}}}
	b := &leaseBroker{}
	b.grant = func(int, *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
		m := granted()
		m.Tasks = append(m.Tasks[:readable], &weftv1.Assignment{
			TaskId: "t2", Token: 8, Work: &weftv1.Assignment_Payload{Payload: unreadable},
		})
		return m, nil
	}
	c := b.startLease(t)
	q := c.Queue("q")
	held, err := q.GetBatch(testContext(t), 2)
	if err != nil || len(held) != 1 || held[0].TaskID() != "t1" {
		t.Fatal(held, err)
	}
	if len(b.failed) != 1 || b.failed[0].GetTaskId() != "t2" || b.failed[0].GetToken() != 8 || !b.failed[0].GetError().GetPermanent() {
		t.Errorf("failed %v", b.failed)
	}
	select {
	case s := <-b.closed:
		t.Errorf("session %s is closed while a task is held", s)
	default:
	}
	if err := held[0].Done(testContext(t)); err != nil {
		t.Error(err)
	}
	readable = 0
	if held, err := q.GetBatch(testContext(t), 2); err == nil || len(b.failed) != 2 {
		t.Errorf("nothing can be read: %v, %v, failed %v", held, err, b.failed)
	}
	b.notClosed(t, c)
}

// A get that loses its connection asks again by the same name.
func TestGetAsksAgain(t *testing.T) {
	b := &leaseBroker{}
	b.grant = func(n int, r *weftv1.ReserveTasksRequest) (*weftv1.ReserveTasksResponse, error) {
		switch {
		case r.GetRequestId() == "" || r.GetRequestId() != b.asked[0].GetRequestId():
			t.Errorf("asked by %v", r)
		case n < 3:
			return nil, errCut
		}
		return granted(), nil
	}
	h, err := b.startLease(t).Queue("q").Get(testContext(t))
	if err != nil || h.Token() != 7 {
		t.Fatal(h, err)
	}
}

// What becomes of a task whose queue is full is the call's option.
func TestRejectWhenFull(t *testing.T) {
	attached := make(chan bool, 1)
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		attached <- s.attach(&weftv1.ExecuteAttached{}).GetRejectWhenFull()
		s.untilTasks(1)
		s.send(&weftv1.ExecuteResponse{Rejected: []*weftv1.ExecuteRejection{{Reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_FULL}}})
		return s.drain()
	})}
	call := b.start(t).NewCall(RejectWhenFull())
	if _, err := submit(t, call, 1)[0].Wait(testContext(t)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if !<-attached {
		t.Error("not told")
	}
}
