//go:build linux

package e2e

import (
	"iter"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// benchInput and benchOutput are those of the worker of `weft bench`.
type benchInput struct {
	At   int64  `json:"at"`
	Text string `json:"text"`
}

type benchOutput struct {
	At int64 `json:"at"`
}

// A map over a million inputs, in order, needs no more memory than one over a few; breaking it cancels the rest.
func TestMapMillion(t *testing.T) {
	inputs := million
	if testing.Short() {
		inputs = million / 10
	}
	w := newWorld(t)
	b := w.broker()
	p, err := w.process("bench", procs.Command{Path: w.bin, Args: []string{"bench", "worker", "--broker", b.addr}})
	if err != nil {
		t.Fatal(err)
	}
	var ready workercmd.Ready
	if err := p.Ready(w.context(), &ready); err != nil {
		t.Fatal(err)
	}
	c := w.client(b.addr)
	kind := task.Define[benchInput, benchOutput]("weft.bench.typed")
	numbers := func(n int) iter.Seq[benchInput] {
		return func(yield func(benchInput) bool) {
			for i := range n {
				if !yield(benchInput{At: int64(i), Text: "a payload of some length, as it is usual"}) {
					return
				}
			}
		}
	}
	before := liveBytes()
	next := int64(0)
	for r := range client.Map(t.Context(), c, kind, numbers(inputs), client.InFlight(10_000)) {
		if r.Err != nil || r.In.At != next || r.Out.At != next {
			t.Fatalf("result %d: %+v", next, r)
		}
		if next++; next%(int64(inputs)/10) == 0 {
			if live := liveBytes(); live > before+64*mib {
				t.Fatalf("%d MiB live after %d inputs, %d before", live/mib, next, before/mib)
			} else {
				t.Logf("%d MiB live after %d inputs", live/mib, next)
			}
		}
	}
	if next != int64(inputs) {
		t.Fatalf("%d results", next)
	}

	var call *client.Call
	for r := range client.Map(t.Context(), c, kind, numbers(inputs), client.InFlight(10_000), client.MapCall(func(own *client.Call) { call = own })) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		break
	}
	for left, err := range c.List(t.Context(), client.Filter{CallID: call.ID()}) {
		if err != nil || left.GetOutcome() == nil {
			t.Fatalf("a task of a map that was broken goes on: %v, %v", left, err)
		}
	}
}

// liveBytes is what a collection finds alive in this process.
func liveBytes() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtime.GC()
	metrics.Read(live)
	return live[0].Value.Uint64()
}
