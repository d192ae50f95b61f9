//go:build linux

package e2e

import (
	"context"
	"maps"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// api is what any gRPC client has: the generated stubs, and requests that it repeats itself.
type api struct {
	world  *world
	ctx    context.Context
	tasks  weftv1.TaskServiceClient
	queues weftv1.QueueServiceClient
}

func (w *world) api(addr string) *api {
	w.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	return &api{
		world: w, ctx: w.context(), tasks: weftv1.NewTaskServiceClient(conn), queues: weftv1.NewQueueServiceClient(conn),
	}
}

// again makes a request, again and again while there is no broker. Any goroutine may call it.
func again[Q, R any](ctx context.Context, rpc func(context.Context, *Q, ...grpc.CallOption) (*R, error), req *Q) (*R, error) {
	for {
		resp, err := rpc(ctx, req, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
			return resp, err
		}
	}
}

// must is again for a request that cannot be refused, on the test's own goroutine.
func must[Q, R any](a *api, rpc func(context.Context, *Q, ...grpc.CallOption) (*R, error), req *Q) *R {
	a.world.Helper()
	resp, err := again(a.ctx, rpc, req)
	if err != nil {
		a.world.Fatalf("%T: %v", req, err)
	}
	return resp
}

// text is a spec with a text as its payload.
func text(kind, payload string) *weftv1.TaskSpec {
	return &weftv1.TaskSpec{Kind: kind, Work: &weftv1.TaskSpec_Payload{Payload: textPayload(payload)}}
}

func textPayload(s string) *weftv1.Payload {
	return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: s}}
}

// submitAll submits tasks, none of which may be refused, and returns their names.
func (a *api) submitAll(requestID string, specs ...*weftv1.TaskSpec) []string {
	a.world.Helper()
	resp := must(a, a.tasks.SubmitTasks, &weftv1.SubmitTasksRequest{RequestId: requestID, Tasks: specs})
	ids := make([]string, len(specs))
	for i, r := range resp.GetResults() {
		if ids[i] = r.GetTaskId(); ids[i] == "" {
			a.world.Fatalf("task %d of %q: %v", i, requestID, r)
		}
	}
	return ids
}

// list returns the tasks that match, whole.
func (a *api) list(req *weftv1.ListTasksRequest) map[string]*weftv1.Task {
	a.world.Helper()
	found := make(map[string]*weftv1.Task)
	req.View, req.PageSize = weftv1.View_VIEW_FULL, 1000
	for {
		resp := must(a, a.tasks.ListTasks, req)
		for _, t := range resp.GetTasks() {
			found[t.GetId()] = t
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return found
		}
	}
}

func (a *api) queue(name string) *weftv1.Queue {
	a.world.Helper()
	return must(a, a.queues.GetQueue, &weftv1.GetQueueRequest{Name: name}).GetQueue()
}

// create makes a queue.
func (a *api) create(q *weftv1.Queue) {
	a.world.Helper()
	must(a, a.queues.CreateQueue, &weftv1.CreateQueueRequest{Queue: q})
}

// drained waits until every task of a queue has ended.
func (a *api) drained(name string) {
	a.world.Helper()
	if q := must(a, a.queues.JoinQueue, &weftv1.JoinQueueRequest{Name: name}).GetQueue(); q.GetUnfinished() != 0 {
		a.world.Fatalf("unfinished after the join: %v", q)
	}
}

// why waits until a task does not run for that reason.
func (a *api) why(id, reason string) {
	a.world.Helper()
	a.world.until(id+" does not run: "+reason, func() bool {
		return must(a, a.tasks.ExplainTask, &weftv1.ExplainTaskRequest{TaskId: id}).GetReason() == reason
	})
}

// refused checks why a request was refused, and that it names what it is about.
func refused(t testing.TB, err error, reason weftv1.ErrorReason, metadata map[string]string) {
	t.Helper()
	s := status.Convert(err)
	var info *errdetails.ErrorInfo
	for _, d := range s.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			info = i
		}
	}
	if "ERROR_REASON_"+info.GetReason() != reason.String() || !maps.Equal(info.GetMetadata(), metadata) {
		t.Errorf("%v: %v, want %v %v", err, info, reason, metadata)
	}
}
