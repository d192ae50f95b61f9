package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// errNoTask is a name that can only be that of a call.
var errNoTask = errors.New("no name of a task")

// checkTaskOrCall refuses what can be the name of neither.
func checkTaskOrCall(name string) error {
	if plainName(name) {
		return nil
	}
	return Usage("%q is the name of neither a task nor a call: it is 1 to 256 bytes of [A-Za-z0-9._/-]", shorten(name))
}

// noSuchTask tells whether a name may be that of a call, now that it is not that of a task.
func noSuchTask(name string, err error) bool {
	return errors.Is(err, errNoTask) || taskID.MatchString(name) && client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND)
}

// followCall gives the news of a call to a function, and returns the last of it. noTask is why the name is not that of
// a task.
func followCall(ctx context.Context, c *client.Client, name string, noTask error, told func(*client.CallEvent)) (last client.CallEvent, err error) {
	for e, err := range c.WatchCall(ctx, name) {
		switch {
		case client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND) && last.Counts != nil:
			return last, fmt.Errorf("call %s ended while the connection was lost: how is not known any more", name)
		case client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND) && !errors.Is(noTask, errNoTask):
			return last, fmt.Errorf("%s: there is no such task and no such call", name) // the broker's words have its own spelling
		case err != nil:
			return last, err
		}
		last = e
		told(&e)
	}
	return last, nil
}

// watchCall follows a call.
func (a *App) watchCall(ctx context.Context, c *client.Client, name string, noTask error) error {
	stop := a.noteWaiting(ctx, a.watchedObstacle(c, name), a.Say)
	defer stop()
	last, err := followCall(ctx, c, name, noTask, func(e *client.CallEvent) {
		for _, t := range e.Tasks {
			fmt.Fprintln(a.Out, changeText(t))
		}
		if len(e.Tasks) == 0 || e.Over {
			fmt.Fprintf(a.Out, "%s: %s\n", name, countsText(e.Counts))
		}
	})
	if err != nil {
		return err
	}
	return exit(int(min(last.Failed(), ExitMapMax)))
}

// waitCall waits for the end of a call.
func (a *App) waitCall(ctx context.Context, c *client.Client, name string, noTask error) (client.CallEvent, error) {
	stop := a.noteWaiting(ctx, a.watchedObstacle(c, name), a.Say)
	defer stop()
	return followCall(ctx, c, name, noTask, func(*client.CallEvent) {})
}

// callEnd turns the end of a call into the process's end.
func (a *App) callEnd(name string, e client.CallEvent) error {
	failed := e.Failed()
	if failed == 0 {
		return nil
	}
	return &ExitError{
		Code: int(min(failed, ExitMapMax)),
		Err:  fmt.Errorf("call %s: %d of %d failed", name, failed, failed+e.Counts.GetSucceeded()),
	}
}

// changeText is where a task is, and how it ended.
func changeText(t *weftv1.Task) string {
	text := taskText(t)
	if e := errorText(t.GetOutcome().GetError()); e != "" {
		text += ": " + shorten(e)
	}
	return text
}

// count is how many there are of something.
type count struct {
	word string
	n    uint64
}

// countsOf are counts by state, in the order of a task's life.
func countsOf(n *weftv1.TaskCounts) []count {
	return []count{
		{"scheduled", n.GetScheduled()},
		{"blocked", n.GetBlocked()},
		{"ready", n.GetReady()},
		{"running", n.GetRunning()},
		{"cancelling", n.GetCancelling()},
		{"succeeded", n.GetSucceeded()},
		{"failed", n.GetFailed()},
		{"cancelled", n.GetCancelled()},
		{"expired", n.GetExpired()},
	}
}

// countsText is how many tasks there are in each state, in a line.
func countsText(n *weftv1.TaskCounts) string {
	var parts []string
	for _, c := range countsOf(n) {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	if len(parts) == 0 {
		return "no tasks"
	}
	return strings.Join(parts, ", ")
}
