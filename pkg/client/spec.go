package client

import (
	"math"
	"reflect"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// KillNow as a grace leaves no time between asking a task to stop and killing it.
const KillNow time.Duration = -1

// Spec is what a client asks for. Only the kind, or the command, has to be set.
type Spec struct {
	// Queue is where the task waits; empty is "default", which always exists.
	Queue string
	// Kind says what sort of work it is; workers say which kinds they handle. Empty with Command.
	Kind string
	// Payload is what the worker's handler gets; at most 512 KiB. Not with Command.
	Payload task.Payload
	// Command is a program to run in place of a handler. It must not change once it was submitted.
	Command *weftv1.Command
	// RunAt holds the task back until then; zero is at once.
	RunAt time.Time
	// Timeout stops an attempt that takes longer; zero is without limit, at most 30 days. Its handler's context ends, and a
	// handler that does not heed that keeps its slot, but not its task: 30 s after the grace the broker ends the attempt,
	// as timed out, and takes no result of it any more. [Client.Explain] says when that will be.
	Timeout time.Duration
	// Grace lies between asking an attempt to stop and killing it: zero is the broker's default of 10 s,
	// at most 1 h, KillNow none. Commands are killed after it, handlers cannot be: the broker waits 30 s more for their
	// worker's word, and then ends the attempt without it.
	Grace time.Duration
	// Retry says whether to try again; the zero Retry is one attempt, as in concurrent.futures.
	Retry Retry
	// Daemon ends the task when its call's session ends: closed, or silent for its TTL.
	Daemon bool
	// Labels are for people and filters; at most 64.
	Labels map[string]string
	// Retention keeps the task known so long after it has succeeded, was cancelled or expired, also if its call has
	// the outcome already; FailedRetention after it has failed. At most 90 days. Zero is the queue's, or the
	// broker's default: see TaskSpec.
	Retention, FailedRetention time.Duration
	// OnWorkerLost chooses between at least once (the default) and at most once.
	OnWorkerLost weftv1.OnWorkerLost
	// Priority orders the tasks of a queue of that order: the least first, as in Python's PriorityQueue.
	// From -32,768 to 32,767.
	Priority int
	// Deadline expires the task if it has not ended by then; zero is none. It is after RunAt, or the task is
	// refused.
	Deadline time.Time
	// After are tasks that have to end first; at most 100. See [After] and [AfterTasks].
	After []Dependency
	// OnDependencyFailure says what becomes of the task when one of those does not succeed; it is
	// cancelled by default.
	OnDependencyFailure weftv1.OnDependencyFailure
	// UniqueKey joins the task to one of the same key, kind and payload that has not ended in the queue.
	// At most 256 bytes.
	UniqueKey string
	// FairnessKey has tasks of different keys take turns. At most 256 bytes.
	FairnessKey string
	// WorkerLabels are what a worker must have to run the task; at most 16.
	WorkerLabels map[string]string
	// Exclusive never has two attempts at a time, whatever becomes of a worker.
	Exclusive bool

	input any // what a typed map made it of
}

// Retry says when an attempt that ended by error or timeout is followed by another. The wait before
// attempt n+1 is Backoff × Multiplier^(n-1), at most BackoffMax, less up to the share Jitter.
type Retry struct {
	// Attempts is how often the task is tried in all; 0 and 1 are once, at most 1,000.
	Attempts int
	// Backoff is the first wait; zero is 1 s.
	Backoff time.Duration
	// Multiplier makes later waits longer; zero is 2.
	Multiplier float64
	// BackoffMax bounds them; zero is 5 min.
	BackoffMax time.Duration
	// Jitter is a share from 0 to 1; zero is 0.2, for none give less than 0.001.
	Jitter float64
}

// with has what another spec sets over what this one sets.
func (s *Spec) with(over *Spec) Spec {
	if s.empty() {
		return *over
	}
	out := *s
	out.input = over.input
	to, from := reflect.ValueOf(&out).Elem(), reflect.ValueOf(over).Elem()
	for i := range from.NumField() {
		if field := from.Field(i); to.Field(i).CanSet() && !field.IsZero() {
			to.Field(i).Set(field)
		}
	}
	return out
}

// empty reports whether nothing is set.
func (s *Spec) empty() bool { return reflect.ValueOf(s).Elem().IsZero() }

// hasWork reports whether it says what is to be done.
func (s *Spec) hasWork() bool { return s.Kind != "" || s.Command != nil || s.Payload.Len() > 0 }

// proto returns the spec as a message.
func (s *Spec) proto() *weftv1.TaskSpec {
	m := &weftv1.TaskSpec{}
	s.fill(m)
	switch {
	case s.Command != nil:
		m.Work = &weftv1.TaskSpec_Command{Command: s.Command}
	default:
		p := s.Payload.Proto()
		if p == nil {
			p = &weftv1.Payload{}
		}
		m.Work = &weftv1.TaskSpec_Payload{Payload: p}
	}
	return m
}

// fill sets everything but the work, which the stream writes by itself.
func (s *Spec) fill(m *weftv1.TaskSpec) {
	m.Queue = s.Queue
	m.Kind = s.Kind
	m.Daemon = s.Daemon
	m.Labels = s.Labels
	m.OnWorkerLost = s.OnWorkerLost
	m.RunAt, m.Timeout, m.Grace, m.Retention, m.FailedRetention = nil, nil, nil, nil, nil
	if !s.RunAt.IsZero() {
		m.RunAt = timestamppb.New(s.RunAt)
	}
	if s.Timeout != 0 {
		m.Timeout = durationpb.New(s.Timeout)
	}
	m.Grace = graceProto(s.Grace)
	if s.Retention != 0 {
		m.Retention = durationpb.New(s.Retention)
	}
	if s.FailedRetention != 0 {
		m.FailedRetention = durationpb.New(s.FailedRetention)
	}
	m.Retry = s.Retry.proto()
	s.fillDispatch(m)
}

// fillDispatch sets when, where and beside what the task runs.
func (s *Spec) fillDispatch(m *weftv1.TaskSpec) {
	m.Priority = int32(min(max(s.Priority, math.MinInt32), math.MaxInt32)) //nolint:gosec // bounded right here
	m.Deadline = nil
	if !s.Deadline.IsZero() {
		m.Deadline = timestamppb.New(s.Deadline)
	}
	m.After = s.taskIDsBefore()
	m.OnDependencyFailure = s.OnDependencyFailure
	m.UniqueKey, m.FairnessKey = s.UniqueKey, s.FairnessKey
	m.WorkerLabels = s.WorkerLabels
	m.Exclusive = s.Exclusive
}

// graceProto returns a grace as a message: unset for zero, 0 for KillNow.
func graceProto(d time.Duration) *durationpb.Duration {
	switch {
	case d == 0:
		return nil
	case d < 0:
		return &durationpb.Duration{}
	default:
		return durationpb.New(d)
	}
}

// proto returns the policy as a message, nil if nothing is asked for.
func (r Retry) proto() *weftv1.RetryPolicy {
	if r == (Retry{}) {
		return nil
	}
	m := &weftv1.RetryPolicy{
		AttemptsMax: uint32(max(r.Attempts, 0)), //nolint:gosec // the broker checks the upper bound
		Multiplier:  r.Multiplier,
		Jitter:      r.Jitter,
	}
	if r.Backoff != 0 {
		m.InitialBackoff = durationpb.New(r.Backoff)
	}
	if r.BackoffMax != 0 {
		m.BackoffMax = durationpb.New(r.BackoffMax)
	}
	return m
}
