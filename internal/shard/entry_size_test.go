package shard

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

const entryMax = 8<<20 - 4<<10 // internal/journal/jetstream.entryBytesMax

// sized is a machine as the broker has it, whose entries are measured.
type sized struct {
	*bulk
	largest int
}

func newSized(t *testing.T) *sized {
	b := &bulk{t: t, cfg: Config{}, first: 1}
	b.restart()
	return &sized{bulk: b}
}

func (r *sized) do(cmd Command) any {
	v := r.bulk.do(cmd)
	r.measure()
	return v
}

func (r *sized) finish() {
	r.bulk.finish()
	r.measure()
}

func (r *sized) measure() {
	for _, e := range r.entries {
		r.largest = max(r.largest, len(e))
	}
}

func (r *sized) check() {
	r.t.Helper()
	if r.largest > entryMax {
		r.t.Errorf("an entry of %d bytes cannot be appended: the term ends", r.largest)
	}
}

func (r *sized) attach(name string) (*Outbox, uint64) {
	o := NewOutbox()
	a := r.do(&CallAttach{Namespace: "n", Call: name, NewSession: session.ID{byte(r.m.counter), byte(r.m.counter >> 8), 7}, TTL: time.Hour, Stream: o}).(*Attached)
	return o, a.Call
}

var largePayload = queue.Payload{Encoding: 1, Data: make([]byte, 512<<10)}

// A large result that many have joined goes to all of them, in entries that the journal takes.
func TestJoinedResultsFitTheirEntries(t *testing.T) {
	r := newSized(t)
	o := *queue.DefaultOptions
	o.UniqueKey = "u"
	n := queue.NewTask{Spec: queue.Spec{Kind: "k", Options: &o}}
	r.do(&SubmitTask{Namespace: "n", Task: n})
	for i := range 20 {
		out, call := r.attach(fmt.Sprint("c", i))
		r.do(&CallFrame{Call: call, Stream: out, Tasks: []queue.NewTask{n}})
	}
	r.finish()
	id := session.ID{200}
	r.do(&OpenSession{State: session.State{ID: id, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	res := r.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: 1, Session: id}}).(Reservation)
	r.do(&ReportTask{Namespace: "n", Report: queue.Report{ID: res.Tasks[0].ID, Token: res.Tasks[0].Token, End: queue.EndSucceeded, Result: largePayload}})
	r.finish()
	r.check()
}

// Large submissions that waited are taken in when there is room, in such entries, too.
func TestSubmissionsThatWaitedFitTheirEntries(t *testing.T) {
	r := newSized(t)
	r.do(&CreateQueue{Namespace: "n", Name: "q", Settings: queue.Settings{MaxSize: 1}})
	for i := range 21 {
		r.do(&SubmitTask{Namespace: "n", Waiter: uint64(i + 1), Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k", Payload: largePayload}}})
	}
	r.do(&UpdateQueue{Namespace: "n", Name: "q", Settings: queue.Settings{MaxSize: 100}, Which: []Setting{SettingMaxSize}})
	r.finish()
	r.check()
}

// Submissions that wait for room are not taken in while the disk is low.
func TestSubmissionsWaitOnWhileTheDiskIsLow(t *testing.T) {
	r := newSized(t)
	r.do(&CreateQueue{Namespace: "n", Name: "q", Settings: queue.Settings{MaxSize: 1}})
	r.do(&SubmitTask{Namespace: "n", Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k"}}})
	r.do(&SubmitTask{Namespace: "n", Waiter: 1, Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k", Payload: largePayload}}})
	r.m.SetDiskLow(true)
	r.do(&PurgeQueue{Namespace: "n", Name: "q"})
	r.finish()
	q := r.do(&GetQueue{Namespace: "n", Name: "q"}).(queue.QueueView)
	if q.Counts[queue.Ready] != 0 {
		t.Errorf("%d tasks were taken in", q.Counts[queue.Ready])
	}
}
