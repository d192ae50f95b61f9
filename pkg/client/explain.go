package client

import (
	"context"
	"crypto/rand"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Explanation is why a task does not run.
type Explanation struct {
	// State is where the task is.
	State weftv1.TaskState
	// Reason is a word for programs, such as "no_worker" or "queue_paused".
	Reason string
	// Message is a sentence for people.
	Message string
	// Advice is what to do about it; empty if there is nothing.
	Advice string
}

// Explain says why a task does not run.
func (c *Client) Explain(ctx context.Context, taskID string) (e Explanation, err error) {
	request := &weftv1.ExplainTaskRequest{Namespace: c.namespace, TaskId: taskID}
	err = retry(ctx, func() error {
		r, err := c.tasks().ExplainTask(ctx, request)
		e = Explanation{State: r.GetState(), Reason: r.GetReason(), Message: r.GetMessage(), Advice: r.GetAdvice()}
		return err
	})
	return e, err
}

// Retry makes tasks that failed, were cancelled or expired ready again, with all their tries: all of them, or
// none and an error. At most 1,000.
func (c *Client) Retry(ctx context.Context, taskIDs ...string) error {
	request := &weftv1.RetryTasksRequest{Namespace: c.namespace, TaskIds: taskIDs, RequestId: rand.Text()}
	return retry(ctx, func() error {
		_, err := c.tasks().RetryTasks(ctx, request)
		return err
	})
}

// RetryFailed makes the failed tasks of the queue ready again, of one kind unless that is empty, and returns how
// many those were.
func (q *Queue) RetryFailed(ctx context.Context, kind string) (tasks int, err error) {
	request := &weftv1.RetryTasksRequest{Namespace: q.client.namespace, Queue: orDefault(q.name), Kind: kind}
	for {
		err = retry(ctx, func() error {
			response, err := q.client.tasks().RetryTasks(ctx, request)
			tasks += int(response.GetTasks())
			request.PageToken = response.GetNextPageToken()
			return err
		})
		if err != nil || request.GetPageToken() == "" {
			return tasks, err
		}
	}
}
