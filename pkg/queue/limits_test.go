package queue

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// limit is a bound of the core: what fills it is accepted, and one more is refused.
type limit struct {
	cfg    Config
	fill   func(b *bench) error
	more   func(b *bench) error
	reason pure.Reason
	limit  any
	field  string
}

// limits are all those that refuse; the few that only bound work or memory are told apart by their names.
var limits = map[string]limit{
	"queues of a namespace": {
		fill:   times(queuesMax, func(b *bench, i int) error { return b.create(fmt.Sprint(i)) }),
		more:   func(b *bench) error { return b.create("more") },
		reason: pure.StateFull, limit: queuesMax,
	},
	"calls of a namespace": {
		fill:   times(callsMax-1, func(b *bench, i int) error { return b.attach(fmt.Sprint(i)) }), // one is there
		more:   func(b *bench) error { return b.attach("more") },
		reason: pure.StateFull, limit: callsMax,
	},
	"reservations that wait at a queue": {
		fill:   times(WaitersMax, func(b *bench, i int) error { return b.reserve(uint64(i) + 1) }),
		more:   func(b *bench) error { return b.reserve(WaitersMax + 1) },
		reason: pure.Overloaded, limit: WaitersMax,
	},
	"submissions that wait at a queue": {
		fill: func(b *bench) error {
			return errors.Join(b.create("q", ofSize(1)), b.submit("q", 0),
				times(WaitersMax, func(b *bench, i int) error { return b.submit("q", uint64(i)+1) })(b))
		},
		more:   func(b *bench) error { return b.submit("q", WaitersMax+1) },
		reason: pure.Overloaded, limit: WaitersMax,
	},
	"joins that wait at a queue": {
		fill: func(b *bench) error {
			return errors.Join(b.submit("", 0), times(WaitersMax, func(b *bench, i int) error { return b.join(uint64(i) + 1) })(b))
		},
		more:   func(b *bench) error { return b.join(WaitersMax + 1) },
		reason: pure.Overloaded, limit: WaitersMax,
	},
	"kinds and labels that a queue is asked by": {
		fill:   times(profilesMax, func(b *bench, i int) error { return b.reserve(uint64(i)+1, fmt.Sprint(i)) }),
		more:   func(b *bench) error { return b.reserve(profilesMax+1, "more") },
		reason: pure.Overloaded, limit: profilesMax,
	},
	"tasks of a call": {
		fill:   func(b *bench) error { return b.enqueued(newTasks(0, CallTasksMax, 1, 0)...) },
		more:   func(b *bench) error { return b.enqueued(newTasks(CallTasksMax, 1, 1, 0)...) },
		reason: pure.CallWindowFull, limit: CallTasksMax,
	},
	"bytes of a call": {
		fill:   func(b *bench) error { return b.enqueued(newTasks(0, CallBytesMax>>20, 1, 1<<20)...) },
		more:   func(b *bench) error { return b.enqueued(newTasks(CallBytesMax>>20, 1, 1, 0)...) },
		reason: pure.CallWindowFull, limit: CallBytesMax,
	},
	"stretches of a call's indexes": {
		fill:   func(b *bench) error { return b.enqueued(newTasks(0, CallRangesMax, 2, 0)...) },
		more:   func(b *bench) error { return b.enqueued(newTasks(2*CallRangesMax, 1, 1, 0)...) },
		reason: pure.CallSparse, limit: CallRangesMax,
	},
	"cancellations of a call": {
		fill:   times(callCancelsMax, func(b *bench, i int) error { return b.cancelIndex(uint64(i)) }),
		more:   func(b *bench) error { return b.cancelIndex(callCancelsMax) },
		reason: pure.Overloaded, limit: callCancelsMax,
	},
	"tasks that one is after": {
		fill:   func(b *bench) error { return errors.Join(b.submit("", 0), b.submitAfter(DependenciesMax)) },
		more:   func(b *bench) error { return b.submitAfter(DependenciesMax + 1) },
		reason: pure.InvalidField, limit: DependenciesMax, field: "after",
	},
	"bytes of tasks that are retried together": {
		fill: func(b *bench) error { return b.cancelledTasks(9, 512<<10) },
		more: func(b *bench) error {
			if _, err := b.core.Retry(b.step(), "n", "", b.ids()[:7]); err != nil {
				return fmt.Errorf("seven of them: %w", err)
			}
			_, _ = b.core.PurgeQueue(b.step(), "n", "", 0) // the seven are cancelled again
			b.goOn()
			_, err := b.core.Retry(b.step(), "n", "", b.ids())
			return err
		},
		reason: pure.InvalidField, limit: retryBytesMax, field: "task_ids",
	},
	"bytes of all tasks": {
		cfg: Config{Limits: Limits{Bytes: 2000}}, fill: func(b *bench) error { return b.submitBytes(1500) },
		more:   func(b *bench) error { return b.submitBytes(500) },
		reason: pure.StateFull, limit: int64(2000),
	},
	"bytes of a namespace": {
		cfg: Config{Limits: Limits{NamespaceBytes: 2000}}, fill: func(b *bench) error { return b.submitBytes(1500) },
		more:   func(b *bench) error { return b.submitBytes(500) },
		reason: pure.StateFull, limit: int64(2000),
	},
	"tasks of a namespace": {
		cfg:  Config{Limits: Limits{NamespaceTasks: 3}},
		fill: times(3, func(b *bench, _ int) error { return b.submit("", 0) }), more: func(b *bench) error { return b.submit("", 0) },
		reason: pure.StateFull, limit: 3,
	},
}

