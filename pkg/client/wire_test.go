package client

import (
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// randomSpec is any spec.
func randomSpec(rng *rand.Rand) Spec {
	s := Spec{Queue: pick(rng, "", "q"), Kind: pick(rng, "", "kind")}
	switch rng.IntN(4) {
	case 0:
		s.Command = &weftv1.Command{Argv: []string{"echo", "hi"}, Env: map[string]string{"A": "b"}, Stdin: []byte("in")}
	case 1:
		s.Payload = task.Text(strings.Repeat("ä", rng.IntN(400)))
	case 2:
		s.Payload = task.Bytes(make([]byte, rng.IntN(100_000)))
	}
	if rng.IntN(2) == 0 {
		s.RunAt = time.Unix(rng.Int64N(1<<40), rng.Int64N(1e9)).UTC()
		s.Timeout = time.Duration(rng.Int64N(1e15))
		s.Grace = pick(rng, 0, KillNow, time.Minute)
		s.Retry = Retry{Attempts: rng.IntN(9), Backoff: time.Second, Multiplier: 1.5, BackoffMax: time.Hour, Jitter: 0.1}
		s.Daemon = true
		s.Labels = map[string]string{"a": "1", "b": "2"}
		s.Retention, s.FailedRetention = time.Hour, 2*time.Hour
		s.OnWorkerLost = weftv1.OnWorkerLost_ON_WORKER_LOST_FAIL
	}
	if rng.IntN(2) == 0 {
		s.Priority = pick(rng, 0, -32768, 32767)
		s.Deadline = pick(rng, time.Time{}, time.Unix(rng.Int64N(1<<40), 0).UTC())
		s.After = pick(rng, nil, AfterTasks("t1", "t2"))
		s.OnDependencyFailure = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
		s.UniqueKey, s.FairnessKey = "u", "f"
		s.WorkerLabels = map[string]string{"gpu": "a"}
		s.Exclusive = true
	}
	return s
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// What the encoder writes is what the generated code would.
func TestEncodeIsTheGeneratedCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var e encoder
	for range 2000 {
		spec, index := randomSpec(rng), pick(rng, 0, 1, rng.Uint64())
		b, err := e.task(index, &spec)
		if err != nil {
			t.Fatal(err)
		}
		var got weftv1.ExecuteRequest
		if err := proto.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		want := &weftv1.ExecuteRequest{Tasks: []*weftv1.ExecuteTask{{Index: index, Spec: spec.proto()}}}
		if !proto.Equal(&got, want) {
			t.Fatalf("got  %v\nwant %v", &got, want)
		}
	}
}

// An invalid string is refused when submitting, and leaves the encoder as it was.
func TestEncodeRefusesInvalidText(t *testing.T) {
	var e encoder
	if _, err := e.task(0, &Spec{Kind: "\xff"}); err == nil {
		t.Fatal("no error")
	}
	b, err := e.task(1, &Spec{Kind: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var got weftv1.ExecuteRequest
	if err := proto.Unmarshal(b, &got); err != nil || got.GetTasks()[0].GetIndex() != 1 {
		t.Fatal(err, &got)
	}
}

// Ranges are the generated code's too.
func TestRangeIsTheGeneratedCode(t *testing.T) {
	for _, r := range []indexRange{{0, 0}, {0, 7}, {300, 1 << 60}} {
		var got weftv1.ExecuteRequest
		if err := proto.Unmarshal(r.appendWire(nil, requestAcknowledged), &got); err != nil {
			t.Fatal(err)
		}
		if a := got.GetAcknowledged(); len(a) != 1 || a[0].GetFirst() != r.first || a[0].GetLast() != r.last {
			t.Fatalf("%v became %v", r, a)
		}
	}
}

// randomOutcome is any outcome.
func randomOutcome(rng *rand.Rand) *weftv1.Outcome {
	o := &weftv1.Outcome{
		State: weftv1.TaskState(rng.IntN(8)), End: weftv1.AttemptEnd(rng.IntN(7)),
		Attempts: rng.Uint32(), Worker: pick(rng, "", "a", "b"), Token: rng.Uint64(),
	}
	switch rng.IntN(6) {
	case 0:
		o.Result = &weftv1.Outcome_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Text{Text: "täxt"}}}
	case 1:
		o.Result = &weftv1.Outcome_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Data{Data: []byte("\xff\x00")}}}
	case 2:
		o.Result = &weftv1.Outcome_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Json{Json: structpb.NewBoolValue(true)}}}
	case 3:
		o.Result = &weftv1.Outcome_Payload{Payload: &weftv1.Payload{}}
	case 4:
		o.Result = &weftv1.Outcome_Command{Command: &weftv1.CommandResult{
			ExitCode: -1, Signal: "SIGKILL",
			Stdout: &weftv1.CapturedOutput{Value: &weftv1.CapturedOutput_Text{Text: "out"}, BytesTotal: 3},
		}}
	}
	if rng.IntN(2) == 0 {
		o.Error = &weftv1.TaskError{Reason: "exit", Message: "3", Stack: "s", Permanent: true}
		o.StartedAt = timestamppb.New(time.Unix(rng.Int64N(1<<40), rng.Int64N(1e9)))
		o.FinishedAt = &timestamppb.Timestamp{}
	}
	return o
}

