package servercmd

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// benchKind is the kind of the tasks that do nothing.
const benchKind = "weft.bench.noop"

// benchFlags are those of `bench tasks`.
type benchFlags struct {
	duration   time.Duration
	warmup     time.Duration
	clients    int
	payload    int
	inFlight   int
	workers    int
	data       string
	durability string
	format     string
	sample     time.Duration
	typed      bool
}

// benchResult is what `bench tasks -o json` prints.
type benchResult struct {
	OpsPerS  float64            `json:"ops_per_s"`
	P50ms    float64            `json:"p50_ms"`
	P99ms    float64            `json:"p99_ms"`
	Errors   uint64             `json:"errors"`
	Ops      uint64             `json:"ops"`
	Seconds  float64            `json:"seconds"`
	Clients  int                `json:"clients"`
	InFlight int                `json:"inflight"`
	Payload  int                `json:"payload"`
	CPU      map[string]float64 `json:"cpu_us_per_op,omitempty"`
	Samples  []benchSample      `json:"samples,omitempty"`
}

// newBench is `bench`.
func newBench(app *cli.App) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure", Args: cobra.NoArgs}
	var f benchFlags
	tasks := &cobra.Command{
		Use:   "tasks",
		Short: "Measure tasks that do nothing: submit, worker, future",
		Long: "Measure tasks that do nothing, from their submission to their future's end: in a broker (with a\n" +
			"temporary data directory), a worker and a client, each a process of its own. With --broker it is that\n" +
			"broker, and a worker of its own all the same.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := app.Interruptible(cmd.Context())
			defer cancel()
			if f.clients < 1 || f.inFlight < 1 || f.workers < 1 || f.payload < stampBytes {
				return cli.Usage("bench: --clients, --inflight and --workers are 1 or more, --payload %d or more", stampBytes)
			}
			return f.run(ctx, app)
		},
	}
	fs := tasks.Flags()
	fs.DurationVar(&f.duration, "duration", 10*time.Second, "measure so long")
	fs.DurationVar(&f.warmup, "warmup", time.Second, "run so long before measuring")
	fs.IntVar(&f.clients, "clients", 1, "connections, each with a call of its own")
	fs.IntVar(&f.payload, "payload", 256, "bytes of a task's payload")
	fs.IntVar(&f.inFlight, "inflight", 10_000, "tasks of one client that are under way; 1 measures the latency of one at a time")
	fs.IntVar(&f.workers, "workers", 1, "worker processes")
	fs.BoolVar(&f.typed, "typed", false, "by the typed API of Go: inputs and results go through JSON")
	fs.StringVar(&f.data, "data", "", "the broker's data `directory` (default a temporary one)")
	fs.StringVar(&f.durability, "durability", "always", "the broker's")
	fs.DurationVar(&f.sample, "sample", time.Minute, "say so often how large the journal and the processes are; 0 is never")
	fs.StringVarP(&f.format, "output", "o", "table", "`format`: table or json")
	cmd.AddCommand(tasks, newBenchQueue(app), newBenchLocks(app), newBenchWorker(app))
	return cmd
}

// newBenchWorker is the worker of a benchmark.
func newBenchWorker(app *cli.App) *cobra.Command {
	var slots int
	cmd := &cobra.Command{
		Use:    "worker",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := worker.New(worker.Config{
				Broker: app.Broker(), Namespace: app.Namespace(), Slots: slots, DrainTimeout: -1, Logger: app.Logger(),
			})
			if err != nil {
				return err
			}
			handleBench(w)
			if err := procs.PrintReady(app.Out, workercmd.Ready{Broker: app.Broker()}); err != nil {
				return err
			}
			return workercmd.Serve(cmd.Context(), app, w, nil)
		},
	}
	cmd.Flags().IntVar(&slots, "slots", 1000, "")
	return cmd
}

// run starts what is missing, measures, and prints.
func (f *benchFlags) run(ctx context.Context, app *cli.App) error {
	fl := &fleet{addr: app.Broker(), stderr: app.Err}
	if fl.addr == "" {
		var err error
		if fl, err = startBroker(ctx, app.Err, f.data, f.durability); err != nil {
			return err
		}
	} else if c, err := app.Dial(ctx); err != nil { // before anything is started for it
		return err
	} else {
		fl.addr = c.Addr()
		_ = c.Close() // every client has its own
	}
	defer fl.stop()
	slots := min(max(f.clients*f.inFlight/f.workers, 100), 100_000)
	for range f.workers {
		if err := fl.startWorker(ctx, "bench", "worker", "--slots", fmt.Sprint(slots)); err != nil {
			return err
		}
	}
	before := procs.OwnCPUTime()
	sampling, stopSampling := context.WithCancel(ctx)
	samplesC := make(chan []benchSample, 1)
	go func() { samplesC <- sample(sampling, app, fl, f.sample) }()
	runs, err := f.runClients(ctx, app, fl)
	stopSampling()
	samples := <-samplesC
	if err != nil {
		return err
	}
	own := procs.OwnCPUTime() - before
	fl.stop()
	r := f.result(runs)
	r.Samples = samples
	r.CPU = cpuPerOp(fl, own, allOps(runs))
	return f.print(app, r)
}

