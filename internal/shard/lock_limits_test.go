package shard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// channelOf opens a channel of a session, and returns the refusal if it is none.
func (r *sized) channelOf(id session.ID, number uint64, resume bool) (*Outbox, error) {
	o := NewOutbox()
	hello := &SynchronizeHello{Namespace: "n", NewSession: id, TTL: time.Hour, Client: "c", Channel: number, Stream: o}
	if resume {
		hello.Session = id
	}
	if err, failed := r.do(hello).(error); failed {
		return nil, err
	}
	return o, nil
}

func saysLimit(t *testing.T, err error, reason pure.Reason, words ...string) {
	t.Helper()
	refusal, ok := errors.AsType[*pure.Refusal](err)
	if !ok || refusal.Reason != reason {
		t.Fatalf("not refused as %s: %v", reason, err)
	}
	for _, word := range words {
		if said := fmt.Sprint(refusal.Error(), refusal.Meta); !strings.Contains(said, word) {
			t.Errorf("%q does not say %s", said, word)
		}
	}
}

func TestChannelMax(t *testing.T) {
	r := newSized(t)
	id := session.ID{7}
	for i := range uint64(lockservice.ChannelMax) {
		if _, err := r.channelOf(id, i, i > 0); err != nil {
			t.Fatal(err)
		}
	}
	before := r.m.Dump()
	_, err := r.channelOf(id, lockservice.ChannelMax, true)
	saysLimit(t, err, pure.Overloaded, "limit", fmt.Sprint(lockservice.ChannelMax))
	if !slices.Equal(before, r.m.Dump()) {
		t.Error("it changed something")
	}
	if _, err := r.channelOf(id, 3, true); err != nil { // one that is there is taken over
		t.Error(err)
	}
}

// frame says commands on a channel, and returns what closed it.
func (r *sized) frame(o *Outbox, ch lockservice.Channel, below uint64, commands ...LockCommand) error {
	r.do(&SynchronizeFrame{Namespace: "n", Channel: ch, Stream: o, Below: below, Commands: commands})
	for {
		items, err := o.Take(nil)
		if err != nil || len(items) == 0 {
			return err
		}
	}
}

func TestWindowMax(t *testing.T) {
	r := newSized(t)
	ch := lockservice.Channel{Session: session.ID{7}, Number: 1}
	o, err := r.channelOf(ch.Session, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	set := func(n uint64) LockCommand { return LockCommand{Number: n, Op: &SetEvent{Name: "e", Set: n%2 == 0}} }
	if err := r.frame(o, ch, 0, set(lockservice.WindowMax)); err != nil {
		t.Fatal(err)
	}
	if err := r.frame(o, ch, 2, set(lockservice.WindowMax+2)); err != nil {
		t.Fatal(err)
	}
	before := r.m.Dump()
	saysLimit(t, r.frame(o, ch, 2, set(lockservice.WindowMax+3)), pure.BadFrame, "number", "limit", fmt.Sprint(lockservice.WindowMax))
	if !slices.Equal(before, r.m.Dump()) {
		t.Error("it changed something")
	}
}

// Commands whose answers nobody keeps, since they are refused or only look, do not fill the window either.
func TestTheWindowOfUnkeptAnswers(t *testing.T) {
	r := newSized(t)
	ch := lockservice.Channel{Session: session.ID{7}, Number: 1}
	o, err := r.channelOf(ch.Session, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 2*lockservice.WindowMax; n += 100 {
		look := LockCommand{Number: n, Op: &WaitEvent{Name: "e", Wait: lockservice.Wait{Timed: true}}}
		if err := r.frame(o, ch, n, look, LockCommand{Number: n + 1, Op: &ReleaseLock{Name: "l", Token: 9}}); err != nil {
			t.Fatalf("command %d: %v", n, err)
		}
	}
}
