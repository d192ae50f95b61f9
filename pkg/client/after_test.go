package client

import (
	"errors"
	"slices"
	"testing"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// submitAfter submits a task that is after others.
func submitAfter(t *testing.T, call *Call, policy weftv1.OnDependencyFailure, before ...*SpecFuture) *SpecFuture {
	t.Helper()
	f, err := call.Submit(testContext(t), Spec{
		Kind: "k", After: append(After(before...), AfterTasks("tz")...), OnDependencyFailure: policy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What has ended is left out when the task is sent, and a failure ends it here; what has not travels along.
func TestAfterEndedTasks(t *testing.T) {
	const run = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
	goOn := make(chan struct{})
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(3)
		s.accept(0, 2)
		failed := success(1)
		failed.Outcome.State = weftv1.TaskState_TASK_STATE_FAILED
		s.send(&weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{success(0), failed}})
		<-goOn
		s.untilTasks(5)
		want := map[uint64][]uint64{3: {2}, 5: {2}}
		for _, x := range s.tasks[3:] {
			if !slices.Equal(x.GetAfterIndexes(), want[x.GetIndex()]) || !slices.Equal(x.GetSpec().GetAfter(), []string{"tz"}) {
				t.Errorf("sent %v", x)
			}
		}
		s.send(&weftv1.ExecuteResponse{Accepted: ranges(3, 3, 5, 5)})
		s.succeed(2, 3, 5)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 3)
	wantSuccess(t, fs[0])
	if o, err := fs[1].Wait(testContext(t)); err != nil || o.State != weftv1.TaskState_TASK_STATE_FAILED {
		t.Fatal(o, err)
	}
	after := submitAfter(t, call, 0, fs[0], fs[2])
	never := submitAfter(t, call, 0, fs[2], fs[1])
	anyway := submitAfter(t, call, run, fs[1], fs[2])
	close(goOn)
	wantSuccess(t, after, anyway)
	o, err := never.Wait(testContext(t))
	if err != nil || o.State != weftv1.TaskState_TASK_STATE_CANCELLED || o.Error.Reason != task.ReasonDependencyFailed {
		t.Fatalf("%+v, %v", o, err)
	}
	if o, err := submitAfter(t, call, 0, never).Wait(testContext(t)); err != nil || o.Error.Reason != task.ReasonDependencyFailed {
		t.Fatalf("after one that never ran: %+v, %v", o, err)
	}
	call.Finish()
	if err := call.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// A task whose predecessor waits for room in its queue is refused, and sent again once that is taken.
func TestAfterTaskThatWaitsForRoom(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(2)
		s.send(&weftv1.ExecuteResponse{Rejected: []*weftv1.ExecuteRejection{{
			Index: 1, Reason: weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND,
			Metadata: map[string]string{"field": "after_indexes[0]", "index": "0"},
		}}})
		s.accept(0, 0)
		s.untilTasks(3)
		s.accept(1, 1)
		s.succeed(0, 1)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	first := submit(t, call, 1)[0]
	wantSuccess(t, first, submitAfter(t, call, 0, first))
}

func TestAfterRefusals(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		return s.drain()
	})}
	c := b.start(t)
	one, other := c.NewCall(), c.NewCall()
	f := submit(t, one, 1)[0]
	if _, err := other.Submit(testContext(t), Spec{Kind: "k", After: After(f)}); !errors.Is(err, errOtherCall) {
		t.Errorf("a future of another call: %v", err)
	}
	if _, err := c.Enqueue(testContext(t), Spec{Kind: "k", After: After(f)}); !errors.Is(err, errOtherCall) {
		t.Errorf("a future for a task of no call: %v", err)
	}
	dependent := submitAfter(t, one, 0, f)
	f.Cancel(0)
	dependent.Cancel(0)
	if _, err := dependent.Wait(testContext(t)); err != nil {
		t.Error(err)
	}
}
