package client

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// taskName is the fake broker's name for a task.
func taskName(index uint64) string { return "t" + strconv.FormatUint(index, 36) }

// submit submits n plain tasks.
func submit(t *testing.T, call *Call, n int) []*SpecFuture {
	t.Helper()
	fs := make([]*SpecFuture, n)
	for i := range fs {
		f, err := call.Submit(testContext(t), Spec{Kind: "k", Payload: task.Text(strconv.Itoa(i))})
		if err != nil {
			t.Fatal(err)
		}
		fs[i] = f
	}
	return fs
}

// wantSuccess waits for futures and compares their results.
func wantSuccess(t *testing.T, fs ...*SpecFuture) {
	t.Helper()
	for _, f := range fs {
		o, err := f.Wait(testContext(t))
		if err != nil {
			t.Fatalf("task %d: %v", f.Index(), err)
		}
		if o.Err() != nil || o.Payload.String() != taskName(f.Index()) || f.TaskID() != taskName(f.Index()) {
			t.Fatalf("task %d: %+v, name %q", f.Index(), o, f.TaskID())
		}
	}
}

func TestCallDeliversAndFinishes(t *testing.T) {
	var s1 *fakeStream
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s1 = s
		a := s.attach(&weftv1.ExecuteAttached{SessionId: "s1"})
		if a.GetCallId() == "" || a.GetSessionId() != "" || a.GetNamespace() != "ns" || a.GetClient() != "me" {
			t.Errorf("attach: %v", a)
		}
		s.untilTasks(3)
		s.accept(0, 2)
		s.succeed(2, 0, 1)
		return s.drain() // the client ends the stream of a call that is over
	})}
	c := b.start(t, WithNamespace("ns"), WithName("me"))
	call := c.NewCall()
	fs := submit(t, call, 3)
	wantSuccess(t, fs...)
	call.Finish()
	if err := call.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := call.Submit(testContext(t), Spec{Kind: "k"}); !errors.Is(err, ErrFinished) {
		t.Fatalf("submit after the end: %v", err)
	}
	call.Close()
	if got := <-b.closed; got != "s1" {
		t.Fatalf("closed session %q", got)
	}
	if !s1.finish || count(&s1.acked) != 3 {
		t.Errorf("finish %v, acknowledged %v", s1.finish, s1.acked)
	}
	for i, m := range s1.tasks {
		if m.GetIndex() != uint64(i) || m.GetSpec().GetPayload().GetText() != strconv.Itoa(i) {
			t.Errorf("task %d: %v", i, m)
		}
	}
}

// A stream that is cut before the broker accepted anything: everything is sent again, in order.
func TestCutBeforeAccept(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		a := s.attach(&weftv1.ExecuteAttached{SessionId: "s1"})
		s.untilTasks(3)
		if n == 1 {
			return errCut
		}
		if a.GetSessionId() != "s1" {
			t.Errorf("attached again as %v", a)
		}
		for i, m := range s.tasks {
			if m.GetIndex() != uint64(i) {
				t.Errorf("sent again at %d: %v", i, m)
			}
		}
		s.accept(0, 2)
		s.succeed(0, 1, 2)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	wantSuccess(t, submit(t, call, 3)...)
}

// A stream that is cut when a part was accepted: only the rest is sent again.
func TestCutAfterAccept(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		if n == 1 {
			s.attach(&weftv1.ExecuteAttached{SessionId: "s1"})
			s.untilTasks(4)
			s.accept(0, 0) // 2 is durable too, but the client is not told
			return errCut
		}
		s.attach(&weftv1.ExecuteAttached{SessionId: "s1", Accepted: ranges(0, 0, 2, 2)})
		s.untilTasks(2)
		if s.tasks[0].GetIndex() != 1 || s.tasks[1].GetIndex() != 3 || len(s.tasks) != 2 {
			t.Errorf("sent again: %v", s.tasks)
		}
		s.accept(1, 1)
		s.accept(3, 3)
		s.succeed(0, 1, 2, 3)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	wantSuccess(t, submit(t, call, 4)...)
}

// A stream that is cut after outcomes: those that arrived are told when attaching, and a doubled one
// changes nothing.
func TestCutAfterOutcome(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		if n == 1 {
			s.attach(&weftv1.ExecuteAttached{SessionId: "s1"})
			s.untilTasks(3)
			s.accept(0, 2)
			s.succeed(0, 1)
			return errCut
		}
		a := s.attach(&weftv1.ExecuteAttached{SessionId: "s1", Accepted: ranges(0, 2)})
		acked := rangeSetFromProto(a.GetAcknowledged())
		if !acked.has(0) || !acked.has(1) || acked.has(2) {
			t.Errorf("acknowledged: %v", a.GetAcknowledged())
		}
		doubled := success(0)
		doubled.Outcome.State = weftv1.TaskState_TASK_STATE_FAILED
		s.send(&weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{doubled, success(2), doubled}})
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 3)
	wantSuccess(t, fs...)
	wantSuccess(t, fs[0])
}

