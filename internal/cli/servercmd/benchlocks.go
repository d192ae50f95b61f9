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
)

// lockBench is `bench locks`.
type lockBench struct {
	duration   time.Duration
	warmup     time.Duration
	clients    int
	shared     bool
	conditions bool
	data       string
	durability string
	format     string
}

// lockBenchResult is what `bench locks -o json` prints.
type lockBenchResult struct {
	OpsPerS float64            `json:"ops_per_s"`
	P50ms   float64            `json:"p50_ms"`
	P99ms   float64            `json:"p99_ms"`
	Errors  uint64             `json:"errors"`
	Ops     uint64             `json:"ops"`
	Seconds float64            `json:"seconds"`
	Clients int                `json:"clients"`
	Mode    string             `json:"mode"`
	CPU     map[string]float64 `json:"cpu_us_per_op,omitempty"`
}

// newBenchLocks is `bench locks`.
func newBenchLocks(app *cli.App) *cobra.Command {
	var f lockBench
	cmd := &cobra.Command{
		Use:   "locks",
		Short: "Measure locks: acquire and release, hand-overs, conditions",
		Long: "Measure locks. Each client has a connection and a session of its own.\n\n" +
			"  (default)     each client has a lock of its own; an operation is acquire and release\n" +
			"  --shared      all clients contend for one lock; an operation is a hand-over, and its latency the wait\n" +
			"  --conditions  each client is a pair with a lock of its own: one notifies, the other's wait returns\n\n" +
			"The broker is a process of its own, with a temporary data directory; with --broker it is that one.",
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
	fs.IntVar(&f.clients, "clients", 16, "clients at the same time")
	fs.BoolVar(&f.shared, "shared", false, "one lock for all")
	fs.BoolVar(&f.conditions, "conditions", false, "from a notification to the end of the wait")
	fs.StringVar(&f.data, "data", "", "the broker's data `directory` (default a temporary one)")
	fs.StringVar(&f.durability, "durability", "always", "the broker's")
	fs.StringVarP(&f.format, "output", "o", "table", "`format`: table or json")
	return cmd
}

// check refuses what cannot be.
func (f *lockBench) check() error {
	const clientsMax = 1000
	switch {
	case f.shared && f.conditions:
		return cli.Usage("--shared and --conditions: one of them at most")
	case f.clients < 1 || f.clients > clientsMax:
		return cli.Usage("--clients %d: 1 to %d are possible", f.clients, clientsMax)
	case f.duration <= 0:
		return cli.Usage("--duration %v: more than 0s is possible", f.duration)
	case f.warmup < 0:
		return cli.Usage("--warmup %v: 0s or more is possible", f.warmup)
	case f.format != "table" && f.format != "json":
		return cli.Usage("--output %s: none of table, json", f.format)
	}
	return nil
}

// mode is what is measured, and its words.
func (f *lockBench) mode() (name, ops, words string) {
	switch {
	case f.shared:
		return "shared", "hand-overs", "one lock for all"
	case f.conditions:
		return "conditions", "notifications", "from notify to the end of the wait"
	}
	return "own", "operations", "acquire and release"
}

// run starts a broker if there is none, measures, and prints.
func (f *lockBench) run(ctx context.Context, app *cli.App) error {
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
		_ = c.Close() // every client has its own
	}
	defer fl.stop()
	before := procs.OwnCPUTime()
	runs, err := f.measure(ctx, app, fl)
	if err != nil {
		return err
	}
	own := procs.OwnCPUTime() - before
	fl.stop()
	r := f.result(runs)
	r.CPU = cpuPerOp(fl, own, f.operations(runs))
	delete(r.CPU, "worker")
	return f.print(app, r)
}

// measure runs all clients at the same time. Those that wait for each other end with the others.
func (f *lockBench) measure(ctx context.Context, app *cli.App, fl *fleet) ([]*lockBenchRun, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.warmup+f.duration, errBenchOver)
	defer cancel()
	prefix := "bench-" + rand.Text()
	begin := time.Now().Add(f.warmup)
	runs := make([]*lockBenchRun, f.clients)
	errs := make([]error, f.clients)
	var clients sync.WaitGroup
	for i := range runs {
		name := prefix
		if !f.shared {
			name = fmt.Sprintf("%s-%d", prefix, i)
		}
		runs[i] = &lockBenchRun{begin: begin}
		clients.Go(func() { errs[i] = f.client(ctx, app, fl, name, runs[i]) })
	}
	clients.Wait()
	return runs, errors.Join(errs...)
}

