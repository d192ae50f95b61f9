package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/memory"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// patience bounds what must happen at all.
const patience = 2 * time.Minute

// startLoop runs a loop over a stream until the test's end.
func startLoop(t *testing.T, stream journal.Stream) *Loop {
	t.Helper()
	l := NewLoop(LoopConfig{Open: func(context.Context) (journal.Stream, error) { return stream, nil }})
	runLoop(t, l)
	return l
}

// runLoop runs a loop until the test's end, and returns when it is ready.
func runLoop(t *testing.T, l *Loop) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitReady(t, l)
}

func waitReady(t *testing.T, l *Loop) {
	t.Helper()
	for timeout := time.After(patience); ; {
		changed := l.Changed()
		if l.Ready() {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatal("the loop is not ready")
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func wantReason(t *testing.T, err error, want pure.Reason) {
	t.Helper()
	if r, ok := errors.AsType[*pure.Refusal](err); !ok || r.Reason != want {
		t.Fatalf("%v, want %v", err, want)
	}
}

// bomb is a command that the machine does not survive.
type bomb struct{ Name string }

func (b *bomb) run(m *Machine, step *pure.Step) (any, error) {
	_ = m.queue.CreateQueue(step, "default", b.Name, queue.Settings{}) // half done
	panic("boom: " + b.Name)
}

func TestPanicEndsTheTermAndIsNotTriedAgain(t *testing.T) {
	l := startLoop(t, &memory.Stream{})
	ctx := testContext(t)
	if _, err := l.Do(ctx, &CreateQueue{Namespace: "default", Name: "before"}); err != nil {
		t.Fatal(err)
	}
	epoch := l.Stats().Epoch
	other := NewOutbox()
	if _, err := l.Do(ctx, &WorkerHello{
		Hello:      queue.Hello{Namespace: "default", Queues: []string{"before"}, Kinds: []string{"k"}, Slots: 1},
		NewSession: session.ID{1}, TTL: time.Minute, Stream: other,
	}); err != nil {
		t.Fatal(err)
	}
	_, err := l.Do(ctx, &bomb{"x"})
	wantReason(t, err, pure.RequestPoisoned)
	<-other.Done()
	wantReason(t, other.Err(), pure.TermEnded)
	waitReady(t, l)
	for range 3 {
		_, err := l.Do(ctx, &bomb{"x"})
		wantReason(t, err, pure.RequestPoisoned)
	}
	second := l.Stats().Epoch
	if second <= epoch {
		t.Errorf("epoch %d after %d", second, epoch)
	}
	page, err := l.Do(ctx, &ListQueues{Namespace: "default", Max: 10})
	if err != nil || len(page.(QueuePage).Queues) != 1 {
		t.Errorf("%v, %v: what was half done is to be gone", page, err)
	}
	if l.Stats().Epoch != second {
		t.Error("a refused command ended a term")
	}
}

// An append that fails ends the term: who waits is told, and the next term has what was stored.
func TestAppendThatFails(t *testing.T) {
	for name, fault := range map[string]memory.Fault{
		"refused": memory.Fail, "stored without an answer": memory.AmbiguousStored, "lost without an answer": memory.AmbiguousLost,
	} {
		t.Run(name, func(t *testing.T) {
			var next atomic.Int32
			stream := &memory.Stream{Faults: func(uint64) memory.Fault { return memory.Fault(next.Swap(int32(memory.None))) }}
			l := startLoop(t, stream)
			ctx := testContext(t)
			o := NewOutbox()
			v, err := l.Do(ctx, &CallAttach{Namespace: "default", Call: "c", NewSession: session.ID{1}, TTL: time.Minute, Stream: o})
			if err != nil {
				t.Fatal(err)
			}
			call := v.(*Attached).Call
			waitC := make(chan error, 1)
			if err := l.Send(ctx, &ReserveTasks{
				Reservation: queue.Reservation{Waiter: 1, Namespace: "default", Queue: "default", TasksMax: 1},
				NewSession:  session.ID{2}, Lease: time.Minute, Wait: true,
			}, 0, func(_ any, err error) { waitC <- err }); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Do(ctx, &CreateQueue{Namespace: "default", Name: "sound"}); err != nil {
				t.Fatal(err)
			}
			next.Store(int32(fault))
			_, err = l.Do(ctx, &CreateQueue{Namespace: "default", Name: "unsound"})
			wantReason(t, err, pure.TermEnded)
			wantReason(t, <-waitC, pure.TermEnded)
			<-o.Done()
			wantReason(t, o.Err(), pure.TermEnded)
			waitReady(t, l)
			page, err := l.Do(ctx, &ListQueues{Namespace: "default", Max: 10})
			if err != nil {
				t.Fatal(err)
			}
			names := ""
			for _, q := range page.(QueuePage).Queues {
				names += q.Name + " "
			}
			if !strings.Contains(names, "sound ") || strings.Contains(names, "unsound ") != (fault == memory.AmbiguousStored) {
				t.Errorf("queues: %s", names)
			}
			// A frame of the old term's stream is void, and the call is still there.
			if err := l.Send(ctx, &CallFrame{Call: call, Stream: o, Tasks: []queue.NewTask{{Spec: queue.Spec{Kind: "k"}}}}, 0, nil); err != nil {
				t.Fatal(err)
			}
			v, err = l.Do(ctx, &CallAttach{Namespace: "default", Call: "c", Session: session.ID{1}, TTL: time.Minute, Stream: NewOutbox()})
			if err != nil || v.(*Attached).Call != call || v.(*Attached).Session != (session.ID{1}) || len(v.(*Attached).Accepted) != 0 {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
}

// A store that cannot be opened, and a first term that cannot begin, are Run's errors: nobody was ever served.
func TestRunThatNeverWasReady(t *testing.T) {
	broken := errors.New("no such disk")
	for name, test := range map[string]struct {
		open func(context.Context) (journal.Stream, error)
		want error
	}{
		"open": {func(context.Context) (journal.Stream, error) { return nil, broken }, broken},
		"fence": {func(context.Context) (journal.Stream, error) {
			return &memory.Stream{Faults: func(uint64) memory.Fault { return memory.Fail }}, nil
		}, memory.ErrFailed},
	} {
		opened := 0
		l := NewLoop(LoopConfig{Open: func(ctx context.Context) (journal.Stream, error) {
			opened++
			return test.open(ctx)
		}})
		if err := l.Run(testContext(t)); !errors.Is(err, test.want) || opened != 1 {
			t.Errorf("%s: %v after %d times", name, err, opened)
		}
		_, err := l.Do(testContext(t), &GetQueue{"default", "default"})
		wantReason(t, err, pure.NotReady)
	}
}

// A loop that was ready once opens its store again until it can.
func TestRunOpensAgain(t *testing.T) {
	var fault, opened atomic.Int32
	stream := &memory.Stream{Faults: func(uint64) memory.Fault { return memory.Fault(fault.Swap(int32(memory.None))) }}
	l := NewLoop(LoopConfig{Open: func(context.Context) (journal.Stream, error) {
		if n := opened.Add(1); n == 2 || n == 3 {
			return nil, errors.New("the disk is away")
		}
		return stream, nil
	}})
	runLoop(t, l)
	ctx := testContext(t)
	o := NewOutbox()
	if _, err := l.Do(ctx, &CallAttach{Namespace: "default", Call: "c", NewSession: session.ID{1}, TTL: time.Minute, Stream: o}); err != nil {
		t.Fatal(err)
	}
	fault.Store(int32(memory.Fail))
	_, err := l.Do(ctx, &CreateQueue{Namespace: "default", Name: "q"})
	wantReason(t, err, pure.TermEnded)
	<-o.Done() // and so the next term is the one that is ready
	waitReady(t, l)
	if _, err := l.Do(ctx, &CreateQueue{Namespace: "default", Name: "q"}); err != nil || opened.Load() != 4 {
		t.Errorf("%v after %d times", err, opened.Load())
	}
}

// slow is a stream whose appends wait for leave.
type slow struct {
	memory.Stream
	gate chan struct{}
}

func (s *slow) Append(ctx context.Context, last uint64, data []byte) error {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Stream.Append(ctx, last, data)
}

// While an append stands still nothing is told, not even reads of what it decided.
func TestNothingIsToldBeforeItIsDurable(t *testing.T) {
	s := &slow{gate: make(chan struct{}, 1)}
	s.gate <- struct{}{} // the fence
	l := startLoop(t, s)
	ctx := testContext(t)
	var told atomic.Int32
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Add(2)
		count := func(any, error) { told.Add(1); wg.Done() }
		if err := l.Send(ctx, &CreateQueue{Namespace: "default", Name: fmt.Sprint("q", i)}, 0, count); err != nil {
			t.Fatal(err)
		}
		if err := l.Send(ctx, &GetQueue{"default", fmt.Sprint("q", i)}, 0, count); err != nil {
			t.Fatal(err)
		}
	}
	brief, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := l.Do(brief, &ListQueues{Namespace: "default", Max: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if n := told.Load(); n != 0 {
		t.Errorf("%d were told", n)
	}
	close(s.gate)
	wg.Wait()
}

// Whatever was sent without an error is answered, also when the loop ends meanwhile.
func TestEverythingSentIsAnswered(t *testing.T) {
	for range 50 {
		l := NewLoop(LoopConfig{Open: func(context.Context) (journal.Stream, error) { return &memory.Stream{}, nil }})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		waitReady(t, l)
		var senders, answers sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for {
					answers.Add(1)
					err := l.Send(context.Background(), &CreateQueue{Namespace: "default", Name: "q"}, 8<<10, func(any, error) { answers.Done() })
					if err != nil {
						answers.Done()
						wantNotReady(t, err)
						return
					}
				}
			})
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		senders.Wait()
		answers.Wait()
		_, err := l.Settle(context.Background(), &CreateQueue{Namespace: "default", Name: "q"})
		wantReason(t, err, pure.NotReady)
	}
}

func wantNotReady(t *testing.T, err error) {
	var r *pure.Refusal
	if !errors.As(err, &r) || r.Reason != pure.NotReady {
		t.Errorf("%v", err)
	}
}

// A machine that stood still expires nobody: what it missed counts as half a second.
func TestAStallExpiresNobody(t *testing.T) {
	m := NewMachine(Config{})
	m.Restart(1)
	if err := m.Serve(1); err != nil {
		t.Fatal(err)
	}
	m.Tick(1e18, 0)
	m.Decide(&OpenSession{session.State{ID: session.ID{1}, Namespace: "default", TTL: time.Second}}, nil)
	m.Tick(1e18+int64Hour, time.Hour)
	m.Advance()
	if !m.sessions.Alive(session.ID{1}) {
		t.Error("a stall of an hour ended a session of a second")
	}
	m.Tick(1e18+int64Hour, time.Second)
	m.Advance()
	if m.sessions.Alive(session.ID{1}) {
		t.Error("a second of passes did not")
	}
}

const int64Hour = pure.Wall(time.Hour)

// A call of the largest size is cancelled by one range without an entry that the journal does not take.
func TestLargeCancelFitsTheJournal(t *testing.T) {
	l := startLoop(t, &memory.Stream{})
	ctx := testContext(t)
	o := NewOutbox()
	v, err := l.Do(ctx, &CallAttach{Namespace: "default", Call: "c", NewSession: session.ID{1}, TTL: time.Minute, Stream: o})
	if err != nil {
		t.Fatal(err)
	}
	call, epoch := v.(*Attached).Call, l.Stats().Epoch
	const n = queue.CallTasksMax - 1000
	for i := uint64(0); i < n; i += 1000 {
		f := &CallFrame{Call: call, Stream: o}
		for k := i; k < i+1000; k++ {
			f.Tasks = append(f.Tasks, queue.NewTask{Index: k, Queue: "default", Spec: queue.Spec{Kind: "k", Options: queue.DefaultOptions}})
		}
		if err := l.Send(ctx, f, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	all := pure.Range{First: 0, Last: 1<<64 - 1}
	if err := l.Send(ctx, &CallFrame{Call: call, Stream: o, Cancels: []CallCancel{{Range: all, Grace: -1}}}, 0, nil); err != nil {
		t.Fatal(err)
	}
	// Submitted behind the request: not meant.
	late := queue.NewTask{Index: n, Queue: "default", Spec: queue.Spec{Kind: "late", Options: queue.DefaultOptions}}
	if err := l.Send(ctx, &CallFrame{Call: call, Stream: o, Tasks: []queue.NewTask{late}}, 0, nil); err != nil {
		t.Fatal(err)
	}
	finished := 0
	for finished < n {
		select {
		case <-o.Wake():
		case <-ctx.Done():
			t.Fatalf("%d are cancelled", finished)
		}
		items, err := o.Take(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if f, ok := item.(*queue.Finished); ok && f.Outcome.State == queue.Cancelled {
				if finished++; f.Index >= n {
					t.Error("a later task was cancelled")
				}
			}
		}
	}
	if l.Stats().Epoch != epoch {
		t.Error("it ended the term")
	}
}

// The largest batch, and compaction behind it, still make an entry that the journal takes.
func TestCompactionStopsBelowTheLargestEntry(t *testing.T) {
	m := NewMachine(Config{CompactAfter: 1, PurgeStep: 1 << 20, StepRecordsMax: 1000})
	m.Restart(1)
	if err := m.Serve(1); err != nil {
		t.Fatal(err)
	}
	m.Tick(1e18, 0)
	payload := queue.Payload{Encoding: 1, Data: make([]byte, 512<<10)}
	task := func() {
		m.Decide(&SubmitTask{Namespace: "default", Task: queue.NewTask{Queue: "default", Spec: queue.Spec{Kind: "k", Payload: payload}}}, nil)
	}
	for range 60 {
		for range 13 { // beyond what a batch is to have: as one large command would
			task()
		}
		frame, _ := m.Flush()
		if len(frame) > memory.EntryBytesMax {
			t.Fatalf("an entry of %d bytes", len(frame))
		}
		m.Appended(frame)
	}
}

// leaseClock is a command that reads lease time.
type leaseClock struct{}

func (leaseClock) run(_ *Machine, step *pure.Step) (any, error) { return step.Lease, nil }

// The time that a loop slept has passed for what wakes it: else a queue's rate would let a burst too many begin,
// and a session would live for less than its TTL.
func TestWakingLoopKnowsTheTime(t *testing.T) {
	const nap = 100 * time.Millisecond // less than the loop sleeps, and than lease time may advance at once
	l := startLoop(t, &memory.Stream{})
	ctx := testContext(t)
	before, err := l.Do(ctx, leaseClock{})
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(nap)
	after, err := l.Do(ctx, leaseClock{})
	if err != nil {
		t.Fatal(err)
	}
	if passed := time.Duration(after.(pure.Lease) - before.(pure.Lease)); passed < nap {
		t.Errorf("%v of lease time passed within %v", passed, nap)
	}
}
