package client

import (
	"context"
	"iter"
	"sync"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// AttachCall gives the futures of the tasks of a call that the broker has, in the order of their submission, from
// another process than the call's. One stream follows all of them, until they have ended, ctx ends, or the client is
// closed, also after the loop; results are fetched as tasks end, 16 at a time. What the call's client has acknowledged
// is gone, and what it acknowledges before it was fetched here ends with [ErrTaskNotFound] unless its retention keeps
// it. An error is the last thing given.
func AttachCall[In, Out any](ctx context.Context, c *Client, kind task.Kind[In, Out], callID string) iter.Seq2[*Future[Out], error] {
	return func(yield func(*Future[Out], error) bool) {
		err := checkKind(kind)
		if err == nil {
			err = c.followCall(ctx, callID, kind.Name(), func(f *SpecFuture) bool {
				return yield(&Future[Out]{SpecFuture: f, decode: decodeWith(kind)}, nil)
			})
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// fetchersMax is how many results are fetched at a time.
const fetchersMax = 16

// callFollower follows the tasks of a call for their futures. It is its futures' until the last of them has ended.
type callFollower struct {
	client *Client
	callID string
	kind   string
	ctx    context.Context
	cancel context.CancelFunc
	begunC chan struct{} // closed once all that happens is told, or nothing ever will be

	mu       sync.Mutex
	open     map[string]*SpecFuture // those whose task has not ended
	early    map[string]struct{}    // tasks that ended before their future was made
	sealed   bool                   // no more futures will be made
	over     bool                   // nothing more will be told
	err      error                  // for this, if not as the call is over
	pending  int                    // futures that have not ended
	toFetch  []*SpecFuture
	fetchers int
}

// followCall gives the futures of a call's tasks to a loop. Its error is not one of a broken loop.
func (c *Client) followCall(ctx context.Context, callID, kind string, give func(*SpecFuture) bool) error {
	w := &callFollower{
		client: c, callID: callID, kind: kind, begunC: make(chan struct{}),
		open: map[string]*SpecFuture{}, early: map[string]struct{}{},
	}
	if !c.begin() {
		return ErrClosed
	}
	w.ctx, w.cancel = c.within(ctx)
	go func() {
		defer c.background.Done()
		w.watch()
	}()
	defer w.seal()
	<-w.begunC // before the list, so that nothing is missed between the two
	for t, err := range c.List(w.ctx, Filter{CallID: callID}) {
		if err != nil {
			return err
		}
		if !give(w.future(t)) {
			return nil
		}
	}
	return nil
}

// watch takes the call's news.
func (w *callFollower) watch() {
	streams := 0
	for e, err := range w.client.WatchCall(w.ctx, w.callID) {
		if HasReason(err, weftv1.ErrorReason_ERROR_REASON_CALL_NOT_FOUND) {
			break // all of it has ended, and some tasks may still be kept
		}
		if err != nil {
			w.end(err)
			return
		}
		for _, t := range e.Tasks {
			w.take(t)
		}
		if len(e.Tasks) == 0 && !e.Over { // the first event of a stream
			if streams++; streams == 1 {
				close(w.begunC)
			} else {
				w.lookAgain()
			}
		}
	}
	w.end(nil)
}

// end is the end of the news: by an error, or as everything has ended, or has left the call.
func (w *callFollower) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over, w.err = true, err
	for _, f := range w.open {
		w.fetch(f)
	}
	clear(w.open)
	select {
	case <-w.begunC:
	default:
		close(w.begunC)
	}
}

// take takes the news of one task.
func (w *callFollower) take(t *weftv1.Task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.open[t.GetId()]
	switch {
	case f == nil && t.GetOutcome() != nil && !w.sealed:
		w.early[t.GetId()] = struct{}{}
	case f == nil:
	case t.GetOutcome() != nil:
		delete(w.open, t.GetId())
		w.fetch(f)
	default:
		f.takeProgressOf(t)
	}
}

// lookAgain finds what has changed while the stream was cut. What is not in the list any more is gone.
func (w *callFollower) lookAgain() {
	w.mu.Lock()
	missed := make(map[string]struct{}, len(w.open))
	for id := range w.open {
		missed[id] = struct{}{}
	}
	w.mu.Unlock()
	for t, err := range w.client.List(w.ctx, Filter{CallID: w.callID}) {
		if err != nil {
			return // ctx's, or the next stream meets with it too
		}
		w.take(t)
		delete(missed, t.GetId())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range missed {
		if f := w.open[id]; f != nil {
			delete(w.open, id)
			w.fetch(f)
		}
	}
}

// future makes the future of a task as it was listed.
func (w *callFollower) future(t *weftv1.Task) *SpecFuture {
	f := w.client.newAttached(t.GetId())
	f.attached.ofCall = true
	if t.GetSpec().GetKind() != w.kind {
		f.endAttached(nil, otherKind(t, w.kind))
		return f
	}
	f.takeProgressOf(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending++
	if _, early := w.early[t.GetId()]; early || w.over || t.GetOutcome() != nil {
		delete(w.early, t.GetId())
		w.fetch(f)
	} else {
		w.open[t.GetId()] = f
	}
	return f
}

// seal says that no more futures will be made.
func (w *callFollower) seal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed, w.early = true, nil
	w.leave()
}

// leave ends it all if nothing is left to follow.
func (w *callFollower) leave() {
	if w.sealed && w.pending == 0 {
		w.cancel()
	}
}

// fetch has a future's outcome fetched.
func (w *callFollower) fetch(f *SpecFuture) {
	w.toFetch = append(w.toFetch, f)
	if w.fetchers < fetchersMax && w.inBackground(w.fetchAll) {
		w.fetchers++
	}
	if w.fetchers == 0 { // the client is closed
		w.drop(ErrClosed)
	}
}

// drop ends the futures that nobody fetches any more.
func (w *callFollower) drop(err error) {
	for _, f := range w.toFetch {
		f.endAttached(nil, err)
	}
	w.pending -= len(w.toFetch)
	w.toFetch = nil
	w.leave()
}

// inBackground runs a function until the client is closed; false is a client that is.
func (w *callFollower) inBackground(fn func()) bool {
	if !w.client.begin() {
		return false
	}
	go func() {
		defer w.client.background.Done()
		fn()
	}()
	return true
}

// fetchAll fetches until nothing is left.
func (w *callFollower) fetchAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.toFetch) > 0 {
		f := w.toFetch[0]
		w.toFetch = w.toFetch[1:]
		w.mu.Unlock()
		ended := w.fetchOne(f)
		w.mu.Lock()
		if ended {
			w.pending--
			w.leave()
		}
	}
	w.fetchers--
}

// fetchOne ends a future by what the broker has of its task. One that has left its call, as it was tried again by hand,
// is followed on a stream of its own.
func (w *callFollower) fetchOne(f *SpecFuture) (ended bool) {
	t, err := w.client.Get(w.ctx, f.taskID)
	switch {
	case err != nil:
		f.endAttached(nil, err)
		return true
	case f.takeTask(t):
		return true
	}
	w.mu.Lock()
	err = w.err
	w.mu.Unlock()
	if err != nil {
		f.endAttached(nil, err)
		return true
	}
	alone := w.inBackground(func() {
		f.follow(w.ctx, w.kind)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pending--
		w.leave()
	})
	if !alone {
		f.endAttached(nil, ErrClosed)
	}
	return !alone
}

// watchPartials gives the partial results of a task whose future is told of without them.
func (f *SpecFuture) watchPartials(ctx context.Context) iter.Seq2[task.Payload, error] {
	return func(yield func(task.Payload, error) bool) {
		for e, err := range f.attached.client.watch(ctx, &weftv1.WatchTaskRequest{TaskId: f.taskID, Partials: true}) {
			var p task.Payload
			switch {
			case err != nil:
			case e.Partial == nil:
				continue
			default:
				p, err = task.PayloadFromProto(e.Partial)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}
