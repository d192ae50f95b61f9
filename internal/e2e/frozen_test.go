//go:build linux

package e2e

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
)

// frozenTTL is that of the sessions on a path that freezes, and frozenMax what a future may take then.
const (
	frozenTTL = 2 * time.Second
	frozenMax = 20 * time.Second
)

// A path that carries nothing any more, and says nothing of it, holds nobody up: neither the client that
// waits on it nor the worker that has something to report.
func TestFrozenPath(t *testing.T) {
	for _, c := range []struct {
		name           string
		client, worker bool
	}{{"client's", true, false}, {"worker's", false, true}, {"both", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			ctx, b, l := w.context(), w.broker(), w.ledger()
			clients, workers := w.proxy(b.addr), w.proxy(b.addr)
			l.worker(workerConfig{Name: "north", Broker: workers.addr(), Slots: 4, TTL: frozenTTL})
			dialled := w.client(clients.addr(), client.WithSessionTTL(frozenTTL))
			futures := w.submit(dialled, "sleep", "500ms/1", "500ms/2")
			l.await(ctx, 2, begins("north"))

			frozen := time.Now()
			if c.client {
				clients.freeze()
			}
			if c.worker {
				workers.freeze()
			}
			futures = append(futures, w.submit(dialled, "sleep", "1ms/3")...) // another call, on the same connection
			for i, f := range futures {
				o, err := f.Wait(ctx)
				if err != nil || o.Err() != nil {
					t.Fatalf("future %d: %+v, %v", i, o, err)
				}
			}
			if took := time.Since(frozen); took > frozenMax {
				t.Errorf("the futures took %v", took)
			}
			for _, err := range dialled.Workers(ctx) { // what is asked next goes another way, too
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// proxy carries TCP connections, until it is told to carry the present ones no longer.
type proxy struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu     sync.Mutex
	links  []*link
	parted bool // nobody comes through
}

// link is one connection, both ways.
type link struct {
	ends   [2]net.Conn
	mu     sync.RWMutex // held for reading by who forwards
	frozen bool
}

func (w *world) proxy(to string) *proxy {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	p := &proxy{listener: listener, to: to}
	p.group.Go(p.accept)
	w.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		l := &link{ends: [2]net.Conn{near, far}}
		p.mu.Lock()
		p.links = append(p.links, l)
		if p.parted {
			l.close()
		}
		p.mu.Unlock()
		p.group.Go(func() { l.carry(near, far) })
		p.group.Go(func() { l.carry(far, near) })
	}
}

// carry forwards one way. What it has read from a frozen connection is lost, and what ends is not told.
func (l *link) carry(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.RLock()
		frozen := l.frozen
		if n > 0 && !frozen {
			_, _ = to.Write(buf[:n]) // a side that is gone ends the other way's read
		}
		l.mu.RUnlock()
		if frozen {
			return
		}
		if err != nil {
			_ = to.Close() // gRPC never closes one way alone
			return
		}
	}
}

func (l *link) close() {
	_ = l.ends[0].Close()
	_ = l.ends[1].Close()
}

// part freezes the connections that there are, and refuses those to come.
func (p *proxy) part() {
	p.freeze()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted = true
}

// sever refuses those to come, and ends those that there are: both sides are told.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted = true
	for _, l := range p.links {
		l.close()
	}
}

// mend carries what comes from now on.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted = false
}

// freeze stops the connections that there are; those to come are carried.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.mu.Lock()
		l.frozen = true
		l.mu.Unlock()
	}
}

// stall carries nothing for a while, and everything afterwards.
func (p *proxy) stall(d time.Duration) {
	p.mu.Lock()
	links := slices.Clone(p.links)
	p.mu.Unlock()
	for _, l := range links {
		l.mu.Lock()
	}
	<-time.After(d) // this is the stall
	for _, l := range links {
		l.mu.Unlock()
	}
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.group.Wait()
}
