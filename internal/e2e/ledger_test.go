//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
)

// phase is what an event says of a run.
type phase string

const (
	begin phase = "begin"
	end   phase = "end"
)

// event is one line of the ledger. What a worker wrote is there even if it was killed right afterwards.
type event struct {
	Worker string
	Task   string // the payload
	Token  uint64
	Number uint32
	Phase  phase
	At     time.Time
	Error  string `json:",omitempty"`
}

// ledger knows every run of every handler in the test's worker processes.
type ledger struct {
	world    *world
	listener net.Listener
	group    sync.WaitGroup

	mu      sync.Mutex
	events  []event
	conns   map[string]net.Conn // by worker, once it wrote something
	open    []net.Conn
	changed chan struct{} // closed with the next event
}

func (w *world) ledger() *ledger {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	l := &ledger{world: w, listener: listener, conns: make(map[string]net.Conn), changed: make(chan struct{})}
	l.group.Go(l.accept)
	w.Cleanup(l.close)
	return l
}

func (l *ledger) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		l.mu.Lock()
		l.open = append(l.open, conn)
		l.mu.Unlock()
		l.group.Go(func() { l.read(conn) })
	}
}

func (l *ledger) read(conn net.Conn) {
	from := json.NewDecoder(conn)
	for {
		var e event
		if from.Decode(&e) != nil {
			return
		}
		l.mu.Lock()
		l.events = append(l.events, e)
		l.conns[e.Worker] = conn
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// close waits for everything that was written by workers that are gone.
func (l *ledger) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	for _, conn := range l.open {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.group.Wait()
}

// all returns every event, once the workers are gone.
func (l *ledger) all() []event {
	_ = l.listener.Close()
	l.group.Wait() // what they wrote is read to its end
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// await waits for so many different events that match, and returns them.
func (l *ledger) await(ctx context.Context, n int, match func(*event) bool) []event {
	l.world.Helper()
	for {
		l.mu.Lock()
		var found []event
		for i := range l.events {
			if match(&l.events[i]) {
				found = append(found, l.events[i])
			}
		}
		changed := l.changed
		l.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.world.Fatalf("%d of %d events: %+v", len(found), n, found)
		}
	}
}

// release lets a held run go on.
func (l *ledger) release(e *event) {
	l.world.Helper()
	l.mu.Lock()
	conn := l.conns[e.Worker]
	l.mu.Unlock()
	if _, err := fmt.Fprintln(conn, e.Token); err != nil {
		l.world.Fatal(err)
	}
}

// begins matches the beginnings of runs on a worker; empty is any.
func begins(worker string) func(*event) bool {
	return func(e *event) bool { return e.Phase == begin && (worker == "" || e.Worker == worker) }
}

// worker starts a worker process that writes into the ledger.
func (l *ledger) worker(cfg workerConfig) *procs.Process {
	l.world.Helper()
	self, err := os.Executable()
	if err != nil {
		l.world.Fatal(err)
	}
	cfg.Ledger = l.listener.Addr().String()
	text, err := json.Marshal(cfg)
	if err != nil {
		l.world.Fatal(err)
	}
	p, err := l.world.process(cfg.Name, procs.Command{
		Path: self, Env: []string{envRole + "=" + roleWorker, envWorker + "=" + string(text)},
	})
	if err != nil {
		l.world.Fatal(err)
	}
	var ready workercmd.Ready
	if err := p.Ready(l.world.context(), &ready); err != nil {
		l.world.Fatal(err)
	}
	return p
}