// What the decoder reads is what the generated code would, frame after frame in the same memory.
func TestDecodeIsTheGeneratedCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var in inFrame
	for range 500 {
		m := &weftv1.ExecuteResponse{Heartbeat: rng.Uint64N(3)}
		if rng.IntN(4) == 0 {
			m.Attached = &weftv1.ExecuteAttached{SessionId: "s", SessionTtl: durationpb.New(time.Second)}
		}
		for range rng.IntN(4) {
			m.Accepted = append(m.Accepted, &weftv1.IndexRange{First: rng.Uint64N(9), Last: rng.Uint64()})
			m.Rejected = append(m.Rejected, &weftv1.ExecuteRejection{Index: 3, Metadata: map[string]string{"a": "b"}})
			m.Updates = append(m.Updates, &weftv1.ExecuteUpdate{Index: 4, Worker: "w"})
			m.Outcomes = append(m.Outcomes, &weftv1.ExecuteOutcome{Index: rng.Uint64N(99), TaskId: "t1", Outcome: randomOutcome(rng)})
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		split := rng.IntN(len(b) + 1) // gRPC may hand a frame over in pieces
		pieces := mem.BufferSlice{mem.SliceBuffer(b[:split]), mem.SliceBuffer(b[split:])}
		if err := (frameCodec{}).Unmarshal(pieces, &in); err != nil {
			t.Fatal(err)
		}
		compareFrame(t, &in, m)
	}
}

func compareFrame(t *testing.T, in *inFrame, m *weftv1.ExecuteResponse) {
	t.Helper()
	same := proto.Equal(in.attached, m.Attached) && in.heartbeat == m.Heartbeat &&
		slices.EqualFunc(in.rejected, m.Rejected, func(a, b *weftv1.ExecuteRejection) bool { return proto.Equal(a, b) }) &&
		slices.EqualFunc(in.updates, m.Updates, func(a, b *weftv1.ExecuteUpdate) bool { return proto.Equal(a, b) }) &&
		slices.EqualFunc(in.accepted, m.Accepted, func(a indexRange, b *weftv1.IndexRange) bool {
			return a.first == b.First && a.last == b.Last
		}) && len(in.outcomes) == len(m.Outcomes)
	if !same {
		t.Fatalf("got %+v\nwant %v", in, m)
	}
	for i, got := range in.outcomes {
		want, err := OutcomeFromProto(m.Outcomes[i].Outcome)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.Command, want.Command) || got.index != m.Outcomes[i].Index || got.taskID != "t1" {
			t.Fatalf("got %+v\nwant %v", got, m.Outcomes[i])
		}
		got.Command, want.Command = nil, nil
		if !reflect.DeepEqual(&got.Outcome, want) {
			t.Fatalf("got  %+v\nwant %+v", got.Outcome, want)
		}
	}
}

// Nothing that comes from the wire makes the decoder panic, and what it takes the generated code takes
// too, strictness about UTF-8 and wire types apart.
func FuzzDecode(f *testing.F) {
	b, err := proto.Marshal(&weftv1.ExecuteResponse{
		Accepted: ranges(1, 2), Outcomes: []*weftv1.ExecuteOutcome{success(1)}, Heartbeat: 4,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		in := inFrame{raw: b}
		mine := in.decode()
		theirs := proto.Unmarshal(b, &weftv1.ExecuteResponse{})
		if mine != nil && theirs == nil {
			t.Fatalf("refused: %v", mine)
		}
	})
}

// The table of codes is what error.proto says in brackets.
func TestReasonCodesAreThoseOfTheProto(t *testing.T) {
	source, err := os.ReadFile("../../proto/weft/v1/error.proto")
	if err != nil {
		t.Fatal(err)
	}
	entries := regexp.MustCompile(`// \[([A-Z_]+)\](?s:.*?)\n  (ERROR_REASON_[A-Z_]+) =`).FindAllSubmatch(source, -1)
	if len(entries) != len(reasonCodes) {
		t.Fatalf("%d reasons in the proto, %d in the table", len(entries), len(reasonCodes))
	}
	for _, e := range entries {
		var want codes.Code
		if err := want.UnmarshalJSON([]byte(`"` + string(e[1]) + `"`)); err != nil {
			t.Fatal(err)
		}
		reason := weftv1.ErrorReason(weftv1.ErrorReason_value[string(e[2])])
		if reasonCode(reason) != want {
			t.Errorf("%v: %v, want %v", reason, reasonCode(reason), want)
		}
		if parseReason(reasonWord(reason)) != reason {
			t.Errorf("%v does not come back", reason)
		}
	}
}

// The set is a set: compared with a map, in any order.
func TestRangeSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var s rangeSet
		model := make(map[uint64]bool)
		for range rng.IntN(60) {
			first := rng.Uint64N(100)
			last := first + rng.Uint64N(1+rng.Uint64N(8))
			s.addRange(indexRange{first, last})
			for i := first; i <= last; i++ {
				model[i] = true
			}
		}
		for i := range uint64(120) {
			if s.has(i) != model[i] {
				t.Fatalf("%d in %v: %v", i, s.rs, s.has(i))
			}
		}
		for i := 1; i < len(s.rs); i++ {
			if s.rs[i].first <= s.rs[i-1].last+1 {
				t.Fatalf("ranges touch: %v", s.rs)
			}
		}
	}
}
