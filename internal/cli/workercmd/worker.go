// Package workercmd has the worker command: apart from the client's, which links no worker, and from the
// broker's, which a worker does not link.
package workercmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/command"
)

// slotsMax is the most that a worker can have.
const slotsMax = 100_000

// flags are those of the command.
type flags struct {
	queues   []string
	slots    int
	policy   command.Policy
	name     string
	labels   map[string]string
	drain    time.Duration
	spoolDir string
	json     bool
}

// Ready is the line that a worker prints with --json.
type Ready struct {
	Worker string `json:"worker"`
	Broker string `json:"broker"`
}

// New is `worker`.
func New(app *cli.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "worker [flags] --allow PROGRAM,... | --allow-any [--allow-shell]",
		Short: "Run tasks: the commands that you allow",
		Long: "Run tasks: the commands that you allow. Whoever reaches the broker can have a worker run what it\n" +
			"allows, with the rights of the worker's user. Interrupt once and it takes no more tasks and lets\n" +
			"those that run end; twice and it stops them. SIGUSR1 has it take no more tasks, and stay.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.policy.Allow) == 0 && !f.policy.AllowAny && !f.policy.AllowShell {
				return cli.Usage("say which commands this worker may run, for example:\n\n  %s --allow sha256sum,gzip\n\n"+
					"or, where everybody who reaches the broker may run anything as you:\n\n  %s --allow-any --allow-shell",
					cmd.CommandPath(), cmd.CommandPath())
			}
			if cmd.Flags().Changed("slots") && (f.slots < 1 || f.slots > slotsMax) {
				return cli.Usage("--slots %d: 1 to %d are possible", f.slots, slotsMax)
			}
			return run(cmd.Context(), app, &f)
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.queues, "queues", "q", nil, "`queues` to serve, as NAME or NAME=WEIGHT: a share from 1 to 100 (default \"default\")")
	fs.IntVar(&f.slots, "slots", 0, "tasks at a time (default one for each CPU)")
	fs.StringSliceVar(&f.policy.Allow, "allow", nil, "`programs` that may run: names, or absolute paths")
	fs.BoolVar(&f.policy.AllowAny, "allow-any", false, "any program may run")
	fs.BoolVar(&f.policy.AllowShell, "allow-shell", false, "lines of /bin/sh may run (run --shell)")
	fs.StringVar(&f.name, "name", "", "a `name` for people (default host and process)")
	fs.StringToStringVar(&f.labels, "label", nil, "`NAME=VALUE` for people, and for tasks that ask for it (--worker-label)")
	fs.Lookup("label").DefValue = "" // else the help has a default of []
	fs.DurationVar(&f.drain, "drain-timeout", worker.DrainTimeoutDefault, "how long running tasks may go on at the end")
	fs.StringVar(&f.spoolDir, "spool", "", "`directory` for large output (default the system's for temporary files)")
	fs.BoolVar(&f.json, "json", false, "print one line of JSON at the start, for programs")
	cmd.MarkFlagsMutuallyExclusive("allow", "allow-any")
	return cmd
}

// run works until the first signal and drains, or until the second.
func run(parent context.Context, app *cli.App, f *flags) error {
	addr, err := app.BrokerAddr()
	if err != nil {
		return err
	}
	logger := app.ServerLogger()
	if f.json { // a program's worker: what it tells a person is the program's business
		logger = app.Logger()
	}
	queues, weights, err := weighted(f.queues)
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Config{
		Broker: addr, Namespace: app.Namespace(), Queues: queues, QueueWeights: weights, Slots: f.slots, Name: f.name, Labels: f.labels,
		DrainTimeout: f.drain, Output: worker.OutputConfig{SpoolDir: f.spoolDir}, Logger: logger,
	})
	if err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	if err := w.HandleCommands(f.policy); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	quietC, stop := QuietSignal()
	defer stop()
	if f.json {
		if err := procs.PrintReady(app.Out, Ready{Worker: f.name, Broker: addr}); err != nil {
			return err
		}
	} else {
		app.Say("worker for %s; allowed: %s", addr, allowed(&f.policy))
	}
	return Serve(parent, app, w, quietC)
}

// weighted reads queues with weights.
func weighted(list []string) (queues []string, weights map[string]int, err error) {
	for _, one := range list {
		name, weight, has := strings.Cut(one, "=")
		queues = append(queues, name)
		if !has {
			continue
		}
		n, err := strconv.Atoi(weight)
		if err != nil {
			return nil, nil, cli.Usage("--queues %s: %q is no weight, which is a number from 1 to 100", one, weight)
		}
		if weights == nil {
			weights = map[string]int{}
		}
		weights[name] = n
	}
	return queues, weights, nil
}

// allowed is a policy for people.
func allowed(p *command.Policy) string {
	words := p.Allow
	if p.AllowAny {
		words = []string{"any program"}
	}
	if p.AllowShell {
		words = append(words, "shell lines")
	}
	return strings.Join(words, ", ")
}

// Serve runs a worker until the first signal, after which it drains, or the second, after which it stops. One of quietC
// has it take no more tasks.
// When the process that started it is gone, so is the broker, most likely: then it stops at once.
func Serve(parent context.Context, app *cli.App, w *worker.Worker, quietC <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	parentC := parent.Done()
	for interrupts := 0; ; {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("worker: %w", err)
			}
			return nil
		case <-parentC:
			parentC = nil
			if errors.Is(context.Cause(parent), procs.ErrParentGone) {
				w.Stop()
			}
		case <-quietC:
			app.Say("takes no more tasks (SIGUSR1); what runs goes on")
			w.Quiet()
		case <-app.Signal:
			if interrupts++; interrupts == 1 {
				app.Say("takes no more tasks; interrupt again to stop those that run")
				cancel()
			} else {
				w.Stop()
			}
		}
	}
}
