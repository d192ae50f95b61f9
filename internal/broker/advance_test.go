package broker

import (
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func texts(list ...string) (out []*weftv1.Payload) {
	for _, s := range list {
		out = append(out, text(s))
	}
	return out
}

// textOf writes partial results so that they can be compared.
func textOf(list []*weftv1.Payload) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.GetText() + ";")
	}
	return b.String()
}

func TestAdvancesByHand(t *testing.T) {
	for seed := range uint64(2000) {
		d := dice{rand.New(rand.NewPCG(seed, 4))}
		e := &queue.Advanced{Index: d.Uint64N(300), ID: d.Uint64(), Token: d.Uint64(), Offset: d.Uint32N(2) * d.Uint32N(1000)}
		if d.one(2) {
			e.Progress = &queue.Progress{Done: d.Int64N(3) - 1, Total: d.Int64N(2) << 40, Message: d.word()}
		}
		for range d.IntN(4) {
			e.Partials = append(e.Partials, d.stored())
		}
		var resp weftv1.ExecuteResponse
		if err := proto.Unmarshal(appendExecute(nil, e), &resp); err != nil {
			t.Fatal(err)
		}
		same(t, &resp, &weftv1.ExecuteResponse{Advances: []*weftv1.ExecuteAdvance{{
			Index: e.Index, TaskId: queue.FormatID(e.ID), Token: e.Token, Progress: progressMessage(e.Progress),
			Partials: payloadMessages(e.Partials), PartialsOffset: e.Offset,
		}}})
	}
}

// What a worker's stream says of its attempts is what a request would say.
func TestAdvancesOfAFrame(t *testing.T) {
	for seed := range uint64(2000) {
		d := dice{rand.New(rand.NewPCG(seed, 5))}
		m := &weftv1.AttemptAdvance{
			TaskId: []string{"t1", "tzz", "", "t"}[d.IntN(4)], Token: d.Uint64N(1000), Sequence: d.Uint64N(3), PartialsOffset: d.Uint32N(3),
		}
		if d.one(2) {
			m.Progress = &weftv1.Progress{Done: 1, Total: d.Int64N(3), Message: d.word()}
		}
		if d.one(2) {
			m.Checkpoint = &weftv1.Checkpoint{State: d.payload(), PartialsCount: d.Uint32N(3)}
		}
		for range d.IntN(3) {
			m.Partials = append(m.Partials, d.payload())
		}
		data, err := proto.Marshal(&weftv1.WorkRequest{Advances: []*weftv1.AttemptAdvance{m}, Credits: 1})
		if err != nil {
			t.Fatal(err)
		}
		f := &workFrame{}
		if err := f.decode(data); err != nil {
			t.Fatal(err)
		}
		id, _ := queue.ParseID(m.GetTaskId())
		want := queue.Advance{ID: id, Token: m.GetToken(), Sequence: m.GetSequence(), Offset: m.GetPartialsOffset()}
		_, refusal := readAdvance(&want, &weftv1.AdvanceTaskRequest{
			Progress: m.GetProgress(), Checkpoint: m.GetCheckpoint(), Partials: m.GetPartials(),
		})
		if f.refusal != nil || len(f.cmd.Advances) != 1 {
			t.Fatalf("seed %d: %v, %v", seed, f.refusal, f.cmd.Advances)
		}
		if got := f.cmd.Advances[0].Refused; refusal != nil {
			if got == nil || got.Reason != refusal.Reason || got.Message != refusal.Message {
				t.Fatalf("seed %d: %v, and as a request %v", seed, got, refusal)
			}
			continue
		}
		for _, a := range []*queue.Advance{&want, &f.cmd.Advances[0]} {
			for i := range a.Partials {
				unify(&a.Partials[i])
			}
			if a.Checkpoint != nil {
				unify(&a.Checkpoint.State)
			}
		}
		if len(f.cmd.Advances) != 1 || !reflect.DeepEqual(f.cmd.Advances[0], want) || f.cmd.Credits != 1 {
			t.Fatalf("seed %d: read %+v, want %+v", seed, f.cmd.Advances, want)
		}
	}
}

