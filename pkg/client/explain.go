package client

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/weftq/weft/pkg/task"
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
	err = c.retry(ctx, func() error {
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
	return c.retry(ctx, func() error {
		_, err := c.tasks().RetryTasks(ctx, request)
		return err
	})
}

// RetryWithDependents is Retry of these tasks, and of those that were cancelled because one of them did not succeed,
// in whatever queue, and so on: these run after them again. A dependent that is also after a task that failed and is
// not tried again stays cancelled. It returns how many are tried again, at most 1,000 together.
func (c *Client) RetryWithDependents(ctx context.Context, taskIDs ...string) (tasks int, err error) {
	again := make(map[string]bool, len(taskIDs))
	for _, id := range taskIDs {
		again[id] = true
	}
	// What others are after is older than they are, and so comes before them.
	for t, err := range c.List(ctx, Filter{States: []weftv1.TaskState{weftv1.TaskState_TASK_STATE_CANCELLED}}) {
		if err != nil {
			return 0, err
		}
		o := t.GetOutcome()
		if o.GetEnd() != 0 || o.GetError().GetReason() != task.ReasonDependencyFailed || t.GetJoinedTaskId() != "" || again[t.GetId()] {
			continue
		}
		if follows, err := c.follows(ctx, t, again); err != nil {
			return 0, err
		} else if follows {
			taskIDs = append(taskIDs, t.GetId())
			again[t.GetId()] = true
		}
	}
	return len(again), c.Retry(ctx, taskIDs...)
}

// follows reports whether a task is after one of these, and after no other that did not succeed.
func (c *Client) follows(ctx context.Context, t *weftv1.Task, again map[string]bool) (bool, error) {
	after := t.GetSpec().GetAfter()
	if !slices.ContainsFunc(after, func(id string) bool { return again[id] }) {
		return false, nil
	}
	for _, id := range after {
		if again[id] {
			continue
		}
		on, err := c.Get(ctx, id)
		switch state := on.GetState(); {
		case errors.Is(err, ErrTaskNotFound): // forgotten, and so no obstacle
		case err != nil:
			return false, err
		case state == weftv1.TaskState_TASK_STATE_FAILED, state == weftv1.TaskState_TASK_STATE_CANCELLED, state == weftv1.TaskState_TASK_STATE_EXPIRED:
			return false, nil
		}
	}
	return true, nil
}

// RetryFailed makes the failed tasks of the queue ready again, of one kind unless that is empty, and those that were
// cancelled because one that they are after did not succeed, once that is ready again or has succeeded meanwhile:
// they run after it again. It returns how many those were.
func (q *Queue) RetryFailed(ctx context.Context, kind string) (tasks int, err error) {
	request := &weftv1.RetryTasksRequest{Namespace: q.client.namespace, Queue: orDefault(q.name), Kind: kind}
	for {
		err = q.client.retry(ctx, func() error {
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
