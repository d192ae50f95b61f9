package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Held is a task that was got: nobody else has it until its lease is over. It ends with [Held.Done], [Held.Fail]
// or [Held.Release].
type Held struct {
	lease   *lease
	task    *weftv1.Assignment
	payload task.Payload
	lost    chan struct{} // closed when the lease is

	// Guarded by lease.mu.
	ended bool // for the client
	gone  bool // lost is closed
}

// TaskID is the broker's name for the task.
func (h *Held) TaskID() string { return h.task.GetTaskId() }

// Token is the attempt's fencing number: every later attempt, of any task, has a higher one.
func (h *Held) Token() uint64 { return h.task.GetToken() }

// Kind is what sort of work it is.
func (h *Held) Kind() string { return h.task.GetKind() }

// Attempt is 1 for the first one.
func (h *Held) Attempt() int { return int(h.task.GetAttempt()) }

// Labels are the task's.
func (h *Held) Labels() map[string]string { return h.task.GetLabels() }

// Payload is what was put.
func (h *Held) Payload() task.Payload { return h.payload }

// Command is the program to run, for a task that is one; else nil.
func (h *Held) Command() *weftv1.Command { return h.task.GetCommand() }

// Lost is closed when the lease is over, as far as is known here: the broker was away for too long, or the task
// was cancelled. Somebody else may have the task then.
func (h *Held) Lost() <-chan struct{} { return h.lost }

// Done completes the task: Python's task_done. Again with the same attempt changes nothing, as long as the broker
// knows the task: a minute, or for the retention that was asked for; what is not held any more is [ErrLeaseLost], or [ErrTaskNotFound].
func (h *Held) Done(ctx context.Context) error { return h.Complete(ctx, task.Payload{}) }

// Complete is Done with a result, for those who wait for the task.
func (h *Held) Complete(ctx context.Context, result task.Payload) error {
	c := h.lease.client
	request := &weftv1.CompleteTaskRequest{Namespace: c.namespace, TaskId: h.TaskID(), Token: h.Token()}
	if p := result.Proto(); p != nil {
		request.Output = &weftv1.CompleteTaskRequest_Result{Result: p}
	}
	return h.end(ctx, func() error {
		_, err := c.tasks().CompleteTask(ctx, request)
		return err
	})
}

// Fail ends the attempt with an error; the task's retry policy says what follows. A *[task.Error] keeps its
// reason, and task.Permanent is not tried again.
func (h *Held) Fail(ctx context.Context, cause error) error {
	c := h.lease.client
	reason := task.ErrorFrom(cause).Proto()
	if reason == nil {
		reason = &weftv1.TaskError{Reason: task.ReasonError}
	}
	request := &weftv1.FailTaskRequest{Namespace: c.namespace, TaskId: h.TaskID(), Token: h.Token(), Error: reason}
	return h.end(ctx, func() error {
		_, err := c.tasks().FailTask(ctx, request)
		return err
	})
}

// Release gives the task back unfinished: it keeps its place in the queue and is charged nothing.
func (h *Held) Release(ctx context.Context) error {
	c := h.lease.client
	request := &weftv1.ReleaseTaskRequest{Namespace: c.namespace, TaskId: h.TaskID(), Token: h.Token()}
	return h.end(ctx, func() error {
		_, err := c.tasks().ReleaseTask(ctx, request)
		return err
	})
}

// Renew prolongs the lease by its length from now on, and returns that. It is needed with [WithLease] only.
func (h *Held) Renew(ctx context.Context) (time.Duration, error) {
	var lease time.Duration
	sentAt := time.Now()
	err := h.lease.client.retry(ctx, func() error {
		sentAt = time.Now()
		response, err := h.lease.client.tasks().RenewTask(ctx, h.renewal())
		lease = response.GetLease().AsDuration()
		return err
	})
	if err == nil {
		h.lease.renewed(sentAt)
	}
	return lease, err
}

func (h *Held) renewal() *weftv1.RenewTaskRequest {
	return &weftv1.RenewTaskRequest{Namespace: h.lease.client.namespace, TaskId: h.TaskID(), Token: h.Token()}
}

// end ends the attempt by a request, and gives up the lease once it holds nothing more.
func (h *Held) end(ctx context.Context, request func() error) error {
	if err := h.lease.client.retry(ctx, request); err != nil {
		return err
	}
	h.lease.ended(h, true)
	return nil
}

// lease is what holds the tasks of one get.
type lease struct {
	client  *Client
	session string
	ttl     time.Duration
	renews  bool // in the background

	mu    sync.Mutex
	held  []*Held // not ended
	over  bool
	owes  bool        // the broker may know of a task that is given up here
	renew *time.Timer // the next renewal
	lost  *time.Timer // the end of the lease, as far as is known here
}

