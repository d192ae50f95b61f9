//go:build linux

package e2e

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/weftq/weft/internal/cli/servercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// brokerProcess is a `weft broker` with a directory and a port that outlive it.
type brokerProcess struct {
	*procs.Process
	world *world
	addr  string
	dir   string
	args  []string
	ready servercmd.BrokerReady
}

// broker starts a broker, with more arguments if there are any.
func (w *world) broker(args ...string) *brokerProcess {
	w.Helper()
	b := &brokerProcess{world: w, addr: w.freePort(), dir: filepath.Join(w.dir, "data"), args: args}
	if err := b.start(); err != nil {
		w.Fatal(err)
	}
	return b
}

// start starts it, or starts it again: on the same port and directory. Any goroutine may call it.
func (b *brokerProcess) start() error {
	p, err := b.world.process("broker", procs.Command{Path: b.world.bin, Args: append([]string{
		"broker", "--json", "--listen", b.addr, "--http", "127.0.0.1:0", "--data", b.dir,
	}, b.args...)})
	if err != nil {
		return err
	}
	b.Process = p
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Ready(ctx, &b.ready); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// restart kills the broker without a word and starts it again.
func (b *brokerProcess) restart() error {
	b.Kill()
	return b.start()
}

// client dials a broker for as long as the test lasts.
func (w *world) client(addr string, opts ...client.Option) *client.Client {
	w.Helper()
	c, err := client.Dial(addr, append(opts, client.WithNamespace(""))...)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.Error(err)
		}
	})
	return c
}
