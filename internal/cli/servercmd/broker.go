// Package servercmd has the commands that run a broker: broker, dev, demo, bench and --local.
package servercmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/procs"
)

// brokerFlags are those of `broker`.
type brokerFlags struct {
	cfg       broker.Config
	temporary bool
	json      bool
}

// BrokerReady is the line that a broker prints with --json once it serves.
type BrokerReady struct {
	GRPC string `json:"grpc"`
	HTTP string `json:"http,omitempty"`
	Data string `json:"data"`
}

// NewBroker is `broker`.
func NewBroker(app *cli.App) *cobra.Command {
	var f brokerFlags
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Host queues: keep tasks durably and give them to workers",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), app) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.cfg.Listen, "listen", broker.DefaultListen, "gRPC `address`: host:port or unix:PATH")
	fs.StringVar(&f.cfg.HTTP, "http", broker.DefaultHTTP, "`address` of health checks, or off")
	fs.StringVar(&f.cfg.DataDir, "data", "", "`directory` of the data (default $XDG_STATE_HOME/weft, else ~/.local/state/weft)")
	fs.StringVar(&f.cfg.Durability, "durability", "always", "always: every answer is on disk first; interval: it is within a second")
	fs.Int64Var(&f.cfg.Limits.Bytes, "state-bytes-max", 0, "`bytes` of all tasks that are kept (default half of the memory)")
	fs.Int64Var(&f.cfg.Limits.NamespaceBytes, "namespace-bytes-max", 0, "`bytes` of one namespace's tasks (default those of all)")
	fs.IntVar(&f.cfg.Limits.Tasks, "state-tasks-max", 0, "`tasks` of all namespaces that are kept (default 10 million)")
	fs.IntVar(&f.cfg.Limits.NamespaceTasks, "namespace-tasks-max", 0, "`tasks` of one namespace (default those of all)")
	fs.BoolVar(&f.temporary, "temporary", false, "a data directory of its own, removed at the end")
	fs.BoolVar(&f.json, "json", false, "print one line of JSON when it serves, for programs")
	cmd.MarkFlagsMutuallyExclusive("data", "temporary")
	return cmd
}

// run serves until a signal. A second one ends its patience with calls that go on.
func (f *brokerFlags) run(parent context.Context, app *cli.App) (err error) {
	if d := f.cfg.Durability; d != "always" && d != "interval" {
		return cli.Usage("--durability %q is neither always nor interval", d)
	}
	ctx, now, cancel := app.Stoppable(parent)
	defer cancel()
	f.cfg.StopNow = now
	if f.temporary {
		if f.cfg.DataDir, err = os.MkdirTemp("", "weft-broker-*"); err != nil {
			return fmt.Errorf("temporary data directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(f.cfg.DataDir)) }()
	} else if f.cfg.DataDir == "" {
		if f.cfg.DataDir, err = broker.DefaultDataDir(); err != nil {
			return err
		}
	}
	f.cfg.Logger = slog.New(slog.NewTextHandler(app.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	f.cfg.Ready = func(a broker.Addresses) { f.ready(app, a) }
	var tuner sync.WaitGroup
	tuneCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	tuner.Go(func() { broker.TuneCollector(tuneCtx) })
	defer func() {
		stop()
		tuner.Wait()
	}()
	return listenAdvice(broker.Run(ctx, f.cfg))
}

// listenAdvice names the flag of an address that cannot be had.
func listenAdvice(err error) error {
	e, ok := errors.AsType[*broker.ListenError](err)
	switch {
	case !ok:
		return err
	case e.HTTP:
		return fmt.Errorf("%w (another one: --http ADDRESS; none: --http off)", err)
	default:
		return fmt.Errorf("%w (another one: --listen ADDRESS)", err)
	}
}

// warnOpen warns of an address that others than this machine can reach.
func warnOpen(app *cli.App, addr string) {
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); ip == nil || ip.IsLoopback() {
		return // no IP is a socket of the file system, which is this machine's too
	}
	app.Say("warning: %s can be reached from other machines, and there is no authentication yet: "+
		"whoever reaches it can do everything, and run commands on the workers", addr)
}

// ready tells where the broker is, and what it may lose.
func (f *brokerFlags) ready(app *cli.App, a broker.Addresses) {
	warnOpen(app, a.GRPC)
	if f.json {
		if err := procs.PrintReady(app.Out, BrokerReady{GRPC: a.GRPC, HTTP: a.HTTP, Data: f.cfg.DataDir}); err != nil {
			app.Say("%v", err)
		}
		return
	}
	line := "gRPC " + a.GRPC
	if a.HTTP != "" {
		line += ", HTTP " + a.HTTP
	}
	fmt.Fprintf(app.Out, "broker: %s, data %s\n", line, f.cfg.DataDir)
	if a.LossWindow > 0 {
		fmt.Fprintf(app.Out, "broker: a crash of this machine may lose the last %v of what was acknowledged\n", a.LossWindow)
	}
}