// runClients runs all clients at the same time.
func (f *benchFlags) runClients(ctx context.Context, app *cli.App, fl *fleet) ([]*benchRun, error) {
	runs := make([]*benchRun, f.clients)
	errs := make([]error, f.clients)
	var clients sync.WaitGroup
	for i := range runs {
		c, err := fl.dial(app)
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }() //nolint:gocritic // a client each, all of them until the end
		if i == 0 {
			if err := fl.connected(ctx, c, f.workers); err != nil {
				return nil, err
			}
		}
		runs[i] = &benchRun{flags: f}
		clients.Go(func() { errs[i] = runs[i].run(ctx, c) })
	}
	clients.Wait()
	return runs, errors.Join(errs...)
}

// benchRun is one client's part.
type benchRun struct {
	flags    *benchFlags
	latency  histogram
	measured uint64
	errors   uint64
	all      uint64 // with the warm-up
	took     time.Duration
}

// stampBytes is the moment of submission, at the beginning of the payload.
const stampBytes = 8

// run maps tasks until the time is over.
func (b *benchRun) run(ctx context.Context, c *client.Client) error {
	start := time.Now()
	measure := start.Add(b.flags.warmup)
	end := measure.Add(b.flags.duration)
	switch {
	case b.flags.inFlight == 1:
		return b.oneByOne(ctx, c, measure, end)
	case b.flags.typed:
		return b.runTyped(ctx, c, start)
	}
	opts := []client.MapOption{client.InFlight(b.flags.inFlight), client.Unordered()}
	for r := range client.MapSpecs(ctx, c, b.specs(start, end), opts...) {
		stamp := binary.LittleEndian.Uint64(r.Spec.Payload.Bytes())
		if ended, err := b.count(start, int64(stamp), r.TaskID, r.Err); ended { //nolint:gosec // it was a duration
			return err
		}
	}
	return context.Cause(ctx)
}

// count counts a result whose input was given so many nanoseconds after the start. ended is an error of the whole map.
func (b *benchRun) count(start time.Time, at int64, taskID string, failed error) (ended bool, err error) {
	if failed != nil && taskID == "" && !errors.Is(failed, context.Canceled) {
		return true, failed
	}
	now := time.Now()
	measure := start.Add(b.flags.warmup)
	b.all++
	if now.Before(measure) || now.After(measure.Add(b.flags.duration)) {
		return false, nil
	}
	b.took = now.Sub(measure)
	if failed != nil {
		b.errors++
		return false, nil
	}
	b.measured++
	b.latency.add(now.Sub(start) - time.Duration(at))
	return false, nil
}

// oneByOne submits a task when the one before has ended: a map would take its next input, and with it the
// moment from which latency counts, while it waits.
func (b *benchRun) oneByOne(ctx context.Context, c *client.Client, measure, end time.Time) error {
	call := c.NewCall()
	defer call.Close()
	spec := client.Spec{Kind: benchKind, Payload: task.Bytes(make([]byte, b.flags.payload))}
	now := time.Now()
	for now.Before(end) {
		begun := now
		f, err := call.Submit(ctx, spec)
		if err != nil {
			return err
		}
		o, err := f.Wait(ctx)
		if err != nil {
			return err
		}
		now = time.Now()
		b.all++
		switch {
		case begun.Before(measure):
		case o.Err() != nil:
			b.errors++
		default:
			b.measured++
			b.latency.add(now.Sub(begun))
		}
	}
	b.took = now.Sub(measure)
	return nil
}

// payloadChunk is how much memory payloads take at a time.
const payloadChunk = 1 << 20

// specs gives tasks until the end.
func (b *benchRun) specs(start, end time.Time) func(yield func(client.Spec) bool) {
	return func(yield func(client.Spec) bool) {
		var chunk []byte
		for {
			now := time.Now()
			if now.After(end) {
				return
			}
			if len(chunk) < b.flags.payload {
				chunk = make([]byte, max(payloadChunk, b.flags.payload))
			}
			payload := chunk[:b.flags.payload:b.flags.payload]
			chunk = chunk[b.flags.payload:]
			binary.LittleEndian.PutUint64(payload, uint64(now.Sub(start))) //nolint:gosec // not negative
			if !yield(client.Spec{Kind: benchKind, Payload: task.Bytes(payload)}) {
				return
			}
		}
	}
}

// result puts all clients together.
func (f *benchFlags) result(runs []*benchRun) *benchResult {
	var all histogram
	r := &benchResult{Clients: f.clients, InFlight: f.inFlight, Payload: f.payload}
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

// allOps counts the warm-up too: its CPU time cannot be told apart.
func allOps(runs []*benchRun) (n uint64) {
	for _, b := range runs {
		n += b.all
	}
	return n
}

// cpuPerOp is each process's CPU time per task, start and end included.
func cpuPerOp(fl *fleet, own time.Duration, ops uint64) map[string]float64 {
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(max(ops, 1)) }
	cpu := map[string]float64{"client": per(own)}
	if fl.broker != nil {
		cpu["broker"] = per(fl.broker.CPUTime())
	}
	for _, w := range fl.workers {
		cpu["worker"] += per(w.CPUTime())
	}
	return cpu
}

// print prints the result.
func (f *benchFlags) print(app *cli.App, r *benchResult) error {
	if f.format == "json" {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		fmt.Fprintln(app.Out, string(line))
		return nil
	}
	fmt.Fprintf(app.Out, "%.0f tasks/s  p50 %.2f ms  p99 %.2f ms  %d errors  (%d tasks in %.1f s)\n",
		r.OpsPerS, r.P50ms, r.P99ms, r.Errors, r.Ops, r.Seconds)
	fmt.Fprintf(app.Out, "CPU per task: client %.1f µs, broker %.1f µs, worker %.1f µs\n",
		r.CPU["client"], r.CPU["broker"], r.CPU["worker"])
	return nil
}