// A frame with too much in it is refused, with the name of what is too much.
func TestAdvancesThatAreTooLarge(t *testing.T) {
	empty := func(n int) []*weftv1.Payload { return many(n, &weftv1.Payload{}) }
	long := strings.Repeat("x", payloadBytesMax)
	for name, test := range map[string]struct {
		req    *weftv1.WorkRequest
		reason pure.Reason
		field  string
	}{
		"many": {&weftv1.WorkRequest{Advances: many(frameReportsMax+1, &weftv1.AttemptAdvance{})}, pure.BadFrame, "advances"},
		"all together": {
			&weftv1.WorkRequest{Advances: many(8, &weftv1.AttemptAdvance{Partials: texts(long)})}, pure.BadFrame, "advances",
		},
		"with the reports": {
			&weftv1.WorkRequest{
				Advances: many(4, &weftv1.AttemptAdvance{Checkpoint: &weftv1.Checkpoint{State: text(long)}}),
				Reports: many(5, &weftv1.AttemptReport{
					TaskId: "t1", Token: 1, End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED, Output: &weftv1.AttemptReport_Result{Result: text(long)},
				}),
			}, pure.BadFrame, "advances",
		},
		"of nothing, and all in one journal entry": {
			&weftv1.WorkRequest{Advances: many(300, &weftv1.AttemptAdvance{Partials: empty(queue.PartialsMax)})}, pure.BadFrame, "advances",
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(test.req)
			if err != nil {
				t.Fatal(err)
			}
			f := &workFrame{}
			if err := f.decode(data); err != nil {
				t.Fatal(err)
			}
			if f.refusal == nil || f.refusal.Reason != test.reason || f.refusal.Meta[1] != test.field ||
				!strings.HasPrefix(f.refusal.Message, test.field+": ") {
				t.Errorf("refused with %+v", f.refusal)
			}
		})
	}
	first := &weftv1.AttemptAdvance{Checkpoint: &weftv1.Checkpoint{State: text(long)}, Partials: texts(long, long[:len(long)-3*partialBytes], "")}
	data, err := proto.Marshal(&weftv1.WorkRequest{Advances: append(many(5, &weftv1.AttemptAdvance{Partials: texts(long[partialBytes:])}), first)})
	if err != nil {
		t.Fatal(err)
	}
	f := &workFrame{}
	if err := f.decode(data); err != nil || f.refusal != nil || len(f.cmd.Advances) != 6 {
		t.Errorf("what fits exactly: %v, %v", err, f.refusal)
	}
}

// reserveOne takes a task of a kind by a request.
func (h *harness) reserveOne(kind string) *weftv1.Assignment {
	h.t.Helper()
	res, err := h.tasks.ReserveTasks(h.ctx(), &weftv1.ReserveTasksRequest{Kinds: []string{kind}, Lease: durationpb.New(time.Hour)})
	if err != nil || len(res.GetTasks()) != 1 {
		h.t.Fatalf("%v, %v", res, err)
	}
	return res.GetTasks()[0]
}

