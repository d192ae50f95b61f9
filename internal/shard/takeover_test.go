package shard

import (
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// drain takes what a stream was told.
func drain(o *Outbox) (items []any, err error) {
	for {
		more, err := o.Take(nil)
		if len(more) == 0 {
			return items, err
		}
		items = append(items, more...)
	}
}

// What a stream says after another one took over is void: its credit was counted into the new hello.
func TestASupersededWorkersStreamIsVoid(t *testing.T) {
	b := newBulk(t, Config{})
	hello := func() *Outbox {
		o := NewOutbox()
		b.do(&WorkerHello{Hello: queue.Hello{
			Namespace: "n", Session: session.ID{1}, Name: "w", Queues: []string{""}, Kinds: []string{"k"}, Slots: 5,
		}, NewSession: session.ID{1}, TTL: time.Minute, Stream: o})
		b.finish()
		return o
	}
	old := hello()
	young := hello()
	b.do(&WorkerFrame{Session: session.ID{1}, Stream: old, Credits: 3, Heartbeat: 1})
	b.do(&SubmitTask{Namespace: "n", Task: queue.NewTask{Spec: queue.Spec{Kind: "k"}}})
	b.do(&WorkerGone{Session: session.ID{1}, Stream: old})
	b.finish()
	if items, err := drain(old); len(items) != 1 || err == nil {
		t.Errorf("the old stream was told %v, %v", items, err)
	}
	if items, err := drain(young); len(items) != 1 || err != nil {
		t.Errorf("the young stream was told %v, %v", items, err)
	}
	b.do(&WorkerFrame{Session: session.ID{1}, Stream: young, Credits: 1})
	b.finish()
	if items, err := drain(young); len(items) != 1 || err != nil {
		t.Errorf("the young stream was told %v, %v", items, err)
	}
}

func TestASupersededCallsStreamIsVoid(t *testing.T) {
	b := newBulk(t, Config{})
	attach := func() (*Outbox, uint64) {
		o := NewOutbox()
		a := b.do(&CallAttach{
			Namespace: "n", Call: "c", Session: session.ID{1}, NewSession: session.ID{1}, TTL: time.Minute, Stream: o,
		}).(*Attached)
		return o, a.Call
	}
	old, call := attach()
	young, _ := attach()
	b.do(&CallFrame{
		Call: call, Stream: old, Tasks: []queue.NewTask{{Spec: queue.Spec{Kind: "k"}}}, Finish: true, Heartbeat: 1,
		Acknowledged: pure.Ranges{{First: 0, Last: 5}}, Cancels: []CallCancel{{All: true}},
	})
	b.do(&CallGone{Call: call, Stream: old})
	b.finish()
	if items, err := drain(old); len(items) != 1 || err == nil {
		t.Errorf("the old stream was told %v, %v", items, err)
	}
	b.do(&CallFrame{Call: call, Stream: young, Tasks: []queue.NewTask{{Spec: queue.Spec{Kind: "k"}}}})
	b.finish()
	if items, err := drain(young); len(items) != 2 || err != nil {
		t.Errorf("the young stream was told %v, %v", items, err)
	}
	if got := b.counts(); got != "1 ready lost 0" {
		t.Error(got)
	}
}
