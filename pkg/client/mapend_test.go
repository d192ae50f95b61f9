package client

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

var doubled = task.Define[int, int]("double")

// refusing refuses every task for one reason.
func refusing(reason weftv1.ErrorReason, metadata map[string]string) *fakeBroker {
	return &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		for {
			response := &weftv1.ExecuteResponse{}
			for _, x := range s.recv().GetTasks() {
				response.Rejected = append(response.Rejected, &weftv1.ExecuteRejection{Index: x.GetIndex(), Reason: reason, Metadata: metadata})
			}
			s.send(response)
		}
	})}
}

// The refusal of a task that every other one would meet with is one error, the last result.
func TestMapEndsByWhatHitsAll(t *testing.T) {
	for name, x := range map[string]struct {
		reason weftv1.ErrorReason
		field  string
		alone  bool // MapSpecs has it for each input
		each   bool // Map too
	}{
		"no such queue":    {reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND, alone: true},
		"closed":           {reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_CLOSED, alone: true},
		"bad option":       {reason: weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, field: "spec.timeout", alone: true},
		"bad payload":      {reason: weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD, field: "spec.payload.text", alone: true, each: true},
		"full state":       {reason: weftv1.ErrorReason_ERROR_REASON_STATE_FULL},
		"does not fit":     {reason: weftv1.ErrorReason_ERROR_REASON_STATE_FULL, field: "spec.payload", alone: true, each: true},
		"large":            {reason: weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE, alone: true, each: true},
		"full disk":        {reason: weftv1.ErrorReason_ERROR_REASON_DISK_LOW},
		"the call's end":   {reason: weftv1.ErrorReason_ERROR_REASON_CALL_FINISHED},
		"another's unique": {reason: weftv1.ErrorReason_ERROR_REASON_UNIQUE_MISMATCH, alone: true, each: true},
	} {
		const inputs = 50
		want := map[bool]int{false: 1, true: inputs}
		metadata := map[string]string{}
		if x.field != "" {
			metadata["field"] = x.field
		}
		c := refusing(x.reason, metadata).start(t)
		results := 0
		for r := range Map(testContext(t), c, doubled, slices.Values(make([]int, inputs)), InFlight(10)) {
			if results++; !HasReason(r.Err, x.reason) || r.Outcome != nil {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if results != want[x.each] {
			t.Errorf("%s: %d results of Map", name, results)
		}
		results = 0
		for r := range MapSpecs(testContext(t), c, specs(inputs), Unordered()) {
			if results++; !HasReason(r.Err, x.reason) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if results != want[x.alone] {
			t.Errorf("%s: %d results of MapSpecs", name, results)
		}
	}
}

// The end of the call is one error, however many tasks were in flight; what had ended before is given.
func TestMapWhoseCallEnds(t *testing.T) {
	for _, opts := range [][]MapOption{nil, {Unordered()}} {
		c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
			s.attach(&weftv1.ExecuteAttached{})
			s.untilTasks(20)
			s.accept(0, 19)
			s.succeed(0, 1)
			s.until(func() bool { return s.acked.has(1) })
			return weftError(weftv1.ErrorReason_ERROR_REASON_SUPERSEDED, nil)
		})}).start(t, WithSessionTTL(testTTL))
		var errs []error
		for r := range MapSpecs(testContext(t), c, specs(20), opts...) {
			errs = append(errs, r.Err)
		}
		if len(errs) != 3 || errs[0] != nil || errs[1] != nil || !HasReason(errs[2], weftv1.ErrorReason_ERROR_REASON_SUPERSEDED) {
			t.Errorf("%v", errs)
		}
	}
}

// Options that make no sense are the one result of a map.
func TestMapOptions(t *testing.T) {
	c, err := Dial("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for want, o := range map[string]MapOption{
		"InFlight(0)": InFlight(0), `Name("")`: Name(""), `Name("a b")`: Name("a b"), "neither Kind": With(Spec{Kind: "k"}),
	} {
		var errs []error
		for r := range Map(testContext(t), c, doubled, slices.Values([]int{1, 2, 3}), o) {
			errs = append(errs, r.Err)
		}
		for r := range MapSpecs(testContext(t), c, specs(3), o) {
			errs = append(errs, r.Err)
		}
		if len(errs) != 2 || errs[0] == nil || errs[1] == nil || !strings.Contains(errs[0].Error(), want) || !strings.Contains(errs[1].Error(), want) {
			t.Errorf("%s: %v", want, errs)
		}
	}
}

// A second With goes on where the first one ended, and MapSpecs takes what the inputs leave out.
func TestWithGoesOn(t *testing.T) {
	first := Spec{Queue: "q", Priority: 1, Labels: map[string]string{"a": "b"}}
	spec, err := NewSpec(doubled, 1, With(first), With(Spec{Priority: 2, Exclusive: true}), With(Spec{}))
	if err != nil || spec.Queue != "q" || spec.Priority != 2 || spec.Labels["a"] != "b" || !spec.Exclusive || spec.Kind != "double" {
		t.Errorf("%+v, %v", spec, err)
	}
	asked := make(chan *weftv1.TaskSpec, 2)
	c := (&fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(2)
		for _, x := range s.tasks {
			asked <- x.GetSpec()
		}
		s.accept(0, 1)
		s.succeed(0, 1)
		return s.drain()
	})}).start(t)
	inputs := slices.Values([]Spec{{Kind: "k"}, {Kind: "k", Queue: "own", Payload: task.Text("x")}})
	for r := range MapSpecs(testContext(t), c, inputs, With(first), With(Spec{Timeout: 1e9})) {
		if r.Err != nil || r.Spec.Priority != 1 {
			t.Errorf("%+v", r)
		}
	}
	one, two := <-asked, <-asked
	if one.GetQueue() != "q" || two.GetQueue() != "own" || two.GetPayload().GetText() != "x" || one.GetTimeout().GetSeconds() != 1 || two.GetLabels()["a"] != "b" {
		t.Errorf("%v, %v", one, two)
	}
}

