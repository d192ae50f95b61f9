package broker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/internal/pure"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// beyondAnnotations tells whether a spec breaks a rule that its annotations cannot say: a kind belongs to
// the work, times must be ones of their types, and what is stored has a limit.
func beyondAnnotations(spec *weftv1.TaskSpec) bool {
	command := spec.GetCommand() != nil
	kind := spec.GetKind()
	if command && kind != "" && kind != commandKind || !command && (kind == "" || kind == commandKind) {
		return true
	}
	if spec.GetRunAt() != nil && spec.GetRunAt().CheckValid() != nil {
		return true
	}
	if spec.GetDeadline() != nil && spec.GetDeadline().CheckValid() != nil || neverRuns(spec) {
		return true
	}
	for _, d := range []*durationpb.Duration{
		spec.GetTimeout(), spec.GetGrace(), spec.GetRetention(), spec.GetFailedRetention(), spec.GetRetry().GetInitialBackoff(), spec.GetRetry().GetBackoffMax(),
	} {
		if d != nil && d.CheckValid() != nil {
			return true
		}
	}
	return command && proto.Size(spec.GetCommand()) > payloadBytesMax || payloadSize(spec.GetPayload()) > payloadBytesMax
}

func payloadSize(p *weftv1.Payload) int {
	if v, ok := p.GetValue().(*weftv1.Payload_Json); ok {
		return proto.Size(v.Json)
	}
	return len(p.GetData()) + len(p.GetText())
}

func newValidator(t testing.TB) protovalidate.Validator {
	t.Helper()
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// agree holds the checks by hand against the annotations.
func agree(t *testing.T, v protovalidate.Validator, spec *weftv1.TaskSpec) (ok bool) {
	t.Helper()
	_, byHand := newTask(spec, 0)
	byAnnotation := v.Validate(spec)
	switch {
	case byHand == nil && (byAnnotation != nil || beyondAnnotations(spec)):
		t.Fatalf("accepted, and the annotations say %v: %v", byAnnotation, spec)
	case byHand != nil && byAnnotation == nil && !beyondAnnotations(spec):
		t.Fatalf("refused with %v, and the annotations are kept: %v", byHand, spec)
	case byHand != nil && byHand.Reason != pure.InvalidField && byHand.Reason != pure.PayloadTooLarge:
		t.Fatalf("refused with %v", byHand)
	}
	return byHand == nil
}

// specMaker makes specs around the limits of their fields, most of them valid.
type specMaker struct {
	*rand.Rand
	bad int // one in so many values is chosen without regard to the limits
}

func (r *specMaker) odd() bool { return r.IntN(r.bad) == 0 }

func pick[T any](r *specMaker, list ...T) T { return list[r.IntN(len(list))] }

func (r *specMaker) name(most int) string {
	if !r.odd() {
		return pick(r, "default", "a.b/c_d-E9", "command", strings.Repeat("n", most))
	}
	return pick(r, "", strings.Repeat("n", most+1), "a b", "ü", "a\n", "\n", "a\x00", "ä", "名", "a:b", "[", "^", "`", "@", "{")
}

func (r *specMaker) duration(most time.Duration) *durationpb.Duration {
	if r.IntN(3) == 0 {
		return nil
	}
	if !r.odd() {
		return durationpb.New(pick(r, 1, time.Millisecond, most, most-1, most/2, 0))
	}
	return pick(r,
		durationpb.New(most+1), durationpb.New(-1), durationpb.New(math.MinInt64),
		&durationpb.Duration{Seconds: math.MaxInt64}, &durationpb.Duration{Seconds: math.MinInt64},
		&durationpb.Duration{Seconds: 1, Nanos: -1}, &durationpb.Duration{Seconds: -1, Nanos: 1},
		&durationpb.Duration{Nanos: 1_000_000_000}, &durationpb.Duration{Nanos: math.MinInt32},
		&durationpb.Duration{Seconds: durationSecondsValid + 1}, &durationpb.Duration{Seconds: int64(most/time.Second) + 1, Nanos: -1},
	)
}

func (r *specMaker) moment() *timestamppb.Timestamp {
	return pick(r, nil, timestamppb.Now(), &timestamppb.Timestamp{}, &timestamppb.Timestamp{Seconds: -1},
		&timestamppb.Timestamp{Seconds: timestampSecondsMax, Nanos: 999_999_999}, &timestamppb.Timestamp{Seconds: timestampSecondsMax + 1},
		&timestamppb.Timestamp{Seconds: timestampSecondsMin}, &timestamppb.Timestamp{Seconds: timestampSecondsMin - 1},
		&timestamppb.Timestamp{Nanos: -1}, &timestamppb.Timestamp{Nanos: 1_000_000_000},
		&timestamppb.Timestamp{Seconds: wallSecondsRepresents}, &timestamppb.Timestamp{Seconds: math.MaxInt64})
}

func (r *specMaker) number(most float64) float64 {
	if !r.odd() {
		return pick(r, 0, 0.0001, most/2, most)
	}
	return pick(r, -0.1, math.Nextafter(most, 1e9), math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1))
}

