//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// crowd is a queue in which one key has very many ready tasks, and many others a few each.
type crowd struct {
	api  *api
	kind string
	big  int // tasks of the first key
	keys int
	of   int // tasks of each of the others
}

const crowdBatch = 1000

// fill submits all of it.
func (c *crowd) fill() error {
	specs := func(first, n int) []*weftv1.TaskSpec {
		batch := make([]*weftv1.TaskSpec, min(n-first, crowdBatch))
		for i := range batch {
			batch[i] = text(c.kind, "1ms/big")
			batch[i].FairnessKey = "big"
		}
		return batch
	}
	if err := c.submit(4, c.big, specs); err != nil {
		return err
	}
	return c.submit(4, (c.keys-1)*c.of, func(first, n int) []*weftv1.TaskSpec {
		batch := specs(first, n)
		for i := range batch {
			batch[i].FairnessKey = fmt.Sprint("key ", (first+i)%(c.keys-1))
		}
		return batch
	})
}

// submit submits n tasks in batches, some of which are under way at a time.
func (c *crowd) submit(callers, n int, batch func(first, n int) []*weftv1.TaskSpec) error {
	var group errgroup.Group
	group.SetLimit(callers)
	for first := 0; first < n; first += crowdBatch {
		group.Go(func() error {
			resp, err := c.api.tasks.SubmitTasks(c.api.ctx, &weftv1.SubmitTasksRequest{Tasks: batch(first, n)})
			for _, r := range resp.GetResults() {
				if r.GetTaskId() == "" {
					return fmt.Errorf("a task is refused: %v", r)
				}
			}
			return err
		})
	}
	return group.Wait()
}

// newcomer submits a task of a new key and returns how long it took from before that until it had run.
func (c *crowd) newcomer(n int) (time.Duration, error) {
	s := text(c.kind, fmt.Sprint("1ms/newcomer ", n))
	s.FairnessKey = fmt.Sprint("newcomer ", n)
	began := time.Now()
	resp, err := c.api.tasks.SubmitTask(c.api.ctx, &weftv1.SubmitTaskRequest{Task: s})
	if err != nil {
		return 0, err
	}
	done, err := c.api.tasks.WaitTask(c.api.ctx, &weftv1.WaitTaskRequest{TaskId: resp.GetTaskId()})
	if err == nil && done.GetTask().GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED {
		err = fmt.Errorf("the newcomer ended %v", done)
	}
	return time.Since(began), err
}

// A key with very many ready tasks, and ten thousand others, do not keep a new key's first task waiting: it has
// run long before them.
func TestFairness(t *testing.T) {
	const newcomers = 10
	c := crowd{kind: "sleep", big: 200_000, keys: 10_000, of: 1}
	if testing.Short() {
		c.big, c.keys = 20_000, 1000
	}
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	c.api = w.api(b.addr)
	if err := c.fill(); err != nil {
		t.Fatal(err)
	}
	p := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 16, Drain: -1})
	for n := range newcomers {
		took, err := c.newcomer(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("newcomer %d had run after %v", n, took)
	}
	ready := c.api.queue("").GetCounts().GetReady()
	if ready < uint64(c.big)*9/10 {
		t.Errorf("the newcomers ran when of %d tasks %d were left", c.big, ready)
	}
	if err := p.Stop(stopPatience); err != nil {
		t.Error(err)
	}
	if err := b.Stop(stopPatience); err != nil { // it is none the worse for it
		t.Error(err)
	}
}

// BenchmarkNewKey measures how long a new key's first task takes there and back,
// beside a key with a million ready tasks and 10,000 keys in all that are served meanwhile:
//
//	go test ./internal/e2e -run '^$' -bench NewKey -benchtime 200x
func BenchmarkNewKey(b *testing.B) {
	w := newWorld(b)
	broker, l := w.broker(), w.ledger()
	c := crowd{api: w.lasting(broker.addr), kind: "echo", big: 1_000_000, keys: 10_000, of: 20}
	if err := c.fill(); err != nil {
		b.Fatal(err)
	}
	l.worker(workerConfig{Name: "north", Broker: broker.addr, Slots: 8, Drain: -1})
	var took []time.Duration
	b.ResetTimer()
	for n := range b.N {
		d, err := c.newcomer(n)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, d)
	}
	b.StopTimer()
	b.ReportMetric(float64(took[0].Microseconds())/1000, "ms-first") // behind ten thousand that came just before
	reportPercentiles(b, took[min(1, len(took)-1):])
	if ready := c.api.queue("").GetCounts().GetReady(); ready == 0 {
		b.Error("nobody was left to be fair to")
	}
}