// What does not fit is refused by its reason, and changes nothing.
func TestAdvancesThatDoNotFit(t *testing.T) {
	h := newHarness(t)
	ctx := h.ctx()
	waiting, id := h.submit("k"), h.submit("held")
	token := h.reserveOne("held").GetToken()
	advance := func(m *weftv1.AdvanceTaskRequest) *weftv1.AdvanceTaskRequest {
		if m.TaskId == "" {
			m.TaskId = id
		}
		if m.Token == 0 {
			m.Token = token
		}
		return m
	}
	if _, err := h.tasks.AdvanceTask(ctx, advance(&weftv1.AdvanceTaskRequest{
		Partials: texts("a", "b"), Checkpoint: &weftv1.Checkpoint{State: text("here"), PartialsCount: 2},
	})); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", payloadBytesMax)
	news := &weftv1.Checkpoint{State: text("there"), PartialsCount: 2}
	for name, test := range map[string]struct {
		req  proto.Message
		want pure.Reason
		meta []string
	}{
		"old token":    {advance(&weftv1.AdvanceTaskRequest{Token: token - 1, Checkpoint: news}), pure.LeaseLost, []string{"task_id", id}},
		"no holder":    {advance(&weftv1.AdvanceTaskRequest{TaskId: waiting, Checkpoint: news}), pure.LeaseLost, []string{"task_id", waiting}},
		"unknown task": {advance(&weftv1.AdvanceTaskRequest{TaskId: "tzz", Checkpoint: news}), pure.TaskNotFound, []string{"task_id", "tzz"}},
		"foreign task": {advance(&weftv1.AdvanceTaskRequest{Namespace: "other", Checkpoint: news}), pure.TaskNotFound, []string{"task_id", id}},
		"a gap": {
			advance(&weftv1.AdvanceTaskRequest{Partials: texts("d"), PartialsOffset: 3, Checkpoint: news}),
			pure.PartialsGap,
			[]string{"task_id", id, "partials_count", "2"},
		},
		"a checkpoint ahead": {
			advance(&weftv1.AdvanceTaskRequest{Partials: texts("c"), PartialsOffset: 2, Checkpoint: &weftv1.Checkpoint{PartialsCount: 4}}),
			pure.PartialsGap,
			[]string{"task_id", id, "partials_count", "2"},
		},
		"too many": {
			advance(&weftv1.AdvanceTaskRequest{Partials: many(queue.PartialsMax, text("")), PartialsOffset: 2, Checkpoint: news}),
			pure.PartialsFull,
			[]string{"task_id", id, "limit", "1000"},
		},
		"too many bytes": {
			advance(&weftv1.AdvanceTaskRequest{Partials: texts(long, long), PartialsOffset: 2, Checkpoint: news}),
			pure.PartialsFull,
			[]string{"task_id", id, "limit", "1048576"},
		},
		"a large one": {
			advance(&weftv1.AdvanceTaskRequest{Partials: texts("c", long+"x"), PartialsOffset: 2, Checkpoint: news}),
			pure.PayloadTooLarge,
			[]string{"field", "partials[1]", "limit", "524288", "actual", "524289"},
		},
		"a large checkpoint": {
			advance(&weftv1.AdvanceTaskRequest{Checkpoint: &weftv1.Checkpoint{State: text(long + "x")}}),
			pure.PayloadTooLarge,
			[]string{"field", "checkpoint.state", "limit", "524288", "actual", "524289"},
		},
		"interrupt with an old token": {
			&weftv1.InterruptSubmitterRequest{TaskId: id, Token: token - 1}, pure.LeaseLost, []string{"task_id", id},
		},
		"interrupt by no holder": {
			&weftv1.InterruptSubmitterRequest{TaskId: waiting, Token: token}, pure.LeaseLost, []string{"task_id", waiting},
		},
		"interrupt by an unknown task": {
			&weftv1.InterruptSubmitterRequest{TaskId: "tzz", Token: token}, pure.TaskNotFound, []string{"task_id", "tzz"},
		},
		"interrupt by a foreign task": {
			&weftv1.InterruptSubmitterRequest{Namespace: "other", TaskId: id, Token: token}, pure.TaskNotFound, []string{"task_id", id},
		},
		"interrupt of nobody": {
			&weftv1.InterruptSubmitterRequest{TaskId: id, Token: token}, pure.NoSubmitter, []string{"task_id", id},
		},
	} {
		t.Run(name, func(t *testing.T) {
			method := weftv1.TaskService_AdvanceTask_FullMethodName
			if _, ok := test.req.(*weftv1.InterruptSubmitterRequest); ok {
				method = weftv1.TaskService_InterruptSubmitter_FullMethodName
			}
			h.unchanged(func() { wantRefusal(t, h.call(ctx, method, test.req), test.want, test.meta...) })
		})
	}
}

// A task shows what its attempts brought, in full only where that is asked for.
func TestAdvancesAreShown(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	a := h.reserveOne("k")
	if _, err := h.tasks.AdvanceTask(h.ctx(), &weftv1.AdvanceTaskRequest{
		TaskId: id, Token: a.GetToken(), Progress: &weftv1.Progress{Done: 2, Total: 3, Message: "half"},
		Partials:   []*weftv1.Payload{text("a"), {}, text("c")},
		Checkpoint: &weftv1.Checkpoint{State: text("here"), PartialsCount: 3},
	}); err != nil {
		t.Fatal(err)
	}
	full, err := h.tasks.GetTask(h.ctx(), &weftv1.GetTaskRequest{TaskId: id})
	if err != nil {
		t.Fatal(err)
	}
	if m := full.GetTask(); m.GetProgress().GetDone() != 2 || m.GetProgress().GetMessage() != "half" || m.GetPartialsCount() != 3 ||
		textOf(m.GetPartials()) != "a;;c;" || m.GetCheckpoint().GetState().GetText() != "here" || m.GetCheckpoint().GetPartialsCount() != 3 {
		t.Errorf("%v", m)
	}
	list, err := h.tasks.ListTasks(h.ctx(), &weftv1.ListTasksRequest{})
	if err != nil || len(list.GetTasks()) != 1 {
		t.Fatal(list, err)
	}
	if m := list.GetTasks()[0]; m.GetPartialsCount() != 3 || m.GetPartials() != nil || m.GetCheckpoint() != nil {
		t.Errorf("%v", m)
	}
	h.restart()
	again, err := h.tasks.GetTask(h.ctx(), &weftv1.GetTaskRequest{TaskId: id})
	want := proto.CloneOf(full.GetTask())
	want.Progress = nil
	if err != nil || !proto.Equal(again.GetTask(), want) {
		t.Errorf("%v, %v", again, err)
	}
}