func (r *specMaker) labels() map[string]string {
	m := map[string]string{}
	for range pick(r, 0, 1, 3, 64, 65) {
		m[fmt.Sprint("k", len(m))] = "v"
	}
	if len(m) < 3 {
		m[r.name(256)] = pick(r, "", "v", strings.Repeat("v", 1024), strings.Repeat("ü", 512))
	}
	if r.odd() {
		m["x"] = pick(r, strings.Repeat("v", 1025), strings.Repeat("ü", 513))
	}
	return m
}

func (r *specMaker) command() *weftv1.Command {
	c := &weftv1.Command{Argv: make([]string, pick(r, 1, 2, 4096)), Dir: "/tmp", OutputBytesMax: pick(r, uint32(0), commandOutputMax)}
	if r.odd() {
		c.Argv = make([]string, pick(r, 0, 4097))
	}
	if r.odd() {
		c.OutputBytesMax = pick(r, commandOutputMax+1, uint32(math.MaxUint32))
	}
	if r.odd() {
		c.Dir = pick(r, strings.Repeat("d", 4096), strings.Repeat("d", 4097), strings.Repeat("ü", 4096), strings.Repeat("ü", 4097), "\x00")
	}
	if r.odd() {
		c.Env = map[string]string{}
		for i := range pick(r, 1024, 1025) {
			c.Env[fmt.Sprint(i)] = ""
		}
	}
	if r.odd() {
		c.Stdin = make([]byte, pick(r, payloadBytesMax, payloadBytesMax/2))
	}
	return c
}

func (r *specMaker) spec() *weftv1.TaskSpec {
	s := &weftv1.TaskSpec{
		Queue: r.name(256), Kind: pick(r, "echo", r.name(256)), RunAt: nil, Timeout: r.duration(timeoutMax), Grace: r.duration(graceMax),
		Retention: r.duration(retentionMax), FailedRetention: r.duration(retentionMax), Daemon: r.odd(), OnWorkerLost: weftv1.OnWorkerLost(r.IntN(3)),
	}
	if r.odd() {
		s.OnWorkerLost = pick(r, weftv1.OnWorkerLost(3), weftv1.OnWorkerLost(-1), weftv1.OnWorkerLost(math.MaxInt32))
	}
	if r.odd() {
		s.RunAt = r.moment()
	}
	if r.odd() {
		s.Deadline = r.moment()
	}
	if r.odd() {
		s.Labels = r.labels()
	}
	if r.IntN(3) == 0 {
		s.Retry = &weftv1.RetryPolicy{
			AttemptsMax: pick(r, uint32(0), 1, 1000), InitialBackoff: r.duration(initialBackoffMax), Multiplier: r.number(multiplierMax),
			BackoffMax: r.duration(backoffMax), Jitter: r.number(1),
		}
		if r.odd() {
			s.Retry.AttemptsMax = pick(r, uint32(1001), math.MaxUint32)
		}
	}
	switch r.IntN(4) {
	case 0:
		s.Kind, s.Work = pick(r, "", "command", s.Kind), &weftv1.TaskSpec_Command{Command: r.command()}
	case 1:
		s.Work = &weftv1.TaskSpec_Payload{Payload: text(strings.Repeat("x", pick(r, 0, payloadBytesMax, payloadBytesMax+1)))}
	}
	return s
}

// What the hot stream checks by hand is what the annotations say, and the other way round.
func TestChecksByHandAreTheAnnotations(t *testing.T) {
	v := newValidator(t)
	for _, bad := range []int{4, 12, 60} {
		r := &specMaker{rand.New(rand.NewPCG(1, uint64(bad))), bad}
		rounds, accepted := 2000, 0
		for range rounds {
			if agree(t, v, r.spec()) {
				accepted++
			}
		}
		if accepted == 0 || accepted == rounds {
			t.Errorf("%d of %d accepted: the specs show nothing", accepted, rounds)
		}
	}
}

func FuzzChecksByHandAreTheAnnotations(f *testing.F) {
	r := &specMaker{rand.New(rand.NewPCG(2, 2)), 10}
	for range 50 {
		data, err := proto.Marshal(r.spec())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	v := newValidator(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		spec := &weftv1.TaskSpec{}
		if proto.Unmarshal(data, spec) == nil {
			agree(t, v, spec)
		}
	})
}
