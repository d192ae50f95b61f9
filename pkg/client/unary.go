package client

import (
	"context"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Single requests are tried again, until ctx ends, while the broker is UNAVAILABLE. Those that change
// something carry a random request id, so that a repetition changes nothing.

// waitSlice is how long one WaitTask is left open, so that a dead connection is noticed.
const waitSlice = 30 * time.Second

// tasks is the generated client on the connection of the moment.
func (c *Client) tasks() weftv1.TaskServiceClient {
	return weftv1.NewTaskServiceClient(c.current())
}

// queues is the same for queues.
func (c *Client) queues() weftv1.QueueServiceClient {
	return weftv1.NewQueueServiceClient(c.current())
}

// Get returns a task as it is now.
func (c *Client) Get(ctx context.Context, taskID string) (t *weftv1.Task, err error) {
	err = c.retry(ctx, func() error {
		response, err := c.tasks().GetTask(ctx, &weftv1.GetTaskRequest{Namespace: c.namespace, TaskId: taskID})
		t = response.GetTask()
		return err
	})
	return t, err
}

// WaitTask waits until a task is final, or until ctx ends, which does not stop the task.
func (c *Client) WaitTask(ctx context.Context, taskID string) (*weftv1.Task, error) {
	request := &weftv1.WaitTaskRequest{Namespace: c.namespace, TaskId: taskID, Wait: durationpb.New(waitSlice)}
	for {
		var t *weftv1.Task
		err := c.retry(ctx, func() error {
			response, err := c.tasks().WaitTask(ctx, request)
			t = response.GetTask()
			return err
		})
		if err != nil || t.GetOutcome() != nil {
			return t, err
		}
	}
}

// CancelTask begins the cancel ladder, as [SpecFuture.Cancel], and returns the task's state after it.
func (c *Client) CancelTask(
	ctx context.Context, taskID string, grace time.Duration,
) (state weftv1.TaskState, err error) {
	request := &weftv1.CancelTaskRequest{Namespace: c.namespace, TaskId: taskID, Grace: graceProto(grace)}
	err = c.retry(ctx, func() error {
		response, err := c.tasks().CancelTask(ctx, request)
		state = response.GetState()
		return err
	})
	return state, err
}

// CancelCall cancels every task of a call that is not final, ends the call for new ones, and returns how
// many tasks that were.
func (c *Client) CancelCall(ctx context.Context, callID string, grace time.Duration) (tasks uint64, err error) {
	request := &weftv1.CancelCallRequest{Namespace: c.namespace, CallId: callID, Grace: graceProto(grace)}
	err = c.retry(ctx, func() error {
		response, err := c.tasks().CancelCall(ctx, request)
		tasks = response.GetTasks()
		return err
	})
	return tasks, err
}

// Filter chooses tasks; the zero Filter is all of them.
type Filter struct {
	Queue  string             // only of this queue
	States []weftv1.TaskState // only in one of these
	CallID string             // only of this call
	Kind   string             // only of this kind
	Labels map[string]string  // only with all of these
	Since  time.Time          // only those accepted then or later
	Until  time.Time          // only those accepted before then
	Full   bool               // with payload, command and result
}

// List gives the tasks that a filter lets through, oldest first, a page at a time. An error is the last
// one given.
func (c *Client) List(ctx context.Context, filter Filter) iter.Seq2[*weftv1.Task, error] {
	request := &weftv1.ListTasksRequest{
		Namespace: c.namespace, Queue: filter.Queue, States: filter.States, CallId: filter.CallID,
		Kind: filter.Kind, Labels: filter.Labels,
	}
	if !filter.Since.IsZero() {
		request.CreatedAfter = timestamppb.New(filter.Since)
	}
	if !filter.Until.IsZero() {
		request.CreatedBefore = timestamppb.New(filter.Until)
	}
	if filter.Full {
		request.View = weftv1.View_VIEW_FULL
	}
	return paged(ctx, c, func(token string) ([]*weftv1.Task, string, error) {
		request.PageToken = token
		response, err := c.tasks().ListTasks(ctx, request)
		return response.GetTasks(), response.GetNextPageToken(), err
	})
}

// Queues gives the namespace's queues by name. An error is the last one given.
func (c *Client) Queues(ctx context.Context) iter.Seq2[*weftv1.Queue, error] {
	return paged(ctx, c, func(token string) ([]*weftv1.Queue, string, error) {
		response, err := c.queues().ListQueues(ctx,
			&weftv1.ListQueuesRequest{Namespace: c.namespace, PageToken: token})
		return response.GetQueues(), response.GetNextPageToken(), err
	})
}

// CreateQueue makes a queue; doing so again changes nothing.
func (c *Client) CreateQueue(ctx context.Context, queue *weftv1.Queue) (created *weftv1.Queue, err error) {
	request := &weftv1.CreateQueueRequest{Namespace: c.namespace, Queue: queue}
	err = c.retry(ctx, func() error {
		response, err := c.queues().CreateQueue(ctx, request)
		created = response.GetQueue()
		return err
	})
	return created, err
}

// Workers gives the workers that are connected, by name. An error is the last one given.
func (c *Client) Workers(ctx context.Context) iter.Seq2[*weftv1.Worker, error] {
	return paged(ctx, c, func(token string) ([]*weftv1.Worker, string, error) {
		response, err := weftv1.NewWorkerServiceClient(c.current()).ListWorkers(ctx,
			&weftv1.ListWorkersRequest{Namespace: c.namespace, PageToken: token})
		return response.GetWorkers(), response.GetNextPageToken(), err
	})
}

// paged walks pages until there is no next one. A page may be empty.
func paged[T any](ctx context.Context, c *Client, fetch func(token string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var token string
		for {
			var page []T
			err := c.retry(ctx, func() (err error) {
				var next string
				if page, next, err = fetch(token); err == nil {
					token = next
				}
				return err
			})
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, one := range page {
				if !yield(one, nil) {
					return
				}
			}
			if token == "" {
				return
			}
		}
	}
}
