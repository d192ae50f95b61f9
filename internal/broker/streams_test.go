package broker

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestStreamsThatAreTakenOver(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c2 := h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionId: c.seen.GetAttached().GetSessionId()})
	wantRefusal(t, c.end(), pure.Superseded)
	c3 := h.attach(&weftv1.ExecuteAttach{CallId: "c"}) // by another client
	wantRefusal(t, c2.end(), pure.Superseded)
	c3.beat(1)

	w := h.worker(&weftv1.WorkHello{})
	w2 := h.worker(&weftv1.WorkHello{SessionId: w.session()})
	wantRefusal(t, w.end(), pure.Superseded)
	if w2.session() != w.session() {
		t.Error("another session")
	}
	w2.beat(1)
}

// A client that has nothing more to say still hears of its outcomes, for as long as its session lives.
func TestHalfClosedCallHearsOutcomes(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionTtl: durationpb.New(time.Minute)})
	c.submit(0, 4)
	if err := c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	w := h.worker(&weftv1.WorkHello{Credits: 5})
	w.assigned(5)
	for _, a := range w.seen.GetAssignments() {
		w.send(&weftv1.WorkRequest{Reports: many(1, success(a, "y"))})
	}
	c.until("outcomes", func(r *weftv1.ExecuteResponse) bool { return len(r.GetOutcomes()) == 5 })
}

func TestWorkersThatLeave(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	a := w.assigned(1)
	w.send(&weftv1.WorkRequest{Reports: many(1, success(a, "y")), Goodbye: true})
	w.until("acceptance", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 1 })
	if err := w.end(); err != nil {
		t.Errorf("after a goodbye: %v", err)
	}
	h.state(id, weftv1.TaskState_TASK_STATE_SUCCEEDED)

	id = h.submit("k")
	w = h.worker(&weftv1.WorkHello{Credits: 1})
	w.assigned(1)
	if err := w.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := w.end(); err != nil {
		t.Errorf("after its last word: %v", err)
	}
	h.state(id, weftv1.TaskState_TASK_STATE_READY) // after the grace of a stream that is gone
}

// Whoever is silent for its session's TTL has its streams closed, and what it held is given to others.
func TestSilentStreamsEndWithTheirSessions(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	ttl := durationpb.New(time.Second)
	c, w := h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionTtl: ttl}), h.worker(&weftv1.WorkHello{SessionTtl: ttl, Credits: 1})
	w.assigned(1)
	c.send(&weftv1.ExecuteRequest{Tasks: many(1, &weftv1.ExecuteTask{Spec: &weftv1.TaskSpec{Kind: "z", Daemon: true}})})
	wantRefusal(t, c.end(), pure.SessionNotFound, "session_id", c.seen.GetAttached().GetSessionId())
	wantRefusal(t, w.end(), pure.SessionNotFound, "session_id", w.session())
	h.state(id, weftv1.TaskState_TASK_STATE_READY)
	list, err := h.tasks.ListTasks(h.ctx(), &weftv1.ListTasksRequest{CallId: "c"})
	if err != nil || len(list.GetTasks()) != 1 || list.GetTasks()[0].GetState() != weftv1.TaskState_TASK_STATE_CANCELLED {
		t.Errorf("the daemon: %v, %v", list, err)
	}
	back := h.worker(&weftv1.WorkHello{SessionId: w.session(), Credits: 1})
	if back.session() == w.session() {
		t.Error("the session is back from the dead")
	}
	if a := back.assigned(1); a.GetTaskId() != id || a.GetAttempt() != 2 {
		t.Errorf("%v", a)
	}
}

