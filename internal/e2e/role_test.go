//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

const (
	roleWorker = "worker"
	envWorker  = "WEFT_E2E_WORKER" // its workerConfig
)

// workerConfig is what a worker process of the tests is told. Its handlers are
//
//	echo   returns its payload
//	hold   returns its payload once the ledger says so
//	sleep  returns its payload after the duration that this begins with, up to a slash
//	flaky  fails the first time, and is sleep after that
//	fail   fails
//	grow   returns as many bytes as its payload says
//	steps  see stepsKind
type workerConfig struct {
	Name   string
	Broker string
	Ledger string
	Slots  int
	Queues []string
	TTL    time.Duration
	Drain  time.Duration
}

// workerMain is the worker process: pkg/worker as a program would use it, that writes every run of a
// handler into the test's ledger before the handler returns.
func workerMain() int {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx := procs.UntilParentDies(context.Background())
	if err := work(ctx, signals); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func work(ctx context.Context, signals <-chan os.Signal) error {
	var cfg workerConfig
	if err := json.Unmarshal([]byte(os.Getenv(envWorker)), &cfg); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", cfg.Ledger)
	if err != nil {
		return err
	}
	r := &recorder{worker: cfg.Name, to: json.NewEncoder(conn), waiting: make(map[uint64]chan struct{})}
	go r.listen(conn)
	w, err := worker.New(worker.Config{
		Broker: cfg.Broker, Name: cfg.Name, Slots: cfg.Slots, Queues: cfg.Queues,
		SessionTTL: cfg.TTL, DrainTimeout: cfg.Drain,
	})
	if err != nil {
		return err
	}
	for kind, run := range map[string]workload{
		"echo": func(context.Context, string) error { return nil }, "hold": r.hold, "sleep": sleep,
		"flaky": flaky, "fail": func(context.Context, string) error { return errFails },
	} {
		worker.Handle(w, task.DefineWith(kind, task.TextCodec(), task.TextCodec()), r.recorded(run))
	}
	worker.Handle(w, task.DefineWith("grow", task.TextCodec(), task.TextCodec()), grow)
	worker.Handle(w, stepsKind, steps)
	if err := procs.PrintReady(os.Stdout, workercmd.Ready{Worker: cfg.Name, Broker: cfg.Broker}); err != nil {
		return err
	}
	app := &cli.App{Name: cfg.Name, Out: io.Discard, Err: os.Stderr, Signal: signals}
	return workercmd.Serve(ctx, app, w)
}

// recorder writes into the ledger and hears from it.
type recorder struct {
	worker string

	mu      sync.Mutex
	to      *json.Encoder
	waiting map[uint64]chan struct{} // by token; closed when its run may go on
}

// workload is what a task does with its input, which it echoes.
type workload func(ctx context.Context, in string) error

// recorded is a handler whose runs are recorded.
func (r *recorder) recorded(run workload) func(context.Context, string) (string, error) {
	return func(ctx context.Context, in string) (string, error) {
		a := task.Current(ctx)
		if err := r.record(a, in, begin, nil); err != nil {
			return "", err
		}
		ended := run(ctx, in)
		if err := r.record(a, in, end, ended); err != nil {
			return "", err
		}
		return in, ended
	}
}

func (r *recorder) record(a *task.Attempt, in string, p phase, err error) error {
	e := event{
		Worker: r.worker, Task: in, Token: a.Token, Number: a.Number, Phase: p,
		At: time.Now(),
	}
	if err != nil {
		e.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to.Encode(e)
}

// gate is what lets a run go on.
func (r *recorder) gate(token uint64) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[token] == nil {
		r.waiting[token] = make(chan struct{})
	}
	return r.waiting[token]
}

// listen opens gates until the ledger is gone.
func (r *recorder) listen(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var token uint64
		if _, err := fmt.Sscan(lines.Text(), &token); err == nil {
			close(r.gate(token))
		}
	}
}

// hold waits for its gate.
func (r *recorder) hold(ctx context.Context, _ string) error {
	select {
	case <-r.gate(task.Current(ctx).Token):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sleep is work that takes its time.
func sleep(ctx context.Context, in string) error {
	text, _, _ := strings.Cut(in, "/")
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errFails = errors.New("it fails")

func flaky(ctx context.Context, in string) error {
	if task.Current(ctx).Number == 1 {
		return errFails
	}
	return sleep(ctx, in)
}

func grow(_ context.Context, in string) (string, error) {
	n, err := strconv.Atoi(in)
	if err != nil {
		return "", err
	}
	return strings.Repeat("x", n), nil
}
