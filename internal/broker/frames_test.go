package broker

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func many[T any](n int, v T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestBadFirstFramesOfCalls(t *testing.T) {
	h := newHarness(t)
	for name, test := range map[string]struct {
		frame  *weftv1.ExecuteRequest
		reason pure.Reason
		field  string
	}{
		"empty":         {&weftv1.ExecuteRequest{}, pure.BadFrame, "attach"},
		"tasks alone":   {&weftv1.ExecuteRequest{Tasks: many(1, taskAt(0, "x"))}, pure.BadFrame, "attach"},
		"attach, tasks": {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c"}, Tasks: many(1, taskAt(0, "x"))}, pure.BadFrame, "attach"},
		"attach, beat":  {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c"}, Heartbeat: 1}, pure.BadFrame, "attach"},
		"attach, taken": {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c"}, InterruptTaken: 1}, pure.BadFrame, "attach"},
		"no call":       {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{}}, pure.InvalidField, "attach.call_id"},
		"call's name":   {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "a b"}}, pure.InvalidField, "attach.call_id"},
		"namespace":     {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c", Namespace: "a b"}}, pure.InvalidField, "attach.namespace"},
		"client's name": {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c", Client: strings.Repeat("n", 257)}}, pure.InvalidField, "attach.client"},
		"ttl":           {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c", SessionTtl: durationpb.New(1)}}, pure.InvalidField, "attach.session_ttl"},
		"ranges": {
			&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c", Acknowledged: many(1, indexRange(2, 1))}},
			pure.BadFrame, "attach.acknowledged",
		},
		"many ranges": {
			&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c", Acknowledged: many(rangesMax+1, indexRange(1, 1))}},
			pure.BadFrame, "attach.acknowledged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.unchanged(func() {
				c := h.dialCaller()
				c.send(test.frame)
				wantRefusal(t, c.end(), test.reason, "field", test.field)
			})
		})
	}
}

func TestBadFirstFramesOfWorkers(t *testing.T) {
	h := newHarness(t)
	h.submit("k")
	for name, test := range map[string]struct {
		frame *weftv1.WorkRequest
		want  pure.Reason
		meta  []string
	}{
		"empty":         {&weftv1.WorkRequest{}, pure.BadFrame, []string{"field", "hello"}},
		"credits alone": {&weftv1.WorkRequest{Credits: 1}, pure.BadFrame, []string{"field", "hello"}},
		"hello and reports": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{}), Reports: many(1, &weftv1.AttemptReport{})},
			pure.BadFrame,
			[]string{"field", "hello"},
		},
		"hello and advances": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{}), Advances: many(1, &weftv1.AttemptAdvance{})},
			pure.BadFrame,
			[]string{"field", "hello"},
		},
		"hello and goodbye": {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{}), Goodbye: true}, pure.BadFrame, []string{"field", "hello"}},
		"hello and drain":   {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{}), Draining: true}, pure.BadFrame, []string{"field", "hello"}},
		"no queues":         {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Queues: []string{}})}, pure.InvalidField, []string{"field", "hello.queues"}},
		"many queues":       {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Queues: many(101, "default")})}, pure.InvalidField, []string{"field", "hello.queues"}},
		"a queue's name":    {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Queues: many(1, "")})}, pure.InvalidField, []string{"field", "hello.queues"}},
		"unknown queue":     {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Queues: []string{"default", "nope"}})}, pure.QueueNotFound, []string{"queue", "nope"}},
		"a weight of another queue": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{QueueWeights: map[string]uint32{"other": 1}})}, pure.InvalidField,
			[]string{"field", "hello.queue_weights"},
		},
		"no weight": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{QueueWeights: map[string]uint32{"default": 0}})}, pure.InvalidField,
			[]string{"field", "hello.queue_weights"},
		},
		"a large weight": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{QueueWeights: map[string]uint32{"default": 101}})}, pure.InvalidField,
			[]string{"field", "hello.queue_weights"},
		},
		"no kinds":   {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Kinds: []string{}})}, pure.InvalidField, []string{"field", "hello.kinds"}},
		"many kinds": {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Kinds: many(1001, "k")})}, pure.InvalidField, []string{"field", "hello.kinds"}},
		"kinds × queues": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Kinds: many(1000, "k"), Queues: many(11, "default")})},
			pure.InvalidField,
			[]string{"field", "hello.queues"},
		},
		"a kind's name": {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Kinds: many(1, "a b")})}, pure.InvalidField, []string{"field", "hello.kinds"}},
		"slots":         {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Slots: workerSlotsMax + 1})}, pure.InvalidField, []string{"field", "hello.slots"}},
		"name":          {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Worker: strings.Repeat("n", 257)})}, pure.InvalidField, []string{"field", "hello.worker"}},
		"ttl":           {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{SessionTtl: durationpb.New(-1)})}, pure.InvalidField, []string{"field", "hello.session_ttl"}},
		"namespace":     {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Namespace: "a b"})}, pure.InvalidField, []string{"field", "hello.namespace"}},
		"labels":        {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Labels: map[string]string{"a b": ""}})}, pure.InvalidField, []string{"field", "hello.labels"}},
		"many attempts": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Attempts: many(2*workerSlotsMax+1, &weftv1.HeldAttempt{TaskId: "t1"})})},
			pure.InvalidField,
			[]string{"field", "hello.attempts"},
		},
		"no task": {
			&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{Attempts: many(1, &weftv1.HeldAttempt{TaskId: "x"})})},
			pure.BadFrame,
			[]string{"field", "hello.attempts.task_id"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.unchanged(func() {
				w := h.dialWorker()
				w.send(test.frame)
				wantRefusal(t, w.end(), test.want, test.meta...)
			})
		})
	}
}

