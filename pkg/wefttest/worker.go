package wefttest

import (
	"cmp"
	"context"
	"sync/atomic"

	"github.com/weftq/weft/pkg/worker"
)

// slots of a worker, unless it is told otherwise: as many on every machine.
const slots = 10

// Worker is a worker that runs.
type Worker struct {
	*worker.Worker

	port   port
	cancel context.CancelFunc
	killed atomic.Bool
	ended  chan struct{}
	err    error
}

// Worker starts a worker of the broker: handle gives it its handlers. Its configuration names no broker; it has the
// namespace "default", 10 slots and, in [Run], [SessionTTL], unless told otherwise. It is stopped at the test's end,
// which breaks off what it runs then; a worker that is refused fails the test.
func (b *Broker) Worker(cfg worker.Config, handle func(w *worker.Worker)) *Worker {
	b.t.Helper()
	if cfg.Broker != "" || cfg.Conn != nil {
		b.t.Fatal("wefttest: the worker's configuration names a broker: it is given this one")
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{port: port{network: &b.network}, cancel: cancel, ended: make(chan struct{})}
	cfg.Broker = target
	cfg.DialOptions = append(b.dialOptions(&w.port), cfg.DialOptions...)
	cfg.Namespace = cmp.Or(cfg.Namespace, "default")
	cfg.Slots = cmp.Or(cfg.Slots, slots)
	if b.fake {
		cfg.SessionTTL = cmp.Or(cfg.SessionTTL, SessionTTL)
	}
	inner, err := worker.New(cfg)
	if err != nil {
		cancel()
		b.t.Fatalf("wefttest: %v", err)
	}
	w.Worker = inner
	handle(inner)
	go func() {
		defer close(w.ended)
		w.err = inner.Run(ctx)
	}()
	b.t.Cleanup(func() {
		w.Stop()
		cancel()
		if <-w.ended; w.err != nil && !w.killed.Load() && b.run != nil {
			b.t.Errorf("wefttest: %v", w.err)
		}
	})
	return w
}

// Drain ends the worker in order, as SIGTERM does, waits for that and returns what Run returned.
func (w *Worker) Drain() error {
	w.cancel()
	<-w.ended
	return w.err
}

// Kill ends the worker as kill -9 does: its connection breaks and nothing that it does reaches the broker any more. Its
// handlers' contexts end too, as nothing else can end a goroutine.
func (w *Worker) Kill() {
	w.killed.Store(true)
	w.port.cut()
	w.Stop()
}

// Disconnect breaks the worker's connection, and it cannot get through until [Worker.Reconnect].
func (w *Worker) Disconnect() { w.port.cut() }

// Stall is [Worker.Disconnect] without a sign: what the worker and the broker send each other is lost, as if the
// network's cable was pulled. They find out by the heartbeats that are not answered; the session ends with its TTL.
func (w *Worker) Stall() { w.port.stall() }

// Reconnect ends what Disconnect or Stall began.
func (w *Worker) Reconnect() { w.port.plug() }
