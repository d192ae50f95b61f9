package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/cron"
	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/journal/datadir"
	"github.com/weftq/weft/internal/journal/jetstream"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// Defaults of a broker.
const (
	DefaultListen = "127.0.0.1:9338"
	DefaultHTTP   = "127.0.0.1:9339"

	diskReserve = 256 << 20 // free bytes below which what grows the state is refused
	stopTimeout = 5 * time.Second

	stateTasksMax = 10_000_000
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
	// Limits replace those of what is kept, where not 0: half of the memory for all tasks and for those of one
	// namespace, and 10 million tasks of a namespace.
	Limits Limits
	// Logger is where the broker tells what it does; nil is nowhere.
	Logger *slog.Logger
	// StopNow, if set, ends the patience of a broker that stops with calls that go on, when it is closed.
	StopNow <-chan struct{}
	// Ready, if set, is called once, when the broker serves.
	Ready func(Addresses)
}

// Limits bound what a broker keeps.
type Limits struct {
	Bytes          int64 // of all tasks, about as encoded
	Tasks          int   // of all namespaces
	NamespaceBytes int64
	NamespaceTasks int
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
// stream is told to come back later. It fails when the data directory or an address is refused, the journal
// cannot be trusted, or it could never be opened.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := cfg.defaults(); err != nil {
		return err
	}
	// The addresses first: one that is in use must not leave a new data directory behind.
	grpcL, httpL, err := cfg.listen()
	if err != nil {
		return err
	}
	defer closeListeners(grpcL, httpL) // the servers have closed them, unless they never began
	dir, err := datadir.Open(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	cfg.DataDir = dir.Path()
	times := &cron.Table{}
	loop := cfg.loop(times)
	server, err := newServer(loop, times, cfg.Logger)
	if err != nil {
		return err
	}
	return cfg.serve(ctx, loop, server, grpcL, httpL)
}

// ListenError is an address that cannot be listened on.
type ListenError struct {
	HTTP bool // Config.HTTP; else Config.Listen
	Addr string
	Err  error
}

// Error implements error.
func (e *ListenError) Error() string {
	what := "gRPC"
	if e.HTTP {
		what = "HTTP"
	}
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("broker: the %s address %s is in use, perhaps by another broker", what, e.Addr)
	}
	return fmt.Sprintf("broker: listen for %s: %v", what, e.Err)
}

// Unwrap gives the system's error.
func (e *ListenError) Unwrap() error { return e.Err }

// listen takes the addresses; the second listener is nil if there is to be none.
func (cfg *Config) listen() (grpcL, httpL net.Listener, err error) {
	if grpcL, err = net.Listen(network(cfg.Listen)); err != nil {
		return nil, nil, &ListenError{Addr: cfg.Listen, Err: err}
	}
	if cfg.HTTP == "off" {
		return grpcL, nil, nil
	}
	if httpL, err = net.Listen("tcp", cfg.HTTP); err != nil {
		closeListeners(grpcL, nil)
		return nil, nil, &ListenError{HTTP: true, Addr: cfg.HTTP, Err: err}
	}
	return grpcL, httpL, nil
}

// closeListeners gives the addresses up.
func closeListeners(grpcL, httpL net.Listener) {
	_ = grpcL.Close()
	if httpL != nil {
		_ = httpL.Close()
	}
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
	cfg.Limits.Bytes = cmp.Or(cfg.Limits.Bytes, stateBytesMax())
	cfg.Limits.NamespaceBytes = cmp.Or(cfg.Limits.NamespaceBytes, cfg.Limits.Bytes)
	cfg.Limits.Tasks = cmp.Or(cfg.Limits.Tasks, stateTasksMax)
	cfg.Limits.NamespaceTasks = cmp.Or(cfg.Limits.NamespaceTasks, cfg.Limits.Tasks)
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

// loop returns the shard's loop over the embedded journal in the data directory.
func (cfg *Config) loop(times *cron.Table) *shard.Loop {
	return shard.NewLoop(shard.LoopConfig{
		Machine: shard.Config{NextRun: times.Next, Limits: queue.Limits{
			Bytes: cfg.Limits.Bytes, Tasks: cfg.Limits.Tasks,
			NamespaceBytes: cfg.Limits.NamespaceBytes, NamespaceTasks: cfg.Limits.NamespaceTasks,
		}},
		DiskReserve: cfg.DiskReserve,
		Logger:      cfg.Logger,
		Open: func(ctx context.Context) (journal.Stream, error) {
			store, err := jetstream.Open(ctx, jetstream.Config{
				Dir: filepath.Join(cfg.DataDir, "journal"), Durability: jetstream.Durability(cfg.Durability), Logger: cfg.Logger,
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
		if err := loop.Run(gctx); err != nil {
			return fmt.Errorf("broker: the journal in %s: %w", cfg.DataDir, err)
		}
		return nil
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
