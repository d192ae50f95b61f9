package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weftq/weft/internal/journal/memory"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

func TestPoisonIsForgottenAfterAWhile(t *testing.T) {
	var p poison
	p.add(&bomb{"x"})
	if !p.has(&bomb{"x"}) || p.has(&bomb{"y"}) {
		t.Error("another command is known")
	}
	for _, alike := range p.until {
		for sum, until := range alike {
			if left := time.Until(until); left > poisonFor || left < poisonFor-time.Minute {
				t.Errorf("for %v", left)
			}
			alike[sum] = time.Now().Add(-time.Second)
		}
	}
	if p.has(&bomb{"x"}) || len(p.until) != 0 {
		t.Error("it is still known")
	}
}

// A client that asks again sends new numbers and ids with the same request.
func TestPoisonKnowsARequestAgain(t *testing.T) {
	for name, pair := range map[string][2]Command{
		"reserve": {
			&ReserveTasks{Reservation: queue.Reservation{Waiter: 1, Queue: "q"}, NewSession: session.ID{1}, RequestID: "r"},
			&ReserveTasks{Reservation: queue.Reservation{Waiter: 2, Queue: "q"}, NewSession: session.ID{2}, RequestID: "r"},
		},
		"submit": {&SubmitTask{RequestID: "r", Waiter: 1}, &SubmitTask{RequestID: "r", Waiter: 2}},
		"join":   {&JoinQueue{Name: "q", Waiter: 1}, &JoinQueue{Name: "q", Waiter: 2}},
		"open":   {&OpenSession{session.State{ID: session.ID{1}, Name: "n"}}, &OpenSession{session.State{ID: session.ID{2}, Name: "n"}}},
		"attach": {
			&CallAttach{Call: "c", NewSession: session.ID{1}, Stream: NewOutbox()},
			&CallAttach{Call: "c", NewSession: session.ID{2}, Stream: NewOutbox()},
		},
		"call's frame": {
			&CallFrame{Call: 1, Heartbeat: 1, Stream: NewOutbox(), Refused: []queue.Rejected{{Call: 1}}, Tasks: []queue.NewTask{{Index: 1}}},
			&CallFrame{Call: 1, Heartbeat: 2, Stream: NewOutbox(), Refused: []queue.Rejected{{}}, Tasks: []queue.NewTask{{Index: 1}}},
		},
		"worker's frame": {
			&WorkerFrame{Heartbeat: 1, Credits: 3, Reports: []queue.Report{{ID: 1}}},
			&WorkerFrame{Heartbeat: 2, Credits: 2, Reports: []queue.Report{{ID: 1}}},
		},
		"lock service": {
			&Synchronize{Op: &AcquireLock{Name: "l"}, Ticket: 1, NewSession: session.ID{1}},
			&Synchronize{Op: &AcquireLock{Name: "l"}, Ticket: 2, NewSession: session.ID{2}},
		},
		"lock service's frame": {
			&SynchronizeFrame{Heartbeat: 1, Below: 1, Stream: NewOutbox(), Commands: []LockCommand{{Number: 3, Op: &AcquireLock{Name: "l"}}}},
			&SynchronizeFrame{Heartbeat: 2, Below: 2, Stream: NewOutbox(), Commands: []LockCommand{{Number: 3, Op: &AcquireLock{Name: "l"}}}},
		},
		"goodbye": {&WorkerFrame{Goodbye: true}, &WorkerFrame{Goodbye: true, Heartbeat: 2}},
	} {
		var p poison
		p.add(pair[0])
		if !p.has(pair[1]) {
			t.Errorf("%s: asked again, it is not known", name)
		}
	}
	var p poison
	p.add(&CallFrame{Call: 1, Tasks: []queue.NewTask{{Index: 1}}})
	if p.has(&CallFrame{Call: 1, Tasks: []queue.NewTask{{Index: 2}}}) {
		t.Error("another frame is known")
	}
}

// A stream's frame that is refused ends its stream, as nobody else would tell its client; and one that is carried out stays
// as it was sent.
func TestRefusedFramesEndTheirStreams(t *testing.T) {
	for _, cmd := range []Command{
		&CallFrame{Stream: NewOutbox()}, &WorkerFrame{Stream: NewOutbox()}, &SynchronizeFrame{Stream: NewOutbox()},
	} {
		refuse(inboxItem{cmd: cmd}, poisoned())
		if o := streamOf(cmd); o == nil || o.Err() == nil {
			t.Errorf("%T: its stream goes on", cmd)
		}
	}
	s := newScript(t, Config{})
	hello := &SynchronizeHello{Namespace: scriptNamespace, NewSession: session.ID{1}, TTL: time.Hour, Stream: NewOutbox()}
	s.decide(hello, func(any, error) {})
	frame := &SynchronizeFrame{
		Namespace: scriptNamespace, Channel: lockservice.Channel{Session: session.ID{1}}, Stream: hello.Stream,
		Commands: []LockCommand{{Number: 1, Op: &SetEvent{Name: "e", Set: true}}},
	}
	s.decide(frame, nil)
	if len(frame.Commands) != 1 || s.m.locks.Event(scriptNamespace, "e").Generation == 0 {
		t.Errorf("%+v", frame)
	}
}