// contents is what lists tell of the tasks and queues of the default namespace.
func (h *harness) contents() string {
	h.t.Helper()
	contents, _, _ := strings.Cut(h.world(""), "sessions:")
	return contents
}

func (h *harness) contentsUnchanged(do func()) {
	h.t.Helper()
	before := h.contents()
	do()
	if after := h.contents(); after != before {
		h.t.Fatalf("something has changed:\n%s\nwas\n%s", after, before)
	}
}

func TestBadFramesOfCalls(t *testing.T) {
	h := newHarness(t)
	first := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	first.submit(0, 3)
	session := first.seen.GetAttached().GetSessionId()
	large := strings.Repeat("x", payloadBytesMax)
	labels := &weftv1.ExecuteTask{Spec: &weftv1.TaskSpec{Kind: "k", Labels: map[string]string{}}}
	for i := range uint64(labelsMax) {
		labels.Spec.Labels[pageToken(i+1)] = strings.Repeat("v", labelBytesMax)
	}
	for name, test := range map[string]struct {
		frame *weftv1.ExecuteRequest
		field string
	}{
		"second attach":  {&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c"}}, "attach"},
		"many tasks":     {&weftv1.ExecuteRequest{Tasks: many(frameTasksMax+1, taskAt(9, "x"))}, "tasks"},
		"payloads":       {&weftv1.ExecuteRequest{Tasks: many(9, taskAt(9, large))}, "tasks"},
		"labels":         {&weftv1.ExecuteRequest{Tasks: many(100, labels)}, "tasks"},
		"a large frame":  {&weftv1.ExecuteRequest{Tasks: many(18, taskAt(9, large))}, "frame"},
		"backward range": {&weftv1.ExecuteRequest{Acknowledged: many(1, indexRange(2, 1))}, "acknowledged"},
		"many ranges":    {&weftv1.ExecuteRequest{Acknowledged: many(rangesMax+1, indexRange(1, 1))}, "acknowledged"},
		"many cancels":   {&weftv1.ExecuteRequest{Cancels: many(frameCancelMax+1, &weftv1.ExecuteCancel{Range: indexRange(9, 9)})}, "cancels"},
		"cancel's range": {&weftv1.ExecuteRequest{Cancels: many(1, &weftv1.ExecuteCancel{Range: indexRange(3, 0)})}, "cancels.range"},
	} {
		t.Run(name, func(t *testing.T) {
			h.contentsUnchanged(func() {
				c := h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionId: session})
				c.send(test.frame)
				wantRefusal(t, c.end(), pure.BadFrame, "field", test.field)
			})
		})
	}
	t.Run("grace", func(t *testing.T) {
		h.contentsUnchanged(func() {
			c := h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionId: session})
			c.send(&weftv1.ExecuteRequest{Tasks: many(1, taskAt(9, "x")), Cancels: many(1, &weftv1.ExecuteCancel{Grace: durationpb.New(-1)})})
			wantRefusal(t, c.end(), pure.InvalidField, "field", "cancels.grace")
		})
	})
}

