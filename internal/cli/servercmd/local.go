package servercmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/command"
)

// instance is a broker and a worker in this process.
type instance struct {
	addresses broker.Addresses
	stop      func()       // ends both and waits; may be repeated
	ended     func() error // waits for the end
}

// startInstance starts a broker and a worker that runs anything; the broker's data is in a directory that
// is removed at the end.
func startInstance(app *cli.App, cfg broker.Config) (*instance, error) {
	dir, err := os.MkdirTemp("", "weft-*")
	if err != nil {
		return nil, fmt.Errorf("temporary data directory: %w", err)
	}
	cfg.DataDir = filepath.Join(dir, "data")
	if cfg.Listen == "" { // a socket in a directory that only this user can enter
		cfg.Listen = "unix:" + filepath.Join(dir, "socket")
	}
	ready := make(chan broker.Addresses, 1)
	cfg.Ready = func(a broker.Addresses) { ready <- a }
	var group errgroup.Group
	brokerCtx, stopBroker := context.WithCancel(context.Background())
	brokerEnded := make(chan struct{})
	group.Go(func() error {
		defer close(brokerEnded)
		return broker.Run(brokerCtx, cfg)
	})
	clean := func(err error) error {
		stopBroker()
		return errors.Join(group.Wait(), err, os.RemoveAll(dir))
	}
	i := &instance{}
	select {
	case i.addresses = <-ready:
	case <-brokerEnded:
		return nil, clean(nil)
	}
	w, err := newWorker(app, i.addresses.GRPC)
	if err != nil {
		return nil, clean(err)
	}
	workerCtx, stopWorker := context.WithCancel(context.Background())
	group.Go(func() error {
		defer stopBroker() // the worker first: its reports are to arrive
		return w.Run(workerCtx)
	})
	i.stop = stopWorker
	i.ended = sync.OnceValue(func() error {
		<-brokerEnded
		stopWorker()
		return clean(nil)
	})
	return i, nil
}

// newWorker is a worker that runs anything, and stops what it runs when it is to end.
func newWorker(app *cli.App, addr string) (*worker.Worker, error) {
	w, err := worker.New(worker.Config{
		Broker: addr, Namespace: app.Namespace(), Name: "local", DrainTimeout: -1, Logger: app.Logger(),
	})
	if err != nil {
		return nil, err
	}
	return w, w.HandleCommands(command.Policy{AllowAny: true, AllowShell: true})
}

// Local is what --local starts: nothing else can reach it, and nothing of it is left.
func Local(app *cli.App) func(context.Context) (*cli.LocalBroker, error) {
	return func(context.Context) (*cli.LocalBroker, error) {
		i, err := startInstance(app, broker.Config{HTTP: "off", Durability: "interval"})
		if err != nil {
			return nil, err
		}
		return &cli.LocalBroker{Addr: i.addresses.GRPC, Stop: func() {
			i.stop()
			if err := i.ended(); err != nil {
				app.Say("%v", err)
			}
		}}, nil
	}
}

// stopPatience is how long children may take to stop in order.
const stopPatience = 10 * time.Second
