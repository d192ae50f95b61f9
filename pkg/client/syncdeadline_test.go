package client

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/internal/boottime"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A session that the broker does not know any more is lost, with all that is held and waits in it; the next use opens
// another.
func TestSyncSessionLost(t *testing.T) {
	script := func(n int, s *lockStream) error {
		switch n {
		case 1:
			s.welcome()
			s.untilCommands(1)
			s.answer(lockGranted(1, 5))
			s.untilCommands(2)
			return errCut
		case 2:
			if _, err := s.stream.Recv(); err != nil {
				return err
			}
			return weftError(weftv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND, nil)
		default:
			if hello := s.welcome(); hello.GetSessionId() != "" {
				t.Errorf("hello %v", hello)
			}
			s.untilCommands(1)
			s.answer(eventSet(1))
			return s.drain()
		}
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		held, err := c.Lock("a").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lock("b").Acquire(t.Context()); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("who waits is told %v", err)
		}
		<-held.Done()
		var lost *LeaseLostError
		if !errors.As(context.Cause(held), &lost) || lost.Object != "lock a" || lost.SessionID != "session" {
			t.Errorf("cause %v", context.Cause(held))
		}
		if err := c.Event("e").Set(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The lease is renewed while the broker answers, and over at 0.75 of the TTL after the sending of the last heartbeat
// that it has: before the broker may give the lock to others.
func TestSyncDeadline(t *testing.T) {
	var mute atomic.Bool
	script := heldLock(&mute)
	inBubble(t, func(n int, s *lockStream) error {
		if n > 1 {
			<-s.down // nor another stream
			return nil
		}
		return script(n, s)
	}, func(t *testing.T, b *lockBroker, c *Client) {
		held, err := c.Lock("l").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pass(10 * lockTTL)
		if held.Err() != nil {
			t.Fatal(context.Cause(held))
		}
		mute.Store(true)
		begun := time.Now()
		<-held.Done()
		if d := time.Since(begun); d < lockTTL*4/10 || d > lockTTL*3/4 {
			t.Errorf("lost after %v", d)
		}
		if !errors.Is(context.Cause(held), ErrLeaseLost) || !errors.Is(held.Err(), context.Canceled) {
			t.Errorf("%v", context.Cause(held))
		}
	})
}

// After the machine has slept, Err tells before any timer does, and nothing more is done in the session.
func TestSyncDeadlineAsleep(t *testing.T) {
	var mute atomic.Bool
	inBubble(t, heldLock(&mute), func(t *testing.T, b *lockBroker, c *Client) {
		held, err := c.Lock("l").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		child, cancel := context.WithCancel(held)
		defer cancel()
		defer boottime.Feign(lockTTL)()
		select {
		case <-held.Done():
			t.Error("a timer has fired")
		default:
		}
		if held.Err() == nil || !errors.Is(context.Cause(held), ErrLeaseLost) {
			t.Errorf("cause %v", context.Cause(held))
		}
		<-child.Done()
		if !errors.Is(context.Cause(child), ErrLeaseLost) {
			t.Errorf("the child's cause is %v", context.Cause(child))
		}
		if _, err := c.Lock("l").Token(held); !errors.Is(err, ErrLeaseLost) {
			t.Error(err)
		}
		if _, err := c.Lock("other").Acquire(held); !errors.Is(err, ErrLeaseLost) {
			t.Error(err)
		}
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.closed) != 1 || b.closed[0] != "session" {
			t.Errorf("closed %v", b.closed)
		}
	})
}

// A session whose id another program was given is lost here, and not closed: that program may have renewed it.
func TestSyncDeadlineShared(t *testing.T) {
	var mute atomic.Bool
	inBubble(t, heldLock(&mute), func(t *testing.T, b *lockBroker, c *Client) {
		held, err := c.Lock("l").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Lock("l").Environ(held); err != nil {
			t.Fatal(err)
		}
		defer boottime.Feign(lockTTL)()
		if held.Err() == nil || !errors.Is(context.Cause(held), ErrLeaseLost) {
			t.Errorf("cause %v", context.Cause(held))
		}
		pass(lockTTL)
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.closed) != 0 {
			t.Errorf("closed %v", b.closed)
		}
	})
}

// Another's session is trusted until a quarter of the TTL before its end, which only the broker knows: what the stream
// says does not renew it.
func TestSyncDeadlineOfAnother(t *testing.T) {
	t.Setenv(EnvHolder, "session:7")
	for _, c := range []struct {
		lives time.Duration // the session, from the welcome
		cut   bool          // the stream again and again
		held  time.Duration // the lock
	}{
		{lockTTL, false, lockTTL * 3 / 4},
		{lockTTL, true, lockTTL * 3 / 4},
		{lockTTL / 2, false, lockTTL / 4},
		{10 * lockTTL, false, 10*lockTTL - lockTTL/4},
	} {
		var end time.Time
		inBubble(t, func(n int, s *lockStream) error {
			if s.welcome(); n == 1 {
				end = time.Now().Add(c.lives)
			}
			s.lease = func() *durationpb.Duration { return durationpb.New(time.Until(end)) }
			for frames := 0; !c.cut || frames < 3; frames++ {
				for _, cmd := range s.recv().GetCommands() {
					if cmd.GetAcquireLock() != nil {
						s.answer(lockGranted(cmd.GetNumber(), 5))
					}
				}
			}
			return errCut
		}, func(t *testing.T, _ *lockBroker, client *Client) {
			ctx, err := HolderFromEnv(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held, err := client.Lock("l").Acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			<-held.Done()
			if d := time.Since(begun); d != c.held || !errors.Is(context.Cause(held), ErrLeaseLost) {
				t.Errorf("a session that lives %v was trusted %v: %v", c.lives, d, context.Cause(held))
			}
		})
	}
}

// What follows a context without asking it learns of the loss by a look at the clock, a twentieth of the TTL later at
// most.
func TestSyncLooksAtTheClock(t *testing.T) {
	var mute atomic.Bool
	inBubble(t, heldLock(&mute), func(t *testing.T, _ *lockBroker, c *Client) {
		held, err := c.Lock("l").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer boottime.Feign(lockTTL)()
		begun := time.Now()
		<-held.Done()
		if d := time.Since(begun); d > lockTTL/looksPerTTL {
			t.Errorf("after %v", d)
		}
	})
}

// A broker that is silent on one connection is asked on another, in time to keep the lease.
func TestSyncSilence(t *testing.T) {
	var mute atomic.Bool
	script := heldLock(&mute)
	inBubble(t, func(n int, s *lockStream) error {
		if n == 2 {
			mute.Store(false)
		}
		return script(n, s)
	}, func(t *testing.T, b *lockBroker, c *Client) {
		held, err := c.Lock("l").Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mute.Store(true)
		pass(10 * lockTTL)
		if n := b.streams.Load(); n != 2 {
			t.Errorf("%d streams", n)
		}
		if held.Err() != nil {
			t.Error(context.Cause(held))
		}
	})
}
