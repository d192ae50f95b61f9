//go:build linux

package e2e

import (
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A broker that is told to stop under load exits with 0, and its clients go on after it is back.
func TestBrokerStops(t *testing.T) {
	const tasks = 5000
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	north := l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 50})
	c := w.client(b.addr)
	tokens := make(map[string]uint64)
	for r := range client.MapSpecs(w.context(), c, inputs("echo", "", tasks), client.Unordered()) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		tokens[string(r.Outcome.Payload.Bytes())] = r.Outcome.Token
		if len(tokens) == tasks/3 {
			send(t, b.Process, syscall.SIGTERM)
			w.exits(b.Process, 0)
			if err := b.start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(tokens) != tasks {
		t.Errorf("%d outcomes of %d", len(tokens), tasks)
	}
	if err := north.Stop(stopPatience); err != nil {
		t.Error(err)
	}
	l.checkRuns(tokens)
}

// stopAtOnce is what a broker may take to end after a second signal. The first one waits longer for calls
// that do not end.
const stopAtOnce = 2 * time.Second

// A broker says that it is not ready before it closes anything; and a second signal ends its patience with
// calls that go on.
func TestBrokerStopsAtOnce(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	c := w.client(b.addr)
	ctx, cancel := context.WithCancel(w.context())
	defer cancel()
	// A call that goes on: a request of which only the header comes. The broker has seen it when it answers the
	// watch, on the same connection.
	if _, err := c.Conn().NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, weftv1.TaskService_SubmitTask_FullMethodName); err != nil {
		t.Fatal(err)
	}
	watch, err := healthv1.NewHealthClient(c.Conn()).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if m, err := watch.Recv(); err != nil || m.GetStatus() != want {
			t.Fatalf("health: %v, %v; want %v", m, err, want)
		}
	}
	expect(healthv1.HealthCheckResponse_SERVING)
	if code := httpStatus(t, b, "/readyz"); code != http.StatusOK {
		t.Errorf("readyz: %d", code)
	}

	send(t, b.Process, syscall.SIGTERM)
	expect(healthv1.HealthCheckResponse_NOT_SERVING)
	w.until("readyz says no", func() bool { return httpStatus(t, b, "/readyz") == http.StatusServiceUnavailable })
	if code := httpStatus(t, b, "/healthz"); code != http.StatusOK {
		t.Errorf("healthz of a broker that stops: %d", code)
	}
	signalled := time.Now()
	send(t, b.Process, syscall.SIGTERM)
	w.exits(b.Process, 0)
	if took := time.Since(signalled); took > stopAtOnce {
		t.Errorf("it ended %v after the second signal", took)
	}
}

func httpStatus(t *testing.T, b *brokerProcess, path string) int {
	t.Helper()
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: stopPatience}
	resp, err := h.Get("http://" + b.ready.HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
