package client

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// echoScript accepts everything and ends it at once, in an order of its own.
func echoScript(_ int, s *fakeStream) error {
	s.attach(&weftv1.ExecuteAttached{})
	for seen := 0; ; {
		r := s.recv()
		seen, s.tasks = seen+len(s.tasks), nil // it keeps none: the client's memory is measured beside it
		if s.finish && count(&s.acked) == seen {
			return nil
		}
		if len(r.GetTasks()) == 0 {
			continue
		}
		rand.Shuffle(len(r.GetTasks()), func(i, j int) { r.Tasks[i], r.Tasks[j] = r.Tasks[j], r.Tasks[i] })
		response := &weftv1.ExecuteResponse{}
		for _, x := range r.GetTasks() {
			response.Accepted = append(response.Accepted, &weftv1.IndexRange{First: x.GetIndex(), Last: x.GetIndex()})
			response.Outcomes = append(response.Outcomes, success(x.GetIndex()))
		}
		s.send(response)
	}
}

// specs is n plain inputs.
func specs(n int) iter.Seq[Spec] {
	return func(yield func(Spec) bool) {
		for range n {
			if !yield(Spec{Kind: "k", Payload: task.Text("in")}) {
				return
			}
		}
	}
}

func TestMapOrdered(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	var next uint64
	for r := range MapSpecs(testContext(t), c, specs(5000), InFlight(100)) {
		if r.Index != next || r.Err != nil || r.Outcome.Payload.String() != taskName(next) || r.Spec.Kind != "k" {
			t.Fatalf("result %d: %+v", next, r)
		}
		next++
	}
	if next != 5000 {
		t.Fatalf("%d results", next)
	}
}

func TestMapUnordered(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	seen := make(map[uint64]bool)
	for r := range MapSpecs(testContext(t), c, specs(5000), Unordered()) {
		if r.Err != nil || seen[r.Index] {
			t.Fatalf("result %+v, seen %v", r, seen[r.Index])
		}
		seen[r.Index] = true
	}
	if len(seen) != 5000 {
		t.Fatalf("%d results", len(seen))
	}
}

func TestMapOfNothing(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	for r := range MapSpecs(testContext(t), c, specs(0)) {
		t.Fatalf("%+v", r)
	}
}

// No more than InFlight tasks are ever under way.
func TestMapInFlight(t *testing.T) {
	const limit = 3
	c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		for done := 0; done < 30; {
			s.untilTasks(min(done+limit, 30))
			if n := len(s.tasks) - done; n > limit {
				t.Errorf("%d tasks under way", n)
			}
			s.accept(uint64(done), uint64(done))
			s.succeed(uint64(done))
			done++
		}
		return s.serveFinish()
	})}).start(t)
	n := 0
	for r := range MapSpecs(testContext(t), c, specs(30), InFlight(limit), Unordered()) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		n++
	}
	if n != 30 {
		t.Fatalf("%d results", n)
	}
}

// Breaking the loop cancels the rest, and the broker knows it when the loop is left.
func TestMapBreakCancels(t *testing.T) {
	cancelled := make(chan []*weftv1.ExecuteCancel, 1)
	c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(10)
		s.accept(0, 9)
		s.succeed(0)
		s.mute = true // the answer comes after the note
		var r *weftv1.ExecuteRequest
		for len(s.cancels) == 0 {
			r = s.recv()
		}
		cancelled <- s.cancels
		s.mute = false
		if r.GetHeartbeat() != 0 {
			s.send(&weftv1.ExecuteResponse{Heartbeat: r.GetHeartbeat()})
		}
		return s.drain()
	})}).start(t)
	for r := range MapSpecs(testContext(t), c, specs(1_000_000), InFlight(10)) {
		if r.Index != 0 || r.Err != nil {
			t.Fatalf("%+v", r)
		}
		break
	}
	select {
	case got := <-cancelled:
		if r := got[0].GetRange(); r.GetFirst() != 0 || r.GetLast() < 9 {
			t.Fatalf("cancelled %v", got)
		}
	default:
		t.Fatal("the broker did not know")
	}
}

// A map whose inputs are blocked can be left all the same.
func TestMapBreakWithBlockedInputs(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	release, gone := make(chan struct{}), make(chan struct{})
	inputs := func(yield func(Spec) bool) {
		defer close(gone)
		if !yield(Spec{Kind: "k"}) {
			return
		}
		<-release
		if yield(Spec{Kind: "k"}) {
			t.Error("the map takes more inputs")
		}
	}
	for range MapSpecs(testContext(t), c, inputs) {
		break
	}
	close(release)
	<-gone
}

func TestMapContextEnds(t *testing.T) {
	c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		return s.drain()
	})}).start(t)
	ctx, cancel := context.WithCancel(testContext(t))
	inputs := func(yield func(Spec) bool) {
		yield(Spec{Kind: "k"})
		cancel()
	}
	var last SpecResult
	for last = range MapSpecs(ctx, c, inputs) { //nolint:revive // the last one counts
	}
	if !errors.Is(last.Err, context.Canceled) {
		t.Fatalf("%+v", last)
	}
}

// A failed task is a result like any other; a call that ends is the last one.
func TestMapErrors(t *testing.T) {
	c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(2)
		s.accept(0, 1)
		failed := success(0)
		failed.Outcome.State = weftv1.TaskState_TASK_STATE_FAILED
		failed.Outcome.Error = &weftv1.TaskError{Reason: "exit", Message: "3"}
		s.send(&weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{failed}})
		return weftError(weftv1.ErrorReason_ERROR_REASON_SUPERSEDED, nil)
	})}).start(t)
	var results []SpecResult
	for r := range MapSpecs(testContext(t), c, specs(100), InFlight(2)) {
		results = append(results, r)
	}
	var te *task.Error
	if !errors.As(results[0].Err, &te) || te.Reason != "exit" {
		t.Fatalf("%+v", results[0])
	}
	if !HasReason(results[len(results)-1].Err, weftv1.ErrorReason_ERROR_REASON_SUPERSEDED) {
		t.Fatalf("%+v", results)
	}
}

// Many inputs take no more memory than a few.
func TestMapMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: so many tasks take a while")
	}
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	// What a collection found alive: the others go on while this goroutine looks, and what they leave is no use.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtime.GC()
	metrics.Read(live)
	before := live[0].Value.Uint64() // what other tests have left
	const total = 200_000
	n := 0
	for r := range MapSpecs(testContext(t), c, specs(total)) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if n++; n%(total/10) == 0 {
			runtime.GC()
			metrics.Read(live)
			if bytes := live[0].Value.Uint64(); bytes > before+32<<20 {
				t.Fatalf("%d MiB after %d tasks, %d before", bytes>>20, n, before>>20)
			}
		}
	}
	if n != total {
		t.Fatalf("%d results", n)
	}
}
