package servercmd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
)

// startChild starts a command of this program and waits until it is ready.
func startChild(t *testing.T, v any, args ...string) *procs.Process {
	t.Helper()
	p, err := procs.Start(procs.Command{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(10 * time.Second) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Ready(ctx, v); err != nil {
		t.Fatal(err)
	}
	return p
}

// A broker that is killed in the middle of a map and started again on its data: the map goes on by itself,
// and every output comes once and in order.
func TestMapSurvivesTheBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // the broker takes it, before and after
	var ready BrokerReady
	args := []string{"broker", "--json", "--http", "off", "--listen", addr, "--data", t.TempDir()}
	first := startChild(t, &ready, args...)
	startChild(t, &workercmd.Ready{}, "worker", "--json", "--allow-any", "--slots", "4", "--broker", addr)

	const tasks = 300
	var stdin, want strings.Builder
	for i := range tasks {
		fmt.Fprintln(&stdin, i)
		fmt.Fprintln(&want, "did", i)
	}
	w := &weftProgram{t: t, broker: addr, stdin: stdin.String()}
	w.stdout = &buffer{written: make(chan struct{}, 1)}
	out := w.stdout
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		<-out.written // the first output: the map is under way
		first.Kill()
		startChild(t, &ready, args...)
	}()
	r := w.run("map", "-j", "20", "--", "echo", "did")
	<-restarted
	if r.code != 0 || r.stdout != want.String() {
		t.Fatalf("code %d, %d of %d bytes; %s", r.code, len(r.stdout), want.Len(), r.stderr)
	}
}
