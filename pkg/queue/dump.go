package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dump returns the durable state, one line an entity, in the order of their ids: what a replay of the
// journal must give again. It is for tests and for the simulator.
func (c *Core) Dump() []string {
	lines := make([]string, 0, len(c.queues)+len(c.calls)+len(c.tasks))
	for _, id := range slices.Sorted(maps.Keys(c.queues)) {
		q := &c.queues[id].QueueState
		defaults := Options{}
		if q.Defaults != nil {
			defaults = *q.Defaults
		}
		settings := q.Settings
		settings.Defaults = nil
		lines = append(lines, fmt.Sprintf("queue %d: %s/%s created %d %+v %+v paused %v closed %v at once %v deleting %v purged %v",
			q.ID, q.Namespace, q.Name, q.CreatedAt, settings, defaults, q.Paused, q.Closed, q.AtOnce, q.Deleting, q.Purged))
	}
	for _, id := range slices.Sorted(maps.Keys(c.calls)) {
		lines = append(lines, c.calls[id].dump())
	}
	for _, id := range slices.Sorted(maps.Keys(c.tasks)) {
		lines = append(lines, c.tasks[id].dump())
	}
	return lines
}

func (k *call) dump() string {
	indexes := slices.Clone(k.tasks)
	slices.SortFunc(indexes, func(a, b *task) int { return cmp.Compare(a.ID, b.ID) })
	var line strings.Builder
	line.WriteString(fmt.Sprintf("call %d: %s/%s opened %d session %x finished %v accepted %v acknowledged %v cancelled to %d daemons %v grace %d tasks",
		k.ID, k.Namespace, k.Name, k.OpenedAt, k.Session, k.Finished, k.Accepted, k.Acknowledged,
		k.CancelledTo, k.DaemonsOnly, k.CancelGrace))
	for _, t := range indexes {
		line.WriteString(fmt.Sprintf(" %d", t.ID))
	}
	if i := k.Interrupt; i != nil {
		line.WriteString(fmt.Sprintf(" interrupt %d by %d at %d %q", i.Number, i.Task, i.Index, i.Message))
	}
	return line.String()
}

func (t *task) dump() string {
	s := &t.TaskState
	var line strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&line, format, args...) }
	add("task %d: queue %d call %d index %d kind %s request %q created %d runAt %d payload %d:%x options %+v",
		s.ID, s.Queue, s.Call, s.Index, s.Kind, s.RequestID, s.CreatedAt, s.RunAt, s.Payload.Encoding, s.Payload.Data, *s.Options)
	add(" | %v next %d attempts %d tries %d losses %d suspects %x token %d session %x started %d cancelGrace %d acknowledged %v",
		s.State, s.Next, s.Attempts, s.Tries, s.Losses, s.Suspects, s.Token, s.Session, s.StartedAt, s.CancelGrace, s.Acknowledged)
	add(" expiring %v detached %v waits %v joined %d joiners %q since %d retried by %q with %d",
		s.Expiring, s.Detached, s.Waits, s.Joined, s.Joiners, s.Since, s.RetriedBy, s.RetriedWith)
	if p := s.Checkpoint; p != nil {
		add(" checkpoint %d:%x behind %d", p.State.Encoding, p.State.Data, p.Partials)
	}
	for _, p := range s.Partials {
		add(" partial %d:%x", p.Encoding, p.Data)
	}
	for i := range s.History {
		a := &s.History[i]
		add(" attempt %d by %s %d to %d end %d", a.Token, a.Worker, a.StartedAt, a.EndedAt, a.End)
		if a.Error != nil {
			add(" %+v", *a.Error)
		}
	}
	if s.LastError != nil {
		add(" lastError %+v", *s.LastError)
	}
	if o := s.Outcome; o != nil {
		add(" | outcome %v end %d result %d:%x attempts %d worker %s token %d started %d finished %d spooled %v taken %v",
			o.State, o.End, o.Result.Encoding, o.Result.Data, o.Attempts, o.Worker, o.Token, o.StartedAt, o.FinishedAt, o.Spooled, o.Taken)
		if o.Error != nil {
			add(" error %+v", *o.Error)
		}
	}
	return line.String()
}
