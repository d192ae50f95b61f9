package client

import (
	"context"
	"iter"
	"sync"
)

// Until says what [Wait] waits for.
type Until int

// Conditions of a wait, as in Python's concurrent.futures.
const (
	AllCompleted   Until = iota // every future has ended
	FirstCompleted              // one has
	FirstError                  // one has without success, or all have
)

// Wait waits for futures until the condition holds, and returns those that have ended, in the order of their ends,
// and those that have not. The error is ctx's if that ends first; the tasks go on.
func Wait[F AnyFuture](ctx context.Context, until Until, futures ...F) (done, pending []F, err error) {
	left := make(map[F]struct{}, len(futures))
	for _, f := range futures {
		left[f] = struct{}{}
	}
	for f, ferr := range AsCompleted(ctx, futures...) {
		if ferr != nil {
			err = ferr
			break
		}
		done = append(done, f)
		delete(left, f)
		if until == FirstCompleted || until == FirstError && f.Err() != nil {
			break
		}
	}
	for _, f := range futures {
		if _, ok := left[f]; ok {
			pending = append(pending, f)
			delete(left, f)
		}
	}
	return done, pending, err
}

// AsCompleted gives each future as it ends, each once: those that have ended first. An error is ctx's, and the last
// thing given; the tasks go on, also when the loop is broken.
func AsCompleted[F AnyFuture](ctx context.Context, futures ...F) iter.Seq2[F, error] {
	return func(yield func(F, error) bool) {
		ends := &endings[F]{wakeC: make(chan struct{}, 1)}
		open := make(map[F]func(), len(futures))
		for _, f := range futures {
			if _, twice := open[f]; !twice {
				open[f] = f.specFuture().onEnd(func() { ends.push(f) })
			}
		}
		defer func() {
			for _, forget := range open {
				forget()
			}
		}()
		for len(open) > 0 {
			for _, f := range ends.take() {
				delete(open, f)
				if !yield(f, nil) {
					return
				}
			}
			if len(open) == 0 {
				return
			}
			select {
			case <-ends.wakeC:
			case <-ctx.Done():
				var none F
				yield(none, context.Cause(ctx))
				return
			}
		}
	}
}

// endings are futures that have ended, from the goroutines that learn of it to the one that asks.
type endings[F any] struct {
	mu    sync.Mutex
	list  []F
	wakeC chan struct{} // has room for one sign
}

func (e *endings[F]) push(f F) {
	e.mu.Lock()
	e.list = append(e.list, f)
	e.mu.Unlock()
	sign(e.wakeC)
}

func (e *endings[F]) take() []F {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.list
	e.list = nil
	return list
}

// onEnd has a function called when the future ends, or now if it has ended. The function must not block. What is
// returned has it not called any more.
func (f *SpecFuture) onEnd(fn func()) (forget func()) {
	f.mu().Lock()
	defer f.mu().Unlock()
	if f.ended() {
		fn()
		return func() {}
	}
	x := f.more()
	x.ends++
	if x.onEnd == nil {
		x.onEnd = map[int]func(){}
	}
	id := x.ends
	x.onEnd[id] = fn
	return func() {
		f.mu().Lock()
		defer f.mu().Unlock()
		delete(x.onEnd, id)
	}
}
