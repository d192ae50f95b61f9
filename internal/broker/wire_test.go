package broker

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// The frames that are read and written by hand are held against the generated messages.

type dice struct{ *rand.Rand }

func (d dice) one(n int) bool { return d.IntN(n) == 0 }

func (d dice) word() string {
	words := []string{"default", "a", "orders", "weft.noop", "command", "", "not a name", "x/y-z_0"}
	return words[d.IntN(len(words))]
}

func (d dice) payload() *weftv1.Payload {
	switch d.IntN(6) {
	case 0:
		return nil
	case 1:
		return &weftv1.Payload{}
	case 2:
		return &weftv1.Payload{Value: &weftv1.Payload_Data{Data: make([]byte, d.IntN(300))}}
	case 3:
		return &weftv1.Payload{Value: &weftv1.Payload_Json{Json: structpb.NewStringValue("j")}}
	case 4:
		return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: string(make([]byte, d.IntN(3)*300_000))}}
	default:
		return text("täxt")
	}
}

func (d dice) spec() *weftv1.TaskSpec {
	if d.one(20) {
		return nil
	}
	s := &weftv1.TaskSpec{Queue: d.word(), Kind: d.word()}
	if p := d.payload(); p != nil {
		s.Work = &weftv1.TaskSpec_Payload{Payload: p}
	}
	if d.one(8) {
		s.Work = &weftv1.TaskSpec_Command{Command: &weftv1.Command{Argv: []string{"true"}}}
	}
	if d.one(8) {
		s.Timeout = durationpb.New(time.Duration(d.IntN(5)-1) * time.Second)
	}
	if d.one(8) {
		s.Labels = map[string]string{"k": d.word()}
	}
	s.Daemon = d.one(8)
	return s
}

func TestExecuteFramesByHand(t *testing.T) {
	f := &executeFrame{}
	for seed := range uint64(5000) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		req := &weftv1.ExecuteRequest{Heartbeat: d.Uint64N(2), Finish: d.one(4), InterruptTaken: d.Uint64N(3)}
		for range d.IntN(4) {
			req.Tasks = append(req.Tasks, &weftv1.ExecuteTask{Index: d.Uint64N(4), Spec: d.spec()})
		}
		for i := range d.Uint64N(3) {
			req.Acknowledged = append(req.Acknowledged, &weftv1.IndexRange{First: 10*i + d.Uint64N(9), Last: 10*i + 9})
		}
		if d.one(5) {
			req.Cancels = append(req.Cancels, &weftv1.ExecuteCancel{Grace: durationpb.New(time.Second)})
		}
		data, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.decode(data); err != nil || f.refusal != nil {
			t.Fatalf("seed %d: %v, %v", seed, err, f.refusal)
		}
		want := commandByMessage(t, req)
		for i := range f.cmd.Tasks {
			unify(&f.cmd.Tasks[i].Spec.Payload)
		}
		for i := range want.Tasks {
			unify(&want.Tasks[i].Spec.Payload)
		}
		if !reflect.DeepEqual(f.cmd, want) {
			t.Fatalf("seed %d:\nby hand    %+v\nby message %+v", seed, f.cmd, want)
		}
	}
}

// unify makes empty data the same as none: nobody can tell them apart.
func unify(p *queue.Payload) {
	if len(p.Data) == 0 {
		p.Data = nil
	}
}

// commandByMessage reads a frame of good form as its message is read.
func commandByMessage(t *testing.T, req *weftv1.ExecuteRequest) *shard.CallFrame {
	t.Helper()
	cmd := &shard.CallFrame{Heartbeat: req.GetHeartbeat()}
	for _, x := range req.GetTasks() {
		n, refusal := newTask(x.GetSpec(), x.GetIndex())
		if refusal != nil {
			cmd.Refused = append(cmd.Refused, queue.Rejected{Index: x.GetIndex(), Reason: refusal})
		} else {
			cmd.Tasks = append(cmd.Tasks, n)
		}
	}
	for _, r := range req.GetAcknowledged() {
		cmd.Acknowledged = append(cmd.Acknowledged, pure.Range{First: r.GetFirst(), Last: r.GetLast()})
	}
	if refusal := executeRest(cmd, req); refusal != nil {
		t.Fatal(refusal)
	}
	return cmd
}

