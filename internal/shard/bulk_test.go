package shard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// bulk is a machine whose batches are full after one record, so that bulk work goes on over many entries,
// and whose journal can be read again at any of them.
type bulk struct {
	t       *testing.T
	m       *Machine
	cfg     Config
	first   uint64
	entries [][]byte
	counter []uint64
}

const bulkWall = pure.Wall(1000 * time.Hour)

func newBulk(t *testing.T, cfg Config) *bulk {
	cfg.BatchBytesMax, cfg.StepRecordsMax = journal.HeaderSize+1, 1
	b := &bulk{t: t, cfg: cfg, first: 1}
	b.restart()
	return b
}

func (b *bulk) restart() {
	b.t.Helper()
	b.m = NewMachine(b.cfg)
	b.m.Restart(b.first)
	for i, frame := range b.entries {
		if err := b.m.Entry(b.first+uint64(i), b.counter[i], frame[journal.HeaderSize:]); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.m.Serve(b.first + uint64(len(b.entries)) - 1); err != nil {
		b.t.Fatal(err)
	}
	b.m.Tick(bulkWall, 0)
}

// append makes one entry durable, and tells whether there was one.
func (b *bulk) append() bool {
	b.t.Helper()
	frame, counter := b.m.Flush()
	if frame == nil {
		return false
	}
	b.entries, b.counter = append(b.entries, slices.Clone(frame)), append(b.counter, counter)
	if below := b.m.Appended(frame); below != 0 {
		n := below - b.first
		b.entries, b.counter, b.first = b.entries[n:], b.counter[n:], below
	}
	if err := b.m.Check(); err != nil {
		b.t.Fatal(err)
	}
	return true
}

// do decides a command and nothing after it.
func (b *bulk) do(cmd Command) (value any) {
	b.t.Helper()
	b.m.Decide(cmd, func(v any, err error) {
		if value = v; err != nil {
			value = err
		}
	})
	b.append()
	return value
}

// finish does the rest.
func (b *bulk) finish() {
	b.t.Helper()
	for {
		b.m.Advance()
		if !b.append() {
			return
		}
	}
}

// hold has a session hold n tasks.
func (b *bulk) hold(id session.ID, n int) {
	b.t.Helper()
	for range n {
		b.do(&SubmitTask{Namespace: "n", Task: queue.NewTask{Spec: queue.Spec{Kind: "k"}}})
	}
	b.do(&OpenSession{State: session.State{ID: id, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	b.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: n, Session: id}})
	b.finish()
	for i := range 200 { // until the journal is large enough to be compacted all the time
		other := session.ID{2, byte(i)}
		b.do(&OpenSession{State: session.State{ID: other, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
		b.do(&CloseSession{Namespace: "n", ID: other})
		b.finish()
	}
}

func (b *bulk) counts() string {
	b.t.Helper()
	page := b.do(&ListTasks{Filter: queue.Filter{Namespace: "n"}, Max: 100}).(TaskPage)
	count := map[string]int{}
	for _, t := range page.Tasks {
		count[fmt.Sprintf("%v lost %d", t.State, t.Losses)]++
	}
	var parts []string
	for _, what := range sortedNames(count) {
		parts = append(parts, fmt.Sprintf("%d %s", count[what], what))
	}
	return strings.Join(parts, ", ")
}

// A session's end is an intent: whether it was closed or lost is known to the end of the work behind it, over
// restarts and purges.
func TestTheEndOfASessionOutlivesARestart(t *testing.T) {
	for _, closed := range []bool{true, false} {
		for _, cut := range []int{0, 1, 2, 4, 6, 8, 10, 20, 30, 38} {
			b := newBulk(t, Config{CompactAfter: 1, PurgeStep: 1})
			id := session.ID{1}
			b.hold(id, 40)
			want := "40 ready lost 0"
			if closed {
				b.do(&CloseSession{Namespace: "n", ID: id})
			} else {
				for range 2 * 3600 {
					b.m.Tick(bulkWall, leaseStepMax)
				}
				want = "40 ready lost 1"
			}
			for i := range cut {
				if i < 12 { // noise, so that everything older is written anew meanwhile
					noise := session.State{ID: session.ID{3, byte(i)}, Namespace: "n", Name: strings.Repeat("x", 4000), TTL: time.Hour}
					b.do(&OpenSession{State: noise})
					b.do(&CloseSession{Namespace: "n", ID: noise.ID})
				}
				b.m.Advance()
				b.append()
			}
			b.restart()
			if !closed && cut == 0 {
				for range 2 * 3600 {
					b.m.Tick(bulkWall, leaseStepMax)
				}
			}
			b.finish()
			if got := b.counts(); got != want {
				t.Errorf("closed %v, cut after %d entries: %s, want %s", closed, cut, got, want)
			}
			if left := b.m.queue.Holders(); len(left) > 0 {
				t.Errorf("closed %v, cut after %d entries: %v holds something", closed, cut, left)
			}
		}
	}
}

// A call that is cancelled counts as cancelled at once: nothing of it is handed out while the work behind it
// goes on, and a reservation that does not wait is answered.
func TestACancelledCallHandsOutNothing(t *testing.T) {
	b := newBulk(t, Config{})
	stream := NewOutbox()
	a := b.do(&CallAttach{Namespace: "n", Call: "c", NewSession: session.ID{1}, TTL: time.Hour, Stream: stream}).(*Attached)
	f := &CallFrame{Call: a.Call, Stream: stream}
	for i := range uint64(10) {
		f.Tasks = append(f.Tasks, queue.NewTask{Index: i, Spec: queue.Spec{Kind: "k"}})
	}
	b.do(f)
	b.finish()
	b.do(&CancelCall{Namespace: "n", Call: "c", Grace: -1})
	if !b.m.queue.Pending() {
		t.Fatal("there is no work behind the command: this tests nothing")
	}
	got, ok := b.do(&ReserveTasks{
		Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: 3}, NewSession: session.ID{2}, Lease: time.Minute,
	}).(Reservation)
	if !ok || len(got.Tasks) > 0 {
		t.Errorf("the reservation got %v, answered %v", got, ok)
	}
	b.finish()
	if got := b.counts(); got != "10 cancelled lost 0" {
		t.Error(got)
	}
}

// The cancellation of a call outlives a restart in the middle of the work.
func TestACancelledCallOutlivesARestart(t *testing.T) {
	for cut := range 12 {
		b := newBulk(t, Config{})
		stream := NewOutbox()
		a := b.do(&CallAttach{Namespace: "n", Call: "c", NewSession: session.ID{1}, TTL: time.Hour, Stream: stream}).(*Attached)
		f := &CallFrame{Call: a.Call, Stream: stream}
		for i := range uint64(10) {
			f.Tasks = append(f.Tasks, queue.NewTask{Index: i, Spec: queue.Spec{Kind: "k"}})
		}
		b.do(f)
		b.finish()
		b.do(&CancelCall{Namespace: "n", Call: "c", Grace: -1})
		for range cut {
			b.m.Advance()
			b.append()
		}
		b.restart()
		b.finish()
		if got := b.counts(); got != "10 cancelled lost 0" {
			t.Errorf("cut after %d entries: %s", cut, got)
		}
	}
}

// What runs of a cancelled call is told to stop, all of it, however many steps that takes.
func TestACancelledCallStopsWhatRuns(t *testing.T) {
	b := newBulk(t, Config{})
	stream := NewOutbox()
	a := b.do(&CallAttach{Namespace: "n", Call: "c", NewSession: session.ID{1}, TTL: time.Hour, Stream: stream}).(*Attached)
	f := &CallFrame{Call: a.Call, Stream: stream}
	for i := range uint64(10) {
		f.Tasks = append(f.Tasks, queue.NewTask{Index: i, Spec: queue.Spec{Kind: "k"}})
	}
	b.do(f)
	b.finish()
	b.do(&OpenSession{State: session.State{ID: session.ID{2}, Namespace: "n", Kind: session.Client, TTL: time.Hour}})
	b.do(&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Namespace: "n", TasksMax: 10, Session: session.ID{2}}})
	b.finish()
	b.do(&CallFrame{Call: a.Call, Stream: stream, Cancels: []CallCancel{{Range: pure.Range{First: 0, Last: 4}, Grace: -1}}})
	b.finish()
	if got := b.counts(); got != "5 cancelling lost 0, 5 running lost 0" {
		t.Errorf("a range: %s", got)
	}
	b.do(&CancelCall{Namespace: "n", Call: "c", Grace: -1})
	b.finish()
	if got := b.counts(); got != "10 cancelling lost 0" {
		t.Errorf("all: %s", got)
	}
}

// Streams whose end is decided and not told are closed with the term: no table has them any more.
func TestATermLeavesNoStreamOpen(t *testing.T) {
	b := newBulk(t, Config{})
	stream := NewOutbox()
	b.do(&WorkerHello{
		Hello:      queue.Hello{Namespace: "n", Name: "w", Queues: []string{""}, Kinds: []string{"k"}, Slots: 1},
		NewSession: session.ID{1}, TTL: time.Minute, Stream: stream,
	})
	b.m.Decide(&WorkerFrame{Session: session.ID{1}, Stream: stream, Goodbye: true}, nil)
	over := pure.Refuse(pure.TermEnded, "over")
	b.m.Abandon(over)
	if _, err := stream.Take(nil); err != nil {
		t.Fatal("the stream was told its end before it was durable")
	}
	if _, err := stream.Take(nil); err == nil {
		t.Error("the stream is open")
	}
}
