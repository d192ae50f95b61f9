// Package brokertest runs a broker in the process of a test or an example.
package brokertest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weftq/weft/internal/broker"
)

// Start starts a broker on a free loopback port, with a temporary data directory, and returns its address
// and what stops it and removes the directory.
func Start() (addr string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "weft-test-*")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- broker.Run(ctx, broker.Config{
			Listen: "127.0.0.1:0", HTTP: "off", DataDir: dir,
			Ready: func(a broker.Addresses) { ready <- a.GRPC },
		})
	}()
	stop = func() error {
		cancel()
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	select {
	case addr = <-ready:
		return addr, stop, nil
	case err := <-ended:
		cancel()
		return "", nil, errors.Join(fmt.Errorf("brokertest: %w", err), os.RemoveAll(dir))
	}
}

// MustStart is Start for examples, which have nobody to tell an error.
func MustStart() (addr string, stop func()) {
	addr, end, err := Start()
	if err != nil {
		panic(err)
	}
	return addr, func() {
		if err := end(); err != nil {
			panic(err)
		}
	}
}
