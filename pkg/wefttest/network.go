package wefttest

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/test/bufconn"

	"github.com/weftq/weft/internal/journal"
)

// target is the broker's address. It is not resolved: names are looked up by goroutines that outlive a bubble.
const target = "passthrough:///wefttest"

// pipeBytes is what a connection holds each way.
const pipeBytes = 1 << 20

var (
	errAway   = errors.New("wefttest: the broker is away")
	errDown   = errors.New("wefttest: the network is down")
	errPulled = errors.New("wefttest: the broker was killed")
)

// disk is what one life of the broker sees of the journal.
type disk struct {
	journal.Stream
	pulled atomic.Bool // nothing is stored any more
}

// Append implements journal.Stream.
func (d *disk) Append(ctx context.Context, last uint64, data []byte) error {
	if d.pulled.Load() {
		return errPulled
	}
	return d.Stream.Append(ctx, last, data)
}

// network is what connects the programs of a test with the broker: pipes in memory.
type network struct {
	mu       sync.Mutex
	listener *bufconn.Listener // nil while the broker is away
	conns    map[*conn]struct{}
}

// listen makes the broker's end.
func (n *network) listen() net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = bufconn.Listen(pipeBytes)
	return n.listener
}

// close takes the broker's end away.
func (n *network) close() {
	n.mu.Lock()
	_ = n.listener.Close()
	n.listener = nil
	n.mu.Unlock()
	n.cut()
}

// cut breaks all connections.
func (n *network) cut() { n.breakThose(func(*conn) bool { return true }) }

func (n *network) breakThose(meant func(*conn) bool) {
	n.mu.Lock()
	var broken []*conn
	for c := range n.conns {
		if meant(c) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		_ = c.Close()
	}
}

// port is where one program is plugged in.
type port struct {
	network *network
	down    atomic.Bool // nobody gets through
}

func (p *port) dial(ctx context.Context, _ string) (net.Conn, error) {
	if p.down.Load() {
		return nil, errDown
	}
	n := p.network
	n.mu.Lock()
	listener := n.listener
	n.mu.Unlock()
	if listener == nil {
		return nil, errAway
	}
	inner, err := listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, port: p, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.down.Load() || n.listener != listener { // meanwhile
		_ = inner.Close()
		return nil, errDown
	}
	if n.conns == nil {
		n.conns = make(map[*conn]struct{})
	}
	n.conns[c] = struct{}{}
	return c, nil
}

// cut unplugs the program and breaks its connections.
func (p *port) cut() {
	p.down.Store(true)
	p.network.breakThose(p.has)
}

// stall unplugs the program, and nobody notices: what is sent arrives nowhere.
func (p *port) stall() {
	p.down.Store(true)
	n := p.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if p.has(c) {
			c.stalled.Store(true)
		}
	}
}

// plug plugs the program in again. What was stalled has lost bytes, and breaks.
func (p *port) plug() {
	p.network.breakThose(func(c *conn) bool { return p.has(c) && c.stalled.Load() })
	p.down.Store(false)
}

func (p *port) has(c *conn) bool { return c.port == p }

// conn is a program's end of a connection.
type conn struct {
	net.Conn
	port    *port
	stalled atomic.Bool
	once    sync.Once
	closed  chan struct{}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.stalled.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if c.stalled.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *conn) Close() (err error) {
	c.once.Do(func() {
		n := c.port.network
		n.mu.Lock()
		delete(n.conns, c)
		n.mu.Unlock()
		close(c.closed)
		err = c.Conn.Close()
	})
	return err
}
