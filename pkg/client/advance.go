package client

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Progress is how far a task has come, by its own word.
type Progress struct {
	Done  int64  // units of its own
	Total int64  // 0 is unknown
	Text  string // what it is at

	// Attempt is the token of the attempt that says so: another one may be less far, and goes on from its checkpoint.
	Attempt uint64
}

// more is what few futures have. Guarded by the future's mutex.
type more struct {
	progress   Progress
	progresses int // how many there were
	partials   []partial
	changed    chan struct{} // closed at the next news of these; nil while nobody waits
	onEnd      map[int]func()
	ends       int
	readers    int // of output: its outcome is not acknowledged before they are done
}

// partial is a partial result, or why it cannot be read.
type partial struct {
	payload task.Payload
	err     error
}

// mu guards what changes of the future.
func (f *SpecFuture) mu() *sync.Mutex {
	if f.call == nil {
		return &f.attached.mu
	}
	return &f.call.mu
}

// more makes room for what few futures have; the caller holds the mutex.
func (f *SpecFuture) more() *more {
	if f.extra == nil {
		f.extra = &more{}
	}
	return f.extra
}

// takeProgress notes news; the caller holds the mutex.
func (x *more) takeProgress(m *weftv1.Progress, attempt uint64) {
	x.progress = Progress{Done: m.GetDone(), Total: m.GetTotal(), Text: m.GetMessage(), Attempt: attempt}
	x.progresses++
	x.tell()
}

// takePartials notes those that are new, and returns their bytes; the caller holds the mutex.
func (x *more) takePartials(offset uint32, list []*weftv1.Payload) (bytes int) {
	for i, m := range list {
		if int(offset)+i != len(x.partials) {
			continue // it was seen before: a new stream tells all of them
		}
		p, err := task.PayloadFromProto(m)
		if err != nil { // it has its place all the same, or the next ones would have none
			err = fmt.Errorf("client: partial result %d: %w", len(x.partials), err)
		}
		x.partials = append(x.partials, partial{p, err})
		bytes += p.Len()
	}
	x.tell()
	return bytes
}

// takeOver has what came before the future did.
func (x *more) takeOver(early *more) {
	x.progress, x.progresses, x.partials = early.progress, early.progresses, early.partials
	x.tell()
}

func (x *more) tell() {
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// news waits until look, which is called with the mutex held, has something to give, or nothing more will come.
func (f *SpecFuture) news(ctx context.Context, look func(*more) bool) (some bool, err error) {
	for {
		f.mu().Lock()
		x, ended := f.more(), f.ended()
		if look(x) {
			f.mu().Unlock()
			return true, nil
		}
		if x.changed == nil {
			x.changed = make(chan struct{})
		}
		changed := x.changed
		f.mu().Unlock()
		if ended {
			_, err := f.Outcome()
			return false, err
		}
		select {
		case <-changed:
		case <-f.Done():
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// Progress gives how far the task has come, each time that it says so, until it ends: the last word at a time, so
// that a slow reader passes some over. What was said before a restart of the broker may be given again. An error is
// the last thing given: ctx's, or what ended the future without an outcome.
func (f *SpecFuture) Progress(ctx context.Context) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		seen := 0
		for {
			var last Progress
			some, err := f.news(ctx, func(x *more) bool {
				news := x.progresses > seen
				last, seen = x.progress, x.progresses
				return news
			})
			if (some || err != nil) && !yield(last, err) || !some {
				return
			}
		}
	}
}

// Partials gives the partial results that a task's handler emits, in order, each once, from the first: as they come,
// and until the task ends. They are decoded as task.Payload.Into does. An error is the last thing given: ctx's, that
// of a partial result which cannot be read or is no P, or what ended the future without an outcome.
func Partials[P any, F AnyFuture](ctx context.Context, future F) iter.Seq2[P, error] {
	f := future.specFuture()
	return func(yield func(P, error) bool) {
		for p, err := range f.partials(ctx) {
			var out P
			if err == nil {
				err = p.Into(&out)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// partials gives the partial results as they came.
func (f *SpecFuture) partials(ctx context.Context) iter.Seq2[task.Payload, error] {
	if f.attached != nil && f.attached.ofCall {
		return f.watchPartials(ctx)
	}
	return func(yield func(task.Payload, error) bool) {
		for next := 0; ; next++ {
			var p partial
			some, err := f.news(ctx, func(x *more) bool {
				if next == len(x.partials) {
					return false
				}
				p = x.partials[next]
				return true
			})
			if err != nil {
				p = partial{err: err}
			}
			if !some && err == nil || !yield(p.payload, p.err) || p.err != nil {
				return
			}
		}
	}
}
