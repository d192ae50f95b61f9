package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// What has no answer is sent again by the same number, in order, on a stream of the same session and channel.
func TestSyncResumes(t *testing.T) {
	var channel uint64
	script := func(n int, s *lockStream) error {
		hello := s.welcome()
		switch n {
		case 1:
			channel = hello.GetChannel()
			if hello.GetSessionId() != "" || hello.GetSessionTtl().AsDuration() != lockTTL {
				t.Errorf("hello %v", hello)
			}
			s.untilCommands(3)
			s.answer(eventSet(2))
			s.answer(&weftv1.SynchronizeAnswer{Number: 3, Answer: &weftv1.SynchronizeAnswer_WaitsSince{WaitsSince: 7}})
			return errCut
		default:
			if hello.GetSessionId() != "session" || hello.GetChannel() != channel || hello.GetSessionTtl() != nil {
				t.Errorf("hello %v", hello)
			}
			s.untilCommands(2)
			if s.commands[0].GetNumber() != 1 || s.commands[1].GetNumber() != 3 || s.commands[1].GetWaitEvent().GetSince() != 7 {
				t.Errorf("sent again: %v", s.commands)
			}
			s.answer(eventSet(1))
			s.answer(&weftv1.SynchronizeAnswer{Number: 3, Answer: &weftv1.SynchronizeAnswer_WaitEvent{
				WaitEvent: &weftv1.WaitEventResponse{Set: true},
			}})
			return s.drain()
		}
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		var all sync.WaitGroup
		for _, fn := range []func(context.Context) error{c.Event("a").Set, c.Event("b").Set, c.Event("c").Wait} {
			all.Go(func() {
				if err := fn(t.Context()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
	})
}

// Who gives up a wait goes at once. Until the broker says that it is abandoned it has no answer, whatever crosses that,
// and over any cut; and the broker undoes what was granted, not the client.
func TestSyncAbandons(t *testing.T) {
	for name, c := range crossings {
		t.Run(name, func(t *testing.T) {
			var acknowledged atomic.Bool
			script := func(n int, s *lockStream) error {
				s.welcome()
				s.untilCommands(1)
				if n == 1 {
					if number := s.untilAbandoned(); number != 1 {
						t.Errorf("%d is abandoned", number)
					}
					s.answer(c.answer(1))
					for range 2 {
						s.recv() // heartbeats
					}
					if s.below > 1 || len(s.commands) > 1 {
						t.Errorf("acknowledged below %d, commands %v", s.below, s.commands)
					}
					return errCut
				}
				if m := s.frames[0]; m.GetCommands()[0].GetNumber() != 1 || len(m.GetAbandoned()) != 1 || m.GetAbandoned()[0] != 1 {
					t.Errorf("sent again and not abandoned: %v", m)
				}
				s.answer(c.answer(1))
				s.answer(lockAbandoned(1))
				for s.below < 2 {
					if s.recv(); len(s.commands) > 1 {
						t.Errorf("given back by %v", s.commands[1])
					}
				}
				acknowledged.Store(true)
				return s.drain()
			}
			inBubble(t, script, func(t *testing.T, _ *lockBroker, client *Client) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begun := time.Now()
				if err := c.acquire(ctx, client); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
				pass(2 * lockTTL)
				if !acknowledged.Load() {
					t.Error("never acknowledged")
				}
			})
		})
	}
}

// A command that was never sent is dropped with its caller, and leaves no gap.
func TestSyncDropsUnsent(t *testing.T) {
	script := func(n int, s *lockStream) error {
		if n == 1 {
			<-s.down
			return errCut
		}
		return s.drain()
	}
	inBubble(t, script, func(t *testing.T, _ *lockBroker, c *Client) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Event("e").Set(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		s, err := c.syncSession("")
		if err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.current.queue) != 0 || s.current.next != 1 {
			t.Errorf("%d queued, next is %d", len(s.current.queue), s.current.next)
		}
	})
}

// A wait of hours does not stop what comes behind it: another channel takes over when the first is full.
func TestSyncTurnsOver(t *testing.T) {
	const commands = syncWindowMax + 100
	var grant func()
	script := func(_ int, s *lockStream) error {
		s.welcome()
		for {
			for _, cmd := range s.recv().GetCommands() {
				if cmd.GetAcquireLock() != nil {
					grant = func() { s.answer(lockGranted(cmd.GetNumber(), 5)) }
					continue
				}
				if cmd.GetSetEvent().GetName() == "free" {
					grant()
				}
				s.answer(eventSet(cmd.GetNumber()))
			}
		}
	}
	inBubble(t, script, func(t *testing.T, b *lockBroker, c *Client) {
		acquired := make(chan error)
		go func() { _, err := c.Lock("l").Acquire(t.Context()); acquired <- err }()
		synctest.Wait()
		for range commands {
			if err := c.Event("e").Set(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := b.streams.Load(); n != 2 {
			t.Errorf("%d streams", n)
		}
		if err := c.Event("free").Set(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-acquired; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s, _ := c.syncSession("")
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.current.connected {
			t.Error("the channel is gone")
		}
	})
}
