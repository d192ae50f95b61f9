package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// newQueue makes a broker, two clients of it and a queue.
func newQueue(t *testing.T, settings ...client.Setting) (mine, other *client.Client) {
	t.Helper()
	addr, stop, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	var clients [2]*client.Client
	for i := range clients {
		if clients[i], err = client.Dial(addr); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, c := range clients {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err := clients[0].Queue("q").Create(t.Context(), settings...); err != nil {
		t.Fatal(err)
	}
	return clients[0], clients[1]
}

// What a client got and did not end goes back when it is closed; with a given lease it stays.
func TestHeldEndsWithItsClient(t *testing.T) {
	mine, other := newQueue(t)
	ctx := t.Context()
	for range 2 {
		if _, err := other.Queue("q").Put(ctx, client.Spec{}); err != nil {
			t.Fatal(err)
		}
	}
	renewed, err := mine.Queue("q").Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	given, err := mine.Queue("q").Get(ctx, client.WithLease(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := given.Renew(ctx); err != nil || d != time.Hour {
		t.Errorf("renewed for %v, %v", d, err)
	}
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	<-renewed.Lost()
	h, err := other.Queue("q").Get(ctx)
	if err != nil || h.TaskID() != renewed.TaskID() {
		t.Fatalf("got %v, %v; want %s", h, err, renewed.TaskID())
	}
	if _, err := other.Queue("q").TryGet(ctx); !errors.Is(err, client.ErrEmpty) {
		t.Errorf("what is held by a given lease: %v", err)
	}
	if err := h.Done(ctx); err != nil {
		t.Error(err)
	}
}

// The tasks of a batch that nobody takes twice, the joined ones and the filters.
func TestEnqueueAllExplainRetryList(t *testing.T) {
	mine, _ := newQueue(t)
	ctx := t.Context()
	out, err := mine.EnqueueAll(ctx, []client.Spec{
		{Queue: "q", Kind: "a", Labels: map[string]string{"x": "1"}, UniqueKey: "u"},
		{Queue: "nowhere", Kind: "a"},
		{Queue: "q", Kind: "a", Labels: map[string]string{"x": "1"}, UniqueKey: "u"},
		{Queue: "q", Kind: "b"},
	})
	if err != nil || out[0].Err != nil || !errors.Is(out[1].Err, client.ErrQueueNotFound) ||
		!out[2].Joined || out[2].TaskID != out[0].TaskID || out[3].Err != nil {
		t.Fatalf("%+v, %v", out, err)
	}
	var joined bool
	id, err := mine.Enqueue(ctx, client.Spec{Queue: "q", Kind: "a", UniqueKey: "u"}, client.Joined(&joined), client.RequestID("mine"))
	if err != nil || !joined || id != out[0].TaskID {
		t.Errorf("%s, %v, %v", id, joined, err)
	}
	for filter, want := range map[string]client.Filter{
		out[0].TaskID: {Kind: "a"}, out[3].TaskID: {Kind: "b", Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)},
	} {
		for found, err := range mine.List(ctx, want) {
			if err != nil || found.GetId() != filter {
				t.Errorf("%+v: %v, %v", want, found, err)
			}
		}
	}
	for found, err := range mine.List(ctx, client.Filter{Until: time.Now().Add(-time.Hour)}) {
		t.Errorf("before there was any: %v, %v", found, err)
	}
	e, err := mine.Explain(ctx, out[3].TaskID)
	if err != nil || e.Reason != "no_worker" || e.Message == "" || e.Advice == "" {
		t.Errorf("%+v, %v", e, err)
	}
	if err := mine.Retry(ctx, out[3].TaskID); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FINAL) {
		t.Errorf("retry of a task that waits: %v", err)
	}
	if _, err := mine.CancelTask(ctx, out[3].TaskID, 0); err != nil {
		t.Fatal(err)
	}
	if err := mine.Retry(ctx, out[3].TaskID); err != nil {
		t.Error(err)
	}
	h, err := mine.Queue("q").Get(ctx, client.Kinds("b"))
	if err != nil || h.TaskID() != out[3].TaskID || h.Kind() != "b" {
		t.Errorf("%v, %v", h, err)
	}
}