func TestKeepSession(t *testing.T) {
	h := newHarness(t)
	s, err := h.sessions.OpenSession(h.ctx(), &weftv1.OpenSessionRequest{Ttl: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := h.sessions.KeepSession(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	req := &weftv1.KeepSessionRequest{SessionId: s.GetSessionId()}
	for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; req.Reset() {
		if err := keep.Send(req); err != nil {
			t.Fatal(err)
		}
		if m, err := keep.Recv(); err != nil || m.GetTtl().AsDuration() != time.Second {
			t.Fatalf("%v, %v", m, err)
		}
	}
	for name, test := range map[string]struct {
		req    *weftv1.KeepSessionRequest
		reason pure.Reason
		meta   []string
	}{
		"unknown":   {&weftv1.KeepSessionRequest{SessionId: "x"}, pure.SessionNotFound, []string{"session_id", "x"}},
		"none":      {&weftv1.KeepSessionRequest{}, pure.SessionNotFound, nil},
		"namespace": {&weftv1.KeepSessionRequest{Namespace: "a b", SessionId: "x"}, pure.InvalidField, []string{"field", "namespace"}},
	} {
		stream, err := h.sessions.KeepSession(h.ctx())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(test.req)
		_, err = stream.Recv()
		t.Log(name)
		wantRefusal(t, err, test.reason, test.meta...)
	}
	_ = keep.Send(&weftv1.KeepSessionRequest{SessionId: "other"})
	_, err = keep.Recv()
	wantRefusal(t, err, pure.BadFrame, "field", "session_id")
}

// connected counts the sessions that have a stream.
func (h *harness) connected() (n int) {
	h.t.Helper()
	list, err := h.sessions.ListSessions(h.ctx(), &weftv1.ListSessionsRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range list.GetSessions() {
		if s.GetConnected() {
			n++
		}
	}
	return n
}

// A client that does not read is thrown off; it delays nobody, and what waits for it is bounded.
func TestSlowStreams(t *testing.T) {
	h := newHarness(t)
	slow, other := h.attach(&weftv1.ExecuteAttach{CallId: "slow"}), h.attach(&weftv1.ExecuteAttach{CallId: "other"})
	bad := &weftv1.ExecuteRequest{Tasks: many(1000, &weftv1.ExecuteTask{})}
	longest := time.Duration(0)
	sent := make(chan struct{})
	go func() { // refusals that nobody reads; once it is thrown off, sending waits for the reading
		defer close(sent)
		for {
			if slow.stream.Send(bad) != nil {
				return
			}
		}
	}()
	for i := uint64(1); h.connected() == 2; i++ {
		begun := time.Now()
		other.beat(i)
		longest = max(longest, time.Since(begun))
	}
	wantRefusal(t, slow.end(), pure.SlowStream, "limit_bytes", "67108864")
	<-sent
	t.Logf("another stream waited for at most %v", longest)
	other.beat(1 << 40)
}

// Every stream ends with UNAVAILABLE when the broker stops, without delay, also one that only listens.
func TestStopEndsStreams(t *testing.T) {
	h := newHarness(t)
	id := h.submit("z")
	c, w := h.attach(&weftv1.ExecuteAttach{CallId: "c"}), h.worker(&weftv1.WorkHello{})
	half := h.attach(&weftv1.ExecuteAttach{CallId: "half"})
	_ = half.stream.CloseSend()
	s, err := h.sessions.OpenSession(h.ctx(), &weftv1.OpenSessionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := h.sessions.KeepSession(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	_ = keep.Send(&weftv1.KeepSessionRequest{SessionId: s.GetSessionId()})
	if _, err := keep.Recv(); err != nil {
		t.Fatal(err)
	}
	watch, err := h.tasks.WatchTask(h.ctx(), &weftv1.WatchTaskRequest{TaskId: id, Output: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	view := h.watchCall("c")
	waitC := make(chan error, 1)
	go func() {
		_, err := h.tasks.WaitTask(h.ctx(), &weftv1.WaitTaskRequest{TaskId: id})
		waitC <- err
	}()
	reserved := h.reserveAsync(h.ctx(), &weftv1.ReserveTasksRequest{Kinds: []string{"y"}, Wait: durationpb.New(patience)})
	begun := time.Now()
	h.stop()
	if took := time.Since(begun); took >= stopTimeout {
		t.Errorf("it took %v", took)
	}
	wantRefusal(t, c.end(), pure.NotReady)
	wantRefusal(t, half.end(), pure.NotReady)
	wantRefusal(t, w.end(), pure.NotReady)
	_, err = keep.Recv()
	wantRefusal(t, err, pure.NotReady)
	_, err = watch.Recv()
	wantRefusal(t, err, pure.NotReady)
	_, err = view.stream.Recv()
	wantRefusal(t, err, pure.NotReady)
	// These two may not have arrived in time: then gRPC itself says so.
	for _, err := range []error{<-waitC, (<-reserved).err} {
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%v", err)
		}
	}
}

// A call that comes back after a restart is told the rest, and nothing that it has.
func TestCallResumes(t *testing.T) {
	h := newHarness(t)
	w := h.worker(&weftv1.WorkHello{Credits: 5})
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.submit(0, 9)
	w.assigned(5)
	for _, a := range w.seen.GetAssignments() {
		w.send(&weftv1.WorkRequest{Reports: many(1, success(a, "y"))})
	}
	c.until("outcomes", func(r *weftv1.ExecuteResponse) bool { return len(r.GetOutcomes()) == 5 })
	session := c.seen.GetAttached().GetSessionId()
	for round, test := range []struct {
		cut   func()
		acked []*weftv1.IndexRange
		want  []uint64
	}{
		{func() { c.cancel() }, []*weftv1.IndexRange{indexRange(0, 1), indexRange(50, 60)}, []uint64{2, 3, 4}},
		{h.restart, nil, []uint64{2, 3, 4}}, // what was acknowledged once stays so
		{h.restart, []*weftv1.IndexRange{indexRange(3, 3)}, []uint64{2, 4}},
	} {
		test.cut()
		c = h.attach(&weftv1.ExecuteAttach{CallId: "c", SessionId: session, Acknowledged: test.acked})
		c.beat(1)
		if c.seen.GetAttached().GetSessionId() != session {
			t.Errorf("round %d: another session", round)
		}
		if r := c.seen.GetAttached().GetAccepted(); len(r) != 1 || r[0].GetFirst() != 0 || r[0].GetLast() != 9 {
			t.Errorf("round %d: accepted %v", round, r)
		}
		var got []uint64
		for _, o := range c.seen.GetOutcomes() {
			got = append(got, o.GetIndex())
		}
		if slices.Sort(got); !slices.Equal(got, test.want) || len(c.seen.GetRejected())+len(c.seen.GetUpdates()) != 0 {
			t.Errorf("round %d: %v and %v", round, got, c.seen)
		}
	}
	c.submit(3, 9) // again, and the same: accepted again, also what this client has acknowledged

	// Another client of the call does not have that outcome, and nobody has it any more.
	other := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	other.send(&weftv1.ExecuteRequest{Tasks: many(1, taskAt(3, "x"))})
	other.until("refusal", func(r *weftv1.ExecuteResponse) bool { return len(r.GetRejected()) == 1 })
	if r := other.seen.GetRejected()[0]; r.GetIndex() != 3 || r.GetReason() != weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND {
		t.Errorf("what was acknowledged is gone: %v", r)
	}
}

// A worker that comes back after a restart sends its reports again, keeps what it lists, gives back at once
// what it does not, and is told what is no longer its own.
func TestWorkerResumes(t *testing.T) {
	h := newHarness(t)
	lost, err := h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{Task: &weftv1.TaskSpec{Kind: "k"}})
	if err != nil {
		t.Fatal(err)
	}
	w := h.worker(&weftv1.WorkHello{Credits: 4, SessionTtl: durationpb.New(time.Minute)})
	stale := w.assigned(1)
	if _, err := h.tasks.CompleteTask(h.ctx(), &weftv1.CompleteTaskRequest{TaskId: lost.GetTaskId(), Token: stale.GetToken()}); err != nil {
		t.Fatal(err) // by another's word
	}
	for range 3 {
		h.submit("k")
	}
	w.assigned(4)
	ended, running, unlisted := w.seen.GetAssignments()[1], w.seen.GetAssignments()[2], w.seen.GetAssignments()[3]
	h.restart()
	wantRefusal(t, w.end(), pure.NotReady)
	list := []*weftv1.HeldAttempt{{TaskId: "tzz", Token: 77}}
	for _, a := range []*weftv1.Assignment{ended, running} {
		list = append(list, &weftv1.HeldAttempt{TaskId: a.GetTaskId(), Token: a.GetToken()})
	}
	back := h.worker(&weftv1.WorkHello{SessionId: w.session(), Attempts: list})
	if back.session() != w.session() || !slices.Equal(back.seen.GetWelcome().GetSupersededTokens(), []uint64{77}) {
		t.Fatalf("%v", back.seen)
	}
	got, err := h.tasks.GetTask(h.ctx(), &weftv1.GetTaskRequest{TaskId: unlisted.GetTaskId()})
	if err != nil || got.GetTask().GetState() != weftv1.TaskState_TASK_STATE_READY || got.GetTask().GetWorkersLost() != 0 {
		t.Errorf("%v, %v", got, err)
	}
	back.send(&weftv1.WorkRequest{Reports: many(1, success(ended, "y")), Credits: 1})
	back.until("acceptance", func(r *weftv1.WorkResponse) bool {
		return slices.Equal(r.GetAcceptedTokens(), []uint64{ended.GetToken()})
	})
	if a := back.assigned(1); a.GetTaskId() != unlisted.GetTaskId() || a.GetToken() <= running.GetToken() {
		t.Errorf("%v", a)
	}
	old := success(unlisted, "late")
	back.send(&weftv1.WorkRequest{Reports: []*weftv1.AttemptReport{old, success(running, "y")}})
	back.until("answers", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 2 })
	if !slices.Equal(back.seen.GetRefusedTokens(), []uint64{unlisted.GetToken()}) {
		t.Errorf("refused %v", back.seen.GetRefusedTokens())
	}
}

// A worker that takes credit without end is given no more than twice its slots.
func TestWorkerThatOnlyTakes(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.submit(0, 99)
	w := h.worker(&weftv1.WorkHello{Slots: 10, Credits: 10})
	for i := range uint64(10) {
		w.send(&weftv1.WorkRequest{Credits: 1 << 31})
		w.beat(i + 1)
	}
	if n := len(w.seen.GetAssignments()); n != 20 {
		t.Errorf("%d were assigned", n)
	}
}
