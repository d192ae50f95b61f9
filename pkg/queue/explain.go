package queue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/internal/pure"
)

// Explanation is why a task does not run.
type Explanation struct {
	State   State
	Reason  string // a word for programs
	Message string
	Advice  string // what to do about it; may be empty
}

// Explain says why a task does not run.
func (c *Core) Explain(namespace string, id uint64, wall pure.Wall, lease pure.Lease) (Explanation, error) {
	t, err := c.find(namespace, id)
	if err != nil {
		return Explanation{}, err
	}
	e := c.explain(t, wall, lease)
	e.State = t.State
	return e, nil
}

func (c *Core) explain(t *task, wall pure.Wall, lease pure.Lease) Explanation {
	switch {
	case t.State.Final():
		return explainFinal(t)
	case t.State == Running:
		return c.explainRunning(t, wall, lease)
	case t.State == Cancelling:
		return Explanation{
			Reason: "cancelling",
			Message: fmt.Sprintf("The task is told to stop%s, on %s: its worker has not said yet that it did%s.",
				told(t, wall, lease, t.CancelGrace), c.holder(t), latest(t, wall, lease)),
		}
	case t.State == Scheduled:
		return explainScheduled(t, wall)
	case t.State == Blocked:
		return c.explainBlocked(t)
	}
	return c.explainReady(t, lease)
}

// explainRunning says of a task beyond its timeout that its worker was to stop it.
func (c *Core) explainRunning(t *task, wall pure.Wall, lease pure.Lease) Explanation {
	text := fmt.Sprintf("The task runs: attempt %d, on %s, for %v", t.Attempts, c.holder(t), span(wall, t.StartedAt))
	e := Explanation{Reason: "running", Message: text + "."}
	if t.timeoutAt == 0 || lease < t.timeoutAt.Add(-t.Options.Grace-reportMargin) {
		return e
	}
	e.Message = fmt.Sprintf("%s. It has outlived its timeout of %v and is told to stop%s: its worker has not said yet that it did%s.",
		text, t.Options.Timeout, told(t, wall, lease, t.Options.Grace), latest(t, wall, lease))
	e.Advice = "a handler has to heed its context; a command is killed after its grace"
	return e
}

// told says since when a task is told to stop, latest when the broker ends it at the latest. Both are told by the time
// at which the broker's patience is over; nothing of a task that waits for its worker's word alone.
func told(t *task, wall pure.Wall, lease pure.Lease, grace time.Duration) string {
	if t.timeoutAt == 0 {
		return ""
	}
	return " since " + moment(wall, lease, t.timeoutAt.Add(-grace-reportMargin))
}

func latest(t *task, wall pure.Wall, lease pure.Lease) string {
	if t.timeoutAt == 0 {
		return ""
	}
	return ", and the broker ends the attempt at " + moment(wall, lease, t.timeoutAt) + " at the latest"
}

// moment writes a time of the lease clock for people.
func moment(wall pure.Wall, lease, at pure.Lease) string {
	return time.Unix(0, int64(wall.Add(time.Duration(at-lease)))).UTC().Format(time.RFC3339)
}

func explainFinal(t *task) Explanation {
	e := Explanation{Reason: "final", Message: "The task has ended: it " + finalWord(t.State)}
	if why := t.Outcome.Error; why != nil && why.Message != "" && t.State != Expired {
		e.Message += " (" + cutText(why.Message) + ")"
	}
	e.Message += "."
	return e
}

func finalWord(s State) string {
	if s == Succeeded {
		return "succeeded"
	}
	return endWord(s)
}

func (c *Core) holder(t *task) string {
	if n := c.sessionName(t.Session); n != "" {
		return "worker " + n
	}
	return "a worker that is gone"
}

func span(now, then pure.Wall) time.Duration {
	return time.Duration(max(now-then, 0)).Round(time.Second)
}

func explainScheduled(t *task, wall pure.Wall) Explanation {
	at := time.Unix(0, int64(t.Next)).UTC().Format(time.RFC3339)
	wait := span(t.Next, wall)
	if t.Attempts > 0 {
		return Explanation{Reason: "waits_for_time", Message: fmt.Sprintf(
			"Attempt %d failed; the next one may begin at %s, in %v.", t.Attempts, at, wait)}
	}
	return Explanation{Reason: "waits_for_time", Message: fmt.Sprintf("It is to run at %s, in %v.", at, wait)}
}

func (c *Core) explainBlocked(t *task) Explanation {
	on := t.awaits()[0]
	state := "gone"
	if o := c.tasks[on]; o != nil {
		state = o.State.String()
	}
	if t.Joined != 0 {
		return Explanation{Reason: "joined", Message: fmt.Sprintf(
			"It joined task %s of the same unique key, which is %s, and ends as that one does.", FormatID(on), state)}
	}
	more := ""
	if n := len(t.Waits) - 1; n > 0 {
		more = fmt.Sprintf(", and for %d more", n)
	}
	return Explanation{
		Reason:  "waits_for_task",
		Message: fmt.Sprintf("It waits for task %s, which is %s%s.", FormatID(on), state, more),
		Advice:  "weft why " + FormatID(on),
	}
}

