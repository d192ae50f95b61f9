package jetstream

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// maxPayload is the largest message that the server takes, headers included.
const maxPayload = 8 << 20

func startServer(cfg Config) (*server.Server, error) {
	opts := &server.Options{
		ServerName: "weft",
		DontListen: true,
		NoSigs:     true,
		NoLog:      true,
		MaxPayload: maxPayload,
		JetStream:  true,
		StoreDir:   cfg.Dir,
		// By default the server takes three quarters of what the disk had free when it started, and
		// refuses appends beyond. The broker has a reserve of its own.
		JetStreamMaxStore:      1 << 60,
		DisableJetStreamBanner: true,
		SyncAlways:             cfg.Durability == Always,
	}
	if cfg.Durability == Interval {
		opts.SyncInterval = cfg.SyncInterval
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	log := serverLog{cfg.Logger, &atomic.Pointer[string]{}}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if reason := log.fatal.Load(); reason != nil { // it would never be ready
		stopServer(srv)
		return nil, fmt.Errorf("jetstream: the embedded server in %s: %s", cfg.Dir, *reason)
	}
	if !srv.ReadyForConnections(startTimeout) {
		stopServer(srv)
		return nil, fmt.Errorf("jetstream: the embedded server was not ready within %v; its log says why", startTimeout)
	}
	if !srv.JetStreamEnabled() {
		stopServer(srv)
		return nil, errors.New("jetstream: the embedded server started without its store; its log says why")
	}
	return srv, nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// conn is one connection to the server. It never reconnects: within a process a connection is only lost
// with the server.
type conn struct {
	*nats.Conn
	lost chan struct{} // closed when the connection is
}

func connect(srv *server.Server, name string) (conn, error) {
	c := conn{lost: make(chan struct{})}
	nc, err := nats.Connect("",
		nats.InProcessServer(srv),
		nats.Name(name),
		nats.NoReconnect(),
		nats.ReconnectBufSize(-1),
		nats.Timeout(startTimeout),
		nats.PingInterval(time.Hour), // a pipe does not go silent
		nats.ClosedHandler(func(*nats.Conn) { close(c.lost) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // nothing to stderr
	)
	if err != nil {
		return conn{}, fmt.Errorf("jetstream: connect to the embedded server: %w", err)
	}
	c.Conn = nc
	return c, nil
}

// close returns when the connection's goroutines have nothing left to do.
func (c conn) close() {
	if c.Conn == nil {
		return
	}
	c.Conn.Close()
	<-c.lost
}
