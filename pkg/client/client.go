package client

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// gRPC's buffers. Windows of a fixed size need no probing, and a frame fits.
const (
	streamWindowBytes = 8 << 20
	connWindowBytes   = 16 << 20
	ioBufferBytes     = 128 << 10
	receiveBytesMax   = 64 << 20
	connectTimeout    = 5 * time.Second
)

// Bounds of a session's TTL.
const (
	minTTL = time.Second
	maxTTL = time.Hour
)

// A connection that carries a request and nothing else is tried so often; the broker has to permit it
// (its enforcement policy's MinTime). Calls have heartbeats of their own, and notice sooner.
const (
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
)

// Client is a program's connection to a broker. It is safe for use by several goroutines.
type Client struct {
	addr       string
	namespace  string
	name       string
	sessionTTL time.Duration
	logger     *slog.Logger
	options    []grpc.DialOption

	ctx    context.Context // ends with the client
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	conn   *grpc.ClientConn
	calls  map[*Call]struct{}
	leases map[*lease]struct{} // those that are renewed here
	closed bool

	background sync.WaitGroup // what nobody waits for but Close

	interrupts interrupts
	sync       syncSessions

	ownMu sync.Mutex
	own   *Call // of what is submitted to the client itself
}

// Dial makes a client of the broker at addr: host:port, or a gRPC target; empty is WEFT_BROKER, else
// 127.0.0.1:9338, whose port a host alone has too. It connects in the background and comes back after every
// loss, so everything else waits for a broker that is not there: [Client.Ping] tells whether it is. An
// error is one of addr or of the options.
func Dial(addr string, opts ...Option) (*Client, error) {
	cfg := newConfig()
	for _, o := range opts {
		o.apply(&cfg)
	}
	addr = WithPort(cmp.Or(addr, os.Getenv(EnvBroker), DefaultBroker))
	if err := cmp.Or(checkAddr(addr, len(cfg.grpc) > 0), cfg.check()); err != nil {
		return nil, err
	}
	c := &Client{
		addr:       addr,
		namespace:  cfg.namespace,
		name:       cfg.name,
		sessionTTL: cfg.sessionTTL,
		logger:     cfg.logger,
		options:    dialOptions(&cfg),
		calls:      make(map[*Call]struct{}),
		leases:     make(map[*lease]struct{}),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	conn, err := grpc.NewClient(c.addr, c.options...)
	if err != nil {
		c.cancel(ErrClosed)
		return nil, fmt.Errorf("client: broker address %q: %w", c.addr, err)
	}
	c.conn = conn
	return c, nil
}

// dialOptions are ours, then the program's, which are stronger.
func dialOptions(cfg *config) []grpc.DialOption {
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), // this package retries, and gRPC need not keep what it sent
		grpc.WithStaticStreamWindowSize(streamWindowBytes),
		grpc.WithStaticConnWindowSize(connWindowBytes),
		grpc.WithReadBufferSize(ioBufferBytes),
		grpc.WithWriteBufferSize(ioBufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay: backoffFirst, Multiplier: 2, Jitter: backoffJitter, MaxDelay: backoffMax,
			},
			MinConnectTimeout: connectTimeout,
		}),
	}
	if cfg.key != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(cfg.key)))
	}
	return append(opts, cfg.grpc...)
}

// Addr is the broker's address as it was dialled.
func (c *Client) Addr() string { return c.addr }

// Namespace is the client's namespace; empty is "default".
func (c *Client) Namespace() string { return c.namespace }

// Conn is the connection, for the generated clients of package weftv1: what this package does not wrap
// can be asked for there. It may be another one after the broker was silent.
func (c *Client) Conn() grpc.ClientConnInterface { return c.current() }

// current is the connection for the next request.
func (c *Client) current() *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// renew replaces a connection on which the broker was silent. gRPC may take the connection for sound
// until TCP gives up, a quarter of an hour later. What else is on it goes on elsewhere: it is not answered either.
func (c *Client) renew(old *grpc.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != old || c.ctx.Err() != nil {
		return // another call was faster
	}
	conn, err := grpc.NewClient(c.addr, c.options...)
	if err != nil {
		return // the options were good once, so this cannot be
	}
	c.conn = conn
	_ = old.Close()
}

// join notes a call, unless the client is closed.
func (c *Client) join(call *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.calls[call] = struct{}{}
	return true
}

// leave forgets a call that has ended.
func (c *Client) leave(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, call)
	c.interrupts.forget(call)
}

// joinLease notes a lease that ends with the client, unless the client is closed.
func (c *Client) joinLease(l *lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.renews && !c.closed {
		c.leases[l] = struct{}{}
	}
	return !c.closed
}

// leaveLease forgets a lease.
func (c *Client) leaveLease(l *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leases, l)
}

// begin notes that something begins in the background, which ends it by background.Done; false is a client that
// is closed.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.background.Add(1)
	return true
}

// endSession closes a call's session.
func (c *Client) endSession(ctx context.Context, session string) error {
	_, err := weftv1.NewSessionServiceClient(c.current()).CloseSession(ctx,
		&weftv1.CloseSessionRequest{Namespace: c.namespace, SessionId: session})
	return err
}

// Close closes all calls, gives back what was got, and closes the connection. It may be repeated.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	var open sync.WaitGroup
	for call := range c.calls {
		open.Go(call.Close)
	}
	for l := range c.leases {
		open.Go(func() { l.stop(); l.lose(); l.close() })
	}
	clear(c.leases)
	c.mu.Unlock()
	open.Go(c.sync.close)
	open.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil // closed before
	}
	c.cancel(ErrClosed)
	c.mu.Unlock()
	c.background.Wait()
	c.mu.Lock()
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("client: close the connection: %w", err)
	}
	return nil
}