// To refuse a frame that asks for nothing would refuse every heartbeat of its stream.
func TestPoisonLeavesHeartbeatsAlone(t *testing.T) {
	for _, cmd := range []Command{
		&CallFrame{Call: 1}, &CallFrame{Call: 1, Heartbeat: 7}, &CallFrame{Call: 1, Refused: []queue.Rejected{{Index: 3}}},
		&WorkerFrame{Session: session.ID{1}}, &WorkerFrame{Session: session.ID{1}, Heartbeat: 7, Credits: 3},
		&SynchronizeFrame{Heartbeat: 7, Below: 3},
	} {
		var p poison
		p.add(cmd)
		if p.size() != 0 || p.has(cmd) {
			t.Errorf("%+v is remembered", cmd)
		}
	}
	// Nor are they taken for a poisoned frame of the same stream.
	var p poison
	p.add(&CallFrame{Call: 1, Finish: true})
	p.add(&WorkerFrame{Session: session.ID{1}, Draining: true})
	if p.has(&CallFrame{Call: 1, Heartbeat: 7}) || p.has(&WorkerFrame{Session: session.ID{1}, Heartbeat: 7, Credits: 1}) {
		t.Error("a heartbeat is refused")
	}
}

// inspected is a command that tells when its contents are looked at.
type inspected struct{ looks *int }

func (c *inspected) run(*Machine, *pure.Step) (any, error) { return nil, nil }

// MarshalJSON implements json.Marshaler.
func (c *inspected) MarshalJSON() ([]byte, error) {
	*c.looks++
	return json.Marshal("x")
}

// Whatever is poisoned, the contents of other kinds of commands and of other senders' frames are not looked at.
func TestPoisonIsCheap(t *testing.T) {
	looks := 0
	c := &inspected{&looks}
	var p poison
	p.add(&bomb{"x"})
	if p.has(c) || looks != 0 {
		t.Errorf("%d looks at a command of another kind", looks)
	}
	p.add(c)
	if !p.has(c) || looks != 2 {
		t.Errorf("%d looks at a command of that kind", looks)
	}
	p.add(&CallFrame{Call: 1, Tasks: make([]queue.NewTask, 1)})
	large := []Command{
		&CallFrame{Call: 2, Tasks: make([]queue.NewTask, 1)}, &CallFrame{Call: 1, Tasks: make([]queue.NewTask, 1000)},
		&WorkerFrame{Reports: make([]queue.Report, 1000)},
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, cmd := range large {
			if p.has(cmd) {
				t.Errorf("%T is known", cmd)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for frames that are not alike", n)
	}
}

func TestPoisonIsBounded(t *testing.T) {
	var p poison
	for i := range 5 * poisonMax {
		p.add(&bomb{fmt.Sprint(i)})
	}
	if n := p.size(); n > poisonMax || n == 0 {
		t.Errorf("%d are remembered", n)
	}
}

// unmarshalable is a command that JSON cannot write.
type unmarshalable struct{ Name string }

func (c *unmarshalable) run(*Machine, *pure.Step) (any, error) { return nil, nil }

// MarshalJSON implements json.Marshaler.
func (c *unmarshalable) MarshalJSON() ([]byte, error) { return nil, errors.New("not this one") }

func TestPoisonOfWhatCannotBeWritten(t *testing.T) {
	var p poison
	p.add(&unmarshalable{"x"})
	if !p.has(&unmarshalable{"x"}) || p.has(&bomb{"x"}) {
		t.Error("it is unknown, or another is known")
	}
}

// badBeat is a heartbeat that the machine does not survive.
type badBeat struct{ WorkerFrame }

func (c *badBeat) run(*Machine, *pure.Step) (any, error) { panic("boom") }

// Whoever sends it is to come back, and is not refused when it does.
func TestHeartbeatThatPanicsIsNotRemembered(t *testing.T) {
	l := startLoop(t, &memory.Stream{})
	ctx := testContext(t)
	hello := queue.Hello{Namespace: "default", Session: session.ID{1}, Queues: []string{"default"}, Kinds: []string{"k"}, Slots: 1}
	for range 2 {
		o := NewOutbox()
		if _, err := l.Do(ctx, &WorkerHello{Hello: hello, NewSession: session.ID{1}, TTL: time.Minute, Stream: o}); err != nil {
			t.Fatal(err)
		}
		epoch := l.Stats().Epoch
		_, err := l.Do(ctx, &badBeat{WorkerFrame{Session: session.ID{1}, Heartbeat: 1}})
		wantReason(t, err, pure.TermEnded)
		<-o.Done() // and so the next term is the one that is ready
		wantReason(t, o.Err(), pure.TermEnded)
		waitReady(t, l)
		if l.Stats().Epoch == epoch {
			t.Error("it was not decided")
		}
	}
}