// A session that ended meanwhile: the call goes on with the new one.
func TestNewSession(t *testing.T) {
	sessions := make(chan string, 3)
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		a := s.attach(&weftv1.ExecuteAttached{SessionId: "s" + strconv.Itoa(n)})
		sessions <- a.GetSessionId()
		if n < 3 {
			return errCut
		}
		s.untilTasks(1)
		s.accept(0, 0)
		s.succeed(0)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	wantSuccess(t, submit(t, call, 1)...)
	for _, want := range []string{"", "s1", "s2"} {
		if got := <-sessions; got != want {
			t.Errorf("attached with %q, want %q", got, want)
		}
	}
}

// A task that was accepted and is not known any more ends with an error: it is neither run twice nor
// waited for.
func TestAcceptedTaskIsGone(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{SessionId: "s1"})
		if n == 1 {
			s.untilTasks(1)
			s.accept(0, 0)
			return errCut
		}
		return s.drain()
	})}
	call := b.start(t).NewCall()
	_, err := submit(t, call, 1)[0].Wait(testContext(t))
	if !HasReason(err, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND) || status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
}

func TestRejection(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(2)
		s.send(&weftv1.ExecuteResponse{
			Accepted: ranges(1, 1),
			Rejected: []*weftv1.ExecuteRejection{{
				Index: 0, Reason: weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND,
				Message: "no queue q", Metadata: map[string]string{"queue": "q"},
			}},
		})
		s.succeed(1)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 2)
	_, err := fs[0].Wait(testContext(t))
	var e *Error
	if !errors.As(err, &e) || e.Reason != weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND ||
		e.Metadata["queue"] != "q" || status.Code(err) != codes.NotFound {
		t.Fatalf("%#v", err)
	}
	wantSuccess(t, fs[1])
}

// Final errors end the call at once, and every future with it.
func TestFinalErrors(t *testing.T) {
	for name, err := range map[string]error{
		"superseded": weftError(weftv1.ErrorReason_ERROR_REASON_SUPERSEDED, nil),
		"bad frame":  weftError(weftv1.ErrorReason_ERROR_REASON_BAD_FRAME, map[string]string{"field": "attach"}),
		"not found":  status.Error(codes.NotFound, "no namespace"),
		"refused":    status.Error(codes.PermissionDenied, "key"),
	} {
		t.Run(name, func(t *testing.T) {
			b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
				s.attach(&weftv1.ExecuteAttached{})
				s.untilTasks(1)
				return err
			})}
			call := b.start(t).NewCall()
			_, got := submit(t, call, 1)[0].Wait(testContext(t))
			if status.Code(got) != status.Code(err) {
				t.Fatalf("got %v, want %v", got, err)
			}
			if err := call.Wait(testContext(t)); status.Code(err) != status.Code(got) {
				t.Fatalf("the call ended with %v", err)
			}
			if _, err := call.Submit(testContext(t), Spec{Kind: "k"}); status.Code(err) != status.Code(got) {
				t.Fatalf("submit: %v", err)
			}
			if n := b.streams.Load(); n != 1 {
				t.Fatalf("%d streams", n)
			}
		})
	}
}

// A broker that says nothing is left within three quarters of the TTL, also before it has attached.
func TestSilentBroker(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		switch n {
		case 1: // says nothing at all
			s.mute = true
			return s.drain()
		case 2: // attaches and then answers no heartbeat
			s.mute = true
			s.attach(&weftv1.ExecuteAttached{SessionTtl: durationpb.New(testTTL)})
			s.untilTasks(1)
			s.accept(0, 0)
			return s.drain()
		default:
			s.attach(&weftv1.ExecuteAttached{SessionTtl: durationpb.New(testTTL), Accepted: ranges(0, 0)})
			s.succeed(0)
			return s.drain()
		}
	})}
	call := b.start(t, WithSessionTTL(testTTL)).NewCall()
	wantSuccess(t, submit(t, call, 1)...)
	if n := b.streams.Load(); n != 3 {
		t.Fatalf("%d streams", n)
	}
}

// An open call with an answering broker stays on its stream for several TTLs.
func TestHeartbeatsKeepTheStream(t *testing.T) {
	const beats = 5
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{SessionTtl: durationpb.New(testTTL)})
		s.untilTasks(1)
		s.accept(0, 0)
		for seen := 0; seen < beats; {
			if s.recv().GetHeartbeat() != 0 {
				seen++
			}
		}
		s.succeed(0)
		return s.drain()
	})}
	call := b.start(t, WithSessionTTL(testTTL)).NewCall()
	wantSuccess(t, submit(t, call, 1)...)
	if n := b.streams.Load(); n != 1 {
		t.Fatalf("%d streams", n)
	}
}

func TestCloseEndsFutures(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		return s.drain()
	})}
	call := b.start(t).NewCall()
	f := submit(t, call, 1)[0]
	if o, err := f.Outcome(); o != nil || err != nil {
		t.Fatalf("ended already: %v, %v", o, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("wait with an ended context: %v", err)
	}
	call.Close()
	<-f.Done()
	if _, err := f.Wait(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	call.Close()
}

// No broker at all: submitting works, closing ends it, nothing hangs.
func TestNoBroker(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(int, *fakeStream) error { return errCut })}
	c := b.start(t)
	call := c.NewCall()
	f := submit(t, call, 1)[0]
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Wait(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if _, err := c.NewCall().Submit(testContext(t), Spec{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// testTTL is a session's TTL in tests of silence, the shortest that the API has.
const testTTL = minTTL
