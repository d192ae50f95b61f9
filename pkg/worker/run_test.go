package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/task"
)

func TestDrainLetsAttemptsEnd(t *testing.T) {
	b := newFakeBroker(t)
	g, r, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""))
	a := g.enter(t)
	r.cancel()
	s.until("the word", func() bool { return s.draining })
	s.assign(payloadTask(2, "gate", "")) // was on its way
	if r := s.accepted(2); r.GetEnd() != released {
		t.Errorf("got %v", r)
	}
	if a.ctx.Err() != nil {
		t.Error("the attempt was stopped")
	}
	g.leave <- nil
	s.report(1)
	s.mu.Lock()
	if s.goodbye {
		t.Error("goodbye before the report was acknowledged")
	}
	s.mu.Unlock()
	s.accepted(1)
	s.until("goodbye", func() bool { return s.goodbye })
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credits != 0 {
		t.Errorf("%d credits while draining", s.credits)
	}
}

func TestDrainSurvivesAReconnect(t *testing.T) {
	b := newFakeBroker(t)
	g, r, s := gated(t, b.config(), b, true)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	r.cancel()
	s.until("the word", func() bool { return s.draining })
	s.drop(errDropped)
	s = b.welcome(t)
	if s.hello.GetCredits() != 0 || !s.held()[1] {
		t.Errorf("got %v", s.hello)
	}
	s.until("the word again", func() bool { return s.draining })
	g.leave <- nil
	s.accepted(1)
	s.until("goodbye", func() bool { return s.goodbye })
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestDrainTimeout(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.DrainTimeout = 50 * time.Millisecond
	w := newWorker(t, cfg)
	g := newGate(true)
	w.handle("gate", g.handle)
	allowCommands(t, w)
	r := run(t, w)
	s := b.welcome(t)
	stubborn := commandTask(3, shell("trap '' TERM; echo $$; while :; do sleep 0.01; done"))
	stubborn.Grace = durationpb.New(10 * time.Millisecond)
	s.assign(
		payloadTask(1, "gate", ""),
		commandTask(2, shell("trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done")),
		stubborn,
	)
	a := g.enter(t)
	group2, group3 := s.pid(2), s.pid(3)
	r.cancel()
	for token := range uint64(3) {
		if r := s.accepted(1 + token); r.GetEnd() != released || r.GetError() != nil || r.GetOutput() != nil {
			t.Errorf("got %v", r)
		}
	}
	if cause := context.Cause(&a.ctx); !errors.Is(cause, task.ErrDrained) {
		t.Errorf("cause %v", cause)
	}
	checkGroupGone(t, group2)
	checkGroupGone(t, group3)
	s.until("goodbye", func() bool { return s.goodbye })
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestStopEndsAtOnce(t *testing.T) {
	for _, draining := range []bool{false, true} {
		b := newFakeBroker(t)
		w := newWorker(t, b.config())
		g := newGate(true)
		w.handle("gate", g.handle)
		allowCommands(t, w)
		r := run(t, w)
		s := b.welcome(t)
		s.assign(payloadTask(1, "gate", ""), commandTask(2, shell("trap '' TERM; echo $$; while :; do sleep 0.01; done")))
		g.enter(t)
		group := s.pid(2)
		if draining {
			r.cancel()
			s.until("the word", func() bool { return s.draining })
		}
		r.Stop()
		r.Stop()
		for token := range uint64(2) {
			if r := s.accepted(1 + token); r.GetEnd() != released {
				t.Errorf("got %v", r)
			}
		}
		checkGroupGone(t, group)
		if err := r.wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestRunTellsOfUnconfirmedReports(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.SessionTTL = time.Second
	g, r, s := gated(t, cfg, b, false)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	b.refuseWith(errDropped)
	s.drop(errDropped)
	g.leave <- nil
	r.cancel()
	if err := r.wait(); err == nil {
		t.Error("all is well, it says")
	}
}

func TestRunWithoutABroker(t *testing.T) {
	b := newFakeBroker(t)
	b.refuseWith(errDropped)
	w := newWorker(t, b.config())
	w.handle("a", upper)
	r := run(t, w)
	if err := r.wait(); err != nil {
		t.Error(err)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.SessionTTL = 2 * time.Second
	_, _, s := gated(t, cfg, b, false)
	begun := time.Now()
	s.until("heartbeats", func() bool { return s.beats == 3 })
	if each := time.Since(begun) / 3; each > cfg.SessionTTL/2 {
		t.Errorf("one in %v", each)
	}
}

func TestAConnectionOfTheUsers(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	conn, err := grpc.NewClient(cfg.Broker, append(cfg.DialOptions, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	g, r, s := gated(t, Config{Conn: conn, Slots: 1}, b, false)
	s.assign(payloadTask(1, "gate", ""))
	g.enter(t)
	s.drop(errDropped)
	s = b.welcome(t)
	g.leave <- nil
	s.accepted(1)
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if state := conn.GetState(); state == connectivity.Shutdown {
		t.Error("the worker closed it")
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A worker that drains says at once what it waits for, and what comes next.
func TestDrainSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		log := &logBuffer{}
		cfg := b.config()
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		g, w, s := gated(t, cfg, b, false)
		asg := payloadTask(1, "gate", "")
		asg.Grace = durationpb.New(time.Second)
		s.assign(asg)
		g.enter(t)
		w.cancel()
		for _, test := range []struct {
			want string
			wait time.Duration
		}{
			{"what runs may end\" running=1 tasks=\"[" + taskID(1) + " (gate)]\" told_to_stop_in=30s", 0},
			{"are told to stop, and their tasks will run again elsewhere\" tasks=\"[" + taskID(1) + " (gate)]\" killed_in=16s", DrainTimeoutDefault},
			{"do not heed that they are to stop; commands are killed, handlers are waited for a last time\" tasks=\"[" + taskID(1) + " (gate)]\" given_up_in=15s", 16 * time.Second},
		} {
			pass(test.wait)
			synctest.Wait()
			if !strings.Contains(log.String(), test.want) {
				t.Errorf("%q is not in %s", test.want, log.String())
			}
		}
		g.leave <- nil
		s.accepted(1)
		if err := w.wait(); err != nil {
			t.Error(err)
		}
	})
}
