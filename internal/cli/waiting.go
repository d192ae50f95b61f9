package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// While a task waits it is looked for a reason: first after waitFirst, then at growing distances.
const (
	waitFirst = time.Second
	waitMax   = 30 * time.Second
)

// look finds what a task waits for: empty is nothing to speak of. It returns false when nothing waits any
// more.
type look func(context.Context) (what string, waits bool)

// noteWaiting says what is waited for, each thing once, until the returned function is called.
func (a *App) noteWaiting(ctx context.Context, look look, say func(format string, args ...any)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		said := make(map[string]bool)
		timer := time.NewTimer(waitFirst)
		defer timer.Stop()
		for wait := waitFirst; ; timer.Reset(wait) {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			wait = min(2*wait, waitMax)
			short, cancel := context.WithTimeout(ctx, waitFirst)
			what, waits := look(short)
			cancel()
			if !waits || ctx.Err() != nil {
				return
			}
			if what != "" && !said[what] {
				said[what] = true
				say("%s", what)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// obstacle is why no worker begins a task of a queue and kind: empty if one can, or if it cannot be known
// now. Workers that have no free slot are one too, which is how it should be where many tasks wait.
func (a *App) obstacle(ctx context.Context, c *client.Client, queue, kind string) (what string, busy bool) {
	queue, kind = orDefault(queue), orCommand(kind)
	able, ready := 0, 0
	for w, err := range c.Workers(ctx) {
		switch {
		case err != nil:
			return "", false
		case !slices.Contains(w.GetQueues(), queue) || !slices.Contains(w.GetKinds(), kind):
			continue
		case w.GetDraining():
		case w.GetAttempts() < w.GetSlots():
			return "", false
		default:
			ready++
		}
		able++
	}
	runs := "runs commands"
	if kind != "command" {
		runs = fmt.Sprintf("runs tasks of kind %q", kind)
	}
	switch {
	case ready > 0:
		return fmt.Sprintf("waiting for a slot: every worker on queue %q that %s is busy (%s workers)", queue, runs, a.Name), true
	case able > 0:
		return fmt.Sprintf("waiting for a worker: every one on queue %q that %s is about to stop (%s workers)", queue, runs, a.Name), false
	default:
		return fmt.Sprintf("waiting for a worker: no worker on queue %q %s (%s workers)", queue, runs, a.Name), false
	}
}

// specObstacle looks on behalf of a task that was submitted here.
func (a *App) specObstacle(c *client.Client, spec *client.Spec) look {
	return func(ctx context.Context) (string, bool) {
		what, _ := a.obstacle(ctx, c, spec.Queue, spec.Kind)
		return what, true
	}
}

// taskObstacle looks on behalf of a task that is known by its name, until that has begun.
func (a *App) taskObstacle(c *client.Client, taskID string) look {
	return func(ctx context.Context) (string, bool) {
		response, err := weftv1.NewTaskServiceClient(c.Conn()).GetTask(ctx, &weftv1.GetTaskRequest{
			Namespace: c.Namespace(), TaskId: taskID, View: weftv1.View_VIEW_BASIC,
		})
		if err != nil {
			return "", true
		}
		t := response.GetTask()
		switch t.GetState() {
		case weftv1.TaskState_TASK_STATE_SCHEDULED:
			return fmt.Sprintf("%s waits until %s", taskID, moment(t.GetScheduledAt())), true
		case weftv1.TaskState_TASK_STATE_READY:
			what, _ := a.obstacle(ctx, c, t.GetSpec().GetQueue(), t.GetSpec().GetKind())
			if what != "" {
				what = taskID + ": " + what
			}
			return what, true
		default:
			return "", false
		}
	}
}
