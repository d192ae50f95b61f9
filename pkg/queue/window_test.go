package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// nowhere takes records and keeps none.
type nowhere struct{}

// Record implements pure.Sink.
func (nowhere) Record(any) int { return 0 }

// bench is a core with a queue and a call, and the steps to drive it.
type bench struct {
	core    *Core
	counter uint64
	seq     uint64
	call    uint64
}

func newBench(cfg Config) *bench {
	cfg.SessionName = func(session.ID) string { return "" }
	b := &bench{core: New(cfg)}
	b.call, _, _ = b.core.Attach(b.step(), "n", "c", session.ID{1}, nil, false, false)
	return b
}

func (b *bench) step() *pure.Step {
	b.seq++
	return &pure.Step{Wall: pure.Wall(time.Hour), Seq: b.seq, Sink: nowhere{}, Counter: &b.counter}
}

// enqueue submits tasks and returns how many were accepted, and the reasons for the others.
func (b *bench) enqueue(tasks ...NewTask) (accepted uint64, refused map[pure.Reason]int) {
	step := b.step()
	refused = map[pure.Reason]int{}
	b.core.Enqueue(step, b.call, tasks)
	for _, e := range step.Effects {
		switch e := e.(type) {
		case *Accepted:
			accepted += e.Ranges.Count()
		case *Rejected:
			refused[e.Reason.Reason]++
		}
	}
	return accepted, refused
}

// settle ends tasks of the call by cancelling, and acknowledges them.
func (b *bench) settle(r pure.Range) {
	_ = b.core.CancelIndexes(b.step(), b.call, r, -1, false)
	for b.core.Pending() {
		b.core.Work(b.step())
	}
	b.core.Acknowledge(b.step(), b.call, pure.Ranges{r})
}

func newTasks(first uint64, n int, apart uint64, bytes int) []NewTask {
	out := make([]NewTask, n)
	for i := range out {
		out[i] = NewTask{Index: first + uint64(i)*apart, Spec: Spec{Kind: "k", Payload: Payload{1, make([]byte, bytes)}}}
	}
	return out
}

func want(t *testing.T, gotAccepted uint64, gotRefused map[pure.Reason]int, accepted uint64, refused map[pure.Reason]int) {
	t.Helper()
	if gotAccepted != accepted || fmt.Sprint(gotRefused) != fmt.Sprint(refused) {
		t.Errorf("accepted %d, refused %v; want %d and %v", gotAccepted, gotRefused, accepted, refused)
	}
}

func TestACallHasSoManyTasks(t *testing.T) {
	b := newBench(Config{})
	got, refused := b.enqueue(newTasks(0, CallTasksMax+2, 1, 0)...)
	want(t, got, refused, CallTasksMax, map[pure.Reason]int{pure.CallWindowFull: 2})
	got, refused = b.enqueue(newTasks(CallTasksMax-1, 1, 1, 0)...) // one that is there is there
	want(t, got, refused, 1, map[pure.Reason]int{})
	b.settle(pure.Range{First: 5, Last: 6})
	got, refused = b.enqueue(newTasks(CallTasksMax, 3, 1, 0)...)
	want(t, got, refused, 2, map[pure.Reason]int{pure.CallWindowFull: 1})
}

func TestACallHasSoManyBytes(t *testing.T) {
	b := newBench(Config{})
	const size = 1 << 20
	got, refused := b.enqueue(newTasks(0, 70, 1, size)...)
	want(t, got, refused, CallBytesMax/size, map[pure.Reason]int{pure.CallWindowFull: 70 - CallBytesMax/size})
	b.settle(pure.Range{First: 0, Last: 3})
	got, refused = b.enqueue(newTasks(100, 5, 1, size)...)
	want(t, got, refused, 4, map[pure.Reason]int{pure.CallWindowFull: 1})
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}

func TestACallHasSoManyHoles(t *testing.T) {
	b := newBench(Config{})
	got, refused := b.enqueue(newTasks(0, CallRangesMax+3, 2, 0)...)
	want(t, got, refused, CallRangesMax, map[pure.Reason]int{pure.CallSparse: 3})
	last := uint64(2 * (CallRangesMax - 1))
	b.core.Acknowledge(b.step(), b.call, pure.Ranges{{First: 1, Last: 1}, {First: 3, Last: 3}, {First: 5, Last: last + 9}})
	got, refused = b.enqueue(newTasks(last+2, 5, 2, 0)...)
	want(t, got, refused, 5, map[pure.Reason]int{})
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
	b.settle(pure.Range{First: 0, Last: last + 100})
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
	if n := len(b.core.calls[b.call].tasks); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func TestTheStateHasSoManyBytes(t *testing.T) {
	b := newBench(Config{Limits: Limits{Bytes: 10_000}})
	got, refused := b.enqueue(newTasks(0, 20, 1, 900)...)
	if got+uint64(refused[pure.StateFull]) != 20 || got < 9 || got > 11 {
		t.Errorf("accepted %d, refused %v", got, refused)
	}
	if _, err := submitOne(b); err == nil {
		t.Error("a task of its own is accepted")
	}
	b.settle(pure.Range{First: 0, Last: 5})
	if _, err := submitOne(b); err != nil {
		t.Error(err)
	}
}

func submitOne(b *bench) (uint64, error) {
	s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Payload: Payload{1, make([]byte, 900)}}}, 0)
	return s.ID, err
}
