package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/cron"
	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/datadir"
	"github.com/weftq/weft/internal/journal/jetstream"
	"github.com/weftq/weft/internal/shard"
)

// Defaults of a broker.
const (
	DefaultListen = "127.0.0.1:9338"
	DefaultHTTP   = "127.0.0.1:9339"

	diskReserve = 256 << 20 // free bytes below which what grows the state is refused
	stopTimeout = 5 * time.Second
)

// Config is what a broker is told.
type Config struct {
	Listen  string // gRPC address, host:port or unix:PATH; empty is DefaultListen
	HTTP    string // address of health checks; empty is DefaultHTTP, "off" is none
	DataDir string // empty is DefaultDataDir

	// Durability is "always" (the default: an answer is fsynced) or "interval".
	Durability string
	// DiskReserve replaces the reserve of 256 MiB, in bytes, if not 0.
	DiskReserve uint64
	// Logger is where the broker tells what it does; nil is nowhere.
	Logger *slog.Logger
	// StopNow, if set, ends the patience of a broker that stops with calls that go on, when it is closed.
	StopNow <-chan struct{}
	// Ready, if set, is called once, when the broker serves.
	Ready func(Addresses)
}

// Addresses is where a broker listens.
type Addresses struct {
	GRPC       string
	HTTP       string        // empty if there is none
	LossWindow time.Duration // what a crash of the machine may lose; 0 is nothing
}

// DefaultDataDir is $XDG_STATE_HOME/weft, or ~/.local/state/weft.
func DefaultDataDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "weft"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("broker: no place for the data: set XDG_STATE_HOME or name a directory: %w", err)
	}
	return filepath.Join(home, ".local", "state", "weft"), nil
}

// Run serves until ctx ends, and then stops in order: what was decided is made durable and told, and every
// stream is told to come back later. It fails when the data directory or an address is refused, or the
// journal cannot be trusted.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.defaults(); err != nil {
		return err
	}
	dir, err := datadir.Open(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	grpcL, err := net.Listen(network(cfg.Listen))
	if err != nil {
		return fmt.Errorf("broker: listen for gRPC: %w", err)
	}
	defer func() { _ = grpcL.Close() }() // the server has closed it, unless it never began
	var httpL net.Listener
	if cfg.HTTP != "off" {
		if httpL, err = net.Listen("tcp", cfg.HTTP); err != nil {
			return fmt.Errorf("broker: listen for HTTP: %w", err)
		}
		defer func() { _ = httpL.Close() }()
	}
	times := &cron.Table{}
	loop := cfg.loop(dir.Path(), times)
	server, err := newServer(loop, times, cfg.Logger)
	if err != nil {
		return err
	}
	return cfg.serve(ctx, loop, server, grpcL, httpL)
}

// unixPrefix marks an address as a Unix socket, in gRPC's own spelling.
const unixPrefix = "unix:"

// network splits an address into what net.Listen wants.
func network(listen string) (network, address string) {
	if path, ok := strings.CutPrefix(listen, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", listen
}

// target is an address as a gRPC client dials it.
func target(a net.Addr) string {
	if a.Network() == "unix" {
		return unixPrefix + a.String()
	}
	return a.String()
}

func (cfg *Config) defaults() (err error) {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.HTTP == "" {
		cfg.HTTP = DefaultHTTP
	}
	if cfg.DiskReserve == 0 {
		cfg.DiskReserve = diskReserve
	}
	switch jetstream.Durability(cfg.Durability) {
	case jetstream.Always, jetstream.Interval:
	case "":
		cfg.Durability = string(jetstream.Always)
	default:
		return fmt.Errorf("broker: durability %q is neither %q nor %q", cfg.Durability, jetstream.Always, jetstream.Interval)
	}
	if cfg.DataDir == "" {
		cfg.DataDir, err = DefaultDataDir()
	}
	return err
}

// loop returns the shard's loop over the embedded journal in a directory.
func (cfg *Config) loop(dir string, times *cron.Table) *shard.Loop {
	return shard.NewLoop(shard.LoopConfig{
		Machine:     shard.Config{StateBytesMax: stateBytesMax(), NextRun: times.Next},
		DiskReserve: cfg.DiskReserve,
		Logger:      cfg.Logger,
		Open: func(ctx context.Context) (journal.Stream, error) {
			store, err := jetstream.Open(ctx, jetstream.Config{
				Dir: filepath.Join(dir, "journal"), Durability: jetstream.Durability(cfg.Durability), Logger: cfg.Logger,
			})
			if err != nil {
				return nil, err
			}
			return &ownedStream{store.Stream(0), store}, nil
		},
	})
}

// ownedStream is a stream that closes its store: a term has one of its own, so that a store which failed
// is started anew.
type ownedStream struct {
	journal.Stream
	store *jetstream.Store
}

// Close implements journal.Stream.
func (s *ownedStream) Close() error { return s.store.Close() }

// serve runs the loop, the gRPC server and the health checks until ctx ends or one of them fails.
func (cfg *Config) serve(ctx context.Context, loop *shard.Loop, s *server, grpcL, httpL net.Listener) error {
	group, gctx := errgroup.WithContext(ctx)
	loopDone, stopped := make(chan struct{}), make(chan struct{})
	group.Go(func() error {
		defer close(loopDone)
		return loop.Run(gctx)
	})
	group.Go(func() error {
		if err := s.grpc.Serve(grpcL); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil // it was stopped before it began
	})
	group.Go(func() error {
		// The loop ends first: it makes durable what was decided and closes the streams, which then
		// end by themselves.
		defer close(stopped)
		<-gctx.Done()
		s.stopping()
		<-loopDone
		s.stop(stopTimeout, cfg.StopNow)
		return nil
	})
	if httpL != nil {
		cfg.serveHTTP(stopped, group, loop, httpL)
	}
	group.Go(func() error {
		addr := Addresses{GRPC: target(grpcL.Addr())}
		if httpL != nil {
			addr.HTTP = httpL.Addr().String()
		}
		if cfg.Durability == string(jetstream.Interval) {
			addr.LossWindow = time.Second
		}
		s.watchReady(gctx, loop, func() {
			cfg.Logger.Info("ready", "grpc", addr.GRPC, "http", addr.HTTP, "loss_window", addr.LossWindow)
			if cfg.Ready != nil {
				cfg.Ready(addr)
			}
		})
		return nil
	})
	return group.Wait()
}