func TestBadFramesOfWorkers(t *testing.T) {
	h := newHarness(t)
	h.submit("k")
	first := h.worker(&weftv1.WorkHello{Credits: 1, SessionTtl: durationpb.New(time.Minute)})
	a := first.assigned(1)
	held := many(1, &weftv1.HeldAttempt{TaskId: a.GetTaskId(), Token: a.GetToken()})
	report := func(change func(*weftv1.AttemptReport)) *weftv1.WorkRequest {
		r := success(a, "y")
		change(r)
		return &weftv1.WorkRequest{Reports: many(1, r)}
	}
	ended := func(end weftv1.AttemptEnd) *weftv1.WorkRequest {
		return report(func(r *weftv1.AttemptReport) { r.End = end })
	}
	failed := func(e *weftv1.TaskError) *weftv1.WorkRequest {
		return report(func(r *weftv1.AttemptReport) { r.End, r.Error = weftv1.AttemptEnd_ATTEMPT_END_ERROR, e })
	}
	stack := success(a, "")
	stack.End, stack.Error = weftv1.AttemptEnd_ATTEMPT_END_ERROR, &weftv1.TaskError{Stack: strings.Repeat("s", errorStackBytesMax)}
	for name, test := range map[string]struct {
		frame  *weftv1.WorkRequest
		reason pure.Reason
		field  string
	}{
		"second hello":   {&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{})}, pure.BadFrame, "hello"},
		"no end":         {ended(weftv1.AttemptEnd_ATTEMPT_END_UNSPECIFIED), pure.BadFrame, "reports.end"},
		"worker lost":    {ended(weftv1.AttemptEnd_ATTEMPT_END_WORKER_LOST), pure.BadFrame, "reports.end"},
		"unknown end":    {ended(99), pure.BadFrame, "reports.end"},
		"negative end":   {ended(-1), pure.BadFrame, "reports.end"},
		"no task's id":   {report(func(r *weftv1.AttemptReport) { r.TaskId = "T1" }), pure.BadFrame, "reports.task_id"},
		"empty id":       {report(func(r *weftv1.AttemptReport) { r.TaskId = "" }), pure.BadFrame, "reports.task_id"},
		"many reports":   {&weftv1.WorkRequest{Reports: many(frameReportsMax+1, success(a, "y"))}, pure.BadFrame, "reports"},
		"results":        {&weftv1.WorkRequest{Reports: many(9, success(a, strings.Repeat("y", payloadBytesMax)))}, pure.BadFrame, "reports"},
		"stacks":         {&weftv1.WorkRequest{Reports: many(200, stack)}, pure.BadFrame, "reports"},
		"many chunks":    {&weftv1.WorkRequest{Output: many(frameChunksMax+1, &weftv1.OutputChunk{})}, pure.BadFrame, "output"},
		"a large frame":  {&weftv1.WorkRequest{Output: many(10, &weftv1.OutputChunk{Data: make([]byte, 1<<20)})}, pure.BadFrame, "frame"},
		"error's reason": {failed(&weftv1.TaskError{Reason: strings.Repeat("r", 257)}), pure.InvalidField, "reports.error.reason"},
		"error's text":   {failed(&weftv1.TaskError{Message: strings.Repeat("m", 16<<10+1)}), pure.InvalidField, "reports.error.message"},
		"error's stack":  {failed(&weftv1.TaskError{Stack: strings.Repeat("s", 32<<10+1)}), pure.InvalidField, "reports.error.stack"},
	} {
		t.Run(name, func(t *testing.T) {
			h.contentsUnchanged(func() {
				w := h.worker(&weftv1.WorkHello{SessionId: first.session(), Attempts: held})
				if len(w.seen.GetWelcome().GetSupersededTokens()) != 0 {
					t.Fatalf("%v", w.seen)
				}
				w.send(test.frame)
				wantRefusal(t, w.end(), test.reason, "field", test.field)
			})
		})
	}
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (rawCodec) Name() string                         { return "proto" }

