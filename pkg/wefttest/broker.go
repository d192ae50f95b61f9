package wefttest

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/internal/journal/memory"
	"github.com/weftq/weft/pkg/client"
)

// SessionTTL is how long the broker waits for a sign of life of the clients and workers of [Run], unless they are told
// otherwise. It is the longest possible, so that hours of a test's time cost a handful of heartbeats.
const SessionTTL = time.Hour

// limitDefault is that of Limit.
const limitDefault = 400 * 24 * time.Hour

// Broker is a broker in the process of a test, whose journal is in memory. Its methods may be called from several
// goroutines, but for [Broker.Kill] and [Broker.Restart].
type Broker struct {
	t       testing.TB
	cfg     config
	fake    bool // time is a bubble's
	journal memory.Stream
	network network
	run     *run // nil while it is away
}

// run is one life of the broker.
type run struct {
	disk    *disk
	cancel  context.CancelFunc
	stopNow chan struct{}
	ended   chan error
}

// config is what the options say.
type config struct {
	at     time.Time
	limit  time.Duration
	logger *slog.Logger
}

// Option changes a broker.
type Option func(*config)

// At sets the time at which a test of [Run] begins: for schedules, whose times depend on the date. Default, and least,
// is 2000-01-01 00:00 UTC.
func At(at time.Time) Option { return func(c *config) { c.at = at } }

// Limit sets how much of its own time a test of [Run] may take. Default 400 days. A test that takes longer waits for
// something that does not happen, and the broker panics, so that the stacks tell for what.
func Limit(d time.Duration) Option { return func(c *config) { c.limit = d } }

// Log has the broker log to a logger. Default nowhere.
func Log(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

// Run runs a test with a broker in a bubble of testing/synctest: time stands still while anybody works, and jumps to
// what is due next when nobody does. So time.Sleep, timers, deadlines, retries and schedules of hours are over in
// milliseconds. All of testing/synctest holds: the test's function must not call
// t.Run, t.Parallel or t.Deadline, and what waits for a network or another process holds up the time.
func Run(t *testing.T, test func(t *testing.T, b *Broker), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, opts)
		b.fake = true
		b.travel()
		limit := time.AfterFunc(b.cfg.limit, func() {
			debug.SetTraceback("all")
			panic("wefttest: the test has taken " + b.cfg.limit.String() + " of its time: it waits for what does not happen")
		})
		t.Cleanup(func() { limit.Stop() })
		b.begin()
		test(t, b)
	})
}

// Start starts a broker for a test in real time, which ends with the test.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := newBroker(t, opts)
	b.begin()
	return b
}

func newBroker(t testing.TB, opts []Option) *Broker {
	b := &Broker{t: t, cfg: config{limit: limitDefault}}
	for _, o := range opts {
		o(&b.cfg)
	}
	return b
}

// begin starts the broker, to be killed at the test's end.
func (b *Broker) begin() {
	b.t.Helper()
	b.start()
	b.t.Cleanup(b.Kill)
}

// travel goes to the time of [At].
func (b *Broker) travel() {
	b.t.Helper()
	switch d := time.Until(b.cfg.at); {
	case b.cfg.at.IsZero():
	case d < 0:
		b.t.Fatalf("wefttest: At(%v): a test begins at %v at the earliest", b.cfg.at, time.Now().UTC())
	default:
		b.Advance(d)
	}
}

func (b *Broker) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{
		disk: &disk{Stream: &b.journal}, cancel: cancel, stopNow: make(chan struct{}), ended: make(chan error, 1),
	}
	ready := make(chan struct{})
	cfg := broker.Config{
		InProcess: &broker.InProcess{Journal: r.disk, Listener: b.network.listen(), FakeTime: b.fake},
		Logger:    b.cfg.logger, StopNow: r.stopNow, Ready: func(broker.Addresses) { close(ready) },
	}
	go func() { r.ended <- broker.Run(ctx, cfg) }()
	select {
	case <-ready:
		b.run = r
	case err := <-r.ended:
		cancel()
		b.t.Fatalf("wefttest: the broker: %v", err)
	}
}

// Kill ends the broker as kill -9 does: connections break, and what was not in the journal yet is lost. Clients and
// workers dial until it is back.
func (b *Broker) Kill() {
	r := b.run
	if r == nil {
		return
	}
	b.run = nil
	r.disk.pulled.Store(true)
	b.network.close()
	close(r.stopNow)
	r.cancel()
	<-r.ended //nolint:errcheck // whatever it says: it was killed
}

// Restart starts the broker again from its journal. One that runs is killed before.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Kill()
	b.start()
}

// Disconnect breaks every connection. Clients and workers dial again at once.
func (b *Broker) Disconnect() { b.network.cut() }

// Advance lets d of the test's time pass, and then everything come to rest that is due by then. Only for [Run].
func (b *Broker) Advance(d time.Duration) {
	b.t.Helper()
	if !b.fake {
		b.t.Fatal("wefttest: real time cannot be advanced; Advance is for tests of Run")
	}
	time.Sleep(d)
	synctest.Wait()
}

// Client returns a client of the broker, which is closed at the test's end. It has the namespace "default" and no key,
// unless told otherwise, whatever the environment says.
func (b *Broker) Client(opts ...client.Option) *client.Client {
	b.t.Helper()
	own := []client.Option{
		client.WithNamespace("default"), client.WithKey(""), client.WithGRPC(b.dialOptions(&port{network: &b.network})...),
	}
	if b.fake {
		own = append(own, client.WithSessionTTL(SessionTTL))
	}
	c, err := client.Dial(target, append(own, opts...)...)
	if err != nil {
		b.t.Fatalf("wefttest: %v", err)
	}
	b.t.Cleanup(func() { _ = c.Close() }) // the broker may be away
	return c
}

// dialOptions lead to the broker. What is within the process needs no pings to be kept alive.
func (b *Broker) dialOptions(p *port) []grpc.DialOption {
	opts := []grpc.DialOption{grpc.WithContextDialer(p.dial)}
	if b.fake {
		opts = append(opts, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: math.MaxInt64}))
	}
	return opts
}
