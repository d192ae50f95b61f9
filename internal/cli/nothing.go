package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// nothingLookMax is how many ready tasks are looked at for one that a get may have.
const nothingLookMax = 100

// wanted is what a get takes.
type wanted struct {
	kinds  []string          // empty is any
	labels map[string]string // of those that a task may ask a worker for
}

// nothing is why a queue hands out no task of those that are wanted.
func nothing(ctx context.Context, c *client.Client, q *client.Queue, want wanted) obstacle {
	info, err := q.Info(ctx)
	if err != nil {
		return obstacle{}
	}
	if info.GetPaused() {
		return obstacle{"queue_paused", fmt.Sprintf("Queue %s is paused. Try: weft queue resume %s", q.Name(), q.Name())}
	}
	first, foreign, err := want.find(ctx, c, q.Name())
	switch {
	case err != nil:
		return obstacle{}
	case first != nil:
		return explained(ctx, c, first)
	case foreign != nil:
		labels := foreign.GetSpec().GetWorkerLabels()
		pairs, flags := make([]string, 0, len(labels)), ""
		for _, k := range sortedKeys(labels) {
			pairs = append(pairs, k+"="+labels[k])
			flags += " --label " + quoteArg(k+"="+labels[k])
		}
		return obstacle{"no_labels", fmt.Sprintf("What is ready in queue %s is for workers with labels, such as %s. Try: weft queue get %s%s",
			q.Name(), strings.Join(pairs, ", "), q.Name(), flags)}
	}
	return want.missing(info)
}

// find looks for a ready task that is wanted, else for one that is but for its labels.
func (w wanted) find(ctx context.Context, c *client.Client, queue string) (first, foreign *weftv1.Task, err error) {
	kinds := w.kinds
	if len(kinds) == 0 {
		kinds = []string{""}
	}
	for _, kind := range kinds {
		seen := 0
		for t, err := range c.List(ctx, client.Filter{Queue: queue, Kind: kind, States: []weftv1.TaskState{weftv1.TaskState_TASK_STATE_READY}}) {
			if err != nil {
				return nil, nil, err
			}
			if w.has(t.GetSpec().GetWorkerLabels()) {
				return t, nil, nil
			}
			foreign = t
			if seen++; seen == nothingLookMax {
				break
			}
		}
	}
	return nil, foreign, nil
}

// has reports whether a get has the labels that a task asks for.
func (w wanted) has(labels map[string]string) bool {
	for k := range maps.Keys(labels) {
		if v, ok := w.labels[k]; !ok || v != labels[k] {
			return false
		}
	}
	return true
}

// holdReasons are those of explanations that hold for whoever takes tasks. The others are about workers, and a get
// is one.
var holdReasons = []string{"queue_paused", "queue_limit", "key_limit", "rate_limit", "state_full", "worker_suspected"}

// explained is the broker's own explanation why a ready task is not handed out.
func explained(ctx context.Context, c *client.Client, t *weftv1.Task) obstacle {
	e, err := c.Explain(ctx, t.GetId())
	if err != nil || !slices.Contains(holdReasons, e.Reason) {
		return obstacle{}
	}
	return obstacle{e.Reason, sentence(e)}
}

// missing is the reason when nothing that is wanted is ready.
func (w wanted) missing(info *weftv1.Queue) obstacle {
	name, n := info.GetName(), info.GetCounts()
	var later []string
	if s := n.GetScheduled(); s > 0 {
		later = append(later, plural(s, "task waits", "tasks wait")+" for the time to run")
	}
	if b := n.GetBlocked(); b > 0 {
		later = append(later, plural(b, "task waits", "tasks wait")+" for other tasks")
	}
	switch {
	case n.GetReady() > 0 && len(w.kinds) > 0:
		return obstacle{"no_kind", fmt.Sprintf("No task of kind %s is ready in queue %s; %s of other kinds. Try: weft queue peek %s",
			strings.Join(w.kinds, ", "), name, plural(n.GetReady(), "is", "are"), name)}
	case n.GetReady() > 0:
		return obstacle{} // it came this moment
	case len(later) > 0:
		return obstacle{"none_ready", fmt.Sprintf("No task is ready in queue %s: %s. Try: weft tasks --queue %s", name, strings.Join(later, ", "), name)}
	}
	return obstacle{"empty", fmt.Sprintf("Queue %s is empty. Try: weft queue put %s DATA", name, name)}
}