func TestFramesThatAreNoProtobuf(t *testing.T) {
	h := newHarness(t)
	attach, err := proto.Marshal(&weftv1.ExecuteRequest{Attach: &weftv1.ExecuteAttach{CallId: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	greet, err := proto.Marshal(&weftv1.WorkRequest{Hello: hello(&weftv1.WorkHello{})})
	if err != nil {
		t.Fatal(err)
	}
	garbage, large := []byte("\xff\xff\xff no protobuf"), make([]byte, messageBytesMax+1)
	text := []byte("\x12\x0b\x12\x09\x12\x01k\x1a\x04\x12\x02\xff\xfe") // a task whose text is not UTF-8
	for name, test := range map[string]struct {
		method string
		frames [][]byte
		code   codes.Code
	}{
		"call":              {weftv1.TaskService_Execute_FullMethodName, [][]byte{garbage}, codes.Internal},
		"call, later":       {weftv1.TaskService_Execute_FullMethodName, [][]byte{attach, garbage}, codes.Internal},
		"call, large":       {weftv1.TaskService_Execute_FullMethodName, [][]byte{large}, codes.ResourceExhausted},
		"call, later large": {weftv1.TaskService_Execute_FullMethodName, [][]byte{attach, large}, codes.ResourceExhausted},
		"call, no UTF-8":    {weftv1.TaskService_Execute_FullMethodName, [][]byte{attach, text}, codes.Internal},
		"work":              {weftv1.WorkerService_Work_FullMethodName, [][]byte{garbage}, codes.Internal},
		"work, later":       {weftv1.WorkerService_Work_FullMethodName, [][]byte{greet, garbage}, codes.Internal},
		"work, later large": {weftv1.WorkerService_Work_FullMethodName, [][]byte{greet, large}, codes.ResourceExhausted},
		"session":           {weftv1.SessionService_KeepSession_FullMethodName, [][]byte{garbage}, codes.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
			stream, err := h.conn.NewStream(h.ctx(), desc, test.method, grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallSendMsgSize(1<<30))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range test.frames {
				if stream.SendMsg(f) != nil {
					break // it has ended: RecvMsg says why
				}
			}
			for err == nil {
				err = stream.RecvMsg(nil)
			}
			if status.Code(err) != test.code { // by gRPC itself
				t.Errorf("%v", err)
			}
			h.submit("k") // the broker goes on
		})
	}
}

// Each task of a frame is refused or accepted by itself.
func TestBadTasksAmongGoodOnes(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.submit(1, 1)
	bad := map[uint64]struct {
		spec   *weftv1.TaskSpec
		reason weftv1.ErrorReason
		meta   []string
	}{
		1:  {&weftv1.TaskSpec{Kind: "other"}, weftv1.ErrorReason_ERROR_REASON_REQUEST_MISMATCH, []string{"index", "1"}},
		11: {nil, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec"}},
		12: {&weftv1.TaskSpec{}, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec.kind"}},
		13: {&weftv1.TaskSpec{Kind: "a b"}, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec.kind"}},
		14: {&weftv1.TaskSpec{Kind: "k", Queue: "a b"}, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec.queue"}},
		15: {&weftv1.TaskSpec{Kind: "k", Queue: "nope"}, weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND, []string{"queue", "nope"}},
		16: {&weftv1.TaskSpec{Kind: "k", Timeout: durationpb.New(-1)}, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec.timeout"}},
		17: {
			&weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text(strings.Repeat("x", payloadBytesMax+1))}},
			weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE,
			[]string{"field", "spec.payload", "limit", "524288", "actual", "524289"},
		},
		18: {
			&weftv1.TaskSpec{Work: &weftv1.TaskSpec_Command{Command: &weftv1.Command{Argv: []string{"x"}, Stdin: make([]byte, payloadBytesMax)}}},
			weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE,
			[]string{"field", "spec.command", "limit", "524288"},
		},
		19: {&weftv1.TaskSpec{Kind: "command"}, weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, []string{"field", "spec.command"}},
	}
	req := &weftv1.ExecuteRequest{}
	for i := range uint64(31) {
		if b, ok := bad[i]; ok {
			req.Tasks = append(req.Tasks, &weftv1.ExecuteTask{Index: i, Spec: b.spec})
		} else {
			req.Tasks = append(req.Tasks, taskAt(i, "x"))
		}
	}
	c.send(req)
	c.beat(1)
	accepted := pure.Ranges{}
	for _, r := range c.seen.GetAccepted() {
		accepted.Add(r.GetFirst(), r.GetLast())
	}
	if len(c.seen.GetRejected()) != len(bad) || accepted.Count() != uint64(31-len(bad)+1) { // 1 was accepted before
		t.Errorf("%d rejected, %v accepted", len(c.seen.GetRejected()), accepted)
	}
	for _, r := range c.seen.GetRejected() {
		want := bad[r.GetIndex()]
		if r.GetReason() != want.reason || r.GetMessage() == "" {
			t.Errorf("%v, want %v", r, want.reason)
		}
		for i := 0; i+1 < len(want.meta); i += 2 {
			if r.GetMetadata()[want.meta[i]] != want.meta[i+1] {
				t.Errorf("%v, want %v", r, want.meta)
			}
		}
	}
	c.send(&weftv1.ExecuteRequest{Finish: true, Tasks: many(1, taskAt(1, "x"))})
	c.send(&weftv1.ExecuteRequest{Tasks: many(1, taskAt(40, "x"))})
	c.until("refusal", func(r *weftv1.ExecuteResponse) bool { return len(r.GetRejected()) > len(bad) })
	if r := c.seen.GetRejected()[len(bad)]; r.GetReason() != weftv1.ErrorReason_ERROR_REASON_CALL_FINISHED || r.GetMetadata()["call_id"] != "c" {
		t.Errorf("%v", r)
	}
	if list, err := h.tasks.ListTasks(h.ctx(), &weftv1.ListTasksRequest{CallId: "c"}); err != nil || len(list.GetTasks()) != 31-len(bad)+1 {
		t.Errorf("%d tasks, %v", len(list.GetTasks()), err)
	}
}
