package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// The semantics of Python's queue module, through the SDK and a broker. Where a test means a call that is
// blocked, the same has to come out if that call begins a moment later.

// pythonQueue is one queue of a broker that all cases share.
type pythonQueue struct {
	*client.Queue
	t   *testing.T
	c   *client.Client
	ctx context.Context
}

// put puts texts without waiting.
func (q *pythonQueue) put(texts ...string) {
	q.t.Helper()
	for _, text := range texts {
		if _, err := q.TryPut(q.ctx, client.Spec{Payload: task.Text(text)}); err != nil {
			q.t.Fatalf("put %s: %v", text, err)
		}
	}
}

// get gets n tasks without waiting.
func (q *pythonQueue) get(n int) (all []*client.Held) {
	q.t.Helper()
	for range n {
		h, err := q.TryGet(q.ctx)
		if err != nil {
			q.t.Fatalf("get: %v", err)
		}
		all = append(all, h)
	}
	return all
}

// done completes tasks and returns what they were.
func (q *pythonQueue) done(all ...*client.Held) (texts string) {
	q.t.Helper()
	for _, h := range all {
		texts += h.Payload().String()
		q.is(h.Done(q.ctx), nil, "done")
	}
	return texts
}

// is compares errors.
func (q *pythonQueue) is(err, want error, what string) {
	q.t.Helper()
	if !errors.Is(err, want) {
		q.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// blocked starts calls that are to block, and returns what waits for their errors.
func (q *pythonQueue) blocked(n int, call func() error) (wait func() []error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call() })
	}
	return func() []error {
		wg.Wait()
		return errs
	}
}

func (q *pythonQueue) blockedPuts(n int) func() []error {
	return q.blocked(n, func() error {
		_, err := q.Put(q.ctx, client.Spec{Payload: task.Text("blocked")})
		return err
	})
}

func (q *pythonQueue) blockedGets(n int) func() []error {
	return q.blocked(n, func() error {
		h, err := q.Get(q.ctx)
		if err == nil {
			return h.Done(q.ctx)
		}
		return err
	})
}

func (q *pythonQueue) all(errs []error, want error, what string) {
	q.t.Helper()
	for _, err := range errs {
		q.is(err, want, what)
	}
}

// info compares what can be read of a queue.
func (q *pythonQueue) info(size, unfinished int, closed bool) {
	q.t.Helper()
	n, err := q.Len(q.ctx)
	q.is(err, nil, "len")
	u, err := q.Unfinished(q.ctx)
	q.is(err, nil, "unfinished")
	info, err := q.Info(q.ctx)
	q.is(err, nil, "info")
	if n != size || u != unfinished || info.GetClosed() != closed {
		q.t.Errorf("size %d, unfinished %d, closed %v; want %d, %d, %v", n, u, info.GetClosed(), size, unfinished, closed)
	}
}

func TestPythonQueue(t *testing.T) {
	addr, stop, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, test := range []struct {
		name     string
		settings []client.Setting
		run      func(q *pythonQueue)
	}{
		{"maxsize 0 is infinite", []client.Setting{client.MaxSize(0)}, pythonInfinite},
		{"maxsize below 0 is infinite", []client.Setting{client.MaxSize(-1)}, pythonInfinite},
		{"a negative timeout is refused", nil, pythonNegative},
		{"Full and Empty", []client.Setting{client.MaxSize(1)}, pythonFullEmpty},
		{"a blocked put and a blocked get go on", []client.Setting{client.MaxSize(1)}, pythonBlocked},
		{"task_done more often than get", nil, pythonExtraDone},
		{"join is repeatable", nil, pythonJoin},
		{"maxsize is shrunk and grown live", []client.Setting{client.MaxSize(4)}, pythonMaxSize},
		{"shutdown drains", []client.Setting{client.MaxSize(2)}, pythonShutdown},
		{"shutdown wakes blocked gets", nil, pythonShutdownGets},
		{"immediate shutdown drops and releases join", []client.Setting{client.MaxSize(2)}, pythonShutdownNow},
		{"FIFO", []client.Setting{client.Order(client.FIFO)}, pythonOrder("abcd")},
		{"LIFO", []client.Setting{client.Order(client.LIFO)}, pythonOrder("dcba")},
		{"priority", []client.Setting{client.Order(client.ByPriority)}, pythonOrder("bdac")},
		{"batches", []client.Setting{client.MaxSize(3)}, pythonBatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := &pythonQueue{c.Queue(fmt.Sprint("q", i)), t, c, ctx}
			q.is(q.Create(ctx, test.settings...), nil, "create")
			test.run(q)
		})
	}
}

