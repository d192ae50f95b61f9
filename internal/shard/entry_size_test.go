package shard

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
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

// advanced has an attempt bring as much as a task may have, and leave as large a checkpoint.
func (r *sized) advanced(id, token uint64) {
	r.t.Helper()
	for i := range uint32(2) {
		a := queue.Advance{ID: id, Token: token, Partials: []queue.Payload{largePayload}, Offset: i}
		a.Checkpoint = &queue.Checkpoint{State: queue.Payload{Encoding: 1, Data: bytes.Repeat([]byte{byte(token), byte(i)}, 256<<10)}}
		if err, failed := r.do(&AdvanceTask{Namespace: "n", Advance: a}).(error); failed {
			r.t.Fatal(err)
		}
	}
}

// largestTask submits a task and has it fail with all that a task can have, but for requests that joined it.
func (r *sized) largestTask(o queue.Options, session session.ID) (id uint64) {
	r.t.Helper()
	stack := strings.Repeat("s", 32<<10)
	o.AttemptsMax = queue.HistoryMax + 2
	spec := queue.Spec{Kind: "k", Payload: largePayload, Options: &o}
	id = r.do(&SubmitTask{Namespace: "n", Task: queue.NewTask{Spec: spec}}).(queue.Submitted).ID
	for i := range queue.HistoryMax + 2 {
		r.m.Tick(bulkWall+pure.Wall(time.Duration(i)*time.Hour), time.Second)
		r.finish()
		res := r.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: uint64(i + 1), Namespace: "n", TasksMax: 1, Session: session}}).(Reservation)
		token := res.Tasks[0].Token
		if i == 0 {
			r.advanced(id, token)
		}
		r.do(&ReportTask{Namespace: "n", Report: queue.Report{
			ID: id, Token: token, End: queue.EndError, Result: largePayload, Error: &queue.Error{Message: stack[:16<<10], Stack: stack},
		}})
		r.finish()
	}
	return id
}

// Tasks that are as large as can be are copied forward in entries that the journal takes, also behind a batch that
// is as large as can be.
func TestTheLargestTasksFitTheirEntries(t *testing.T) {
	r := newSized(t)
	r.cfg = Config{CompactAfter: 1 << 20, PurgeStep: 1 << 20}
	r.restart()
	id := session.ID{200}
	r.do(&OpenSession{State: session.State{ID: id, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	for range 2 {
		r.largestTask(*queue.DefaultOptions, id)
	}
	r.do(&SubmitTask{Namespace: "n", Task: queue.NewTask{Spec: queue.Spec{Kind: "k"}}})
	a := r.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: 1, Session: id}}).(Reservation).Tasks[0]
	for round := range 30 { // each batch is just below what lets another entity be copied, and of no use after the next
		for i := range 8 {
			state := bytes.Repeat([]byte{byte(round), byte(i)}, 256<<10-50)
			r.m.Decide(&AdvanceTask{Namespace: "n", Advance: queue.Advance{
				ID: a.ID, Token: a.Token, Checkpoint: &queue.Checkpoint{State: queue.Payload{Encoding: 1, Data: state}},
			}}, nil)
		}
		r.append()
		r.measure()
	}
	if r.largest < compactBytesMax+5<<19 {
		t.Errorf("the largest entry has %d bytes: no large task was copied behind a batch", r.largest)
	}
	r.check()
}

// A call's failed tasks leave what they brought there when they are tried again, in such entries.
func TestRetriedTasksFitTheirEntries(t *testing.T) {
	r := newSized(t)
	id := session.ID{200}
	r.do(&OpenSession{State: session.State{ID: id, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	out, call := r.attach("c")
	for i := range uint64(6) {
		r.do(&CallFrame{Call: call, Stream: out, Tasks: []queue.NewTask{{Index: i, Spec: queue.Spec{Kind: "k", Payload: largePayload}}}})
	}
	r.finish()
	res := r.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: 10, Session: id}}).(Reservation)
	for _, a := range res.Tasks {
		r.advanced(a.ID, a.Token)
		r.do(&ReportTask{Namespace: "n", Report: queue.Report{ID: a.ID, Token: a.Token, End: queue.EndError, Result: largePayload}})
	}
	r.finish()
	tasks := 0
	for after := uint64(0); ; {
		page := r.do(&RetryTasks{Namespace: "n", After: after}).(RetryPage)
		tasks += page.Tasks
		if after = page.Next; after == 0 {
			break
		}
	}
	if tasks != 6 {
		t.Errorf("%d tasks were tried again", tasks)
	}
	r.finish()
	r.check()
}

// So do tasks that leave a call which is cancelled while others have joined them.
func TestTasksThatLeaveFitTheirEntries(t *testing.T) {
	r := newSized(t)
	id := session.ID{200}
	r.do(&OpenSession{State: session.State{ID: id, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	out, call := r.attach("c")
	const tasks = 10
	for i := range uint64(tasks) {
		o := *queue.DefaultOptions
		o.UniqueKey = fmt.Sprint(i)
		n := queue.NewTask{Index: i, Spec: queue.Spec{Kind: "k", Options: &o}}
		r.do(&CallFrame{Call: call, Stream: out, Tasks: []queue.NewTask{n}})
		r.do(&SubmitTask{Namespace: "n", Task: n})
	}
	res := r.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: tasks, Session: id}}).(Reservation)
	for _, a := range res.Tasks {
		r.advanced(a.ID, a.Token)
	}
	r.do(&CancelCall{Namespace: "n", Call: "c", Grace: -1})
	r.finish()
	if _, err := drain(out); err != nil {
		t.Fatal(err)
	}
	q := r.do(&GetQueue{Namespace: "n", Name: "default"}).(queue.QueueView)
	if len(res.Tasks) != tasks || q.Counts[queue.Running] != tasks || q.Counts[queue.Cancelled] != tasks {
		t.Errorf("%d tasks, %v", len(res.Tasks), q.Counts)
	}
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
