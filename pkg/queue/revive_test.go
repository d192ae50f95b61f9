package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// endNext gives a call's next task to a holder, which ends it.
func (b *bench) endNext(t *testing.T, index uint64, bytes int, end End) {
	t.Helper()
	id := session.ID{9}
	b.enqueue(newTasks(index, 1, 1, bytes)...)
	if err := b.core.Reserve(b.step(), Reservation{Waiter: 5, Namespace: "n", TasksMax: 1, Session: id}); err != nil {
		t.Fatal(err)
	}
	for _, a := range b.core.HeldBy(id) {
		b.core.Report(b.step(), id, []Report{{ID: a.ID, Token: a.Token, End: end, Error: &Error{Reason: "error"}}})
	}
	for b.core.Pending() {
		b.core.Work(b.step())
	}
	if end == EndSucceeded {
		b.core.Acknowledge(b.step(), b.call, pure.Ranges{{First: index, Last: index}})
	}
}

// What a call keeps of its tasks that are tried again joins the list of tasks, which may be compacted by that.
func TestRetryOfAQueueSkipsNone(t *testing.T) {
	b := newBench(Config{})
	index := uint64(0)
	many := func(n int, end End) {
		for range n {
			b.endNext(t, index, 1, end)
			index++
		}
	}
	many(900, EndSucceeded)
	many(100, EndError)
	for range 300 {
		many(1, EndSucceeded)
		if len(b.core.order.After(0)) == 2*(len(b.core.tasks)+1)+1024 {
			break
		}
	}
	n, next, err := b.core.RetryQueue(b.step(), "n", "", "", 0)
	if n != 100 || next != 0 || err != nil {
		t.Errorf("%d of 100 are tried again, next page %d, %v", n, next, err)
	}
}

// Whatever the size of a page of failed tasks, all come to be tried again.
func TestRetryOfAQueueInPages(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   Config
		bytes int
	}{"full steps": {Config{StepRecordsMax: 10}, 1}, "large tasks": {Config{}, 1 << 20}} {
		b := newBench(c.cfg)
		const failed = 12
		for i := range uint64(failed) {
			b.endNext(t, i, c.bytes, EndError)
		}
		all, pages, after := 0, 0, uint64(0)
		for {
			n, next, err := b.core.RetryQueue(b.step(), "n", "", "", after)
			if err != nil || next != 0 && next <= after {
				t.Fatalf("%s: %d after %d, %v", name, next, after, err)
			}
			all, pages, after = all+n, pages+1, next
			if next == 0 {
				break
			}
		}
		if all != failed || pages < 3 {
			t.Errorf("%s: %d of %d in %d pages", name, all, failed, pages)
		}
		if err := b.core.Check(); err != nil {
			t.Error(err)
		}
	}
}

func cancelled(t *testing.T, b *bench, n int, uniqueKey string, bytes int) (ids []uint64) {
	t.Helper()
	o := *DefaultOptions
	o.UniqueKey = uniqueKey
	for range n {
		s, _, err := b.core.Submit(b.step(), "n", "", NewTask{Spec: Spec{Kind: "k", Options: &o, Payload: Payload{1, make([]byte, bytes)}}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.core.Cancel(b.step(), "n", s.ID, -1); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestRetryIsOfAllOrNone(t *testing.T) {
	for name, c := range map[string]struct {
		key    string
		n      int
		bytes  int
		reason pure.Reason
	}{
		"one unique key": {"u", 2, 1, pure.UniqueMismatch},
		"too large":      {"", 5, 1 << 20, pure.InvalidField},
	} {
		b := newBench(Config{})
		ids := cancelled(t, b, c.n, c.key, c.bytes)
		_, err := b.core.Retry(b.step(), "n", "", ids)
		refusal, _ := errors.AsType[*pure.Refusal](err)
		if refusal == nil || refusal.Reason != c.reason {
			t.Errorf("%s: %v, want %s", name, refusal, c.reason)
		}
		for _, id := range ids {
			if s := b.core.tasks[id].State; s != Cancelled {
				t.Errorf("%s: task %d is %v", name, id, s)
			}
		}
		if n, err := b.core.Retry(b.step(), "n", "", []uint64{ids[0], ids[0]}); err != nil || n != 1 || b.core.tasks[ids[0]].State != Ready {
			t.Errorf("%s: one of them, named twice: %v, it is %v", name, err, b.core.tasks[ids[0]].State)
		}
	}
}

// A request whose task was tried again without its deadline may still be repeated.
func TestARequestIsRepeatedAfterARetry(t *testing.T) {
	b := newBench(Config{})
	o := *DefaultOptions
	o.Deadline = pure.Wall(time.Minute) // which is over: see bench.step
	n := NewTask{Spec: Spec{Kind: "k", Options: &o}}
	made, _, err := b.core.Submit(b.step(), "n", "r", n, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.core.Advance(b.step())
	if _, err := b.core.Retry(b.step(), "n", "", []uint64{made.ID}); err != nil {
		t.Fatal(err)
	}
	if again, _, err := b.core.Submit(b.step(), "n", "r", n, 0); err != nil || again.ID != made.ID {
		t.Errorf("task %d, %v", again.ID, err)
	}
}
