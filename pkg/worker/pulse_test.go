package worker

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// busyClient takes its time for each frame, and has another chunk of output for the next one.
type busyClient struct {
	grpc.BidiStreamingClient[weftv1.WorkRequest, weftv1.WorkResponse]
	stream *stream
	until  time.Time
	beats  []time.Time
}

func (c *busyClient) Send(frame *weftv1.WorkRequest) error {
	now := time.Now()
	if now.After(c.until) {
		return io.EOF
	}
	if frame.GetHeartbeat() != 0 {
		c.beats = append(c.beats, now)
	}
	pass(50 * time.Millisecond)
	c.stream.follows.chunks <- &weftv1.OutputChunk{}
	return nil
}

// A sender that never runs out of things to send still comes to its heartbeat.
func TestHeartbeatsBetweenFramesWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t, Config{Broker: "nowhere"})
		begun := time.Now()
		s := &stream{w: w}
		s.ctx, s.fail = context.WithCancelCause(t.Context())
		s.pulse.start(w.cfg.SessionTTL)
		s.follows.open(s)
		client := &busyClient{stream: s, until: begun.Add(time.Minute)}
		s.rpc = client
		w.wakeSender()
		s.follows.chunks <- &weftv1.OutputChunk{}
		s.send()
		last := begun
		for _, beat := range append(client.beats, client.until) {
			if beat.Sub(last) > w.cfg.SessionTTL/3 {
				t.Errorf("no heartbeat for %v", beat.Sub(last))
			}
			last = beat
		}
	})
}

func TestPulse(t *testing.T) {
	p := &pulse{}
	p.start(9 * time.Second)
	at := func(s int) moment { return moment{wall: time.Unix(int64(s), 0)} }
	for s := range 4 {
		if n := p.beat(at(s)); n != uint64(1+s) {
			t.Errorf("heartbeat %d, want %d", n, 1+s)
		}
	}
	for _, test := range []struct {
		beat uint64
		sent int // -1: not to be answered
	}{{0, -1}, {5, -1}, {2, 1}, {2, -1}, {1, -1}, {4, 3}, {4, -1}, {5, -1}} {
		sent, ok := p.answered(test.beat)
		if ok != (test.sent >= 0) || ok && sent != at(test.sent) {
			t.Errorf("answer %d: %v, %v", test.beat, sent, ok)
		}
	}
	if n := p.beat(at(9)); n != 5 {
		t.Errorf("heartbeat %d, want 5", n)
	}
}
