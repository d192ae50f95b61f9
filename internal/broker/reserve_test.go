package broker

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/memory"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// reservationCall is how a ReserveTasks ended.
type reservationCall struct {
	resp *weftv1.ReserveTasksResponse
	err  error
}

func (h *harness) reserveAsync(ctx context.Context, req *weftv1.ReserveTasksRequest) <-chan reservationCall {
	c := make(chan reservationCall, 1)
	go func() {
		r, err := h.tasks.ReserveTasks(ctx, req)
		c <- reservationCall{r, err}
	}()
	return c
}

func (h *harness) reserve(req *weftv1.ReserveTasksRequest) *weftv1.ReserveTasksResponse {
	h.t.Helper()
	r, err := h.tasks.ReserveTasks(h.ctx(), req)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// state waits until a task is in a state.
func (h *harness) state(id string, want weftv1.TaskState) {
	h.t.Helper()
	for ctx := h.ctx(); ; {
		r, err := h.tasks.GetTask(ctx, &weftv1.GetTaskRequest{TaskId: id})
		if err != nil {
			h.t.Fatalf("waiting for %v: %v", want, err)
		}
		if r.GetTask().GetState() == want {
			return
		}
	}
}

func TestReserveWaits(t *testing.T) {
	h := newHarness(t)
	if r := h.reserve(&weftv1.ReserveTasksRequest{}); len(r.GetTasks()) != 0 || r.GetSessionId() != "" {
		t.Errorf("without a wait: %v", r)
	}
	if r := h.reserve(&weftv1.ReserveTasksRequest{Wait: durationpb.New(20 * time.Millisecond)}); len(r.GetTasks()) != 0 {
		t.Errorf("after a wait: %v", r)
	}
	c := h.reserveAsync(h.ctx(), &weftv1.ReserveTasksRequest{Wait: durationpb.New(patience)})
	id := h.submit("k")
	if r := <-c; r.err != nil || len(r.resp.GetTasks()) != 1 || r.resp.GetTasks()[0].GetTaskId() != id {
		t.Errorf("%v", r)
	}
	if s, err := h.sessions.ListSessions(h.ctx(), &weftv1.ListSessionsRequest{}); err != nil || len(s.GetSessions()) != 1 {
		t.Errorf("%v, %v: a session for what was granted alone", s, err)
	}
}

// newLoop runs a loop over a journal in memory, for tests that call a service's methods themselves.
func newLoop(t *testing.T) *shard.Loop {
	t.Helper()
	loop := shard.NewLoop(shard.LoopConfig{Open: func(context.Context) (journal.Stream, error) { return &memory.Stream{}, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	changed := loop.Changed()
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-changed
	return loop
}

// A task that was granted to an RPC that is over by then comes back at once, however they race. (An answer
// that is lost on its way is the lease's matter, or a request id's.)
func TestReserveCancelled(t *testing.T) {
	s := &taskService{loop: newLoop(t), waiters: new(atomic.Uint64)}
	alone := context.Background()
	opened, err := (&sessionService{loop: s.loop}).OpenSession(alone, &weftv1.OpenSessionRequest{Ttl: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range 400 {
		ctx, cancel := context.WithCancel(alone)
		req := &weftv1.ReserveTasksRequest{}
		if i%2 == 0 {
			req.Wait = durationpb.New(patience)
		}
		if i%3 == 0 {
			req.SessionId = opened.GetSessionId()
		} else {
			req.Lease = durationpb.New(24 * time.Hour)
		}
		var wg sync.WaitGroup
		var id string
		wg.Go(func() {
			r, err := s.SubmitTask(alone, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k"}})
			if err != nil {
				t.Error(err)
			}
			id = r.GetTaskId()
		})
		wg.Go(func() {
			for range i % 50 {
				runtime.Gosched()
			}
			cancel()
		})
		r, err := s.ReserveTasks(ctx, req)
		wg.Wait()
		if err == nil && len(r.GetTasks()) > 0 { // it was quicker
			kept++
			_, err = s.ReleaseTask(alone, &weftv1.ReleaseTaskRequest{TaskId: id, Token: r.GetTasks()[0].GetToken()})
		}
		if err != nil && status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}
		// Decided after all that the RPC has sent.
		got, err := s.GetTask(alone, &weftv1.GetTaskRequest{TaskId: id})
		if err != nil || got.GetTask().GetState() != weftv1.TaskState_TASK_STATE_READY {
			t.Fatalf("round %d: %v, %v", i, got, err)
		}
		if _, err := s.CancelTask(alone, &weftv1.CancelTaskRequest{TaskId: id}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 400 were quicker than their cancel", kept)
}

func TestReserveAgain(t *testing.T) {
	h := newHarness(t)
	req := &weftv1.ReserveTasksRequest{RequestId: "r", TasksMax: 2, Wait: durationpb.New(patience)}
	first := h.reserveAsync(h.ctx(), req)
	second := h.reserveAsync(h.ctx(), req)
	var over reservationCall // whichever came to the broker first is taken over by the other
	select {
	case over = <-first:
		first = second
	case over = <-second:
	}
	if over.err != nil || len(over.resp.GetTasks()) != 0 {
		t.Fatalf("the one that was taken over: %v", over)
	}
	h.submit("k")
	h.submit("k")
	r := <-first
	if r.err != nil || len(r.resp.GetTasks()) == 0 {
		t.Fatalf("%v", r)
	}
	again := h.reserve(&weftv1.ReserveTasksRequest{RequestId: "r", TasksMax: 2}) // however long it may wait
	if again.GetSessionId() != r.resp.GetSessionId() || len(again.GetTasks()) != len(r.resp.GetTasks()) ||
		again.GetTasks()[0].GetToken() != r.resp.GetTasks()[0].GetToken() {
		t.Errorf("%v, want %v", again, r.resp)
	}
	if _, err := h.sessions.CloseSession(h.ctx(), &weftv1.CloseSessionRequest{SessionId: again.GetSessionId()}); err != nil {
		t.Fatal(err)
	}
	h.state(again.GetTasks()[0].GetTaskId(), weftv1.TaskState_TASK_STATE_READY)
	if more := h.reserve(req); len(more.GetTasks()) != 2 || more.GetSessionId() == again.GetSessionId() {
		t.Errorf("after the session's end: %v", more)
	}
}

// A reservation with a request id whose RPC broke is still there for whoever asks again.
func TestReserveAgainAfterACancel(t *testing.T) {
	h := newHarness(t)
	for range 20 {
		id := h.submit("k")
		ctx, cancel := context.WithCancel(h.ctx())
		req := &weftv1.ReserveTasksRequest{RequestId: id, Wait: durationpb.New(patience)}
		c := h.reserveAsync(ctx, req)
		cancel()
		first := <-c
		again := h.reserve(req)
		if len(again.GetTasks()) != 1 || again.GetTasks()[0].GetTaskId() != id {
			t.Fatalf("%v", again)
		}
		if first.err == nil && first.resp.GetTasks()[0].GetToken() != again.GetTasks()[0].GetToken() {
			t.Fatalf("%v, then %v", first.resp, again)
		}
		a := again.GetTasks()[0]
		if _, err := h.tasks.CompleteTask(h.ctx(), &weftv1.CompleteTaskRequest{TaskId: id, Token: a.GetToken()}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReserveBySession(t *testing.T) {
	h := newHarness(t)
	s, err := h.sessions.OpenSession(h.ctx(), &weftv1.OpenSessionRequest{Ttl: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{h.submit("k"), h.submit("k")}
	r := h.reserve(&weftv1.ReserveTasksRequest{SessionId: s.GetSessionId(), TasksMax: 5})
	if len(r.GetTasks()) != 2 || r.GetSessionId() != s.GetSessionId() {
		t.Fatalf("%v", r)
	}
	waiting := h.reserveAsync(h.ctx(), &weftv1.ReserveTasksRequest{SessionId: s.GetSessionId(), Wait: durationpb.New(patience), Kinds: []string{"z"}})
	if _, err := h.sessions.CloseSession(h.ctx(), &weftv1.CloseSessionRequest{SessionId: s.GetSessionId()}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, (<-waiting).err, pure.SessionNotFound, "session_id", s.GetSessionId())
	for _, id := range ids {
		h.state(id, weftv1.TaskState_TASK_STATE_READY)
	}
}

func TestReserveRenewAndExpire(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	r := h.reserve(&weftv1.ReserveTasksRequest{Lease: durationpb.New(time.Second)})
	a := r.GetTasks()[0]
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; { // beyond one lease
		renewed, err := h.tasks.RenewTask(h.ctx(), &weftv1.RenewTaskRequest{TaskId: id, Token: a.GetToken()})
		if err != nil || renewed.GetLease().AsDuration() != time.Second {
			t.Fatalf("%v, %v", renewed, err)
		}
	}
	h.state(id, weftv1.TaskState_TASK_STATE_READY)
	_, err := h.tasks.RenewTask(h.ctx(), &weftv1.RenewTaskRequest{TaskId: id, Token: a.GetToken()})
	wantRefusal(t, err, pure.LeaseLost, "task_id", id)
	next := h.reserve(&weftv1.ReserveTasksRequest{}).GetTasks()[0]
	if next.GetToken() <= a.GetToken() || next.GetAttempt() != 2 {
		t.Errorf("%v after %v", next, a)
	}
}

// What is granted at once fits into one answer.
func TestReserveLargeTasks(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	const n = 40
	for i := range uint64(n) {
		c.send(&weftv1.ExecuteRequest{Tasks: many(1, taskAt(i, strings.Repeat("x", payloadBytesMax)))})
	}
	c.beat(1)
	got := 0
	for got < n {
		r := h.reserve(&weftv1.ReserveTasksRequest{TasksMax: 1000})
		if len(r.GetTasks()) == 0 {
			t.Fatalf("none after %d", got)
		}
		got += len(r.GetTasks())
	}
}

// A task that is given back was not tried: like a drain, that is charged to none of its attempts.
func TestReleaseIsFree(t *testing.T) {
	h := newHarness(t)
	submitted, err := h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{
		Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text("x")}, Retry: &weftv1.RetryPolicy{AttemptsMax: 2},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := submitted.GetTaskId()
	for range 5 {
		if _, err := h.tasks.ReleaseTask(h.ctx(), &weftv1.ReleaseTaskRequest{TaskId: id, Token: h.reserveOne("k").GetToken()}); err != nil {
			t.Fatal(err)
		}
		h.state(id, weftv1.TaskState_TASK_STATE_READY)
	}
	a := h.reserveOne("k")
	if _, err := h.tasks.FailTask(h.ctx(), &weftv1.FailTaskRequest{
		TaskId: id, Token: a.GetToken(), Error: &weftv1.TaskError{Reason: "error"},
	}); err != nil {
		t.Fatal(err)
	}
	h.state(id, weftv1.TaskState_TASK_STATE_SCHEDULED) // the first of two tries
}
