package servercmd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
)

// queueBench is `bench queue`: clients that put a task into a queue, get one and complete it.
type queueBench struct {
	duration   time.Duration
	warmup     time.Duration
	clients    int
	payload    int
	data       string
	durability string
	format     string
}

// queueBenchResult is what `bench queue -o json` prints.
type queueBenchResult struct {
	OpsPerS float64            `json:"ops_per_s"`
	P50ms   float64            `json:"p50_ms"`
	P99ms   float64            `json:"p99_ms"`
	Errors  uint64             `json:"errors"`
	Ops     uint64             `json:"ops"`
	Seconds float64            `json:"seconds"`
	Clients int                `json:"clients"`
	Payload int                `json:"payload"`
	CPU     map[string]float64 `json:"cpu_us_per_op,omitempty"`
}

// newBenchQueue is `bench queue`.
func newBenchQueue(app *cli.App) *cobra.Command {
	var f queueBench
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Measure a queue: put, get, done",
		Long: "Measure a queue: each client puts a task, gets one and completes it, by unary requests one after the other.\n" +
			"An operation is all three. The broker is a process of its own, with a temporary data directory; with\n" +
			"--broker it is that one.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx, cancel := app.Interruptible(cmd.Context())
			defer cancel()
			return f.run(ctx, app)
		},
	}
	fs := cmd.Flags()
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "measure so long")
	fs.DurationVar(&f.warmup, "warmup", time.Second, "run so long before measuring")
	fs.IntVar(&f.clients, "clients", 16, "clients at the same time, on one connection")
	fs.IntVar(&f.payload, "payload", 256, "bytes of a task's payload")
	fs.StringVar(&f.data, "data", "", "the broker's data `directory` (default a temporary one)")
	fs.StringVar(&f.durability, "durability", "always", "the broker's")
	fs.StringVarP(&f.format, "output", "o", "table", "`format`: table or json")
	return cmd
}

// check refuses what cannot be.
func (f *queueBench) check() error {
	const clientsMax = 10_000
	switch {
	case f.clients < 1 || f.clients > clientsMax:
		return cli.Usage("--clients %d: 1 to %d are possible", f.clients, clientsMax)
	case f.payload < 0 || f.payload > task.PayloadBytesMax:
		return cli.Usage("--payload %d: 0 to %d are possible", f.payload, task.PayloadBytesMax)
	case f.duration <= 0:
		return cli.Usage("--duration %v: more than 0s is possible", f.duration)
	case f.warmup < 0:
		return cli.Usage("--warmup %v: 0s or more is possible", f.warmup)
	case f.format != "table" && f.format != "json":
		return cli.Usage("--output %s: none of table, json", f.format)
	}
	return nil
}

// run starts a broker if there is none, measures, and prints.
func (f *queueBench) run(ctx context.Context, app *cli.App) error {
	fl := &fleet{addr: app.Broker(), stderr: app.Err}
	if fl.addr == "" {
		var err error
		if fl, err = startBroker(ctx, app.Err, f.data, f.durability); err != nil {
			return err
		}
	} else if c, err := app.Dial(ctx); err != nil {
		return err
	} else {
		fl.addr = c.Addr()
		_ = c.Close() // the measurement has its own
	}
	defer fl.stop()
	c, err := fl.dial(app)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	q := c.Queue("bench-" + rand.Text())
	if err := q.Create(ctx); err != nil {
		return err
	}
	before := procs.OwnCPUTime()
	runs, err := f.measure(ctx, q)
	if err == nil {
		err = q.Delete(ctx, true)
	}
	if err != nil {
		return err
	}
	own := procs.OwnCPUTime() - before
	_ = c.Close() // what follows is not measured
	fl.stop()
	r := f.result(runs)
	r.CPU = cpuPerOp(fl, own, allOps(runs))
	delete(r.CPU, "worker")
	return f.print(app, r)
}

// measure runs all clients at the same time.
func (f *queueBench) measure(ctx context.Context, q *client.Queue) ([]*benchRun, error) {
	runs := make([]*benchRun, f.clients)
	errs := make([]error, f.clients)
	measure := time.Now().Add(f.warmup)
	end := measure.Add(f.duration)
	var clients sync.WaitGroup
	for i := range runs {
		runs[i] = &benchRun{}
		clients.Go(func() { errs[i] = f.client(ctx, q, runs[i], measure, end) })
	}
	clients.Wait()
	return runs, errors.Join(errs...)
}

// client puts, gets and completes until the end. What it gets may be another's; there is one for everybody.
func (f *queueBench) client(ctx context.Context, q *client.Queue, b *benchRun, measure, end time.Time) error {
	spec := client.Spec{Payload: task.Bytes(make([]byte, f.payload))}
	for now := time.Now(); now.Before(end); {
		begun := now
		err := roundTrip(ctx, q, spec)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		now = time.Now()
		b.all++
		switch {
		case begun.Before(measure):
		case err != nil:
			b.errors++
		default:
			b.measured++
			b.latency.add(now.Sub(begun))
		}
		b.took = now.Sub(measure)
	}
	return nil
}

// roundTrip is one operation.
func roundTrip(ctx context.Context, q *client.Queue, spec client.Spec) error {
	if _, err := q.Put(ctx, spec); err != nil {
		return err
	}
	h, err := q.Get(ctx)
	if err != nil {
		return err
	}
	return h.Done(ctx)
}

// result puts all clients together.
func (f *queueBench) result(runs []*benchRun) *queueBenchResult {
	var all histogram
	r := &queueBenchResult{Clients: f.clients, Payload: f.payload}
	for _, b := range runs {
		all.merge(&b.latency)
		r.Ops += b.measured
		r.Errors += b.errors
		r.Seconds = max(r.Seconds, b.took.Seconds())
	}
	r.OpsPerS = float64(r.Ops) / max(r.Seconds, 0.001)
	r.P50ms = all.quantile(0.5).Seconds() * 1000
	r.P99ms = all.quantile(0.99).Seconds() * 1000
	return r
}

// print prints the result.
func (f *queueBench) print(app *cli.App, r *queueBenchResult) error {
	if f.format == "json" {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		fmt.Fprintln(app.Out, string(line))
		return nil
	}
	fmt.Fprintf(app.Out, "%.0f operations/s (put, get, done)  p50 %.2f ms  p99 %.2f ms  %d errors  (%d operations in %.1f s)\n",
		r.OpsPerS, r.P50ms, r.P99ms, r.Errors, r.Ops, r.Seconds)
	fmt.Fprintf(app.Out, "CPU per operation: client %.1f µs, broker %.1f µs\n", r.CPU["client"], r.CPU["broker"])
	return nil
}