// brokenAt gives a few inputs and breaks.
func brokenAt(n int, breaks func()) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
		breaks()
	}
}

// A panic of the inputs is one of the loop, with its value and where it came from.
func TestMapOfInputsThatPanic(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	why := errors.New("no more paper")
	func() {
		defer func() {
			p, ok := recover().(*InputsPanic)
			if !ok || p.Value != any(why) || !errors.Is(p, why) || !strings.Contains(string(p.Stack), "brokenAt") {
				t.Errorf("%v", p)
			}
		}()
		for r := range Map(testContext(t), c, doubled, brokenAt(3, func() { panic(why) })) {
			_ = r
		}
		t.Error("the loop has ended")
	}()
	ended := make(chan bool)
	go func() {
		defer func() { ended <- recover() == nil }()
		for r := range Map(testContext(t), c, doubled, brokenAt(3, runtime.Goexit)) {
			_ = r
		}
		panic("the loop has ended")
	}()
	if !<-ended {
		t.Error("Goexit is none of the loop")
	}
}

// A kind that was not defined is refused, wherever one is taken.
func TestZeroKind(t *testing.T) {
	c := (&fakeBroker{execute: scripted(echoScript)}).start(t)
	ctx := testContext(t)
	var zero task.Kind[int, int]
	_, submitted := Submit(ctx, c, zero, 1)
	_, spec := NewSpec(zero, 1)
	_, attached := Attach(ctx, c, zero, "t1").Wait(ctx)
	errs := []error{submitted, spec, attached}
	for _, err := range AttachCall(ctx, c, zero, "call") {
		errs = append(errs, err)
	}
	for r := range Map(ctx, c, zero, slices.Values([]int{1, 2})) {
		errs = append(errs, r.Err)
	}
	if len(errs) != 5 {
		t.Errorf("%v", errs)
	}
	for i, err := range errs {
		if !errors.Is(err, errZeroKind) {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, in := zero.DecodeInput(task.Payload{})
	_, out := zero.DecodeOutput(task.Payload{})
	_, encoded := zero.EncodeOutput(1)
	if in == nil || out == nil || encoded == nil {
		t.Errorf("%v, %v, %v", in, out, encoded)
	}
}

// A partial result that cannot be read is told in its place, also of a call that is met again.
func TestPartialThatCannotBeRead(t *testing.T) {
	unreadable := &weftv1.Payload{Value: &weftv1.Payload_Json{Json: &structpb.Value{}}}
	text := func(s string) *weftv1.Payload { return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: s}} }
	for _, met := range []bool{false, true} {
		b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
			attached := &weftv1.ExecuteAttached{}
			advance := &weftv1.ExecuteResponse{Advances: []*weftv1.ExecuteAdvance{{
				TaskId: "t0", Partials: []*weftv1.Payload{text("one"), unreadable, text("three")},
			}}}
			if met {
				attached.Accepted = ranges(0, 0)
			}
			if s.attach(attached); met {
				s.send(advance)
			}
			s.untilTasks(1)
			s.accept(0, 0)
			s.send(advance)
			s.succeed(0)
			return s.drain()
		})}
		call := b.start(t).NewCall(Name("call"))
		f := submit(t, call, 1)[0]
		var got []string
		var last error
		for p, err := range Partials[string](testContext(t), f) {
			if last = err; err == nil {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, []string{"one"}) || last == nil || !strings.Contains(last.Error(), "partial result 1") {
			t.Errorf("%q, %v", got, last)
		}
		wantSuccess(t, f)
		f.call.mu.Lock()
		if n := len(f.extra.partials); n != 3 {
			t.Errorf("%d partial results", n)
		}
		f.call.mu.Unlock()
	}
}

// A task's name is told once the broker has the task, by who has it at hand.
func TestFutureID(t *testing.T) {
	accept := make(chan struct{})
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(3)
		<-accept
		s.send(&weftv1.ExecuteResponse{Rejected: []*weftv1.ExecuteRejection{{Index: 1, Reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_CLOSED}}})
		s.accept(0, 0)
		s.accept(2, 2)
		s.succeed(2)
		return s.drain()
	})}
	b.watch = func(r *weftv1.WatchTaskRequest, s weftv1.TaskService_WatchTaskServer) error {
		if r.GetCallId() == "" || r.GetCallIndex() != 0 {
			return weftError(weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND, nil)
		}
		if err := s.Send(&weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Task{Task: &weftv1.Task{Id: "t0"}}}); err != nil {
			return err
		}
		<-s.Context().Done()
		return s.Context().Err()
	}
	call := b.start(t).NewCall()
	fs := submit(t, call, 3)
	short, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := fs[0].ID(short); !errors.Is(err, context.Canceled) {
		t.Errorf("before the broker has it: %v", err)
	}
	close(accept)
	if id, err := fs[0].ID(testContext(t)); id != "t0" || err != nil || fs[0].TaskID() != "t0" {
		t.Errorf("%q, %v", id, err)
	}
	if id, err := fs[1].ID(testContext(t)); id != "" || !errors.Is(err, ErrQueueClosed) {
		t.Errorf("refused: %q, %v", id, err)
	}
	wantSuccess(t, fs[2])
	if id, err := fs[2].ID(testContext(t)); id != taskName(2) || err != nil {
		t.Errorf("ended: %q, %v", id, err)
	}
}