// A worker's advances reach the call's client before the outcome, and the next attempt.
func TestAdvancesOverStreams(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c", Updates: true})
	c.submit(0, 0)
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	a := w.assigned(1)
	if !a.GetCalled() || a.GetCheckpoint() != nil {
		t.Errorf("%v", a)
	}
	say := func(a *weftv1.Assignment, sequence uint64, m *weftv1.AttemptAdvance) *weftv1.AttemptAdvance {
		m.TaskId, m.Token, m.Sequence = a.GetTaskId(), a.GetToken(), sequence
		return m
	}
	w.send(&weftv1.WorkRequest{Advances: []*weftv1.AttemptAdvance{
		say(a, 1, &weftv1.AttemptAdvance{Progress: &weftv1.Progress{Done: 1}, Partials: texts("a", "b")}),
		say(a, 2, &weftv1.AttemptAdvance{Checkpoint: &weftv1.Checkpoint{State: text("here"), PartialsCount: 2}}),
		say(a, 3, &weftv1.AttemptAdvance{Partials: texts("x"), PartialsOffset: 9}),
	}})
	w.until("answers", func(r *weftv1.WorkResponse) bool { return len(r.GetAdvances()) == 3 })
	if got := w.seen.GetAdvances()[2]; got.GetReason() != weftv1.ErrorReason_ERROR_REASON_PARTIALS_GAP || got.GetSequence() != 3 {
		t.Errorf("%v", got)
	}
	if got := w.seen.GetAdvances()[1]; got.GetReason() != 0 || got.GetSequence() != 2 || got.GetToken() != a.GetToken() {
		t.Errorf("%v", got)
	}
	w.send(&weftv1.WorkRequest{Credits: 1, Reports: []*weftv1.AttemptReport{{
		TaskId: a.GetTaskId(), Token: a.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_RELEASED,
	}}})
	b := w.assigned(2)
	if p := b.GetCheckpoint(); p.GetState().GetText() != "here" || p.GetPartialsCount() != 2 {
		t.Fatalf("%v", b)
	}
	w.send(&weftv1.WorkRequest{
		Advances: []*weftv1.AttemptAdvance{say(b, 1, &weftv1.AttemptAdvance{Partials: texts("b", "c"), PartialsOffset: 1})},
		Reports:  []*weftv1.AttemptReport{success(b, "done")},
	})
	c.until("outcome", func(r *weftv1.ExecuteResponse) bool { return len(r.GetOutcomes()) == 1 })
	var got []*weftv1.Payload
	for _, x := range c.seen.GetAdvances() {
		if int(x.GetPartialsOffset()) != len(got) {
			t.Errorf("%v after %d", x, len(got))
		}
		got = append(got, x.GetPartials()...)
	}
	if textOf(got) != "a;b;c;" || c.seen.GetAdvances()[0].GetProgress().GetDone() != 1 {
		t.Errorf("%v", c.seen.GetAdvances())
	}
	late := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	late.until("outcome", func(r *weftv1.ExecuteResponse) bool { return len(r.GetOutcomes()) == 1 })
	if x := late.seen.GetAdvances(); len(x) != 1 || textOf(x[0].GetPartials()) != "a;b;c;" || x[0].GetPartialsOffset() != 0 || x[0].GetProgress() != nil {
		t.Errorf("%v", x)
	}
}