func pythonInfinite(q *pythonQueue) {
	specs := make([]client.Spec, 2500)
	out, err := q.PutBatch(q.ctx, specs)
	q.is(err, nil, "put")
	for _, s := range out {
		q.is(s.Err, nil, "put")
	}
	q.info(len(specs), len(specs), false)
}

func pythonNegative(q *pythonQueue) {
	_, err := q.Put(q.ctx, client.Spec{}, client.Within(-time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "negative") {
		q.t.Errorf("put: %v", err)
	}
	if _, err = q.Get(q.ctx, client.Within(-1)); err == nil || !strings.Contains(err.Error(), "negative") {
		q.t.Errorf("get: %v", err)
	}
	q.info(0, 0, false)
}

func pythonFullEmpty(q *pythonQueue) {
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(q.ctx, 20*time.Millisecond)
		q.t.Cleanup(cancel)
		return ctx
	}
	_, err := q.TryGet(q.ctx)
	q.is(err, client.ErrEmpty, "get without waiting")
	_, err = q.Get(q.ctx, client.Within(10*time.Millisecond))
	q.is(err, client.ErrEmpty, "get with a timeout")
	_, err = q.Get(short())
	if !errors.Is(err, client.ErrEmpty) && !errors.Is(err, context.DeadlineExceeded) {
		q.t.Errorf("get until its context ends: %v", err)
	}
	q.put("a")
	_, err = q.TryPut(q.ctx, client.Spec{})
	q.is(err, client.ErrFull, "put without waiting")
	_, err = q.Put(q.ctx, client.Spec{}, client.Within(10*time.Millisecond))
	q.is(err, client.ErrFull, "put with a timeout")
	_, err = q.Put(short(), client.Spec{})
	q.is(err, client.ErrFull, "put until its context ends")
	gone, cancel := context.WithCancel(q.ctx)
	cancel()
	if _, err = q.Put(gone, client.Spec{}); err == nil {
		q.t.Error("put with an ended context")
	}
	q.info(1, 1, false)
	if texts := q.done(q.get(1)...); texts != "a" {
		q.t.Errorf("got %s", texts)
	}
	q.info(0, 0, false)
}

func pythonBlocked(q *pythonQueue) {
	const n = 20
	puts, gets := q.blockedPuts(n), q.blockedGets(n)
	q.all(puts(), nil, "put")
	q.all(gets(), nil, "get")
	q.info(0, 0, false)
}

func pythonExtraDone(q *pythonQueue) {
	q.put("a", "b")
	held := q.get(2)
	a, b := held[0], held[1]
	q.is(a.Done(q.ctx), nil, "done")
	q.is(a.Done(q.ctx), nil, "done again, by the same attempt")
	q.is(a.Fail(q.ctx, errors.New("no")), client.ErrLeaseLost, "failed after it was done")
	q.info(0, 1, false)
	q.is(b.Release(q.ctx), nil, "release")
	q.is(b.Done(q.ctx), client.ErrLeaseLost, "done after it was given back")
	again := q.get(1)[0]
	q.is(b.Done(q.ctx), client.ErrLeaseLost, "done when somebody else has it")
	if again.Token() <= b.Token() || again.TaskID() != b.TaskID() || again.Attempt() != 2 {
		q.t.Errorf("attempt %d of %s has token %d after %d", again.Attempt(), again.TaskID(), again.Token(), b.Token())
	}
	q.done(again)
	_, err := q.Purge(q.ctx, weftv1.TaskState_TASK_STATE_SUCCEEDED)
	q.is(err, nil, "purge")
	q.is(again.Done(q.ctx), client.ErrTaskNotFound, "done when it is forgotten")
	q.info(0, 0, false)
}

func pythonJoin(q *pythonQueue) {
	for round := range 3 {
		q.is(q.Join(q.ctx), nil, "join of an empty queue")
		q.put("a", "b")
		joins := q.blocked(3, func() error { return q.Join(q.ctx) })
		held := q.get(2)
		q.done(held[0])
		if n, err := q.Unfinished(q.ctx); err != nil || n != 1 {
			q.t.Errorf("round %d: %d unfinished, %v", round, n, err)
		}
		q.done(held[1])
		q.all(joins(), nil, "join")
	}
}

