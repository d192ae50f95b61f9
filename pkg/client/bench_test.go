package client

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// cpuTime is the process's CPU time so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// payload256 is what the targets are stated for.
var payload256 = task.Bytes(make([]byte, 256))

// BenchmarkMap is throughput: one map, results as they come.
func BenchmarkMap(b *testing.B) {
	c := startEcho(b)
	reportCPU(b, func() {
		inputs := func(yield func(Spec) bool) {
			for range b.N {
				if !yield(Spec{Kind: "noop", Payload: payload256}) {
					return
				}
			}
		}
		for r := range MapSpecs(testContext(b), c, inputs, InFlight(10_000), Unordered()) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	})
}

// BenchmarkCall is throughput with futures that are waited for in order.
func BenchmarkCall(b *testing.B) {
	c := startEcho(b)
	call := c.NewCall()
	defer call.Close()
	futures := make(chan *SpecFuture, 10_000)
	reportCPU(b, func() {
		go func() {
			defer close(futures)
			for range b.N {
				f, err := call.Submit(b.Context(), Spec{Kind: "noop", Payload: payload256})
				if err != nil {
					b.Error(err)
					return
				}
				futures <- f
			}
		}()
		for f := range futures {
			if _, err := f.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLatency is one task at a time.
func BenchmarkLatency(b *testing.B) {
	c := startEcho(b)
	call := c.NewCall()
	defer call.Close()
	took := make([]time.Duration, 0, b.N)
	reportCPU(b, func() {
		for range b.N {
			start := time.Now()
			f, err := call.Submit(b.Context(), Spec{Kind: "noop", Payload: payload256})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(start))
		}
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
