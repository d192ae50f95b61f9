package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Orders of a queue's tasks.
const (
	ByPriority = weftv1.QueueOrder_QUEUE_ORDER_PRIORITY // the least priority first, among equals the oldest; the default
	FIFO       = weftv1.QueueOrder_QUEUE_ORDER_FIFO     // the oldest first
	LIFO       = weftv1.QueueOrder_QUEUE_ORDER_LIFO     // the newest first
)

// Setting is one of a queue's settings.
type Setting struct {
	path string
	set  func(*weftv1.Queue)
}

// Order is the order in which tasks are handed out. It can be changed while none is ready.
func Order(order weftv1.QueueOrder) Setting {
	return Setting{"order", func(q *weftv1.Queue) { q.Order = order }}
}

// MaxSize bounds how many tasks wait; 0 and less is without limit, as Python's maxsize. It may be set below what
// waits now.
func MaxSize(n int) Setting {
	return Setting{"max_size", func(q *weftv1.Queue) { q.MaxSize = uint64(max(n, 0)) }} //nolint:gosec // not negative
}

// MaxRunning bounds how many tasks run at a time; 0 is without limit.
func MaxRunning(n uint32) Setting {
	return Setting{"max_running", func(q *weftv1.Queue) { q.MaxRunning = n }}
}

// MaxRunningPerKey bounds how many tasks of one fairness key run at a time; 0 is without limit.
func MaxRunningPerKey(n uint32) Setting {
	return Setting{"max_running_per_key", func(q *weftv1.Queue) { q.MaxRunningPerKey = n }}
}

// Rate bounds how many attempts begin per second, and how many at once after a pause; 0 per second is without
// limit.
func Rate(perSecond float64, burst uint32) Setting {
	return Setting{"rate_limit", func(q *weftv1.Queue) {
		if q.RateLimit = nil; perSecond != 0 {
			q.RateLimit = &weftv1.RateLimit{PerSecond: perSecond, Burst: burst}
		}
	}}
}

// TaskDefaults are taken by tasks that say nothing of their own; zero is the broker's.
type TaskDefaults struct {
	Timeout         time.Duration
	Retry           Retry
	Retention       time.Duration // see [Spec]
	FailedRetention time.Duration
}

// Defaults are the settings of tasks that do not say otherwise.
func Defaults(d TaskDefaults) Setting {
	return Setting{"defaults", func(q *weftv1.Queue) {
		q.Defaults = &weftv1.TaskDefaults{Retry: d.Retry.proto()}
		if d.Timeout != 0 {
			q.Defaults.Timeout = durationpb.New(d.Timeout)
		}
		if d.Retention != 0 {
			q.Defaults.Retention = durationpb.New(d.Retention)
		}
		if d.FailedRetention != 0 {
			q.Defaults.FailedRetention = durationpb.New(d.FailedRetention)
		}
	}}
}

// Create makes the queue, or finds it with the same settings; [ErrQueueExists] if they are others.
func (q *Queue) Create(ctx context.Context, settings ...Setting) error {
	m := &weftv1.Queue{Name: q.name}
	for _, s := range settings {
		s.set(m)
	}
	_, err := q.client.CreateQueue(ctx, m)
	return err
}

// Update changes these settings and no others.
func (q *Queue) Update(ctx context.Context, settings ...Setting) error {
	request := &weftv1.UpdateQueueRequest{
		Namespace: q.client.namespace, Queue: &weftv1.Queue{Name: q.name}, UpdateMask: &fieldmaskpb.FieldMask{},
	}
	if len(settings) == 0 {
		return nil // without a mask it would be all of them
	}
	for _, s := range settings {
		s.set(request.Queue)
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, s.path)
	}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().UpdateQueue(ctx, request)
		return err
	})
}

// Pause stops handing out tasks; those that run go on.
func (q *Queue) Pause(ctx context.Context) error {
	request := &weftv1.PauseQueueRequest{Namespace: q.client.namespace, Name: q.name}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().PauseQueue(ctx, request)
		return err
	})
}

// Resume undoes Pause.
func (q *Queue) Resume(ctx context.Context) error {
	request := &weftv1.ResumeQueueRequest{Namespace: q.client.namespace, Name: q.name}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().ResumeQueue(ctx, request)
		return err
	})
}

// Close is Python's shutdown(): the queue takes no more tasks and hands out those that wait, also those that come
// back from whoever holds them; when there are none, gets end with [ErrQueueClosed]. It may be repeated.
func (q *Queue) Close(ctx context.Context) error { return q.close(ctx, false) }

// CloseNow is Python's shutdown(immediate=True): Close that cancels the tasks that wait, and has gets end although
// tasks are held.
func (q *Queue) CloseNow(ctx context.Context) error { return q.close(ctx, true) }

func (q *Queue) close(ctx context.Context, immediate bool) error {
	request := &weftv1.CloseQueueRequest{Namespace: q.client.namespace, Name: q.name, Immediate: immediate}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().CloseQueue(ctx, request)
		return err
	})
}

// Reopen undoes Close.
func (q *Queue) Reopen(ctx context.Context) error {
	request := &weftv1.ReopenQueueRequest{Namespace: q.client.namespace, Name: q.name}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().ReopenQueue(ctx, request)
		return err
	})
}

// Purge cancels the tasks that wait, or those in the given states that wait, and forgets the ended ones of given
// states. It returns how many those were.
func (q *Queue) Purge(ctx context.Context, states ...weftv1.TaskState) (tasks uint64, err error) {
	request := &weftv1.PurgeQueueRequest{Namespace: q.client.namespace, Name: q.name, States: states}
	err = q.client.retry(ctx, func() error {
		response, err := q.client.queues().PurgeQueue(ctx, request)
		tasks = response.GetTasks()
		return err
	})
	return tasks, err
}

// Delete removes the queue and its ended tasks. With force it has tasks that have not ended cancelled; without,
// they are [ErrQueueNotEmpty].
func (q *Queue) Delete(ctx context.Context, force bool) error {
	request := &weftv1.DeleteQueueRequest{Namespace: q.client.namespace, Name: q.name, Force: force}
	return q.client.retry(ctx, func() error {
		_, err := q.client.queues().DeleteQueue(ctx, request)
		return err
	})
}
