package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// What is valid by itself and does not fit what is there.
func TestRequestsThatDoNotFit(t *testing.T) {
	h := newHarness(t)
	ctx := h.ctx()
	waiting, held := h.submit("k"), h.submit("held")
	spec := &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text("x")}}
	if _, err := h.tasks.SubmitTask(ctx, &weftv1.SubmitTaskRequest{RequestId: "r", Task: spec}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.sessions.OpenSession(ctx, &weftv1.OpenSessionRequest{RequestId: "s", Ttl: durationpb.New(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	res, err := h.tasks.ReserveTasks(ctx, &weftv1.ReserveTasksRequest{Kinds: []string{"held"}, Lease: durationpb.New(time.Hour), RequestId: "v"})
	if err != nil || len(res.GetTasks()) != 1 {
		t.Fatalf("%v, %v", res, err)
	}
	token := res.GetTasks()[0].GetToken()
	if _, err := h.tasks.SubmitTask(ctx, &weftv1.SubmitTaskRequest{Namespace: "other", Task: spec}); err != nil {
		t.Fatal(err)
	}
	large := text(strings.Repeat("x", payloadBytesMax+1))
	lost := []string{"task_id", held}
	for name, test := range map[string]struct {
		method string
		req    proto.Message
		want   pure.Reason
		meta   []string
	}{
		"unknown queue":            {weftv1.QueueService_GetQueue_FullMethodName, &weftv1.GetQueueRequest{Name: "nope"}, pure.QueueNotFound, []string{"queue", "nope"}},
		"submit to unknown queue":  {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k", Queue: "nope"}}, pure.QueueNotFound, []string{"queue", "nope"}},
		"reserve of unknown queue": {weftv1.TaskService_ReserveTasks_FullMethodName, &weftv1.ReserveTasksRequest{Queue: "nope"}, pure.QueueNotFound, []string{"queue", "nope"}},
		"no spec":                  {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{}, pure.InvalidField, []string{"field", "task"}},
		"no kind":                  {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{}}, pure.InvalidField, []string{"field", "task.kind"}},
		"task and command":         {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: spec, Command: &weftv1.Command{Argv: []string{"x"}}}, pure.InvalidField, []string{"field", "command"}},
		"daemon":                   {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k", Daemon: true}}, pure.InvalidField, []string{"field", "task.daemon"}},
		"invalid moment":           {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: withMoment(spec)}, pure.InvalidField, []string{"field", "task.run_at"}},
		"deadline before run_at":   {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k", RunAt: timestamppb.New(time.Unix(2e9, 1)), Deadline: timestamppb.New(time.Unix(2e9, 0))}}, pure.InvalidField, []string{"field", "task.deadline", "rule", "must be after run_at: the task could never run"}},
		"deadline at run_at":       {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k", RunAt: timestamppb.New(time.Unix(2e9, 0)), Deadline: timestamppb.New(time.Unix(2e9, 0))}}, pure.InvalidField, []string{"field", "task.deadline"}},
		"large payload":            {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: large}}}, pure.PayloadTooLarge, []string{"field", "task.payload", "limit", "524288", "actual", "524289"}},
		"large command":            {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{Command: &weftv1.Command{Argv: []string{"x"}, Stdin: make([]byte, payloadBytesMax)}}, pure.PayloadTooLarge, []string{"field", "command", "limit", "524288"}},
		"submit again, otherwise":  {weftv1.TaskService_SubmitTask_FullMethodName, &weftv1.SubmitTaskRequest{RequestId: "r", Task: &weftv1.TaskSpec{Kind: "k2"}}, pure.RequestMismatch, []string{"request_id", "r"}},
		"open again, otherwise":    {weftv1.SessionService_OpenSession_FullMethodName, &weftv1.OpenSessionRequest{RequestId: "s"}, pure.RequestMismatch, []string{"request_id", "s"}},
		"reserve again, otherwise": {weftv1.TaskService_ReserveTasks_FullMethodName, &weftv1.ReserveTasksRequest{RequestId: "v", TasksMax: 2}, pure.RequestMismatch, []string{"request_id", "v"}},
		"unknown task":             {weftv1.TaskService_GetTask_FullMethodName, &weftv1.GetTaskRequest{TaskId: "tzz"}, pure.TaskNotFound, []string{"task_id", "tzz"}},
		"wait for unknown task":    {weftv1.TaskService_WaitTask_FullMethodName, &weftv1.WaitTaskRequest{TaskId: "tzz"}, pure.TaskNotFound, []string{"task_id", "tzz"}},
		"watch unknown call":       {weftv1.TaskService_WatchCall_FullMethodName, &weftv1.WatchCallRequest{CallId: "nobody"}, pure.CallNotFound, []string{"call_id", "nobody"}},
		"watch unknown task":       {weftv1.TaskService_WatchTask_FullMethodName, &weftv1.WatchTaskRequest{TaskId: "tzz"}, pure.TaskNotFound, []string{"task_id", "tzz"}},
		"cancel unknown task":      {weftv1.TaskService_CancelTask_FullMethodName, &weftv1.CancelTaskRequest{TaskId: "tzz"}, pure.TaskNotFound, []string{"task_id", "tzz"}},
		"foreign task":             {weftv1.TaskService_GetTask_FullMethodName, &weftv1.GetTaskRequest{Namespace: "other", TaskId: waiting}, pure.TaskNotFound, []string{"task_id", waiting}},
		"cancel of foreign task":   {weftv1.TaskService_CancelTask_FullMethodName, &weftv1.CancelTaskRequest{Namespace: "other", TaskId: waiting}, pure.TaskNotFound, []string{"task_id", waiting}},
		"end of foreign task":      {weftv1.TaskService_CompleteTask_FullMethodName, &weftv1.CompleteTaskRequest{Namespace: "other", TaskId: held, Token: token}, pure.TaskNotFound, []string{"task_id", held}},
		"unknown call":             {weftv1.TaskService_CancelCall_FullMethodName, &weftv1.CancelCallRequest{CallId: "nope"}, pure.CallNotFound, []string{"call_id", "nope"}},
		"old token, complete":      {weftv1.TaskService_CompleteTask_FullMethodName, &weftv1.CompleteTaskRequest{TaskId: held, Token: token - 1}, pure.LeaseLost, lost},
		"old token, fail":          {weftv1.TaskService_FailTask_FullMethodName, &weftv1.FailTaskRequest{TaskId: held, Token: token - 1, Error: &weftv1.TaskError{}}, pure.LeaseLost, lost},
		"old token, release":       {weftv1.TaskService_ReleaseTask_FullMethodName, &weftv1.ReleaseTaskRequest{TaskId: held, Token: token - 1}, pure.LeaseLost, lost},
		"old token, renew":         {weftv1.TaskService_RenewTask_FullMethodName, &weftv1.RenewTaskRequest{TaskId: held, Token: token - 1}, pure.LeaseLost, lost},
		"no holder, complete":      {weftv1.TaskService_CompleteTask_FullMethodName, &weftv1.CompleteTaskRequest{TaskId: waiting, Token: token}, pure.LeaseLost, []string{"task_id", waiting}},
		"large result":             {weftv1.TaskService_CompleteTask_FullMethodName, &weftv1.CompleteTaskRequest{TaskId: held, Token: token, Output: &weftv1.CompleteTaskRequest_Result{Result: large}}, pure.PayloadTooLarge, []string{"field", "result"}},
		"unknown session":          {weftv1.SessionService_RenewSession_FullMethodName, &weftv1.RenewSessionRequest{SessionId: "s1"}, pure.SessionNotFound, []string{"session_id", "s1"}},
		"foreign session":          {weftv1.SessionService_RenewSession_FullMethodName, &weftv1.RenewSessionRequest{Namespace: "other", SessionId: res.GetSessionId()}, pure.SessionNotFound, []string{"session_id", res.GetSessionId()}},
		"reserve by foreign":       {weftv1.TaskService_ReserveTasks_FullMethodName, &weftv1.ReserveTasksRequest{Namespace: "other", SessionId: res.GetSessionId()}, pure.SessionNotFound, []string{"session_id", res.GetSessionId()}},
		"reserve by unknown":       {weftv1.TaskService_ReserveTasks_FullMethodName, &weftv1.ReserveTasksRequest{SessionId: "s1"}, pure.SessionNotFound, []string{"session_id", "s1"}},
		"session and lease":        {weftv1.TaskService_ReserveTasks_FullMethodName, &weftv1.ReserveTasksRequest{SessionId: res.GetSessionId(), Lease: durationpb.New(time.Minute)}, pure.InvalidField, []string{"field", "lease"}},
		"page of tasks":            {weftv1.TaskService_ListTasks_FullMethodName, &weftv1.ListTasksRequest{PageToken: "?"}, pure.InvalidField, []string{"field", "page_token"}},
		"page of sessions":         {weftv1.SessionService_ListSessions_FullMethodName, &weftv1.ListSessionsRequest{PageToken: "?"}, pure.InvalidField, []string{"field", "page_token"}},
		"page of workers":          {weftv1.WorkerService_ListWorkers_FullMethodName, &weftv1.ListWorkersRequest{PageToken: "?"}, pure.InvalidField, []string{"field", "page_token"}},
	} {
		t.Run(name, func(t *testing.T) {
			h.unchanged(func() { wantRefusal(t, h.call(ctx, test.method, test.req), test.want, test.meta...) })
		})
	}
}

// An id whose number is above 64 bits is no task's, and is refused by its own name.
func TestIDsAboveSixtyFourBits(t *testing.T) {
	h := newHarness(t)
	ctx := h.ctx()
	for _, id := range []string{"tzzzzzzzzzzzzz", "t3w5e11264sgsg"} { // the largest, and the least: 1<<64
		for method, req := range map[string]proto.Message{
			weftv1.TaskService_GetTask_FullMethodName:            &weftv1.GetTaskRequest{TaskId: id},
			weftv1.TaskService_CancelTask_FullMethodName:         &weftv1.CancelTaskRequest{TaskId: id},
			weftv1.TaskService_WaitTask_FullMethodName:           &weftv1.WaitTaskRequest{TaskId: id},
			weftv1.TaskService_WatchTask_FullMethodName:          &weftv1.WatchTaskRequest{TaskId: id},
			weftv1.TaskService_RenewTask_FullMethodName:          &weftv1.RenewTaskRequest{TaskId: id, Token: 1},
			weftv1.TaskService_CompleteTask_FullMethodName:       &weftv1.CompleteTaskRequest{TaskId: id, Token: 1},
			weftv1.TaskService_FailTask_FullMethodName:           &weftv1.FailTaskRequest{TaskId: id, Token: 1, Error: &weftv1.TaskError{}},
			weftv1.TaskService_ReleaseTask_FullMethodName:        &weftv1.ReleaseTaskRequest{TaskId: id, Token: 1},
			weftv1.TaskService_AdvanceTask_FullMethodName:        &weftv1.AdvanceTaskRequest{TaskId: id, Token: 1},
			weftv1.TaskService_InterruptSubmitter_FullMethodName: &weftv1.InterruptSubmitterRequest{TaskId: id, Token: 1},
		} {
			t.Run(method, func(t *testing.T) {
				wantRefusal(t, h.call(ctx, method, req), pure.TaskNotFound, "task_id", id)
			})
		}
	}
	// One digit more does not fit an id.
	wantRefusal(t, h.call(ctx, weftv1.TaskService_GetTask_FullMethodName, &weftv1.GetTaskRequest{TaskId: "t" + strings.Repeat("z", 14)}),
		pure.InvalidField, "field", "task_id")
	// The largest number of 64 bits does.
	wantRefusal(t, h.call(ctx, weftv1.TaskService_GetTask_FullMethodName, &weftv1.GetTaskRequest{TaskId: "t3w5e11264sgsf"}),
		pure.TaskNotFound, "task_id", "t3w5e11264sgsf")
}

func withMoment(spec *weftv1.TaskSpec) *weftv1.TaskSpec {
	s := proto.Clone(spec).(*weftv1.TaskSpec)
	s.RunAt = &timestamppb.Timestamp{Nanos: -1}
	return s
}

// A foreign session's close is no error, and closes nothing.
func TestCloseOfAForeignSession(t *testing.T) {
	h := newHarness(t)
	s, err := h.sessions.OpenSession(h.ctx(), &weftv1.OpenSessionRequest{Ttl: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	h.unchanged(func() {
		for _, req := range []*weftv1.CloseSessionRequest{{Namespace: "other", SessionId: s.GetSessionId()}, {SessionId: "x"}} {
			if _, err := h.sessions.CloseSession(h.ctx(), req); err != nil {
				t.Error(err)
			}
		}
	})
}

// A worker that reports what it does not hold is told so, and the holder goes on.
func TestReportsWithoutALease(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	holder := h.worker(&weftv1.WorkHello{Credits: 1})
	a := holder.assigned(1)
	liar := h.worker(&weftv1.WorkHello{Kinds: []string{"z"}})
	old := success(a, "lie")
	old.Token--
	h.contentsUnchanged(func() {
		liar.send(&weftv1.WorkRequest{Reports: []*weftv1.AttemptReport{
			success(a, "lie"), old, {TaskId: "tzz", Token: 99, End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED},
		}})
		liar.until("refusals", func(r *weftv1.WorkResponse) bool { return len(r.GetRefusedTokens()) == 3 })
		if len(liar.seen.GetAcceptedTokens()) != 0 {
			t.Errorf("%v", liar.seen)
		}
	})
	other := h.worker(&weftv1.WorkHello{Namespace: "other", Attempts: many(1, &weftv1.HeldAttempt{TaskId: id, Token: a.GetToken()})})
	if got := other.seen.GetWelcome().GetSupersededTokens(); len(got) != 1 || got[0] != a.GetToken() {
		t.Errorf("superseded %v", got)
	}
	holder.send(&weftv1.WorkRequest{Reports: many(2, success(a, "truth"))}) // the second is the same again
	holder.until("acceptance", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 2 })
	w, err := h.tasks.WaitTask(h.ctx(), &weftv1.WaitTaskRequest{TaskId: id})
	if err != nil || w.GetTask().GetOutcome().GetPayload().GetText() != "truth" {
		t.Errorf("%v, %v", w, err)
	}
}

// A result that is too large fails its task; the worker and its other reports go on.
func TestResultsThatAreTooLarge(t *testing.T) {
	h := newHarness(t)
	h.submit("k")
	h.submit("k")
	w := h.worker(&weftv1.WorkHello{Credits: 2})
	w.assigned(2)
	a, b := w.seen.GetAssignments()[0], w.seen.GetAssignments()[1]
	w.send(&weftv1.WorkRequest{Reports: []*weftv1.AttemptReport{success(a, strings.Repeat("y", payloadBytesMax+1)), success(b, "y")}})
	w.until("answers", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 2 })
	got, err := h.tasks.GetTask(h.ctx(), &weftv1.GetTaskRequest{TaskId: a.GetTaskId()})
	if o := got.GetTask().GetOutcome(); err != nil || o.GetState() != weftv1.TaskState_TASK_STATE_FAILED || o.GetError().GetReason() != "payload" {
		t.Errorf("%v, %v", o, err)
	}
}

// Bytes that are no gRPC end their connection and nothing else.
func TestForeignProtocols(t *testing.T) {
	h := newHarness(t)
	for _, bytes := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("\x00\xff", 5000), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage and more garbage"} {
		conn, err := net.Dial("tcp", h.addr.GRPC)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write([]byte(bytes))
		for buf := make([]byte, 1024); err == nil; {
			_, err = conn.Read(buf)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: the connection stays", bytes)
		}
		_ = conn.Close()
	}
	h.submit("k")
}

