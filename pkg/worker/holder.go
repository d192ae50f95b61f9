package worker

import "github.com/weftq/weft/pkg/task"

// Holder is the attempt as the lock service knows it, by [task.HolderOf].
func (c control) Holder() *task.Holder {
	a := c.a
	if h := a.holder.Load(); h != nil {
		return h
	}
	h := &task.Holder{
		Namespace: a.worker.cfg.Namespace, SessionID: a.session, Number: a.Token,
		Name: a.Kind + " " + a.TaskID, Err: c.Err,
	}
	if a.holder.CompareAndSwap(nil, h) {
		return h
	}
	return a.holder.Load() // another goroutine was faster
}

// sessionID is the session of the stream that is open.
func (w *Worker) sessionID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session.id
}
