package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// modelBroker keeps one call as the API says, and cuts its streams at random: before or after a frame
// was taken, with its answer sent or not.
type modelBroker struct {
	t    *testing.T
	mu   sync.Mutex
	rng  *rand.Rand
	cuts int // still to be made

	session  int
	accepted rangeSet
	acked    rangeSet
	runs     map[uint64]int // how often a task was taken as a new one
	open     []uint64       // accepted and without an outcome
	outcomes rangeSet       // final
	window   int            // unacknowledged tasks that it takes
	finish   bool
	after    *modelAfter // what tasks are after; nil if nothing is
}

// modelTTL makes heartbeats frequent: the model does something only when a frame comes.
const modelTTL = 2 * time.Second

// cut decides whether the stream ends here.
func (m *modelBroker) cut() bool {
	if m.cuts == 0 || m.rng.IntN(3) != 0 {
		return false
	}
	m.cuts--
	return true
}

// execute serves one stream.
func (m *modelBroker) execute(_ int, s *fakeStream) error {
	r, err := s.stream.Recv()
	if err != nil {
		return err
	}
	for response := m.attach(r.GetAttach()); ; {
		if response == nil {
			return errCut
		}
		if err := s.stream.Send(response); err != nil {
			return err
		}
		if m.done() {
			return nil
		}
		if r, err = s.stream.Recv(); err != nil {
			return err
		}
		response = m.frame(r)
	}
}

// done reports whether the call is over.
func (m *modelBroker) done() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.finish && len(m.open) == 0 && m.unacked() == 0
}

// unacked counts what is accepted and not acknowledged.
func (m *modelBroker) unacked() int { return count(&m.accepted) - count(&m.acked) }

// count is the number of indexes in a set.
func count(s *rangeSet) (n int) {
	for _, r := range s.rs {
		n += int(r.last - r.first + 1)
	}
	return n
}

// attach answers a first frame; nil cuts.
func (m *modelBroker) attach(a *weftv1.ExecuteAttach) *weftv1.ExecuteResponse {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut() {
		return nil
	}
	m.after.leave()
	m.acknowledge(a.GetAcknowledged())
	if a.GetSessionId() == "" || m.rng.IntN(4) == 0 {
		m.session++ // it ended meanwhile
	}
	response := &weftv1.ExecuteResponse{Attached: &weftv1.ExecuteAttached{
		SessionId: fmt.Sprint("s", m.session), SessionTtl: durationpb.New(modelTTL),
		Accepted: m.accepted.proto(), UnacknowledgedTasksMax: uint32(m.window),
	}}
	m.endSome()
	known := rangeSetFromProto(a.GetAcknowledged())
	for _, r := range m.outcomes.rs {
		for i := r.first; i <= r.last; i++ {
			if !known.has(i) {
				response.Outcomes = append(response.Outcomes, m.outcome(i))
			}
		}
	}
	return response
}

// acknowledge checks that only outcomes are acknowledged.
func (m *modelBroker) acknowledge(rs []*weftv1.IndexRange) {
	for _, r := range rs {
		for i := r.GetFirst(); i <= r.GetLast(); i++ {
			if !m.outcomes.has(i) && !m.after.mayBeVoid(m, i) {
				m.t.Errorf("task %d is acknowledged without an outcome", i)
			}
		}
		m.acked.addRange(indexRange{r.GetFirst(), r.GetLast()})
	}
}

// frame takes a frame and answers it; nil cuts, before or after.
func (m *modelBroker) frame(r *weftv1.ExecuteRequest) *weftv1.ExecuteResponse {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cut() {
		return nil
	}
	response := &weftv1.ExecuteResponse{Heartbeat: r.GetHeartbeat()}
	m.acknowledge(r.GetAcknowledged())
	m.finish = m.finish || r.GetFinish()
	for _, x := range r.GetTasks() {
		m.task(x, response)
	}
	m.after.admit(m, response)
	for _, i := range m.endSome() {
		response.Outcomes = append(response.Outcomes, m.outcome(i))
	}
	if m.cut() {
		return nil
	}
	return response
}

// endSome ends tasks at random, and all of them once the cuts are over.
func (m *modelBroker) endSome() []uint64 {
	m.rng.Shuffle(len(m.open), func(i, j int) { m.open[i], m.open[j] = m.open[j], m.open[i] })
	n := m.after.free(m)
	if m.cuts > 0 {
		n = m.rng.IntN(n + 1)
	}
	ended := m.open[:n]
	m.open = m.open[n:]
	for _, i := range ended {
		m.outcomes.add(i)
	}
	return ended
}

// task takes one task.
func (m *modelBroker) task(x *weftv1.ExecuteTask, response *weftv1.ExecuteResponse) {
	i := x.GetIndex()
	if got := x.GetSpec().GetPayload().GetText(); got != fmt.Sprint("p", i) {
		m.t.Errorf("task %d came with payload %q", i, got)
	}
	if !m.accepted.has(i) {
		if m.after.refuse(m, x, response) {
			return
		}
		if m.unacked() >= m.window {
			response.Rejected = append(response.Rejected, &weftv1.ExecuteRejection{
				Index: i, Reason: weftv1.ErrorReason_ERROR_REASON_CALL_WINDOW_FULL,
			})
			return
		}
		m.take(i)
	}
	response.Accepted = append(response.Accepted, &weftv1.IndexRange{First: i, Last: i})
}

// take accepts a task.
func (m *modelBroker) take(i uint64) {
	m.accepted.add(i)
	m.runs[i]++
	m.open = append(m.open, i)
}

// outcome is how a task ended.
func (m *modelBroker) outcome(i uint64) *weftv1.ExecuteOutcome {
	if m.after == nil {
		return success(i)
	}
	return m.after.outcome(i)
}