func (c *Core) explainReady(t *task, lease pure.Lease) Explanation {
	q := t.queue
	if t.poisonous() {
		return Explanation{Reason: "worker_suspected", Message: fmt.Sprintf(
			"%d workers were lost with the task, and may come back: it waits for the end of their sessions.", len(t.Suspects))}
	}
	if q.Paused {
		return Explanation{Reason: "queue_paused", Message: "Queue " + q.Name + " is paused.", Advice: "weft queue resume " + q.Name}
	}
	at, paced := q.allowedAt()
	switch {
	case q.limited():
		return Explanation{
			Reason:  "queue_limit",
			Message: fmt.Sprintf("Queue %s runs as many tasks as it may: %d.", q.Name, q.MaxRunning),
			Advice:  "weft queue update " + q.Name + " --max-running N",
		}
	case c.stuffed(q):
		return Explanation{
			Reason:  "state_full",
			Message: "The broker holds more bytes than it may, and begins nothing until outcomes are acknowledged or forgotten.",
			Advice:  "weft queue purge " + q.Name + " --state succeeded",
		}
	case t.group != nil && t.group.key.parked():
		return Explanation{
			Reason: "key_limit",
			Message: fmt.Sprintf("Fairness key %q runs as many tasks as one key may in queue %s: %d.",
				t.Options.FairnessKey, q.Name, q.MaxRunningPerKey),
			Advice: "weft queue update " + q.Name + " --max-running-per-key N",
		}
	case paced && at > lease:
		return Explanation{
			Reason:  "rate_limit",
			Message: fmt.Sprintf("Queue %s begins at most %s per second.", q.Name, count(q.Rate, "task", "tasks")),
			Advice:  "weft queue update " + q.Name + " --rate N",
		}
	}
	if e, ok := q.explainWorkers(t); ok {
		return e
	}
	return q.explainTurn(t)
}

// explainWorkers finds that no worker of a queue runs a task.
func (q *queue) explainWorkers(t *task) (Explanation, bool) {
	workers, waiting, kind, labels := 0, false, false, false
	kinds := map[string]bool{}
	for _, p := range q.inOrder {
		if len(p.workers) == 0 && p.waiters.Len() == 0 {
			continue
		}
		workers += len(p.workers)
		waiting = true
		for _, k := range p.kinds {
			kinds[k] = true
		}
		handles := len(p.kinds) == 0 || slices.Contains(p.kinds, t.Kind)
		kind = kind || handles
		labels = labels || handles && hasLabels(p.labels, t.Options.WorkerLabels)
	}
	switch {
	case !waiting:
		return Explanation{
			Reason: "no_worker", Message: "No worker serves queue " + q.Name + ".",
			Advice: "weft worker --queues " + q.Name + " … (weft workers shows who is there)" + q.orGet(t),
		}, true
	case !kind:
		return Explanation{
			Reason: "no_kind",
			Message: fmt.Sprintf("No worker of queue %s handles kind %s; the kinds there are %s.",
				q.Name, t.Kind, few(slices.Sorted(maps.Keys(kinds)))),
			Advice: "start a worker that handles kind " + t.Kind + q.orGet(t),
		}, true
	case !labels:
		return Explanation{
			Reason: "no_labels",
			Message: fmt.Sprintf("No worker of queue %s that handles kind %s has the labels %s.",
				q.Name, t.Kind, labelText(t.Options.WorkerLabels)),
			Advice: "start a worker with these labels",
		}, true
	}
	return Explanation{}, false
}

// orGet is the advice to take a task by hand, as those that are no commands often are.
func (q *queue) orGet(t *task) string {
	if t.Kind == "command" {
		return ""
	}
	return ", or weft queue get " + q.Name
}

func (q *queue) explainTurn(t *task) Explanation {
	slots, workers, draining := uint32(0), 0, 0
	for _, p := range q.inOrder {
		if p.links[t.group.lane] == nil {
			continue
		}
		for _, s := range p.workers {
			if s.worker.draining {
				draining++
				continue
			}
			workers++
			slots += s.worker.slots
		}
	}
	switch {
	case workers > 0:
	case draining > 0:
		return Explanation{
			Reason:  "workers_draining",
			Message: fmt.Sprintf("The workers that run it take no more tasks: %s.", count(draining, "worker drains", "workers drain")),
			Advice:  "start a worker",
		}
	default:
		return Explanation{Reason: "waits_for_turn", Message: "It is about to be handed out."}
	}
	return Explanation{
		Reason: "workers_busy",
		Message: fmt.Sprintf("The workers that run it are busy: %s of %s; %s ready in queue %s.",
			count(slots, "slot", "slots"), count(workers, "worker", "workers"), count(q.counts[Ready]-q.gone[Ready], "task is", "tasks are"), q.Name),
		Advice: "start more workers, or give them more slots",
	}
}

// count is a number with the word for one, or for several.
func count[T int | uint32 | uint64 | float64](n T, one, more string) string {
	if n == 1 {
		return fmt.Sprintf("%v %s", n, one)
	}
	return fmt.Sprintf("%v %s", n, more)
}

// few joins a list, cut to its beginning.
func few(list []string) string {
	const most = 5
	if len(list) > most {
		return strings.Join(list[:most], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

func labelText(list []string) string {
	var out []string
	for i := 0; i+1 < len(list); i += 2 {
		out = append(out, list[i]+"="+list[i+1])
	}
	return strings.Join(out, ", ")
}
