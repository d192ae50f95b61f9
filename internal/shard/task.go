package shard

import (
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// SubmitTask submits a task of its own. The reply is a queue.Submitted. With a waiter it waits for room in a
// queue that is full.
type SubmitTask struct {
	Namespace string
	RequestID string
	Task      queue.NewTask
	Waiter    uint64
	Guard     lockservice.Guard // without a waiter
}

func (c *SubmitTask) run(m *Machine, step *pure.Step) (any, error) {
	if m.diskLow {
		return nil, diskLow()
	}
	if _, known := m.queue.Requested(c.Namespace, c.RequestID); !known && c.Guard.Token != 0 {
		if err := m.locks.CheckLock(c.Namespace, c.Guard); err != nil {
			return nil, err
		}
	}
	s, waits, err := m.queue.Submit(step, c.Namespace, c.RequestID, c.Task, c.Waiter)
	if waits {
		m.later(c.Waiter)
		return nil, nil
	}
	return s, err
}

// ForgetSubmit ends a [SubmitTask] that still waits for room; it is refused with err.
type ForgetSubmit struct {
	Waiter uint64
	Err    error `json:"-"`
}

func (c *ForgetSubmit) run(m *Machine, _ *pure.Step) (any, error) {
	if m.queue.ForgetPut(c.Waiter) {
		m.answerLater(c.Waiter, nil, c.Err)
	}
	return nil, nil
}

// SubmitTasks submits tasks of their own, each on its own merits. The reply is a []SubmitResult.
type SubmitTasks struct {
	Namespace string
	RequestID string
	Tasks     []queue.NewTask
	Refused   []error // of the same length: those that broke a rule at the edge
}

// SubmitResult is what became of one task.
type SubmitResult struct {
	queue.Submitted
	Err error
}

func (c *SubmitTasks) run(m *Machine, step *pure.Step) (any, error) {
	if m.diskLow {
		return nil, diskLow()
	}
	out := make([]SubmitResult, len(c.Tasks))
	for i := range c.Tasks {
		if out[i].Err = c.Refused[i]; out[i].Err != nil {
			continue
		}
		out[i].Submitted, _, out[i].Err = m.queue.Submit(step, c.Namespace, queue.RequestOf(c.RequestID, i), c.Tasks[i], 0)
	}
	return out, nil
}

// RetryTasks makes final tasks ready again: those named, or a page of a queue's failed ones. The reply is a
// [RetryPage].
type RetryTasks struct {
	Namespace   string
	RequestID   string // of one that names tasks
	IDs         []uint64
	Queue, Kind string
	After       uint64
}

// RetryPage counts, and has the id to go on from, 0 at the end.
type RetryPage struct {
	Tasks int
	Next  uint64
}

func (c *RetryTasks) run(m *Machine, step *pure.Step) (any, error) {
	if len(c.IDs) > 0 {
		tasks, err := m.queue.Retry(step, c.Namespace, c.RequestID, c.IDs)
		return RetryPage{Tasks: tasks}, err
	}
	tasks, next, err := m.queue.RetryQueue(step, c.Namespace, c.Queue, c.Kind, c.After)
	return RetryPage{tasks, next}, err
}

// ExplainTask says why a task does not run. The reply is a queue.Explanation.
type ExplainTask struct {
	Namespace string
	ID        uint64
}

func (c *ExplainTask) run(m *Machine, step *pure.Step) (any, error) {
	return m.queue.Explain(c.Namespace, c.ID, step.Wall, step.Lease)
}

// GetTask returns a task (queue.Snapshot).
type GetTask struct {
	Namespace string
	ID        uint64
}

func (c *GetTask) run(m *Machine, _ *pure.Step) (any, error) {
	return m.queue.Task(c.Namespace, c.ID)
}

// ListTasks returns a page of tasks ([TaskPage]).
type ListTasks struct {
	Filter queue.Filter
	After  uint64
	Max    int
}

// TaskPage is a page of tasks and the id to go on from, 0 at the end.
type TaskPage struct {
	Tasks []queue.Snapshot
	Next  uint64
}

func (c *ListTasks) run(m *Machine, _ *pure.Step) (any, error) {
	tasks, next := m.queue.List(c.Filter, c.After, c.Max)
	return TaskPage{tasks, next}, nil
}

// WatchTask returns a task (queue.Snapshot) and tells the stream each change of it after that, up to its
// end. It must be undone by [UnwatchTask].
type WatchTask struct {
	Namespace string
	ID        uint64
	Call      string  // instead of ID: the task's call,
	Index     uint64  // and its index there
	Stream    *Outbox `json:"-"`
}

func (c *WatchTask) run(m *Machine, _ *pure.Step) (any, error) {
	id := c.ID
	if c.Call != "" {
		t, err := m.queue.TaskOfCall(c.Namespace, c.Call, c.Index)
		if err != nil {
			return nil, err
		}
		id = t.ID
	}
	t, err := m.queue.Watch(c.Namespace, id)
	if err != nil || t.State.Final() {
		return t, err
	}
	m.watchers[id] = append(m.watchers[id], c.Stream)
	return t, nil
}

// UnwatchTask undoes [WatchTask].
type UnwatchTask struct {
	ID     uint64
	Stream *Outbox `json:"-"`
}

func (c *UnwatchTask) run(m *Machine, _ *pure.Step) (any, error) {
	if unlist(m.watchers, c.ID, c.Stream) {
		m.queue.Unwatch(c.ID)
	}
	return nil, nil
}

// unlist takes a stream off a list, and tells whether it was there.
func unlist(lists map[uint64][]*Outbox, id uint64, o *Outbox) bool {
	list := lists[id]
	i := slices.Index(list, o)
	switch {
	case i < 0:
		return false
	case len(list) == 1:
		delete(lists, id)
	default:
		lists[id] = slices.Delete(list, i, i+1)
	}
	return true
}

// WatchCall returns a call (queue.CallView) and, unless it is over, tells the stream each change of its tasks after that,
// until it is. It must be undone by [UnwatchCall].
type WatchCall struct {
	Namespace string
	Call      string
	Stream    *Outbox `json:"-"`
}

func (c *WatchCall) run(m *Machine, _ *pure.Step) (any, error) {
	v, err := m.queue.WatchCall(c.Namespace, c.Call)
	if err == nil && !v.Over {
		m.callWatchers[v.ID] = append(m.callWatchers[v.ID], c.Stream)
	}
	return v, err
}

// UnwatchCall undoes [WatchCall].
type UnwatchCall struct {
	ID     uint64
	Stream *Outbox `json:"-"`
}

func (c *UnwatchCall) run(m *Machine, _ *pure.Step) (any, error) {
	if unlist(m.callWatchers, c.ID, c.Stream) {
		m.queue.UnwatchCall(c.ID)
	}
	return nil, nil
}

// CancelTask cancels a task. The reply is its state after that (queue.State).
type CancelTask struct {
	Namespace string
	ID        uint64
	Grace     time.Duration // below 0 is the task's own
}

func (c *CancelTask) run(m *Machine, step *pure.Step) (any, error) {
	return m.queue.Cancel(step, c.Namespace, c.ID, c.Grace)
}

// ReportTask ends an attempt by its token. The reply is the task's state after that (queue.State). The session of a
// reservation ends with the last task that it holds: nobody else has its name, and a request to close it would be one
// more for each task.
type ReportTask struct {
	Namespace string
	Report    queue.Report
}

func (c *ReportTask) run(m *Machine, step *pure.Step) (any, error) {
	holder := m.queue.Holder(c.Report.ID)
	state, err := m.queue.ReportOne(step, c.Namespace, c.Report)
	if err == nil {
		m.locks.EndHolder(step, lockservice.HolderID{Session: holder, Number: c.Report.Token})
		m.idle(step, holder)
	}
	return state, err
}

// AdvanceTask says how far an attempt has come, by its token.
type AdvanceTask struct {
	Namespace string
	Advance   queue.Advance
}

func (c *AdvanceTask) run(m *Machine, step *pure.Step) (any, error) {
	return nil, m.queue.AdvanceAttempt(step, c.Namespace, &c.Advance)
}

// InterruptSubmitter interrupts the client of a task's call.
type InterruptSubmitter struct {
	Namespace string
	ID        uint64
	Token     uint64
	Message   string
}

func (c *InterruptSubmitter) run(m *Machine, step *pure.Step) (any, error) {
	return nil, m.queue.Interrupt(step, c.Namespace, c.ID, c.Token, c.Message)
}

// RenewTask prolongs the session that holds a task. The reply is the session's TTL (time.Duration).
type RenewTask struct {
	Namespace string
	ID        uint64
	Token     uint64
}

func (c *RenewTask) run(m *Machine, step *pure.Step) (any, error) {
	id, err := m.queue.Lease(c.Namespace, c.ID, c.Token)
	if err != nil {
		return nil, err
	}
	m.sessions.Renew(step, id)
	return m.sessions.Lookup(id).TTL, nil
}

// ReserveTasks takes tasks, now or when there is one. The reply is a [Reservation].
type ReserveTasks struct {
	Reservation queue.Reservation // its Session is the holder's, or none
	NewSession  session.ID        `json:"-"` // the id of a session of its own
	Lease       time.Duration     // and its TTL
	RequestID   string
	RequestHash [16]byte
	Wait        bool
}

// Reservation is the answer to [ReserveTasks]; without tasks if there was none, or another request with
// the same id took over.
type Reservation struct {
	Session session.ID
	Lease   time.Duration // the session's TTL
	Tasks   []queue.Assignment
}

// waiting is a reservation that is not answered yet.
type waiting struct {
	reply Reply
	open  *session.State // a session to open for what is granted; nil if the holder has one
	id    session.ID
}

// requestOf names the request of a reservation that will open a session.
func (w *waiting) requestOf() (request, bool) {
	if w.open == nil || w.open.RequestID == "" {
		return request{}, false
	}
	return request{w.open.Namespace, w.open.RequestID}, true
}

type request struct{ namespace, id string }

// await notes a reservation that is not answered yet.
func (m *Machine) await(id uint64, w *waiting) {
	m.waiters[id] = w
	if r, ok := w.requestOf(); ok {
		m.requests[r] = id
	}
}

// awaited forgets a reservation and returns it.
func (m *Machine) awaited(id uint64) *waiting {
	w := m.waiters[id]
	delete(m.waiters, id)
	if r, ok := w.requestOf(); ok {
		delete(m.requests, r)
	}
	return w
}

func (c *ReserveTasks) run(m *Machine, step *pure.Step) (any, error) {
	r := c.Reservation
	w := &waiting{id: r.Session}
	if r.Session.IsZero() {
		answer, err := m.takeOver(c)
		if answer != nil || err != nil {
			return answer, err
		}
		w.id = c.NewSession
		w.open = &session.State{
			ID: w.id, Namespace: r.Namespace, Kind: session.Reservation, Name: "reservation", TTL: c.Lease,
			RequestID: c.RequestID, RequestHash: c.RequestHash,
		}
	} else if _, err := m.sessions.Get(r.Namespace, r.Session); err != nil {
		return nil, err
	}
	r.Session = w.id
	if err := m.queue.Reserve(step, r); err != nil {
		return nil, err
	}
	if !c.Wait && m.queue.Forget(r.Waiter) {
		return Reservation{}, nil
	}
	w.reply, m.reply = m.reply, nil
	m.await(r.Waiter, w)
	return nil, nil
}

// takeOver answers a request that was granted before. One that still waits is taken over: its client asks
// again, so nobody listens for the first answer.
func (m *Machine) takeOver(c *ReserveTasks) (any, error) {
	mismatch := pure.Refuse(pure.RequestMismatch, "a request with this id had another body", "request_id", c.RequestID)
	namespace := c.Reservation.Namespace
	if s := m.sessions.ByRequest(namespace, c.RequestID); s != nil {
		if s.RequestHash != c.RequestHash {
			return nil, mismatch
		}
		return Reservation{s.ID, s.TTL, m.queue.HeldBy(s.ID)}, nil
	}
	id, ok := m.requests[request{namespace, c.RequestID}]
	if !ok {
		return nil, nil
	}
	if m.waiters[id].open.RequestHash != c.RequestHash {
		return nil, mismatch
	}
	m.queue.Forget(id)
	m.answer(m.awaited(id), Reservation{}, nil)
	return nil, nil
}

// answer tells a reservation its end, with what is decided now.
func (m *Machine) answer(w *waiting, r Reservation, err error) {
	m.pending.deliveries = append(m.pending.deliveries, delivery{reply: w.reply, effect: r, err: err})
}

// reserved answers a reservation, with a session for what was granted.
func (m *Machine) reserved(step *pure.Step, e *queue.Reserved) {
	w := m.awaited(e.Waiter)
	if e.Err != nil {
		m.answer(w, Reservation{}, e.Err)
		return
	}
	if w.open != nil {
		if s, err := m.sessions.Open(step, *w.open); err != nil || s.ID != w.id {
			// A session was opened by another request with the same id meanwhile.
			m.queue.GiveBack(step, w.id)
			m.answer(w, Reservation{}, err)
			return
		}
	}
	m.sessions.Renew(step, w.id)
	m.answer(w, Reservation{w.id, m.sessions.Lookup(w.id).TTL, e.Tasks}, nil)
}

// ForgetReservation ends a reservation that still waits; it is answered without tasks.
type ForgetReservation struct{ Waiter uint64 }

func (c *ForgetReservation) run(m *Machine, _ *pure.Step) (any, error) {
	if m.queue.Forget(c.Waiter) {
		m.answer(m.awaited(c.Waiter), Reservation{}, nil)
	}
	return nil, nil
}
