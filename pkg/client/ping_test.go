package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Ping of an address without a broker says why, and does not wait for one.
func TestPingWithoutABroker(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := free.Addr().String()
	_ = free.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: testTimeout}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(web)
	}()
	defer func() { _ = server.Close(); <-served }()

	for addr, want := range map[string]string{
		refused:                      "client: no broker at " + refused + ": connection refused",
		web.Addr().String():          "client: no broker at " + web.Addr().String() + ": it speaks HTTP, not gRPC",
		"unix:" + t.TempDir() + "/s": "no such file or directory",
	} {
		c, err := Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // also while gRPC waits to try again
			err = c.Ping(context.Background())
			if err == nil || !strings.HasSuffix(err.Error(), want) || status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v, want %s", addr, err, want)
			}
		}
		_ = c.Close()
		if err := c.Ping(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: after Close: %v", addr, err)
		}
	}
}

// Ping of somebody who says nothing ends with its context.
func TestPingOfSilence(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	c, err := Dial(silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		conn, err := silent.Accept()
		cancel(errGap)
		if err == nil {
			<-ctx.Done()
			_ = conn.Close()
		}
	}()
	if err := c.Ping(ctx); !errors.Is(err, errGap) {
		t.Error(err)
	}
}

func TestDialWords(t *testing.T) {
	for message, want := range map[string]string{
		`connection error: desc = "transport: Error while dialing: dial tcp [::1]:1: connect: connection refused"`: "connection refused",
		`connection error: desc = "transport: Error while dialing: dial tcp: lookup nowhere: no such host"`:        "dial tcp: lookup nowhere: no such host",
		`connection error: desc = "transport: authentication handshake failed: EOF"`:                               "authentication handshake failed: EOF",
		`name resolver error: produced zero addresses`:                                                             "name resolver error: produced zero addresses",
		`connection error: desc = "unfinished`:                                                                     `connection error: desc = "unfinished`,
	} {
		if got := dialWords(message); got != want {
			t.Errorf("%s\nis %s, want %s", message, got, want)
		}
	}
}