// What is one too many is refused with its reason and its limit, and changes nothing.
func TestLimits(t *testing.T) {
	for name, l := range limits {
		t.Run(name, func(t *testing.T) {
			b := newBench(l.cfg)
			if err := l.fill(b); err != nil {
				t.Fatalf("up to the limit: %v", err)
			}
			before := b.core.Dump()
			err := l.more(b)
			refusal, ok := errors.AsType[*pure.Refusal](err)
			if !ok || refusal.Reason != l.reason {
				t.Fatalf("one more is answered with %v, want %s", err, l.reason)
			}
			if got := b.meta(refusal, "limit"); got != fmt.Sprint(l.limit) {
				t.Errorf("the limit is told as %q, it is %v", got, l.limit)
			}
			if got := b.meta(refusal, "field"); got != l.field {
				t.Errorf("the field is told as %q, it is %q", got, l.field)
			}
			if l.field != "task_ids" && !slices.Equal(b.core.Dump(), before) {
				t.Error("what is refused changes something")
			}
		})
	}
}

// Requests beyond those that a task remembers join it all the same.
func TestJoinersBeyondTheLimit(t *testing.T) {
	b := newBench(Config{})
	joined := func(request string) Submitted {
		t.Helper()
		s, _, err := b.core.Submit(b.step(), "n", request, NewTask{Spec: Spec{Kind: "k", Options: unique("u")}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := joined("first")
	for i := range JoinersMax + 1 {
		if s := joined(fmt.Sprint(i)); s.ID != first.ID || !s.Joined {
			t.Fatalf("request %d: %+v", i, s)
		}
	}
	if n := len(b.core.tasks[first.ID].Joiners); n != JoinersMax {
		t.Errorf("%d requests are remembered, at most %d", n, JoinersMax)
	}
}

func times(n int, do func(b *bench, i int) error) func(*bench) error {
	return func(b *bench) error {
		for i := range n {
			if err := do(b, i); err != nil {
				return fmt.Errorf("number %d: %w", i, err)
			}
		}
		return nil
	}
}

// ofSize are the settings of a queue that holds so many.
func ofSize(n uint64) Settings { return Settings{MaxSize: n} }

func unique(key string) *Options {
	o := *DefaultOptions
	o.UniqueKey = key
	return &o
}

func (b *bench) meta(r *pure.Refusal, key string) string {
	for i := 0; i+1 < len(r.Meta); i += 2 {
		if r.Meta[i] == key {
			return r.Meta[i+1]
		}
	}
	return ""
}

func (b *bench) create(queueName string, s ...Settings) error {
	return b.core.CreateQueue(b.step(), "n", queueName, append(s, Settings{})[0])
}

func (b *bench) attach(callName string) error {
	_, _, err := b.core.Attach(b.step(), "n", callName, session.ID{1}, nil, false, false)
	return err
}

func (b *bench) reserve(waiter uint64, kinds ...string) error {
	return b.core.Reserve(b.step(), Reservation{Waiter: waiter, Namespace: "n", Kinds: kinds, TasksMax: 1, Session: session.ID{9}})
}

func (b *bench) submit(queueName string, waiter uint64) error {
	_, _, err := b.core.Submit(b.step(), "n", "", NewTask{Queue: queueName, Spec: Spec{Kind: "k"}}, waiter)
	return err
}

func (b *bench) submitBytes(n int) error {
	_, _, err := b.core.Submit(b.step(), "n", "", newTasks(0, 1, 1, n)[0], 0)
	return err
}

// submitAfter submits a task that is after the first one, so many times over.
func (b *bench) submitAfter(n int) error {
	o := *DefaultOptions
	o.After = slices.Repeat(b.ids()[:1], n)
	_, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Options: &o}}, 0)
	return err
}

func (b *bench) join(waiter uint64) error {
	_, err := b.core.JoinQueue(b.step(), "n", "", waiter)
	return err
}

func (b *bench) cancelIndex(i uint64) error {
	if err := b.core.CancelIndexes(b.step(), b.call, pure.Range{First: i, Last: i}, -1, false); err != nil {
		return err
	}
	return nil
}

// enqueued submits tasks of the call and returns why one of them was refused.
func (b *bench) enqueued(tasks ...NewTask) error {
	step := b.step()
	b.core.Enqueue(step, b.call, tasks)
	for _, e := range step.Effects {
		if r, ok := e.(*Rejected); ok {
			return r.Reason
		}
	}
	return nil
}

// cancelledTasks makes tasks of a size and cancels them.
func (b *bench) cancelledTasks(n, bytes int) error {
	for range n {
		if err := b.submitBytes(bytes); err != nil {
			return err
		}
	}
	_, err := b.core.PurgeQueue(b.step(), "n", "", 0)
	b.goOn()
	return err
}

// ids are the tasks, the oldest first.
func (b *bench) ids() (out []uint64) {
	tasks, _ := b.core.List(Filter{Namespace: "n"}, 0, 1000)
	for i := range tasks {
		out = append(out, tasks[i].ID)
	}
	return out
}
