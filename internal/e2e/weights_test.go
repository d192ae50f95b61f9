//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// `weft worker --queues a=3,b` takes three of four tasks from a, while both have some.
func TestQueueWeights(t *testing.T) {
	w := newWorld(t)
	ctx, b := w.context(), w.broker()
	c := w.client(b.addr)
	call := c.NewCall()
	t.Cleanup(call.Close)
	futures := make(map[string][]*client.SpecFuture)
	for _, queue := range []string{"a", "b"} {
		if _, err := c.CreateQueue(ctx, &weftv1.Queue{Name: queue}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			f, err := call.Submit(ctx, client.Spec{Queue: queue, Kind: task.CommandKind, Command: &weftv1.Command{Argv: []string{"true"}}})
			if err != nil {
				t.Fatal(err)
			}
			futures[queue] = append(futures[queue], f)
		}
	}
	w.until("all of them wait", func() bool {
		n := 0
		for _, err := range c.List(ctx, client.Filter{States: []weftv1.TaskState{weftv1.TaskState_TASK_STATE_READY}}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n == 24
	})
	w.worker(b, "north", "--allow", "true", "--slots", "1", "--queues", "a=3,b")
	var tokens []uint64 // in the order in which the tasks were handed out
	of := make(map[uint64]string)
	for queue, list := range futures {
		for _, f := range list {
			o, err := f.Wait(ctx)
			if err != nil || o.Err() != nil {
				t.Fatal(o, err)
			}
			tokens = append(tokens, o.Token)
			of[o.Token] = queue
		}
	}
	if got, want := order(tokens, of), strings.Repeat("aaba", 4)+strings.Repeat("b", 8); got != want {
		t.Errorf("the order is %s, want %s", got, want)
	}
}

func TestQueueWeightsThatAreNone(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	for queues, says := range map[string]string{
		"a=x":   `--queues a=x: "x" is no weight, which is a number from 1 to 100`,
		"a=":    `--queues a=: "" is no weight, which is a number from 1 to 100`,
		"a=0,b": `the weight 0 of queue "a"; 1 to 100 are possible`,
		"a=101": `the weight 101 of queue "a"; 1 to 100 are possible`,
	} {
		p := w.weft(b.addr, "worker", "--allow", "true", "--queues", queues)
		if code := p.run(); code != 2 || !strings.Contains(p.stderr.String(), says) {
			t.Errorf("%s: exit code %d: %s", queues, code, p.stderr.String())
		}
	}
}

// order is what stands at the tokens, by their numbers.
func order(tokens []uint64, of map[uint64]string) string {
	var b strings.Builder
	for _, token := range slices.Sorted(slices.Values(tokens)) {
		fmt.Fprint(&b, of[token])
	}
	return b.String()
}