func pythonMaxSize(q *pythonQueue) {
	q.put("a", "b", "c", "d")
	q.is(q.Update(q.ctx, client.MaxSize(2)), nil, "shrink")
	for range 3 {
		_, err := q.TryPut(q.ctx, client.Spec{})
		q.is(err, client.ErrFull, "put into a queue that was shrunk")
		q.done(q.get(1)...)
	}
	q.put("e")
	puts := q.blockedPuts(5)
	q.is(q.Update(q.ctx, client.MaxSize(-1)), nil, "grow")
	q.all(puts(), nil, "blocked put into a queue that was grown")
	q.info(7, 7, false)
}

func pythonShutdown(q *pythonQueue) {
	q.put("a", "b")
	puts := q.blockedPuts(5)
	for range 2 {
		q.is(q.Close(q.ctx), nil, "close")
	}
	q.all(puts(), client.ErrQueueClosed, "blocked put")
	_, err := q.Put(q.ctx, client.Spec{})
	q.is(err, client.ErrQueueClosed, "put")
	q.info(2, 2, true)
	held := q.get(2)
	_, err = q.TryGet(q.ctx)
	q.is(err, client.ErrEmpty, "get from what is drained, and held")
	gets := q.blockedGets(3)
	join := q.blocked(1, func() error { return q.Join(q.ctx) })
	if texts := q.done(held...); texts != "ab" {
		q.t.Errorf("got %s", texts)
	}
	q.all(join(), nil, "join")
	q.all(gets(), client.ErrQueueClosed, "blocked get from what is done")
	q.is(q.Reopen(q.ctx), nil, "reopen")
	q.put("c")
	q.info(1, 1, false)
}

func pythonShutdownGets(q *pythonQueue) {
	gets := q.blockedGets(10)
	q.is(q.Close(q.ctx), nil, "close")
	q.all(gets(), client.ErrQueueClosed, "blocked get")
	_, err := q.TryGet(q.ctx)
	q.is(err, client.ErrQueueClosed, "get")
}

func pythonShutdownNow(q *pythonQueue) {
	q.put("a", "b")
	puts, joins := q.blockedPuts(5), q.blocked(3, func() error { return q.Join(q.ctx) })
	for range 2 {
		q.is(q.CloseNow(q.ctx), nil, "close at once")
	}
	q.all(puts(), client.ErrQueueClosed, "blocked put")
	q.all(joins(), nil, "join")
	_, err := q.Get(q.ctx)
	q.is(err, client.ErrQueueClosed, "get")
	q.info(0, 0, true)
}

// pythonOrder puts a to d, of which b and d are the more urgent ones.
func pythonOrder(want string) func(*pythonQueue) {
	return func(q *pythonQueue) {
		for i, text := range []string{"a", "b", "c", "d"} {
			_, err := q.Put(q.ctx, client.Spec{Payload: task.Text(text), Priority: -i % 2})
			q.is(err, nil, "put")
		}
		peeked, err := q.Peek(q.ctx, 10)
		q.is(err, nil, "peek")
		var seen string
		for _, p := range peeked {
			seen += p.GetSpec().GetPayload().GetText()
		}
		if texts := q.done(q.get(4)...); texts != want || seen != want {
			q.t.Errorf("got %s, peeked %s, want %s", texts, seen, want)
		}
	}
}

func pythonBatch(q *pythonQueue) {
	var specs []client.Spec
	for i := range 8 {
		specs = append(specs, client.Spec{Payload: task.Text(fmt.Sprint(i))})
	}
	out, err := q.PutBatch(q.ctx, specs, client.Within(0))
	q.is(err, nil, "put")
	for i, s := range out {
		if (s.Err == nil) != (i < 3) || i >= 3 && !errors.Is(s.Err, client.ErrFull) {
			q.t.Errorf("put %d: %+v", i, s)
		}
	}
	rest := q.blocked(1, func() error {
		_, err := q.PutBatch(q.ctx, specs[3:])
		return err
	})
	var texts []string
	for len(texts) < len(specs) {
		held, err := q.GetBatch(q.ctx, 2)
		if err != nil {
			q.t.Fatal(err)
		}
		for _, h := range held {
			texts = append(texts, q.done(h))
		}
	}
	q.all(rest(), nil, "put")
	if !slices.IsSorted(texts) {
		q.t.Errorf("got %v", texts)
	}
}
