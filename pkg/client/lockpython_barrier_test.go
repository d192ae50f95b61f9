package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/client"
)

// pythonBarriers is more of [python]: barriers, and values of multiprocessing.
var pythonBarriers = map[string]func(*scene){
	"Barrier/constants": func(s *scene) {
		_, err := s.a.Barrier("b", 0).Wait(s.ctx)
		s.refused(err, "parties")
	},
	"Barrier/single_thread": func(s *scene) {
		for range 2 {
			index, err := s.a.Barrier("b", 1).Wait(s.ctx)
			s.is("wait", err, nil)
			s.same("index", index, 0)
		}
	},
	"Barrier/wait_return": func(s *scene) { // an index of its own for each, again and again
		for range 3 {
			s.same("indexes", fmt.Sprint(s.meet(5)), "[0 1 2 3 4]")
		}
	},
	"Barrier/action": func(s *scene) { // run by one of them, before any goes on
		var mu sync.Mutex
		ran, passed := 0, 0
		action := client.Action(func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			ran++
			s.same("gone on before the action", passed, 0)
			return nil
		})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				_, err := s.a.Barrier("b", 4, action).Wait(s.ctx)
				s.is("wait", err, nil)
				mu.Lock()
				defer mu.Unlock()
				passed++
			})
		}
		group.Wait()
		s.same("run", ran, 1)
	},
	"Barrier/action_that_fails": func(s *scene) {
		oops := errors.New("oops")
		fails := client.Action(func(context.Context) error { return oops })
		errC := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := s.a.Barrier("b", 2, fails).Wait(s.ctx)
				errC <- err
			}()
		}
		got := []error{<-errC, <-errC}
		s.same("one has the error, the other a broken barrier", slices.ContainsFunc(got, func(err error) bool { return errors.Is(err, oops) }) &&
			slices.ContainsFunc(got, func(err error) bool { return errors.Is(err, client.ErrBrokenBarrier) }), true)
	},
	"Barrier/abort": func(s *scene) {
		waits := s.waits(3)
		s.is("abort", s.a.Barrier("b", 3).Abort(s.ctx), nil)
		s.is("who waited", <-waits, client.ErrBrokenBarrier)
		_, err := s.b.Barrier("b", 3).Wait(s.ctx)
		s.is("who comes", err, client.ErrBrokenBarrier)
	},
	"Barrier/reset": func(s *scene) {
		waits := s.waits(3)
		s.is("reset", s.a.Barrier("b", 3).Reset(s.ctx), nil)
		s.is("who waited", <-waits, client.ErrBrokenBarrier)
		s.same("as new", fmt.Sprint(s.meet(3)), "[0 1 2]")
	},
	"Barrier/abort_and_reset": func(s *scene) {
		s.is("abort", s.a.Barrier("b", 3).Abort(s.ctx), nil)
		s.is("reset", s.a.Barrier("b", 3).Reset(s.ctx), nil)
		s.same("as new", fmt.Sprint(s.meet(3)), "[0 1 2]")
	},
	"Barrier/timeout": func(s *scene) {
		waits := s.waits(3)
		_, err := s.b.Barrier("b", 3).WaitWithin(s.ctx, time.Second)
		s.is("who had a time", err, client.ErrBrokenBarrier)
		s.is("who had none", <-waits, client.ErrBrokenBarrier)
	},
	"Value/basic": func(s *scene) { // zero-filled, of each type
		zero(s, "i", int64(0), 7)
		zero(s, "d", 0.0, 2.5)
		zero(s, "b", false, true)
		zero(s, "s", "", "text")
	},
	"Value/getobj_getlock": func(s *scene) {
		own := client.NewValue[int64](s.a, "v")
		s.same("its own lock", own.Lock().Name(), "v")
		s.is("re-entrant", own.Lock().Do(s.ctx, func(ctx context.Context) error {
			return own.Lock().Do(ctx, func(context.Context) error { return nil })
		}), nil)
		mine := s.a.Lock("mine")
		s.same("the lock that it was given", client.NewValue[int64](s.a, "v", client.WithLock(mine)).Lock(), mine)
	},
	"Value/type": func(s *scene) {
		_, err := client.NewValue[int64](s.a, "v").Set(s.ctx, 1)
		s.is("set", err, nil)
		_, err = client.NewValue[string](s.b, "v").Set(s.ctx, "x")
		s.is("set as another type", err, client.ErrValueType)
	},
}

// meet has n parties meet and returns their indexes, sorted.
func (s *scene) meet(n int) []int {
	s.Helper()
	out := make([]int, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			index, err := []*client.Client{s.a, s.b}[i%2].Barrier("b", n).Wait(s.ctx)
			s.is("wait", err, nil)
			out[i] = index
		})
	}
	group.Wait()
	slices.Sort(out)
	return out
}

// waits has one party wait at the barrier.
func (s *scene) waits(parties int) chan error {
	out := make(chan error, 1)
	go func() {
		_, err := s.a.Barrier("b", parties).Wait(s.ctx)
		out <- err
	}()
	synctest.Wait()
	return out
}

// zero expects a value that nobody has set to be zero, and what is set to be seen by another process.
func zero[T interface {
	client.ValueType
	comparable
}](s *scene, name string, zero, other T) {
	s.Helper()
	v := client.NewValue[T](s.a, name)
	got, _, err := v.Get(s.ctx)
	s.is("get", err, nil)
	s.same("value", got, zero)
	_, err = v.Set(s.ctx, other)
	s.is("set", err, nil)
	got, _, err = client.NewValue[T](s.b, name).Get(s.ctx)
	s.is("get", err, nil)
	s.same("value", got, other)
}
