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

// obstacle is why a task does not run. Its word tells whether it is the same as before: the sentence has
// numbers in it.
type obstacle struct{ word, text string }

// look finds what a task waits for: no word is nothing to speak of. It returns false when nothing waits any
// more.
type look func(context.Context) (found obstacle, waits bool)

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
			found, waits := look(short)
			cancel()
			if !waits || ctx.Err() != nil {
				return
			}
			if found.word != "" && !said[found.word] {
				said[found.word] = true
				say("%s", found.text)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// sentence is an explanation in a line.
func sentence(e client.Explanation) string {
	if e.Advice == "" {
		return e.Message
	}
	return e.Message + " Try: " + e.Advice
}

// taskObstacle looks on behalf of a task that is known by its name, until that has begun.
func (a *App) taskObstacle(c *client.Client, taskID string) look {
	return func(ctx context.Context) (obstacle, bool) {
		e, err := c.Explain(ctx, taskID)
		switch {
		case err != nil:
			return obstacle{}, true
		case !waitsState(e.State):
			return obstacle{}, false
		}
		return obstacle{e.Reason, taskID + ": " + sentence(e)}, true
	}
}

// waitsState reports whether a task has not begun.
func waitsState(s weftv1.TaskState) bool {
	return slices.Contains(waitingStates, s)
}

var waitingStates = []weftv1.TaskState{
	weftv1.TaskState_TASK_STATE_SCHEDULED, weftv1.TaskState_TASK_STATE_BLOCKED, weftv1.TaskState_TASK_STATE_READY,
}

// callObstacle looks on behalf of the first task of a call that waits. One that the broker has not taken waits
// for room in its queue.
func (a *App) callObstacle(c *client.Client, callID, queue string) look {
	return func(ctx context.Context) (obstacle, bool) {
		if found, some := firstObstacle(ctx, c, callID); some {
			return found, true
		}
		return roomObstacle(ctx, c.Queue(queue)), true
	}
}

// watchedObstacle is that for a call that somebody else has. Workers that are busy are busy with it, most likely.
func (a *App) watchedObstacle(c *client.Client, callID string) look {
	return func(ctx context.Context) (obstacle, bool) {
		found, _ := firstObstacle(ctx, c, callID)
		if found.word == "workers_busy" {
			found = obstacle{}
		}
		return found, true
	}
}

// firstObstacle is why the first task of a call that waits does so; false is that none does.
func firstObstacle(ctx context.Context, c *client.Client, callID string) (found obstacle, some bool) {
	for t, err := range c.List(ctx, client.Filter{CallID: callID, States: waitingStates}) {
		if err != nil {
			return obstacle{}, true
		}
		e, err := c.Explain(ctx, t.GetId())
		if err != nil || !waitsState(e.State) {
			return obstacle{}, true
		}
		return obstacle{e.Reason, sentence(e)}, true
	}
	return obstacle{}, false
}

// roomObstacle is why a queue takes no task.
func roomObstacle(ctx context.Context, q *client.Queue) obstacle {
	info, err := q.Info(ctx)
	if err != nil || info.GetMaxSize() == 0 || queueSize(info) < info.GetMaxSize() {
		return obstacle{}
	}
	paused := ""
	if info.GetPaused() {
		paused = ", and it is paused"
	}
	return obstacle{"queue_full", fmt.Sprintf("Queue %s is full: %s in it, its max size is %d%s. Try: weft queue update %s --max-size N",
		info.GetName(), plural(queueSize(info), "task waits", "tasks wait"), info.GetMaxSize(), paused, info.GetName())}
}