// An interrupt waits for its client until that one takes it.
func TestInterruptOfACall(t *testing.T) {
	h := newHarness(t)
	c := h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.submit(0, 0)
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	a := w.assigned(1)
	if _, err := h.tasks.InterruptSubmitter(h.ctx(), &weftv1.InterruptSubmitterRequest{
		TaskId: a.GetTaskId(), Token: a.GetToken(), Message: "the disk is full",
	}); err != nil {
		t.Fatal(err)
	}
	interrupted := func(r *weftv1.ExecuteResponse) bool { return r.GetInterrupt() != nil }
	c.until("interrupt", interrupted)
	h.restart()
	c = h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.until("interrupt", interrupted)
	if i := c.seen.GetInterrupt(); i.GetTaskId() != a.GetTaskId() || i.GetMessage() != "the disk is full" || i.GetIndex() != 0 {
		t.Errorf("%v", i)
	}
	first := c.seen.GetInterrupt().GetNumber()
	c.send(&weftv1.ExecuteRequest{InterruptTaken: first, Heartbeat: 1})
	c.beat(1)
	c = h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.beat(1)
	if c.seen.GetInterrupt() != nil {
		t.Errorf("%v", c.seen)
	}
	// What is said of the first once more does not take the second.
	if _, err := h.tasks.InterruptSubmitter(h.ctx(), &weftv1.InterruptSubmitterRequest{
		TaskId: a.GetTaskId(), Token: a.GetToken(), Message: "and the network",
	}); err != nil {
		t.Fatal(err)
	}
	c.until("a second interrupt", interrupted)
	second := c.seen.GetInterrupt().GetNumber()
	c.send(&weftv1.ExecuteRequest{InterruptTaken: first, Heartbeat: 2})
	c.beat(2)
	c = h.attach(&weftv1.ExecuteAttach{CallId: "c"})
	c.until("the second interrupt", interrupted)
	if i := c.seen.GetInterrupt(); first == 0 || second == first || i.GetNumber() != second || i.GetMessage() != "and the network" {
		t.Errorf("%v after %d", i, first)
	}
}

// A watcher is told partial results from where it wants them, and the task's progress.
func TestWatchPartialsAndProgress(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	a := h.reserveOne("k")
	advance := func(m *weftv1.AdvanceTaskRequest) {
		t.Helper()
		m.TaskId, m.Token = id, a.GetToken()
		if _, err := h.tasks.AdvanceTask(h.ctx(), m); err != nil {
			t.Fatal(err)
		}
	}
	var ends []func()
	advance(&weftv1.AdvanceTaskRequest{Partials: []*weftv1.Payload{text("a"), {}}, Checkpoint: &weftv1.Checkpoint{State: text("s")}})
	for name, test := range map[string]struct {
		req  *weftv1.WatchTaskRequest
		want string
	}{
		"all":     {&weftv1.WatchTaskRequest{Partials: true}, "a;;c;d;"},
		"the end": {&weftv1.WatchTaskRequest{Partials: true, PartialsOffset: 3}, "d;"},
		"none":    {&weftv1.WatchTaskRequest{}, ""},
	} {
		test.req.TaskId = id
		stream, err := h.tasks.WatchTask(h.ctx(), test.req)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || m.GetTask() == nil {
			t.Fatalf("%s: %v, %v", name, m, err)
		}
		ends = append(ends, func() {
			var partials []*weftv1.Payload
			var last *weftv1.Task
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if m.GetPartial() != nil {
					partials = append(partials, m.GetPartial())
					continue
				}
				last = m.GetTask()
			}
			if got := textOf(partials); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
			if last.GetOutcome() == nil || last.GetPartials() != nil || last.GetPartialsCount() != 4 || last.GetCheckpoint() != nil {
				t.Errorf("%s: %v", name, last)
			}
		})
	}
	seen, err := h.tasks.WatchTask(h.ctx(), &weftv1.WatchTaskRequest{TaskId: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seen.Recv(); err != nil {
		t.Fatal(err)
	}
	advance(&weftv1.AdvanceTaskRequest{Progress: &weftv1.Progress{Done: 5}})
	if m, err := seen.Recv(); err != nil || m.GetTask().GetProgress().GetDone() != 5 || m.GetTask().GetPartialsCount() != 2 {
		t.Errorf("%v, %v", m, err)
	}
	advance(&weftv1.AdvanceTaskRequest{Partials: texts("c", "d"), PartialsOffset: 2})
	if _, err := h.tasks.CompleteTask(h.ctx(), &weftv1.CompleteTaskRequest{TaskId: id, Token: a.GetToken()}); err != nil {
		t.Fatal(err)
	}
	for _, end := range ends {
		end()
	}
}

// A stream's frames name the command of an interrupt that was taken.
func TestInterruptTakenIsRead(t *testing.T) {
	cmd := &shard.CallFrame{}
	if refusal := executeRest(cmd, &weftv1.ExecuteRequest{InterruptTaken: 7}); refusal != nil || cmd.InterruptTaken != 7 {
		t.Errorf("%v, %+v", refusal, cmd)
	}
}
