package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
)

func TestContextOfAnAttempt(t *testing.T) {
	for _, asked := range []bool{false, true} { // for the real one, before the cancel
		c := &attemptContext{}
		if asked && c.Done() == nil {
			t.Error("no channel")
		}
		if c.Err() != nil || c.stopped() != nil || context.Cause(c) != nil {
			t.Error("it is done before it is cancelled")
		}
		if _, ok := c.Deadline(); ok {
			t.Error("it has a deadline")
		}
		c.cancel(task.ErrCancelled)
		c.cancel(task.ErrDrained)
		<-c.Done()
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), task.ErrCancelled) || !errors.Is(c.stopped(), task.ErrCancelled) {
			t.Errorf("err %v, cause %v", c.Err(), context.Cause(c))
		}
	}
}

func TestContextAfterTheEnd(t *testing.T) {
	c := &attemptContext{}
	c.cancel(nil)
	c.cancel(task.ErrCancelled) // too late
	<-c.Done()
	if !errors.Is(c.Err(), context.Canceled) || c.stopped() != nil {
		t.Errorf("err %v, stopped %v", c.Err(), c.stopped())
	}
}

func TestContextTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &attemptContext{}
		begun := time.Now()
		c.setDeadline(begun.Add(time.Minute))
		child, cancel := context.WithCancel(c)
		defer cancel()
		<-child.Done()
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("after %v", took)
		}
		if !errors.Is(c.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(c), task.ErrTimeout) || !errors.Is(context.Cause(child), task.ErrTimeout) {
			t.Errorf("err %v, cause %v, the child's %v", c.Err(), context.Cause(c), context.Cause(child))
		}
		if deadline, ok := c.Deadline(); !ok || !deadline.Equal(begun.Add(time.Minute)) {
			t.Errorf("deadline %v", deadline)
		}

		ended := &attemptContext{}
		ended.setDeadline(time.Now().Add(time.Minute))
		ended.cancel(nil)
		pass(time.Hour)
		if ended.stopped() != nil {
			t.Error("it timed out after its end")
		}
	})
}

func TestContextIsFollowedWithoutAGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &attemptContext{}
		type key struct{}
		child := context.WithValue(c, key{}, "v")
		fired := make(chan struct{})
		context.AfterFunc(child, func() { close(fired) })
		if child.Value(key{}) != "v" || c.Value(key{}) != nil {
			t.Error("another value")
		}
		c.cancel(task.ErrLeaseLost)
		<-fired
		if !errors.Is(context.Cause(child), task.ErrLeaseLost) {
			t.Errorf("cause %v", context.Cause(child))
		}
	})
}

// A process that was stopped for longer than its lease finds its context done before any timer has fired, and before a
// heartbeat could tell: at the first look, and for those that follow it too.
func TestContextAfterTheLeaseWithoutATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t, Config{Broker: "nowhere", SessionTTL: time.Minute})
		c := &attemptContext{leaseEnd: &w.leaseEnd}
		if c.Err() != nil {
			t.Error("it is done before there was a lease")
		}
		w.mu.Lock()
		w.renewed(now())
		w.mu.Unlock()
		pass(time.Minute - 1)
		child, cancel := context.WithCancel(c)
		defer cancel()
		if c.Err() != nil || child.Err() != nil {
			t.Error("it is done before the lease is over")
		}
		pass(time.Nanosecond)
		select {
		case <-c.Done():
			t.Error("a timer has fired")
		default:
		}
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(c.stopped(), task.ErrLeaseLost) {
			t.Errorf("err %v, cause %v", c.Err(), c.stopped())
		}
		<-child.Done()
		if !errors.Is(context.Cause(child), task.ErrLeaseLost) {
			t.Errorf("the child's cause is %v", context.Cause(child))
		}
	})
}

// A lease that is renewed goes on, and one of an attempt that has ended does not matter.
func TestContextOfALeaseThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t, Config{Broker: "nowhere", SessionTTL: time.Minute})
		c, ended := &attemptContext{leaseEnd: &w.leaseEnd}, &attemptContext{leaseEnd: &w.leaseEnd}
		ended.cancel(nil)
		for range 10 {
			w.mu.Lock()
			w.renewed(now())
			w.mu.Unlock()
			pass(time.Minute - 1)
			if c.Err() != nil {
				t.Fatal("it is done")
			}
		}
		pass(time.Hour)
		if !errors.Is(ended.Err(), context.Canceled) || ended.stopped() != nil {
			t.Errorf("err %v, cause %v", ended.Err(), ended.stopped())
		}
	})
}