// errBenchOver ends a measurement.
var errBenchOver = errors.New("bench: the time is over")

// over is the error of a client that has ended: none if the time is over.
func over(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errBenchOver) {
		return nil
	}
	return err
}

// client runs one client.
func (f *lockBench) client(ctx context.Context, app *cli.App, fl *fleet, name string, b *lockBenchRun) error {
	c, err := fl.dial(app)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if !f.conditions {
		return over(ctx, b.pairs(ctx, c.Lock(name), f.shared))
	}
	other, err := fl.dial(app)
	if err != nil {
		return err
	}
	defer func() { _ = other.Close() }()
	return over(ctx, b.notifications(ctx, c.Condition(name, nil), other.Condition(name, nil)))
}

// lockBenchRun is one client's part.
type lockBenchRun struct {
	benchRun
	begin time.Time // of the measurement
}

// count counts an operation.
func (b *lockBenchRun) count(latency time.Duration, err error) {
	b.all++
	now := time.Now()
	switch {
	case now.Before(b.begin):
		return
	case err != nil:
		b.errors++
	default:
		b.measured++
		b.latency.add(latency)
	}
	b.took = now.Sub(b.begin)
}

// pairs acquires and releases until the end. Of a shared lock the latency is that of the wait.
func (b *lockBenchRun) pairs(ctx context.Context, lock *client.Lock, shared bool) error {
	ctx = client.NewHolder(ctx, "bench")
	for {
		begun := time.Now()
		held, err := lock.Acquire(ctx)
		latency := time.Since(begun)
		if err == nil {
			err = lock.Release(held)
			if !shared {
				latency = time.Since(begun)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.count(latency, err)
	}
}

// notifications has one side wait and the other notify, in turn, until the end.
func (b *lockBenchRun) notifications(ctx context.Context, waiter, notifier *client.Condition) error {
	waitsC, returnedC := make(chan struct{}), make(chan time.Time)
	waitErrC := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		err := waits(ctx, waiter, waitsC, returnedC)
		cancel(err)
		waitErrC <- err
	}()
	err := b.notify(ctx, notifier, waitsC, returnedC)
	cancel(err)
	return errors.Join(err, <-waitErrC)
}

// waits waits again and again, with the lock all the time that it does not wait.
func waits(ctx context.Context, k *client.Condition, waitsC chan<- struct{}, returnedC chan<- time.Time) error {
	return k.Lock().Do(client.NewHolder(ctx, "waiter"), func(ctx context.Context) error {
		for {
			select {
			case waitsC <- struct{}{}: // the notifier gets the lock no sooner than this waits
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := k.Wait(ctx); err != nil {
				return err
			}
			select {
			case returnedC <- time.Now():
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

// notify notifies who waits, and counts.
func (b *lockBenchRun) notify(ctx context.Context, k *client.Condition, waitsC <-chan struct{}, returnedC <-chan time.Time) error {
	ctx = client.NewHolder(ctx, "notifier")
	for {
		select {
		case <-waitsC:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var begun time.Time
		err := k.Lock().Do(ctx, func(ctx context.Context) error {
			begun = time.Now()
			return k.Notify(ctx, 1)
		})
		if err != nil {
			return err
		}
		select {
		case returned := <-returnedC:
			b.count(returned.Sub(begun), nil)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// operations counts the warm-up too: its CPU time cannot be told apart.
func (f *lockBench) operations(runs []*lockBenchRun) (n uint64) {
	for _, b := range runs {
		n += b.all
	}
	return n
}

// result puts all clients together.
func (f *lockBench) result(runs []*lockBenchRun) *lockBenchResult {
	var all histogram
	r := &lockBenchResult{Clients: f.clients}
	r.Mode, _, _ = f.mode()
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
func (f *lockBench) print(app *cli.App, r *lockBenchResult) error {
	if f.format == "json" {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		fmt.Fprintln(app.Out, string(line))
		return nil
	}
	_, ops, words := f.mode()
	fmt.Fprintf(app.Out, "%.0f %s/s (%s)  p50 %.2f ms  p99 %.2f ms  %d errors  (%d %s in %.1f s)\n",
		r.OpsPerS, ops, words, r.P50ms, r.P99ms, r.Errors, r.Ops, ops, r.Seconds)
	fmt.Fprintf(app.Out, "CPU per operation: client %.1f µs, broker %.1f µs\n", r.CPU["client"], r.CPU["broker"])
	return nil
}
