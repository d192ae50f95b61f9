package client

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// wantCancels compares cancels with (first, last, grace) triples; a grace of -1 is unset.
func wantCancels(t *testing.T, got []*weftv1.ExecuteCancel, want ...[3]int64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("cancels %v, want %v", got, want)
		return
	}
	for i, w := range want {
		grace := int64(-1)
		if g := got[i].GetGrace(); g != nil {
			grace = int64(g.AsDuration())
		}
		if r := got[i].GetRange(); int64(r.GetFirst()) != w[0] || int64(r.GetLast()) != w[1] || grace != w[2] {
			t.Errorf("cancels %v, want %v", got, want)
		}
	}
}

// cancelled is the outcome of a task that was stopped.
func cancelled(index uint64) *weftv1.ExecuteOutcome {
	o := success(index)
	o.Outcome.State = weftv1.TaskState_TASK_STATE_CANCELLED
	return o
}

// A cancel names its task and its grace, and is said again on a new stream.
func TestCancelSurvivesACut(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		if n == 1 {
			s.attach(&weftv1.ExecuteAttached{})
			s.untilTasks(4)
			s.accept(0, 3)
			s.succeed(0)
			s.until(func() bool { return len(s.cancels) == 2 })
			wantCancels(t, s.cancels, [3]int64{1, 2, 0}, [3]int64{3, 3, -1})
			return errCut
		}
		s.attach(&weftv1.ExecuteAttached{Accepted: ranges(0, 3)})
		s.until(func() bool { return len(s.cancels) == 2 })
		wantCancels(t, s.cancels, [3]int64{1, 2, 0}, [3]int64{3, 3, -1})
		s.send(&weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{cancelled(1), cancelled(2), cancelled(3)}})
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 4)
	wantSuccess(t, fs[0]) // all are sent
	call.mu.Lock()        // both in one frame
	for _, f := range fs[1:] {
		call.markCancelled(f, 0)
	}
	call.markCancelled(fs[1], KillNow)
	call.markCancelled(fs[2], KillNow)
	call.addCancel(1, 1, KillNow)
	call.addCancel(2, 2, KillNow)
	call.addCancel(3, 3, 0)
	call.wake()
	call.mu.Unlock()
	for _, f := range fs[1:] {
		if o, err := f.Wait(testContext(t)); err != nil || o.State != weftv1.TaskState_TASK_STATE_CANCELLED {
			t.Fatal(o, err)
		}
	}
	fs[0].Cancel(0) // ended: nothing happens
}

// A task that was never sent ends at once; its place stays empty.
func TestCancelBeforeSending(t *testing.T) {
	attach := make(chan struct{})
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		<-attach
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(1)
		if s.tasks[0].GetIndex() != 1 || len(s.cancels) != 0 {
			t.Errorf("%v, %v", s.tasks, s.cancels)
		}
		s.accept(1, 1)
		s.succeed(1)
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 2)
	fs[0].Cancel(0)
	o, err := fs[0].Wait(testContext(t))
	if err != nil || o.State != weftv1.TaskState_TASK_STATE_CANCELLED || o.Err() == nil {
		t.Fatal(o, err)
	}
	close(attach)
	wantSuccess(t, fs[1])
}

func TestCallCancel(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{})
		s.untilTasks(3)
		s.accept(0, 2)
		s.succeed(1)
		s.until(func() bool { return len(s.cancels) > 0 })
		wantCancels(t, s.cancels, [3]int64{0, 2, int64(time.Second)})
		s.send(&weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{cancelled(0), cancelled(2)}})
		return s.drain()
	})}
	call := b.start(t).NewCall()
	fs := submit(t, call, 3)
	wantSuccess(t, fs[1])
	call.Cancel(time.Second)
	if err := call.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*SpecFuture{fs[0], fs[2]} {
		if o, err := f.Wait(testContext(t)); err != nil || o.State != weftv1.TaskState_TASK_STATE_CANCELLED {
			t.Fatal(o, err)
		}
	}
}

// Updates tell the task's name before its end.
func TestUpdates(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		if a := s.attach(&weftv1.ExecuteAttached{}); !a.GetUpdates() {
			t.Error("no updates are asked for")
		}
		s.untilTasks(1)
		s.accept(0, 0)
		s.send(&weftv1.ExecuteResponse{Updates: []*weftv1.ExecuteUpdate{{
			Index: 0, TaskId: taskName(0), State: weftv1.TaskState_TASK_STATE_RUNNING, Token: 7, Worker: "w", Attempts: 1,
		}}})
		s.until(func() bool { return len(s.cancels) > 0 })
		s.succeed(0)
		return s.drain()
	})}
	updates := make(chan Update, 1)
	call := b.start(t).NewCall(OnUpdate(func(u Update) { updates <- u }))
	f := submit(t, call, 1)[0]
	u := <-updates
	if u.Future != f || u.TaskID != taskName(0) || u.Token != 7 || u.Worker != "w" || u.Attempts != 1 ||
		f.TaskID() != taskName(0) {
		t.Fatalf("%+v", u)
	}
	f.Cancel(0)
	wantSuccess(t, f)
}

