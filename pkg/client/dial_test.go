package client

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What cannot be dialled, and options that make no sense, are told at once.
func TestDialRefuses(t *testing.T) {
	t.Setenv(EnvBroker, "")
	for addr, want := range map[string]string{
		"http://127.0.0.1:9338": "http://", "nats://host:4222": "nats://", "host:": `port ""`, "host:0": `port "0"`, "host:99999": `port "99999"`,
		"host:port": `port "port"`, "a host:9338": `host "a host"`, "a:b:9338": "too many colons", "[::1:9338": "missing ']'",
	} {
		if c, err := Dial(addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", addr, err)
			if err == nil {
				_ = c.Close()
			}
		}
	}
	for want, o := range map[string]Option{
		"namespace": WithNamespace("bad name"), "the name": WithName(strings.Repeat("x", 257)), "key": WithKey("a\nb"),
		"session TTL": WithSessionTTL(time.Millisecond), "WithLogger": WithLogger((*slog.Logger)(nil)),
	} {
		if c, err := Dial("", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
			if err == nil {
				_ = c.Close()
			}
		}
	}
}

func TestDialTakes(t *testing.T) {
	for addr, want := range map[string]string{
		"host": "host:9338", "::1": "[::1]:9338", "[::1]:80": "[::1]:80", ":9338": ":9338", "dns:///host:9338": "dns:///host:9338",
		"dns:host:9338": "dns:host:9338", "unix:/run/weft.sock": "unix:/run/weft.sock", "unix:///run/weft": "unix:///run/weft", "größe.example:1": "größe.example:1",
	} {
		c, err := Dial(addr)
		if err != nil {
			t.Errorf("%q: %v", addr, err)
			continue
		}
		if c.Addr() != want {
			t.Errorf("%q is dialled as %q", addr, c.Addr())
		}
		_ = c.Close()
	}
}

// Options that make no sense are told before the broker is asked: there is none.
func TestOptionsThatMakeNoSense(t *testing.T) {
	c, err := Dial("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := testContext(t)
	q := c.Queue("q")
	get := func(opts ...GetOption) error { _, err := q.Get(ctx, opts...); return err }
	put := func(spec Spec, opts ...EnqueueOption) error { _, err := q.Put(ctx, spec, opts...); return err }
	_, batch := q.PutBatch(ctx, []Spec{{}, {Queue: "other"}})
	_, many := q.GetBatch(ctx, 1001)
	call := c.NewCall(Name("bad name"))
	defer call.Close()
	_, submitted := call.Submit(ctx, Spec{Kind: "k"})
	for want, err := range map[string]error{
		"WithLease(0s)": get(WithLease(0)), "WithLease(25h0m0s)": get(WithLease(25 * time.Hour)), "1001 tasks": many,
		"RequestID": put(Spec{}, RequestID("")), `Queue "other"`: put(Spec{Queue: "other"}), `into the queue "q"`: batch,
		`Name("bad name")`: submitted,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = q.Put(cancelled, Spec{Queue: "q"}); !errors.Is(err, context.Canceled) {
		t.Errorf("the queue's own name: %v", err)
	}
}
