//go:build linux

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// narrow is a queue that has producers wait for room and consumers for tasks, while the broker is killed.
// Everybody repeats what was not answered, with the same request id.
type narrow struct {
	api     *api
	each    int // tasks of a producer
	group   *errgroup.Group
	ctx     context.Context
	all     int64
	taken   atomic.Int64
	mu      sync.Mutex
	got     []*weftv1.Assignment
	answers map[string]string // the task that each request was answered with
}

// What blocked puts and gets come to is told once, whatever becomes of the broker meanwhile: no task is doubled
// or lost, and those of one producer are taken in the order in which it put them.
func TestBlockedPutsAndGets(t *testing.T) {
	const unary, calls, consumers, kills = 4, 3, 4, 3
	each := 150
	if testing.Short() {
		each = 30
	}
	w := newWorld(t)
	b := w.broker()
	n := &narrow{api: w.api(b.addr), each: each, all: int64((unary + calls) * each), answers: make(map[string]string)}
	n.api.create(&weftv1.Queue{Name: "narrow", Order: weftv1.QueueOrder_QUEUE_ORDER_FIFO, MaxSize: 5})
	n.group, n.ctx = errgroup.WithContext(n.api.ctx)
	c := w.client(b.addr)
	for p := range unary {
		n.group.Go(func() error { return n.put(fmt.Sprint("unary", p)) })
	}
	for p := range calls {
		n.group.Go(func() error { return n.putCall(c, fmt.Sprint("call", p)) })
	}
	for g := range consumers {
		n.group.Go(func() error { return n.take(fmt.Sprint("taker", g)) })
	}
	for k := range kills {
		at := n.all * int64(k+1) / (kills + 1)
		w.until(fmt.Sprint(at, " tasks are taken"), func() bool { return n.taken.Load() >= at || n.ctx.Err() != nil })
		if err := b.restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.group.Wait(); err != nil {
		t.Fatal(err)
	}
	n.check(unary)
	if q := n.api.queue("narrow"); q.GetUnfinished() != 0 {
		t.Errorf("what is left: %v", q)
	}
}

// put puts one task after the other; the next one when the last was answered.
func (n *narrow) put(producer string) error {
	for i := range n.each {
		s := text("k", fmt.Sprintf("%s/%d", producer, i))
		s.Queue = "narrow"
		resp, err := again(n.ctx, n.api.tasks.SubmitTask, &weftv1.SubmitTaskRequest{
			RequestId: fmt.Sprintf("%s/%d", producer, i), Task: s, Wait: durationpb.New(patience),
		})
		if err != nil {
			return fmt.Errorf("%s puts task %d: %w", producer, i, err)
		}
		n.mu.Lock()
		n.answers[s.GetPayload().GetText()] = resp.GetTaskId()
		n.mu.Unlock()
	}
	return nil
}

// putCall puts all tasks at once: they wait for room at the broker, and each brings its result.
func (n *narrow) putCall(c *client.Client, producer string) error {
	call := c.NewCall()
	defer call.Close()
	var futures []*client.SpecFuture
	for i := range n.each {
		f, err := call.Submit(n.ctx, client.Spec{
			Queue: "narrow", Kind: "k", Payload: task.Text(fmt.Sprintf("%s/%d", producer, i)),
		})
		if err != nil {
			return fmt.Errorf("%s puts task %d: %w", producer, i, err)
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		o, err := f.Wait(n.ctx)
		if err != nil || o.Err() != nil || string(o.Payload.Bytes()) != fmt.Sprintf("%s/%d", producer, i) {
			return fmt.Errorf("%s gets %+v, %w for task %d", producer, o, err, i)
		}
	}
	return nil
}

// take reserves tasks and completes them with their payload, until all are taken by somebody.
func (n *narrow) take(taker string) error {
	for round := 0; n.taken.Load() < n.all; round++ {
		resp, err := again(n.ctx, n.api.tasks.ReserveTasks, &weftv1.ReserveTasksRequest{
			Queue: "narrow", TasksMax: 3, RequestId: fmt.Sprintf("%s/%d", taker, round), Wait: durationpb.New(time.Second),
		})
		if err != nil {
			return fmt.Errorf("%s takes tasks: %w", taker, err)
		}
		for _, a := range resp.GetTasks() {
			n.mu.Lock()
			n.got = append(n.got, a)
			n.mu.Unlock()
			_, err := again(n.ctx, n.api.tasks.CompleteTask, &weftv1.CompleteTaskRequest{
				TaskId: a.GetTaskId(), Token: a.GetToken(),
				Output: &weftv1.CompleteTaskRequest_Result{Result: a.GetPayload()},
			})
			if err != nil && status.Code(err) != codes.NotFound { // repeated, when its call had the outcome already
				return fmt.Errorf("%s completes %v: %w", taker, a, err)
			}
			n.taken.Add(1)
		}
	}
	return nil
}

// check looks at what was taken, in the order of the tokens: that in which it was handed out.
func (n *narrow) check(unary int) {
	t := n.api.world
	if len(n.got) != int(n.all) || len(n.answers) != unary*n.each {
		t.Errorf("%d tasks were taken of %d, %d requests answered", len(n.got), n.all, len(n.answers))
	}
	slices.SortFunc(n.got, func(a, b *weftv1.Assignment) int { return cmp.Compare(a.GetToken(), b.GetToken()) })
	next := make(map[string]int)
	for _, a := range n.got {
		payload := a.GetPayload().GetText()
		producer, number, _ := strings.Cut(payload, "/")
		if i, err := strconv.Atoi(number); err != nil || i != next[producer] || a.GetAttempt() != 1 {
			t.Errorf("%v is taken; the next of %s should be %d", a, producer, next[producer])
		}
		if id, ok := n.answers[payload]; ok && id != a.GetTaskId() {
			t.Errorf("the answer for %s was %s, taken is %v", payload, id, a)
		}
		next[producer]++
	}
}
