package shard

import (
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// Who waits for the end of a queue that is deleted hears nothing of the next one of its name.
func TestForgottenJoinOfADeletedQueue(t *testing.T) {
	s := newScript(t, Config{})
	do := func(cmd Command) {
		t.Helper()
		s.decide(cmd, func(_ any, err error) {
			if err != nil {
				t.Errorf("%T: %v", cmd, err)
			}
		})
	}
	id := session.ID{9}
	do(&CreateQueue{Namespace: scriptNamespace, Name: "q"})
	do(&SubmitTask{Namespace: scriptNamespace, Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k"}}})
	do(&OpenSession{State: session.State{ID: id, Namespace: scriptNamespace, Kind: session.Client, TTL: time.Hour}})
	do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: scriptNamespace, Queue: "q", TasksMax: 1, Session: id}})
	answers := 0
	s.decide(&JoinQueue{Namespace: scriptNamespace, Name: "q", Waiter: 2}, func(_ any, err error) {
		answers++
		wantReason(t, err, pure.QueueNotFound)
	})
	do(&DeleteQueue{Namespace: scriptNamespace, Name: "q", Force: true})
	do(&CreateQueue{Namespace: scriptNamespace, Name: "q"})
	if answers != 0 {
		t.Fatal("it is answered before its task has ended")
	}
	do(&ForgetJoin{Waiter: 2})
	do(&ForgetJoin{Waiter: 2})
	if answers != 1 {
		t.Errorf("%d answers", answers)
	}
}