func TestWorkFramesByHand(t *testing.T) {
	for seed := range uint64(5000) {
		d := dice{rand.New(rand.NewPCG(seed, 2))}
		m := &weftv1.AttemptReport{
			TaskId: []string{"t1", "tzz", "", "t", "x1"}[d.IntN(5)], Token: d.Uint64N(1000),
			End: weftv1.AttemptEnd(d.IntN(8)),
		}
		if d.one(3) {
			m.End = weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED
		}
		if p := d.payload(); p != nil {
			m.Output = &weftv1.AttemptReport_Result{Result: p}
		}
		if d.one(5) {
			m.Output = &weftv1.AttemptReport_Command{Command: &weftv1.CommandResult{ExitCode: 3}}
		}
		if d.one(4) {
			m.Error = &weftv1.TaskError{Reason: "r", Permanent: true}
		}
		req := &weftv1.WorkRequest{Credits: d.Uint32N(3), Heartbeat: d.Uint64N(2), Draining: d.one(3), Reports: []*weftv1.AttemptReport{m}}
		data, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		f := &workFrame{}
		if err := f.decode(data); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, refusal := workReport(m)
		if (refusal == nil) != (f.refusal == nil) || refusal != nil && refusal.Message != f.refusal.Message {
			t.Fatalf("seed %d: refused with %v by hand, %v by message", seed, f.refusal, refusal)
		}
		if refusal != nil {
			continue
		}
		unify(&want.Result)
		unify(&f.cmd.Reports[0].Result)
		if len(f.cmd.Reports) != 1 || !reflect.DeepEqual(f.cmd.Reports[0], want) || f.cmd.Credits != req.GetCredits() ||
			f.cmd.Heartbeat != req.GetHeartbeat() || f.cmd.Draining != req.GetDraining() {
			t.Fatalf("seed %d:\nby hand    %+v\nby message %+v", seed, f.cmd, want)
		}
	}
}

func (d dice) stored() queue.Payload {
	switch d.IntN(5) {
	case 0:
		return queue.Payload{}
	case 1:
		return queue.Payload{Encoding: encodingText, Data: []byte("text")}
	case 2:
		data, _ := proto.Marshal(structpb.NewNumberValue(2))
		return queue.Payload{Encoding: encodingJSON, Data: data}
	default:
		return queue.Payload{Encoding: encodingBytes, Data: make([]byte, d.IntN(40_000))}
	}
}

func TestResponsesByHand(t *testing.T) {
	for seed := range uint64(2000) {
		d := dice{rand.New(rand.NewPCG(seed, 3))}
		o := &queue.Outcome{
			State: queue.Succeeded, End: queue.EndSucceeded, Result: d.stored(), Attempts: d.Uint32N(3), Token: d.Uint64(),
			StartedAt: pure.Wall(d.Int64N(1 << 60)), FinishedAt: pure.Wall(d.Int64N(1 << 60)),
		}
		if d.one(2) {
			o.Worker, o.Error = "w", &queue.Error{Reason: "r", Message: "m", Stack: "s", Permanent: d.one(2)}
		}
		if d.one(3) {
			data, _ := proto.Marshal(&weftv1.CommandResult{ExitCode: 7})
			o.Result = queue.Payload{Encoding: encodingCommandResult, Data: data}
		}
		finished := &queue.Finished{Index: d.Uint64N(300), ID: d.Uint64(), Outcome: o}
		var resp weftv1.ExecuteResponse
		if err := proto.Unmarshal(appendExecute(nil, finished), &resp); err != nil {
			t.Fatal(err)
		}
		same(t, &resp, &weftv1.ExecuteResponse{Outcomes: []*weftv1.ExecuteOutcome{{
			Index: finished.Index, TaskId: queue.FormatID(finished.ID), Outcome: outcomeMessage(o),
		}}})

		options := *queue.DefaultOptions
		if d.one(2) {
			options.Timeout, options.Grace = time.Duration(d.Int64N(1e12)), time.Duration(d.Int64N(1e10))
			options.Labels = []string{"a", "1", "b", ""}
		}
		assigned := &queue.Assigned{Assignment: queue.Assignment{
			ID: d.Uint64(), Token: d.Uint64(), Attempt: d.Uint32N(3), Queue: "q", Kind: "k", Payload: d.stored(), Options: &options,
			Called: d.one(2),
		}}
		if d.one(2) {
			assigned.Checkpoint = &queue.Checkpoint{State: d.stored(), Partials: d.Uint32N(3) * d.Uint32N(500)}
		}
		if d.one(4) {
			data, _ := proto.Marshal(&weftv1.Command{Argv: []string{"a", "b"}})
			assigned.Payload = queue.Payload{Encoding: encodingCommand, Data: data}
		}
		var work weftv1.WorkResponse
		if err := proto.Unmarshal(appendWork(nil, assigned), &work); err != nil {
			t.Fatal(err)
		}
		same(t, &work, &weftv1.WorkResponse{Assignments: []*weftv1.Assignment{assignmentMessage(&assigned.Assignment)}})
	}
}