// A thousand cuts at random places: every outcome arrives exactly once, no task is taken twice, and in
// the end the broker has nothing left.
func TestRandomCuts(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a thousand redials take a while")
	}
	const calls = 20
	var wg sync.WaitGroup
	for seed := range uint64(calls) {
		wg.Go(func() { runRandomCuts(t, seed, 1000/calls) })
	}
	wg.Wait()
}

func runRandomCuts(t *testing.T, seed uint64, cuts int) {
	m := &modelBroker{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), cuts: cuts,
		runs: make(map[uint64]int), window: 10 + int(seed)*5,
	}
	b := &fakeBroker{execute: m.execute}
	c := b.start(t)
	ended := make(map[uint64]int)
	var mu sync.Mutex
	opts := []CallOption{sinkTo(func(fs []*SpecFuture) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range fs {
			ended[f.index]++
		}
	})}
	explicit := seed%2 == 0
	if explicit {
		opts = append(opts, ExplicitAck())
	}
	call := c.NewCall(opts...)
	total := submitUntilCut(t, m, call, explicit)
	call.Finish()
	if err := call.Wait(testContext(t)); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	mu.Lock()
	defer mu.Unlock()
	for i := range total {
		if ended[i] != 1 || m.runs[i] != 1 || !m.acked.has(i) {
			t.Errorf("seed %d: task %d ended %d times, was taken %d times, acknowledged %v",
				seed, i, ended[i], m.runs[i], m.acked.has(i))
		}
	}
}

// submitUntilCut submits tasks and takes their outcomes until all cuts were made, and returns how many
// those were.
func submitUntilCut(t *testing.T, m *modelBroker, call *Call, explicit bool) uint64 {
	ctx := testContext(t)
	var waiters sync.WaitGroup
	defer waiters.Wait()
	for i := uint64(0); ; i++ {
		m.mu.Lock()
		over := m.cuts == 0
		m.mu.Unlock()
		if over { // one more frame brings what is open
			if err := call.Flush(ctx); err != nil {
				t.Errorf("flush: %v", err)
			}
			return i
		}
		f, err := call.Submit(ctx, Spec{Kind: "k", Payload: task.Text(fmt.Sprint("p", i))})
		if err != nil {
			t.Errorf("submit %d: %v", i, err)
			return i
		}
		waiters.Go(func() {
			o, err := f.Wait(ctx)
			if err != nil || o.Payload.String() != taskName(f.index) {
				t.Errorf("task %d: %v, %v", f.index, o, err)
			}
			if explicit {
				f.Ack()
			}
		})
		if i%16 == 15 { // let the frames stay small
			if err := call.Flush(ctx); err != nil {
				t.Errorf("flush: %v", err)
				return i + 1
			}
		}
	}
}

// A name that is met again: the tasks are sent to be compared, not run again, and outcomes that came
// before their tasks are kept for them.
func TestNamedCallIsMetAgain(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		if a := s.attach(&weftv1.ExecuteAttached{Accepted: ranges(0, 2)}); a.GetCallId() != "nightly" {
			t.Errorf("attached to %q", a.GetCallId())
		}
		s.succeed(0, 1)
		s.untilTasks(4)
		s.send(&weftv1.ExecuteResponse{
			Accepted: ranges(0, 0, 2, 3),
			Rejected: []*weftv1.ExecuteRejection{{Index: 1, Reason: weftv1.ErrorReason_ERROR_REASON_REQUEST_MISMATCH}},
		})
		s.succeed(3, 2)
		return s.drain()
	})}
	call := b.start(t).NewCall(Name("nightly"))
	fs := submit(t, call, 4)
	wantSuccess(t, fs[0], fs[2], fs[3])
	if _, err := fs[1].Wait(testContext(t)); !HasReason(err, weftv1.ErrorReason_ERROR_REASON_REQUEST_MISMATCH) {
		t.Fatal(err)
	}
}

// The window pushes back: no more than its tasks are under way, and an acknowledgement lets go on.
func TestWindowOfTasks(t *testing.T) {
	const window, total = 4, 40
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{UnacknowledgedTasksMax: window})
		for i := range uint64(total) {
			s.until(func() bool { return uint64(len(s.tasks)) > i })
			if n := len(s.tasks) - count(&s.acked); n > window {
				t.Errorf("%d tasks under way", n)
			}
			s.accept(i, i)
			s.succeed(i)
		}
		return s.drain()
	})}
	call := b.start(t).NewCall()
	ctx := testContext(t)
	first, err := call.Submit(ctx, Spec{Kind: "k"}) // attached when it ends: the window is known
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	var submitters sync.WaitGroup
	for range 3 {
		submitters.Go(func() {
			for range (total - 1) / 3 {
				f, err := call.Submit(ctx, Spec{Kind: "k"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := f.Wait(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	submitters.Wait()
}

// A full window holds a submitter until its context ends, and in explicit mode until Ack.
func TestWindowOfBytes(t *testing.T) {
	b := &fakeBroker{execute: scripted(func(_ int, s *fakeStream) error {
		s.attach(&weftv1.ExecuteAttached{UnacknowledgedBytesMax: 10})
		for i := uint64(0); ; i++ {
			s.until(func() bool { return uint64(len(s.tasks)) > i })
			s.accept(i, i)
			s.succeed(i)
		}
	})}
	call := b.start(t).NewCall(ExplicitAck())
	ctx := testContext(t)
	large := Spec{Kind: "k", Payload: task.Text("larger than the window")}
	f, err := call.Submit(ctx, large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := call.Submit(short, large); !errors.Is(err, short.Err()) {
		t.Fatalf("submit into a full window: %v", err)
	}
	f.Ack()
	if f, err = call.Submit(ctx, large); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}
