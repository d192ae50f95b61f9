package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const pageDefault = 100

// taskService implements TaskService but for its streams, which are in execute.go and watch.go.
type taskService struct {
	weftv1.UnimplementedTaskServiceServer
	loop    *shard.Loop
	log     *slog.Logger
	outputs *outputs
	waiters *atomic.Uint64 // names for requests that wait
}

func newSessionID() (id session.ID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// do has a command decided and returns its reply as a T, or a gRPC error.
func do[T any](ctx context.Context, loop *shard.Loop, cmd shard.Command) (T, error) {
	var zero T
	value, err := loop.Do(ctx, cmd)
	if err != nil {
		return zero, statusError(err)
	}
	return value.(T), nil
}

// settle is do for a command that the caller undoes when its RPC ends: its reply is awaited even if that is
// now.
func settle[T any](ctx context.Context, loop *shard.Loop, cmd shard.Command) (T, error) {
	var zero T
	value, err := loop.Settle(ctx, cmd)
	if err != nil {
		return zero, statusError(err)
	}
	return value.(T), nil
}

// taskID reads a task's id that has passed validation, which has bounded its length. What is still none is a
// number above 64 bits: no task has it, and the refusal says it as it was given.
func taskID(s string) (uint64, error) {
	id, ok := queue.ParseID(s)
	if !ok {
		return 0, statusError(pure.Refuse(pure.TaskNotFound, "no such task", "task_id", s))
	}
	return id, nil
}

// grace returns -1 when it is unset: each task's own.
func grace(d *durationpb.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return d.AsDuration()
}

// SubmitTask implements TaskService.
func (s *taskService) SubmitTask(ctx context.Context, req *weftv1.SubmitTaskRequest) (*weftv1.SubmitTaskResponse, error) {
	spec, field := req.GetTask(), "task"
	if c := req.GetCommand(); c != nil {
		if spec != nil {
			return nil, statusError(invalid("command", "must not be set beside task"))
		}
		spec, field = &weftv1.TaskSpec{Work: &weftv1.TaskSpec_Command{Command: c}}, "command"
	}
	if spec.GetDaemon() {
		return nil, statusError(invalid("task.daemon", "is for tasks of a call"))
	}
	n, refusal := newTask(spec, 0)
	if refusal != nil {
		return nil, statusError(inSubmit(refusal, field))
	}
	cmd := &shard.SubmitTask{
		Namespace: orDefault(req.GetNamespace()), RequestID: req.GetRequestId(), Task: n, Guard: guardOf(req.GetGuard()),
	}
	if req.GetWait().AsDuration() > 0 {
		if req.GetGuard() != nil {
			return nil, statusError(invalid("guard", "must not be set beside a wait"))
		}
		return s.submitAndWait(ctx, cmd, req.GetWait().AsDuration())
	}
	submitted, err := do[queue.Submitted](ctx, s.loop, cmd)
	if err != nil {
		return nil, err
	}
	return &weftv1.SubmitTaskResponse{TaskId: queue.FormatID(submitted.ID), Joined: submitted.Joined}, nil
}

// submitAndWait waits for room in a queue that is full.
func (s *taskService) submitAndWait(ctx context.Context, cmd *shard.SubmitTask, wait time.Duration) (*weftv1.SubmitTaskResponse, error) {
	cmd.Waiter = s.waiters.Add(1)
	overC, stop := waitTimer(wait, true)
	defer stop()
	full := pure.Refuse(pure.QueueFull, fmt.Sprintf("queue %s was full for %v", cmd.Task.Queue, wait), "queue", cmd.Task.Queue)
	a, err := await[queue.Submitted](ctx, s.loop, cmd, overC, &shard.ForgetSubmit{Waiter: cmd.Waiter, Err: full})
	if err = cmp.Or(err, a.err); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.SubmitTaskResponse{TaskId: queue.FormatID(a.value.ID), Joined: a.value.Joined}, nil
}

// SubmitTasks implements TaskService.
func (s *taskService) SubmitTasks(ctx context.Context, req *weftv1.SubmitTasksRequest) (*weftv1.SubmitTasksResponse, error) {
	n := len(req.GetTasks())
	if n == 0 || n > frameTasksMax { // the annotations leave the tasks alone: each is refused by itself
		return nil, statusError(invalid("tasks", "must have from 1 to 1000 items"))
	}
	cmd := &shard.SubmitTasks{
		Namespace: orDefault(req.GetNamespace()), RequestID: req.GetRequestId(),
		Tasks: make([]queue.NewTask, n), Refused: make([]error, n),
	}
	bytes := 0
	for i, spec := range req.GetTasks() {
		task, refusal := newTask(spec, 0)
		if refusal == nil && spec.GetDaemon() {
			refusal = invalid("spec.daemon", "is for tasks of a call")
		}
		if refusal != nil {
			cmd.Refused[i] = inSubmit(refusal, fmt.Sprintf("tasks[%d]", i))
			continue
		}
		cmd.Tasks[i] = task
		if bytes += len(task.Spec.Payload.Data) + labelBytes(task.Spec.Options); bytes > taskBytesMax {
			return nil, statusError(invalid("tasks", "must have at most 4 MiB of payloads and labels"))
		}
	}
	results, err := do[[]shard.SubmitResult](ctx, s.loop, cmd)
	if err != nil {
		return nil, err
	}
	resp := &weftv1.SubmitTasksResponse{}
	for i := range results {
		resp.Results = append(resp.Results, submitResult(&results[i]))
	}
	return resp, nil
}

func submitResult(r *shard.SubmitResult) *weftv1.SubmitTasksResult {
	var refusal *pure.Refusal
	if !errors.As(r.Err, &refusal) {
		return &weftv1.SubmitTasksResult{TaskId: queue.FormatID(r.ID), Joined: r.Joined}
	}
	return &weftv1.SubmitTasksResult{
		Reason: reasonEnum(refusal.Reason), Message: refusal.Message, Metadata: metadata(refusal),
	}
}

// RetryTasks implements TaskService.
func (s *taskService) RetryTasks(ctx context.Context, req *weftv1.RetryTasksRequest) (*weftv1.RetryTasksResponse, error) {
	after, err := pageNumber(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	named, inQueue := len(req.GetTaskIds()) > 0, req.GetQueue() != ""
	switch {
	case named == inQueue:
		return nil, statusError(invalid("task_ids", "or queue must be set, one of them"))
	case named && (req.GetKind() != "" || after != 0):
		return nil, statusError(invalid("task_ids", "must not be set beside kind or page_token"))
	case inQueue && req.GetRequestId() != "":
		return nil, statusError(invalid("request_id", "must not be set beside queue: what failed again is tried again"))
	}
	cmd := &shard.RetryTasks{
		Namespace: orDefault(req.GetNamespace()), RequestID: req.GetRequestId(),
		Queue: req.GetQueue(), Kind: req.GetKind(), After: after,
	}
	for _, s := range req.GetTaskIds() {
		id, err := taskID(s)
		if err != nil {
			return nil, err
		}
		cmd.IDs = append(cmd.IDs, id)
	}
	page, err := do[shard.RetryPage](ctx, s.loop, cmd)
	if err != nil {
		return nil, err
	}
	return &weftv1.RetryTasksResponse{Tasks: uint32(page.Tasks), NextPageToken: pageToken(page.Next)}, nil
}

// ExplainTask implements TaskService.
func (s *taskService) ExplainTask(ctx context.Context, req *weftv1.ExplainTaskRequest) (*weftv1.ExplainTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	e, err := do[queue.Explanation](ctx, s.loop, &shard.ExplainTask{Namespace: orDefault(req.GetNamespace()), ID: id})
	if err != nil {
		return nil, err
	}
	return &weftv1.ExplainTaskResponse{
		State: weftv1.TaskState(e.State), Reason: e.Reason, Message: e.Message, Advice: e.Advice,
	}, nil
}

// inSubmit names a spec's field as SubmitTaskRequest does: in task, or in the command that stands for it.
func inSubmit(r *pure.Refusal, field string) *pure.Refusal {
	named := func(s string) string {
		if rest, ok := strings.CutPrefix(s, "spec."+field); ok { // the command
			return field + rest
		}
		if rest, ok := strings.CutPrefix(s, "spec"); ok {
			return field + rest
		}
		return s
	}
	out := &pure.Refusal{Reason: r.Reason, Message: named(r.Message), Meta: slices.Clone(r.Meta)}
	for i := 0; i+1 < len(out.Meta); i += 2 {
		if out.Meta[i] == "field" {
			out.Meta[i+1] = named(out.Meta[i+1])
		}
	}
	return out
}

// GetTask implements TaskService.
func (s *taskService) GetTask(ctx context.Context, req *weftv1.GetTaskRequest) (*weftv1.GetTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	t, err := do[queue.Snapshot](ctx, s.loop, &shard.GetTask{
		Namespace: orDefault(req.GetNamespace()), ID: id,
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetTaskResponse{Task: taskMessage(&t, req.GetView() != weftv1.View_VIEW_BASIC)}, nil
}

// pageBytes bounds a page with payloads, well below the message limit.
const pageBytes = 4 << 20

// ListTasks implements TaskService.
func (s *taskService) ListTasks(ctx context.Context, req *weftv1.ListTasksRequest) (*weftv1.ListTasksResponse, error) {
	after, err := pageNumber(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	filter := queue.Filter{
		Namespace: orDefault(req.GetNamespace()), Queue: req.GetQueue(), Call: req.GetCallId(), Kind: req.GetKind(),
	}
	var refusal *pure.Refusal
	if filter.Labels, refusal = labels("labels", req.GetLabels(), labelsMax, labelBytesMax); refusal != nil {
		return nil, statusError(refusal)
	}
	if filter.From, refusal = moment("created_after", req.GetCreatedAfter()); refusal != nil {
		return nil, statusError(refusal)
	}
	if filter.To, refusal = moment("created_before", req.GetCreatedBefore()); refusal != nil {
		return nil, statusError(refusal)
	}
	for _, st := range req.GetStates() {
		filter.States = append(filter.States, queue.State(st))
	}
	page, err := do[shard.TaskPage](ctx, s.loop, &shard.ListTasks{
		Filter: filter, After: after, Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.ListTasksResponse{NextPageToken: pageToken(page.Next)}
	bytes := 0
	for i := range page.Tasks {
		m := taskMessage(&page.Tasks[i], req.GetView() == weftv1.View_VIEW_FULL)
		if bytes += proto.Size(m); bytes > pageBytes && i > 0 {
			resp.NextPageToken = pageToken(page.Tasks[i-1].ID)
			break
		}
		resp.Tasks = append(resp.Tasks, m)
	}
	return resp, nil
}

func pageSize(n uint32) int {
	if n == 0 {
		return pageDefault
	}
	return int(n)
}

func pageToken(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 36)
}

func pageNumber(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil {
		return 0, statusError(invalid("page_token", "is not of an earlier page"))
	}
	return n, nil
}

// CancelTask implements TaskService.
func (s *taskService) CancelTask(ctx context.Context, req *weftv1.CancelTaskRequest) (*weftv1.CancelTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	st, err := do[queue.State](ctx, s.loop, &shard.CancelTask{
		Namespace: orDefault(req.GetNamespace()), ID: id, Grace: grace(req.GetGrace()),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.CancelTaskResponse{State: weftv1.TaskState(st)}, nil
}

// CancelCall implements TaskService.
func (s *taskService) CancelCall(ctx context.Context, req *weftv1.CancelCallRequest) (*weftv1.CancelCallResponse, error) {
	n, err := do[uint64](ctx, s.loop, &shard.CancelCall{
		Namespace: orDefault(req.GetNamespace()), Call: req.GetCallId(), Grace: grace(req.GetGrace()),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.CancelCallResponse{Tasks: n}, nil
}

// RenewTask implements TaskService.
func (s *taskService) RenewTask(ctx context.Context, req *weftv1.RenewTaskRequest) (*weftv1.RenewTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	ttl, err := do[time.Duration](ctx, s.loop, &shard.RenewTask{
		Namespace: orDefault(req.GetNamespace()), ID: id, Token: req.GetToken(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.RenewTaskResponse{Lease: durationpb.New(ttl)}, nil
}

// CompleteTask implements TaskService.
func (s *taskService) CompleteTask(ctx context.Context, req *weftv1.CompleteTaskRequest) (*weftv1.CompleteTaskResponse, error) {
	r := queue.Report{Token: req.GetToken(), End: queue.EndSucceeded}
	var err *pure.Refusal
	if c := req.GetCommand(); c != nil {
		// Nobody can be asked for the rest of a truncated output here.
		r.Result, _, err = commandResult("command", c)
	} else {
		r.Result, err = payload("result", req.GetResult())
	}
	if err != nil {
		return nil, statusError(err)
	}
	_, rerr := s.report(ctx, req.GetNamespace(), req.GetTaskId(), r)
	if rerr != nil {
		return nil, rerr
	}
	return &weftv1.CompleteTaskResponse{}, nil
}

// FailTask implements TaskService.
func (s *taskService) FailTask(ctx context.Context, req *weftv1.FailTaskRequest) (*weftv1.FailTaskResponse, error) {
	e, err := reportError("error", req.GetError())
	if err != nil {
		return nil, statusError(err)
	}
	st, rerr := s.report(ctx, req.GetNamespace(), req.GetTaskId(), queue.Report{
		Token: req.GetToken(), End: queue.EndError, Error: e,
	})
	if rerr != nil {
		return nil, rerr
	}
	return &weftv1.FailTaskResponse{State: weftv1.TaskState(st)}, nil
}

// ReleaseTask implements TaskService.
func (s *taskService) ReleaseTask(ctx context.Context, req *weftv1.ReleaseTaskRequest) (*weftv1.ReleaseTaskResponse, error) {
	_, err := s.report(ctx, req.GetNamespace(), req.GetTaskId(), queue.Report{
		Token: req.GetToken(), End: queue.EndReleased,
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.ReleaseTaskResponse{}, nil
}

func (s *taskService) report(ctx context.Context, namespace, id string, r queue.Report) (_ queue.State, err error) {
	if r.ID, err = taskID(id); err != nil {
		return 0, err
	}
	return do[queue.State](ctx, s.loop, &shard.ReportTask{Namespace: orDefault(namespace), Report: r})
}
