package broker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// queueService implements QueueService.
type queueService struct {
	weftv1.UnimplementedQueueServiceServer
	loop    *shard.Loop
	waiters *atomic.Uint64 // names for requests that wait
}

// CreateQueue implements QueueService.
func (s *queueService) CreateQueue(ctx context.Context, req *weftv1.CreateQueueRequest) (*weftv1.CreateQueueResponse, error) {
	settings, refusal := queueSettings(req.GetQueue())
	if refusal != nil {
		return nil, statusError(refusal)
	}
	q, err := do[queue.QueueView](ctx, s.loop, &shard.CreateQueue{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetQueue().GetName(), Settings: settings,
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.CreateQueueResponse{Queue: queueMessage(&q)}, nil
}

// GetQueue implements QueueService.
func (s *queueService) GetQueue(ctx context.Context, req *weftv1.GetQueueRequest) (*weftv1.GetQueueResponse, error) {
	q, err := do[queue.QueueView](ctx, s.loop, &shard.GetQueue{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetQueueResponse{Queue: queueMessage(&q)}, nil
}

// ListQueues implements QueueService.
func (s *queueService) ListQueues(ctx context.Context, req *weftv1.ListQueuesRequest) (*weftv1.ListQueuesResponse, error) {
	page, err := do[shard.QueuePage](ctx, s.loop, &shard.ListQueues{
		Namespace: orDefault(req.GetNamespace()), After: req.GetPageToken(), Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.ListQueuesResponse{}
	for i := range page.Queues {
		resp.Queues = append(resp.Queues, queueMessage(&page.Queues[i]))
	}
	if page.More {
		resp.NextPageToken = page.Queues[len(page.Queues)-1].Name
	}
	return resp, nil
}

// settingPaths are the settings of a queue by their names in an update_mask.
var settingPaths = map[string]shard.Setting{
	"order": shard.SettingOrder, "max_size": shard.SettingMaxSize, "max_running": shard.SettingMaxRunning,
	"max_running_per_key": shard.SettingMaxRunningPerKey, "rate_limit": shard.SettingRate, "defaults": shard.SettingDefaults,
}

// UpdateQueue implements QueueService.
func (s *queueService) UpdateQueue(ctx context.Context, req *weftv1.UpdateQueueRequest) (*weftv1.UpdateQueueResponse, error) {
	settings, refusal := queueSettings(req.GetQueue())
	if refusal != nil {
		return nil, statusError(refusal)
	}
	cmd := &shard.UpdateQueue{Namespace: orDefault(req.GetNamespace()), Name: req.GetQueue().GetName(), Settings: settings}
	for i, path := range req.GetUpdateMask().GetPaths() {
		which, ok := settingPaths[path]
		if !ok {
			return nil, statusError(invalid(fmt.Sprintf("update_mask.paths[%d]", i),
				"must be one of "+strings.Join(slices.Sorted(maps.Keys(settingPaths)), ", ")))
		}
		cmd.Which = append(cmd.Which, which)
	}
	if len(cmd.Which) == 0 {
		cmd.Which = slices.Collect(maps.Values(settingPaths))
		slices.Sort(cmd.Which)
	}
	q, err := do[queue.QueueView](ctx, s.loop, cmd)
	if err != nil {
		return nil, err
	}
	return &weftv1.UpdateQueueResponse{Queue: queueMessage(&q)}, nil
}

func (s *queueService) turn(ctx context.Context, namespace, name string, to shard.QueueSwitch) (*weftv1.Queue, error) {
	q, err := do[queue.QueueView](ctx, s.loop, &shard.SwitchQueue{Namespace: orDefault(namespace), Name: name, To: to})
	if err != nil {
		return nil, err
	}
	return queueMessage(&q), nil
}

// PauseQueue implements QueueService.
func (s *queueService) PauseQueue(ctx context.Context, req *weftv1.PauseQueueRequest) (*weftv1.PauseQueueResponse, error) {
	q, err := s.turn(ctx, req.GetNamespace(), req.GetName(), shard.QueuePaused)
	if err != nil {
		return nil, err
	}
	return &weftv1.PauseQueueResponse{Queue: q}, nil
}

// ResumeQueue implements QueueService.
func (s *queueService) ResumeQueue(ctx context.Context, req *weftv1.ResumeQueueRequest) (*weftv1.ResumeQueueResponse, error) {
	q, err := s.turn(ctx, req.GetNamespace(), req.GetName(), shard.QueueResumed)
	if err != nil {
		return nil, err
	}
	return &weftv1.ResumeQueueResponse{Queue: q}, nil
}

// CloseQueue implements QueueService.
func (s *queueService) CloseQueue(ctx context.Context, req *weftv1.CloseQueueRequest) (*weftv1.CloseQueueResponse, error) {
	to := shard.QueueClosed
	if req.GetImmediate() {
		to = shard.QueueClosedAtOnce
	}
	q, err := s.turn(ctx, req.GetNamespace(), req.GetName(), to)
	if err != nil {
		return nil, err
	}
	return &weftv1.CloseQueueResponse{Queue: q}, nil
}

// ReopenQueue implements QueueService.
func (s *queueService) ReopenQueue(ctx context.Context, req *weftv1.ReopenQueueRequest) (*weftv1.ReopenQueueResponse, error) {
	q, err := s.turn(ctx, req.GetNamespace(), req.GetName(), shard.QueueReopened)
	if err != nil {
		return nil, err
	}
	return &weftv1.ReopenQueueResponse{Queue: q}, nil
}

// PurgeQueue implements QueueService.
func (s *queueService) PurgeQueue(ctx context.Context, req *weftv1.PurgeQueueRequest) (*weftv1.PurgeQueueResponse, error) {
	cmd := &shard.PurgeQueue{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()}
	for i, st := range req.GetStates() {
		state := queue.State(st)
		if state == 0 || state.Held() {
			return nil, statusError(invalid(fmt.Sprintf("states[%d]", i), "must be a state of tasks that wait or have ended"))
		}
		cmd.States = append(cmd.States, state)
	}
	n, err := do[uint64](ctx, s.loop, cmd)
	if err != nil {
		return nil, err
	}
	return &weftv1.PurgeQueueResponse{Tasks: n}, nil
}

// DeleteQueue implements QueueService.
func (s *queueService) DeleteQueue(ctx context.Context, req *weftv1.DeleteQueueRequest) (*weftv1.DeleteQueueResponse, error) {
	_, err := s.loop.Do(ctx, &shard.DeleteQueue{
		Namespace: orDefault(req.GetNamespace()), Name: orDefault(req.GetName()), Force: req.GetForce(),
	})
	if err != nil {
		return nil, statusError(err)
	}
	return &weftv1.DeleteQueueResponse{}, nil
}

// JoinQueue implements QueueService.
func (s *queueService) JoinQueue(ctx context.Context, req *weftv1.JoinQueueRequest) (*weftv1.JoinQueueResponse, error) {
	namespace, waiter := orDefault(req.GetNamespace()), s.waiters.Add(1)
	overC, stop := waitTimer(req.GetWait().AsDuration(), req.GetWait() != nil)
	defer stop()
	a, err := await[queue.QueueView](ctx, s.loop,
		&shard.JoinQueue{Namespace: namespace, Name: req.GetName(), Waiter: waiter}, overC,
		&shard.ForgetJoin{Waiter: waiter})
	if err = cmp.Or(err, a.err); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.JoinQueueResponse{Queue: queueMessage(&a.value)}, nil
}

// PeekQueue implements QueueService.
func (s *queueService) PeekQueue(ctx context.Context, req *weftv1.PeekQueueRequest) (*weftv1.PeekQueueResponse, error) {
	tasks, err := do[[]queue.Snapshot](ctx, s.loop, &shard.PeekQueue{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(), Max: max(int(req.GetTasksMax()), 1),
	})
	if err != nil {
		return nil, err
	}
	resp := &weftv1.PeekQueueResponse{}
	bytes := 0
	for i := range tasks {
		m := taskMessage(&tasks[i], true)
		if bytes += proto.Size(m); bytes > pageBytes && i > 0 {
			break
		}
		resp.Tasks = append(resp.Tasks, m)
	}
	return resp, nil
}

// queueSettings reads a queue's settings.
func queueSettings(m *weftv1.Queue) (s queue.Settings, err *pure.Refusal) {
	s = queue.Settings{
		Order: queue.Order(m.GetOrder()), MaxSize: m.GetMaxSize(), MaxRunning: m.GetMaxRunning(),
		MaxRunningPerKey: m.GetMaxRunningPerKey(),
	}
	if r := m.GetRateLimit(); r != nil {
		if r.GetPerSecond() <= 0 {
			return s, invalid("queue.rate_limit.per_second", "must be more than 0")
		}
		s.Rate, s.Burst = r.GetPerSecond(), max(r.GetBurst(), 1)
	}
	d := m.GetDefaults()
	if d.GetTimeout() == nil && d.GetRetry() == nil && d.GetRetention() == nil && d.GetFailedRetention() == nil {
		return s, nil
	}
	// The annotations have been checked; what is left is to read.
	if s.Defaults, err = options(&weftv1.TaskSpec{
		Timeout: d.GetTimeout(), Retry: d.GetRetry(), Retention: d.GetRetention(), FailedRetention: d.GetFailedRetention(),
	}); err != nil {
		return s, err
	}
	return s, nil
}

func queueMessage(q *queue.QueueView) *weftv1.Queue {
	m := &weftv1.Queue{
		Name: q.Name, CreatedAt: timestamp(q.CreatedAt), Order: weftv1.QueueOrder(q.Order), MaxSize: q.MaxSize,
		MaxRunning: q.MaxRunning, MaxRunningPerKey: q.MaxRunningPerKey, Paused: q.Paused, Closed: q.Closed, ClosedAtOnce: q.AtOnce,
		Unfinished: q.Unfinished(),
		Counts:     countsMessage(&q.Counts),
	}
	if q.Rate > 0 {
		m.RateLimit = &weftv1.RateLimit{PerSecond: q.Rate, Burst: q.Burst}
	}
	if d := q.Defaults; d != nil {
		m.Defaults = &weftv1.TaskDefaults{Timeout: durationMessage(d.Timeout), Retry: retryMessage(d)}
		if d.Retention >= 0 {
			m.Defaults.Retention = durationpb.New(d.Retention)
		}
		if d.FailedRetention >= 0 {
			m.Defaults.FailedRetention = durationpb.New(d.FailedRetention)
		}
	}
	return m
}
