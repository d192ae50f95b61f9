package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/command"
)

func TestRun(t *testing.T) {
	addr, stop := brokertest.MustStart()
	defer stop()
	w, err := worker.New(worker.Config{Broker: addr, Slots: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.HandleCommands(command.Policy{Allow: []string{"sh"}}); err != nil {
		t.Fatal(err)
	}
	ctx, drain := context.WithCancel(t.Context())
	workerC := make(chan error, 1)
	go func() { workerC <- w.Run(ctx) }()
	defer func() { drain(); <-workerC }()

	var out strings.Builder
	searches := []string{"sleep 600", "echo here", "sleep 600"}
	if err := run(t.Context(), addr, &out, searches); err != nil {
		t.Fatal(err)
	}
	const ended = "ended: TASK_STATE_CANCELLED"
	if lines := strings.Split(out.String(), "\n"); len(lines) != 4 || lines[0] != "found by: here" ||
		!strings.HasPrefix(lines[1], ended) || !strings.HasPrefix(lines[2], ended) {
		t.Errorf("%q", out.String())
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard, []string{"true"}); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}