// Effects that are written by hand and in no other way.
func TestOtherResponsesByHand(t *testing.T) {
	id := newSessionID()
	refusal := pure.Refuse(pure.TaskNotFound, "gone", "index", 3)
	for _, test := range []struct {
		effect any
		want   *weftv1.ExecuteResponse
	}{
		{&queue.Accepted{Ranges: pure.Ranges{{First: 0, Last: 4}, {First: 300, Last: 1 << 40}}}, &weftv1.ExecuteResponse{
			Accepted: []*weftv1.IndexRange{{Last: 4}, {First: 300, Last: 1 << 40}},
		}},
		{&queue.Rejected{Index: 3, Reason: refusal}, &weftv1.ExecuteResponse{Rejected: []*weftv1.ExecuteRejection{{
			Index: 3, Reason: weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND, Message: "gone", Metadata: map[string]string{"index": "3"},
		}}}},
		{&queue.Updated{Index: 1, ID: 35, State: queue.Running, Token: 9, Worker: "w", Attempts: 2}, &weftv1.ExecuteResponse{
			Updates: []*weftv1.ExecuteUpdate{{
				Index: 1, TaskId: "tz", State: weftv1.TaskState_TASK_STATE_RUNNING, Token: 9, Worker: "w", Attempts: 2,
			}},
		}},
		{&shard.Attached{Session: id, TTL: 1500 * time.Millisecond}, &weftv1.ExecuteResponse{Attached: &weftv1.ExecuteAttached{
			SessionId: formatSession(id), SessionTtl: durationpb.New(1500 * time.Millisecond),
			UnacknowledgedTasksMax: queue.CallTasksMax, UnacknowledgedBytesMax: queue.CallBytesMax,
		}}},
		{&shard.Beat{Number: 1 << 50}, &weftv1.ExecuteResponse{Heartbeat: 1 << 50}},
		{&queue.Interrupted{Interrupt: queue.Interrupt{Number: 300, Task: 35, Index: 4, Message: "stop"}}, &weftv1.ExecuteResponse{
			Interrupt: &weftv1.ExecuteInterrupt{Index: 4, TaskId: "tz", Message: "stop", Number: 300},
		}},
		{&queue.Interrupted{}, &weftv1.ExecuteResponse{Interrupt: &weftv1.ExecuteInterrupt{TaskId: "t0"}}},
	} {
		var got weftv1.ExecuteResponse
		if err := proto.Unmarshal(appendExecute(nil, test.effect), &got); err != nil {
			t.Fatal(err)
		}
		same(t, &got, test.want)
	}
	w := &workWriter{}
	for _, e := range []any{
		&shard.Welcome{Session: id, TTL: time.Second, Superseded: []uint64{1, 1 << 40}},
		&queue.Stop{Token: 5, Reason: queue.EndKilled, Grace: 0},
		&weftv1.OutputRequest{Token: 6, Stream: weftv1.OutputStream_OUTPUT_STREAM_STDERR, Offset: 7, BytesMax: 8, Stop: true, Reader: 9},
		&queue.AdvanceAnswered{Token: 7, Sequence: 1 << 40},
		&queue.AdvanceAnswered{Token: 8, Sequence: 2, Reason: pure.PartialsGap, Message: "one is missing"},
		&shard.Beat{Number: 3},
	} {
		w.add(e)
	}
	var got weftv1.WorkResponse
	if err := proto.Unmarshal(*w.frame.take(), &got); err != nil {
		t.Fatal(err)
	}
	same(t, &got, &weftv1.WorkResponse{
		Welcome: &weftv1.WorkWelcome{
			SessionId: formatSession(id), SessionTtl: durationpb.New(time.Second), SupersededTokens: []uint64{1, 1 << 40},
		},
		Cancels: []*weftv1.AttemptCancel{{Token: 5, Reason: weftv1.AttemptEnd_ATTEMPT_END_KILLED, Grace: &durationpb.Duration{}}},
		OutputRequests: []*weftv1.OutputRequest{{
			Token: 6, Stream: weftv1.OutputStream_OUTPUT_STREAM_STDERR, Offset: 7, BytesMax: 8, Stop: true, Reader: 9,
		}},
		Advances: []*weftv1.AdvanceAnswer{
			{Token: 7, Sequence: 1 << 40}, {Token: 8, Sequence: 2, Reason: weftv1.ErrorReason_ERROR_REASON_PARTIALS_GAP, Message: "one is missing"},
		},
		Heartbeat: 3,
	})
}

func same(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("by hand    %v\nby message %v", got, want)
	}
}