func TestRequestsThatGRPCRefuses(t *testing.T) {
	h := newHarness(t)
	h.unchanged(func() {
		for want, err := range map[codes.Code]error{
			codes.ResourceExhausted: h.conn.Invoke(h.ctx(), weftv1.TaskService_SubmitTask_FullMethodName, make([]byte, messageBytesMax+1),
				&weftv1.SubmitTaskResponse{}, grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallSendMsgSize(1<<30)),
			codes.Internal: h.conn.Invoke(h.ctx(), weftv1.TaskService_SubmitTask_FullMethodName, []byte("\xff\xff"),
				&weftv1.SubmitTaskResponse{}, grpc.ForceCodecV2(rawCodec{})),
			codes.Unimplemented: h.conn.Invoke(h.ctx(), "/weft.v1.TaskService/Nope", []byte(nil), nil, grpc.ForceCodecV2(rawCodec{})),
		} {
			if status.Code(err) != want {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}

func TestHealthAndReflection(t *testing.T) {
	h := newHarness(t)
	health := healthv1.NewHealthClient(h.conn)
	for _, name := range []string{"", "weft.v1.TaskService", "weft.v1.WorkerService", "weft.v1.QueueService", "weft.v1.SessionService"} {
		r, err := health.Check(h.ctx(), &healthv1.HealthCheckRequest{Service: name})
		if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", name, r, err)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404} {
		r, err := http.Get("http://" + h.addr.HTTP + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	info, err := reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := info.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	m, err := info.Recv()
	if err != nil || !strings.Contains(m.String(), "weft.v1.TaskService") {
		t.Errorf("%v, %v", m, err)
	}
}