// A program that is slow to take an update is not a broker that is silent.
func TestSlowUpdateIsNoSilence(t *testing.T) {
	taken := make(chan struct{})
	b := &fakeBroker{execute: scripted(func(n int, s *fakeStream) error {
		if s.attach(&weftv1.ExecuteAttached{SessionTtl: durationpb.New(testTTL)}); n > 1 {
			return s.drain()
		}
		s.untilTasks(1)
		s.accept(0, 0)
		s.send(&weftv1.ExecuteResponse{Updates: []*weftv1.ExecuteUpdate{{TaskId: taskName(0), Attempts: 1}}})
		<-taken
		s.until(func() bool { return s.recv().GetHeartbeat() != 0 })
		s.succeed(0)
		return s.drain()
	})}
	slow := time.NewTimer(2 * testTTL)
	call := b.start(t, WithSessionTTL(testTTL)).NewCall(OnUpdate(func(Update) {
		<-slow.C
		close(taken)
	}))
	f := submit(t, call, 1)[0]
	<-taken
	wantSuccess(t, f)
	if n := b.streams.Load(); n != 1 {
		t.Fatalf("%d streams", n)
	}
}

// Output comes once and in order, over cuts, repetitions, gaps and a second attempt.
func TestWatchResumes(t *testing.T) {
	const out, errs = weftv1.OutputStream_OUTPUT_STREAM_STDOUT, weftv1.OutputStream_OUTPUT_STREAM_STDERR
	chunk := func(token uint64, stream weftv1.OutputStream, offset int64, data string) *weftv1.WatchTaskResponse {
		return &weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Output{Output: &weftv1.OutputChunk{
			Token: token, Stream: stream, Offset: offset, Data: []byte(data),
		}}}
	}
	state := func(task *weftv1.Task) *weftv1.WatchTaskResponse {
		return &weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Task{Task: task}}
	}
	scripts := [][]*weftv1.WatchTaskResponse{
		{state(&weftv1.Task{State: weftv1.TaskState_TASK_STATE_RUNNING}), chunk(1, out, 0, "abc"), chunk(1, errs, 0, "E")},
		{chunk(1, out, 1, "bcde"), chunk(1, out, 9, "lost")},
		{chunk(1, out, 5, "f"), chunk(2, out, 0, "new"), chunk(1, out, 6, "old"), state(&weftv1.Task{Outcome: &weftv1.Outcome{}})},
	}
	wants := [][3]int64{{0, 0, 0}, {1, 3, 1}, {1, 5, 1}}
	n := 0
	b := &fakeBroker{watch: func(r *weftv1.WatchTaskRequest, s grpc.ServerStreamingServer[weftv1.WatchTaskResponse]) error {
		if got := [3]int64{int64(r.GetToken()), r.GetStdoutOffset(), r.GetStderrOffset()}; got != wants[n] || !r.GetOutput() {
			t.Errorf("stream %d asks for %v, want %v", n, got, wants[n])
		}
		for _, m := range scripts[n] {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		n++
		if n == len(scripts) {
			return nil
		}
		if n == 2 { // the client leaves by itself because of the gap
			<-s.Context().Done()
		}
		return errCut
	}}
	c := b.start(t)
	var stdout, stderr string
	for e, err := range c.Watch(testContext(t), "t1", true) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Output.GetStream() {
		case out:
			stdout += string(e.Output.GetData())
		case errs:
			stderr += string(e.Output.GetData())
		}
	}
	if stdout != "abcdef"+"new" || stderr != "E" {
		t.Fatalf("%q, %q", stdout, stderr)
	}
}

// Output that is gone is not asked for again.
func TestWatchOutputGone(t *testing.T) {
	b := &fakeBroker{watch: func(*weftv1.WatchTaskRequest, grpc.ServerStreamingServer[weftv1.WatchTaskResponse]) error {
		return weftError(weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE, map[string]string{"task_id": "t1"})
	}}
	c := b.start(t)
	for _, err := range c.Watch(testContext(t), "t1", true) {
		var e *Error
		if !errors.As(err, &e) || e.Reason != weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE {
			t.Fatal(err)
		}
	}
}

// Paging goes on over empty pages and over a broker that is away for a moment.
func TestPaged(t *testing.T) {
	tries := 0
	fetch := func(token string) ([]int, string, error) {
		tries++
		switch {
		case tries == 2:
			return nil, "", status.Error(codes.Unavailable, "away")
		case token == "":
			return []int{1, 2}, "a", nil
		case token == "a":
			return nil, "b", nil
		default:
			return []int{3}, "", nil
		}
	}
	var got []int
	for v, err := range paged(testContext(t), &Client{ctx: t.Context()}, fetch) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	if len(got) != 3 || got[2] != 3 {
		t.Fatal(got)
	}
}
