//go:build linux

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	million     = 1_000_000
	millionSize = 256 // bytes of a payload
	callTasks   = 100_000
	mib         = 1 << 20
)

// BenchmarkMillion measures a million queued tasks with payloads of 256 bytes, fsynced: how fast they are taken,
// what the broker needs for them, and how soon it is back with them after it was killed. One run is enough:
//
//	go test ./internal/e2e -run '^$' -bench Million -benchtime 1x
func BenchmarkMillion(b *testing.B) {
	b.Run("SubmitTasks", func(b *testing.B) { measureMillion(b, (*api).submitMillion) })
	b.Run("Execute", func(b *testing.B) { measureMillion(b, (*api).executeMillion) })
}

// lasting is an api whose requests have as long as they need.
func (w *world) lasting(addr string) *api {
	a := w.api(addr)
	a.ctx = context.Background()
	return a
}

func measureMillion(b *testing.B, submit func(a *api, addr string)) {
	for range b.N {
		w := newWorld(b)
		broker := w.broker()
		a := w.lasting(broker.addr)
		b.ResetTimer()
		began := time.Now()
		submit(a, broker.addr)
		b.StopTimer()
		b.ReportMetric(million/time.Since(began).Seconds(), "tasks/s")
		b.ReportMetric(float64(procs.ResidentBytes(broker.Pid()))/mib, "MiB")
		broker.Kill()
		began = time.Now()
		if err := broker.start(); err != nil {
			b.Fatal(err)
		}
		ready := a.queue("").GetCounts().GetReady()
		b.ReportMetric(time.Since(began).Seconds(), "s-restart")
		b.ReportMetric(float64(procs.ResidentBytes(broker.Pid()))/mib, "MiB-restart")
		if ready != million {
			b.Errorf("%d tasks are ready", ready)
		}
		b.StartTimer()
	}
}

// submitMillion submits batches of 1,000 from 8 callers.
func (a *api) submitMillion(string) {
	spec := text("k", strings.Repeat("x", millionSize))
	batch := slices.Repeat([]*weftv1.TaskSpec{spec}, crowdBatch)
	c := &crowd{api: a}
	if err := c.submit(8, million, func(int, int) []*weftv1.TaskSpec { return batch }); err != nil {
		a.world.Fatal(err)
	}
}

// executeMillion submits by one stream at a time: as many in a call as may be unacknowledged, and then another.
func (a *api) executeMillion(addr string) {
	c := a.world.client(addr)
	spec := client.Spec{Kind: "k", Payload: task.Text(strings.Repeat("x", millionSize))}
	for range million / callTasks {
		call := c.NewCall()
		for range callTasks {
			if _, err := call.Submit(a.ctx, spec); err != nil {
				a.world.Fatal(err)
			}
		}
		if err := call.Flush(a.ctx); err != nil {
			a.world.Fatal(err)
		}
		call.Close()
	}
}

// reportPercentiles reports the middle and the slowest.
func reportPercentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-p50")
	b.ReportMetric(ms(took[len(took)*99/100]), "ms-p99")
	b.ReportMetric(ms(took[len(took)-1]), "ms-max")
}
