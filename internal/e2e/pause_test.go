//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// pausedTTL is that of all sessions here, and the broker is paused for half as long again.
const pausedTTL = 2 * time.Second

// A broker that is stopped for longer than every session lives expires nobody. What ends meanwhile ended on
// its first attempt; what goes on longer than its worker may without a broker is stopped by that worker, and
// runs again without being charged.
func TestBrokerPaused(t *testing.T) {
	w := newWorld(t)
	ctx, b, l := w.context(), w.broker(), w.ledger()
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 3, TTL: pausedTTL})
	c := w.client(b.addr, client.WithSessionTTL(pausedTTL))
	futures := w.submit(c, "hold", "early", "late")
	runs := l.await(ctx, 2, begins("north"))
	if runs[0].Task != "early" {
		runs[0], runs[1] = runs[1], runs[0]
	}
	before := w.sessions(c)

	paused := time.Now()
	send(t, b.Process, syscall.SIGSTOP)
	l.release(&runs[0]) // its worker cannot report it before the broker is back
	stopped := l.await(ctx, 1, func(e *event) bool { return e.Phase == end && e.Task == "late" })[0]
	if stopped.Error != task.ErrLeaseLost.Error() {
		t.Errorf("the worker ended its attempt with %q", stopped.Error)
	}
	if after := stopped.At.Sub(paused); after > pausedTTL+time.Second {
		t.Errorf("the worker stopped its attempt %v after the broker; others could have it after %v", after, pausedTTL)
	}
	time.Sleep(time.Until(paused.Add(pausedTTL * 3 / 2))) // the length of the pause is the test
	send(t, b.Process, syscall.SIGCONT)

	again := l.await(ctx, 3, begins("north"))[2]
	if again.Task != "late" || again.Number != 2 {
		t.Errorf("what runs again is %+v", again)
	}
	lost, err := c.Get(ctx, futures[1].TaskID())
	if err != nil || lost.GetWorkersLost() != 0 {
		t.Errorf("%v, %v: a worker's loss is charged", lost, err)
	}
	l.release(&again)
	for i, want := range []struct {
		attempts int
		token    uint64
	}{{1, runs[0].Token}, {2, again.Token}} {
		o, err := futures[i].Wait(ctx)
		if err != nil || o.Err() != nil {
			t.Fatal(err, o)
		}
		if o.Attempts != want.attempts || o.Token != want.token {
			t.Errorf("outcome %+v, want %+v", o, want)
		}
	}
	if after := w.sessions(c); after != before {
		t.Errorf("sessions before the pause: %s; after it: %s", before, after)
	}
}

// sessions says which sessions there are.
func (w *world) sessions(c *client.Client) string {
	w.Helper()
	resp, err := weftv1.NewSessionServiceClient(c.Conn()).ListSessions(w.context(), &weftv1.ListSessionsRequest{})
	if err != nil {
		w.Fatal(err)
	}
	text := ""
	for _, s := range resp.GetSessions() {
		text += s.GetKind().String() + " " + s.GetName() + " opened " + s.GetOpenedAt().AsTime().String() + "\n"
	}
	return text
}