// hold begins to hold what was granted. A task whose payload cannot be read fails, as it does at a worker; it is an
// error only if no other was granted.
func (c *Client) hold(m *weftv1.ReserveTasksResponse, begun time.Time, renews bool) ([]*Held, error) {
	l := &lease{client: c, session: m.GetSessionId(), ttl: m.GetLease().AsDuration(), renews: renews}
	var out []*Held
	unreadable := map[*Held]error{}
	for _, a := range m.GetTasks() {
		p, err := task.PayloadFromProto(a.GetPayload())
		h := &Held{lease: l, task: a, payload: p, lost: make(chan struct{})}
		l.held = append(l.held, h)
		if err != nil {
			unreadable[h] = fmt.Errorf("client: task %s: %w", a.GetTaskId(), err)
		} else {
			out = append(out, h)
		}
	}
	l.start(begun)
	if !c.joinLease(l) {
		l.stop()
		return nil, ErrClosed
	}
	err := l.refuse(unreadable)
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}

// refuse fails tasks that cannot be done here, and returns why.
func (l *lease) refuse(tasks map[*Held]error) (err error) {
	if len(tasks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	for h, cause := range tasks {
		err = cause
		if h.Fail(ctx, task.Permanent(cause)) != nil {
			l.ended(h, false) // the broker has it back with the session
		}
	}
	return err
}

// start begins to count the lease, which was asked for at a time and granted at any since.
func (l *lease) start(begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = time.AfterFunc(l.limit(), l.lose)
	if !l.renews {
		return
	}
	first := l.ttl / beatShare
	if time.Since(begun) > first {
		first = 0
	}
	l.renew = time.AfterFunc(first, l.renewAll)
}

// limit is how long the lease is trusted after the sending of a renewal.
func (l *lease) limit() time.Duration {
	if l.renews {
		return time.Duration(silenceShare * float64(l.ttl))
	}
	return l.ttl
}

// renewed moves the end of the lease.
func (l *lease) renewed(sentAt time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.lost.Reset(time.Until(sentAt.Add(l.limit())))
	}
}

// renewAll renews the lease by each of its tasks: one that was cancelled is lost alone.
func (l *lease) renewAll() {
	if !l.client.begin() {
		return
	}
	defer l.client.background.Done()
	l.mu.Lock()
	held := append([]*Held(nil), l.held...)
	l.mu.Unlock()
	for _, h := range held {
		ctx, cancel := context.WithTimeout(l.client.ctx, l.ttl/beatShare)
		_, err := h.Renew(ctx)
		cancel()
		if HasReason(err, weftv1.ErrorReason_ERROR_REASON_LEASE_LOST) || HasReason(err, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND) {
			l.drop(h)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.renew.Reset(l.ttl / beatShare)
	}
}

// drop gives up a task that is held no more.
func (l *lease) drop(h *Held) {
	l.mu.Lock()
	if !h.ended && !h.gone {
		h.gone = true
		close(h.lost)
	}
	l.mu.Unlock()
	l.ended(h, false)
}

// lose gives up all of them.
func (l *lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if !h.gone {
			h.gone = true
			close(h.lost)
		}
	}
}

// ended takes a task off the lease, one that the broker was told of or one that is given up. The last one ends it. Its
// session ends by itself at the broker with the last task of which that was told; else it is closed.
func (l *lease) ended(h *Held, told bool) {
	l.mu.Lock()
	h.ended = true
	l.owes = l.owes || !told
	for i, x := range l.held {
		if x == h {
			l.held = append(l.held[:i], l.held[i+1:]...)
			break
		}
	}
	last, owes := len(l.held) == 0 && !l.over, l.owes
	l.mu.Unlock()
	if !last {
		return
	}
	l.stop()
	l.client.leaveLease(l)
	if !owes || !l.client.begin() {
		return
	}
	go func() {
		defer l.client.background.Done()
		l.close()
	}()
}

// stop ends the lease's timers.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.lost.Stop()
	if l.renew != nil {
		l.renew.Stop()
	}
}

// close gives up the session; what it still holds goes back to its queue.
func (l *lease) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = l.client.endSession(ctx, l.session) // it ends by itself if the broker is not there
}

// Held is a task that was got elsewhere with a given lease, by the name and the token that were told there: to be
// ended or renewed from here. Its payload is not known.
func (c *Client) Held(taskID string, token uint64) *Held {
	return &Held{
		lease: &lease{client: c, over: true},
		task:  &weftv1.Assignment{TaskId: taskID, Token: token},
		lost:  make(chan struct{}),
	}
}
