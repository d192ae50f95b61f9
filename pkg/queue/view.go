package queue

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// FormatID writes a task's id as the API does.
func FormatID(id uint64) string {
	var buf [16]byte
	return string(AppendID(buf[:0], id))
}

// AppendID appends a task's id as the API writes it.
func AppendID(b []byte, id uint64) []byte { return strconv.AppendUint(append(b, 't'), id, 36) }

// ParseID reads a task's id of the API.
func ParseID(s string) (uint64, bool) {
	if len(s) < 2 || len(s) > 14 || s[0] != 't' {
		return 0, false
	}
	var id uint64
	for _, ch := range []byte(s[1:]) {
		var digit uint64
		switch {
		case ch >= '0' && ch <= '9':
			digit = uint64(ch - '0')
		case ch >= 'a' && ch <= 'z':
			digit = uint64(ch-'a') + 10
		default:
			return 0, false
		}
		if id > (1<<64-1-digit)/36 {
			return 0, false
		}
		id = id*36 + digit
	}
	return id, true
}

func (c *Core) find(namespace string, id uint64) (*task, error) {
	t := c.tasks[id]
	if t == nil || t.queue.Namespace != namespace {
		return nil, pure.Refuse(pure.TaskNotFound, "there is no task "+FormatID(id)+", or its outcome is past its retention",
			"task_id", FormatID(id))
	}
	return t, nil
}

// Task returns a task as it is now.
func (c *Core) Task(namespace string, id uint64) (Snapshot, error) {
	t, err := c.find(namespace, id)
	if err != nil {
		return Snapshot{}, err
	}
	return c.snapshot(t), nil
}

// TaskOfCall returns the task at an index of a call as it is now.
func (c *Core) TaskOfCall(namespace, callName string, index uint64) (Snapshot, error) {
	k := c.callNames[name{namespace, callName}]
	if k == nil {
		return Snapshot{}, pure.Refuse(pure.CallNotFound, "no such call", "call_id", callName)
	}
	t := k.byIndex[index]
	if t == nil {
		return Snapshot{}, pure.Refuse(pure.TaskNotFound, "the call has no task at this index, or its outcome was acknowledged",
			"call_id", callName, "call_index", index)
	}
	return c.snapshot(t), nil
}

func (c *Core) snapshot(t *task) Snapshot {
	s := Snapshot{TaskState: t.TaskState, Namespace: t.queue.Namespace, QueueName: t.queue.Name, Progress: t.progress}
	if t.call != nil {
		s.CallName = t.call.Name
	}
	if t.State.Held() {
		s.Worker = c.sessionName(t.Session)
	}
	return s
}

// watched is a snapshot for a watcher, without the checkpoint of a task that goes on: what waits for a slow one would
// keep each checkpoint that another one has replaced meanwhile.
func (c *Core) watched(t *task) Snapshot {
	s := c.snapshot(t)
	if s.Checkpoint != nil && !s.State.Final() {
		s.with(func(x *Extra) { x.Checkpoint = nil })
	}
	return s
}

// Watch returns a task as it is now. Unless it is final, each change is an effect from then on, until Unwatch.
func (c *Core) Watch(namespace string, id uint64) (Snapshot, error) {
	t, err := c.find(namespace, id)
	if err != nil {
		return Snapshot{}, err
	}
	if !t.State.Final() {
		t.watched++
	}
	return c.watched(t), nil
}

// Unwatch undoes one Watch.
func (c *Core) Unwatch(id uint64) {
	if t := c.tasks[id]; t != nil && t.watched > 0 {
		t.watched--
	}
}

// Filter chooses tasks.
type Filter struct {
	Namespace string
	Queue     string  // empty is any
	States    []State // none is any
	Call      string  // empty is any
	Kind      string  // empty is any
	Labels    []string
	From, To  pure.Wall // of the acceptance: at or after From, before To; 0 is any
}

// examinedMax bounds the tasks that one page looks at, so that a listing never holds up the loop.
const examinedMax = 10_000

// List returns tasks with ids above after, oldest first, at most n, and the id to go on from, 0 at the end.
func (c *Core) List(f Filter, after uint64, n int) ([]Snapshot, uint64) {
	var out []Snapshot
	for examined, id := range c.order.After(after) {
		if len(out) == n || examined == examinedMax {
			return out, id - 1
		}
		if t := c.tasks[id]; t != nil && t.matches(&f) {
			out = append(out, c.snapshot(t))
		}
	}
	return out, 0
}

func (t *task) matches(f *Filter) bool {
	return t.queue.Namespace == f.Namespace &&
		(f.Queue == "" || t.queue.Name == f.Queue) &&
		(len(f.States) == 0 || slices.Contains(f.States, t.State)) &&
		(f.Call == "" || t.call != nil && t.call.Name == f.Call) &&
		(f.Kind == "" || t.Kind == f.Kind) &&
		t.CreatedAt >= f.From && (f.To == 0 || t.CreatedAt < f.To) &&
		hasLabels(t.Options.Labels, f.Labels)
}

// QueueView is a queue and its counts by state.
type QueueView struct {
	QueueState
	Counts [states]uint64
}

// Unfinished is how many tasks have not ended.
func (v *QueueView) Unfinished() (n uint64) {
	for s := Scheduled; s < Succeeded; s++ {
		n += v.Counts[s]
	}
	return n
}

// Queue returns a queue.
func (c *Core) Queue(namespace, queueName string) (QueueView, error) {
	queueName = orDefault(queueName)
	q := c.queueNames[name{namespace, queueName}]
	switch {
	case q != nil:
		return QueueView{q.QueueState, q.left()}, nil
	case queueName == DefaultQueue:
		return QueueView{QueueState: QueueState{
			Namespace: namespace, Name: DefaultQueue, Settings: Settings{Order: ByPriority},
		}}, nil
	}
	return QueueView{}, noQueue(namespace, queueName)
}

// Queues returns a namespace's queues by name, those after a name, at most n, and whether there are more.
func (c *Core) Queues(namespace, after string, n int) ([]QueueView, bool) {
	var out []QueueView
	from, found := slices.BinarySearchFunc(c.byName, name{namespace, after}, compareNames)
	if found {
		from++
	}
	for _, q := range c.byName[from:] {
		if q.Namespace != namespace {
			break
		}
		if len(out) == n {
			return out, true
		}
		out = append(out, QueueView{q.QueueState, q.left()})
	}
	return out, false
}

func compareNames(q *queue, n name) int {
	return cmp.Or(strings.Compare(q.Namespace, n.namespace), strings.Compare(q.Name, n.name))
}

// WorkerView is a connected worker.
type WorkerView struct {
	Session  session.ID
	Name     string
	Queues   []string
	Kinds    []string
	Labels   []string
	Slots    uint32
	Credits  uint32
	Attempts uint32
	Draining bool
}

// Workers returns the workers of a namespace that are connected, by name and session.
func (c *Core) Workers(namespace string) []WorkerView {
	var out []WorkerView
	for _, p := range c.peers {
		if w := p.worker; w != nil && w.namespace == namespace {
			out = append(out, WorkerView{
				Session: p.id, Name: w.name, Queues: w.queues, Kinds: w.kinds, Labels: w.labels, Slots: w.slots,
				Credits: w.credits, Attempts: uint32(len(p.attempts)), Draining: w.draining,
			})
		}
	}
	slices.SortFunc(out, func(a, b WorkerView) int {
		if d := strings.Compare(a.Name, b.Name); d != 0 {
			return d
		}
		return slices.Compare(a.Session[:], b.Session[:])
	})
	return out
}
