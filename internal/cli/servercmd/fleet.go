package servercmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// fleet is a broker and workers in processes of their own, which end with this one however that ends.
type fleet struct {
	addr    string
	data    string // the broker's directory
	stderr  io.Writer
	broker  *procs.Process // nil if it is somebody else's
	workers []*procs.Process
}

// startTimeout is how long a child may take to be ready.
const startTimeout = 30 * time.Second

// startBroker starts a broker on a free loopback port. An empty dir is a temporary one.
func startBroker(ctx context.Context, stderr io.Writer, dir, durability string) (*fleet, error) {
	args := []string{"broker", "--json", "--listen", "127.0.0.1:0", "--http", "off", "--durability", durability}
	if dir == "" {
		args = append(args, "--temporary")
	} else {
		args = append(args, "--data", dir)
	}
	p, err := procs.Start(procs.Command{Args: args, Stderr: stderr})
	if err != nil {
		return nil, err
	}
	f := &fleet{broker: p, stderr: stderr}
	var ready BrokerReady
	if err := f.ready(ctx, p, &ready); err != nil {
		f.stop()
		return nil, fmt.Errorf("the broker: %w", err)
	}
	f.addr, f.data = ready.GRPC, ready.Data
	return f, nil
}

// startWorker starts a worker of the fleet's broker with further arguments.
func (f *fleet) startWorker(ctx context.Context, args ...string) error {
	p, err := procs.Start(procs.Command{Args: append(args, "--broker", f.addr), Stderr: f.stderr})
	if err != nil {
		return err
	}
	f.workers = append(f.workers, p)
	var ready workercmd.Ready
	if err := f.ready(ctx, p, &ready); err != nil {
		return fmt.Errorf("a worker: %w", err)
	}
	return nil
}

// ready waits for a child.
func (f *fleet) ready(ctx context.Context, p *procs.Process, v any) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.Ready(ctx, v)
}

// connected waits until so many workers have come to the broker.
func (f *fleet) connected(ctx context.Context, c *client.Client, workers int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		for _, err := range c.Workers(ctx) {
			if err != nil {
				return err
			}
			n++
		}
		if n >= workers {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d workers are connected: %w", n, workers, context.Cause(ctx))
		}
	}
}

// stop stops the workers, then the broker. It may be repeated.
func (f *fleet) stop() {
	for _, w := range f.workers {
		_ = w.Stop(stopPatience) // what it says is on its standard error
	}
	if f.broker != nil {
		_ = f.broker.Stop(stopPatience) // likewise
	}
}

// dial connects to the fleet's broker.
func (f *fleet) dial(app *cli.App) (*client.Client, error) {
	return client.Dial(f.addr, client.WithNamespace(app.Namespace()), client.WithLogger(app.Logger()))
}
