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
	w, err := worker.New(worker.Config{Broker: addr})
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

	for _, test := range []struct{ line, out, err string }{
		{"echo copied", "copied\nexit status 0\n", ""},
		{"echo partly; echo broken >&2; exit 23", "partly\n", "sh: exit status 23: broken\n"},
	} {
		var out strings.Builder
		err := run(t.Context(), addr, &out, []string{"sh", "-c", test.line})
		if out.String() != test.out || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: %q, %v", test.line, out.String(), err)
		}
	}
	if err := run(t.Context(), addr, &strings.Builder{}, []string{"rsync"}); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("a program that is not allowed: %v", err)
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard, []string{"true"}); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}
