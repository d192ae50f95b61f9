package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// syncCommand is a command of the lock service, from its making to its answer. Of one that waits, or may be granted
// something, the caller may give up:
//
//	queued ──▶ sent ──▶ answered
//	  │         ├──▶ cut: sent again on the next stream, by the same number
//	  │         └──▶ abandoned: what it is granted all the same is given up
//	  └──▶ dropped
//
// Everything but what the maker sets is guarded by syncSession.mu.
type syncCommand struct {
	// Set by the maker.

	message  *weftv1.SynchronizeCommand
	object   string                                                     // for people: "lock NAME"
	waits    bool                                                       // it may be abandoned
	stays    bool                                                       // it is sent although its caller is gone
	giveBack func(*weftv1.SynchronizeAnswer) *weftv1.SynchronizeCommand // what gives up what it was granted; nil is nothing
	forfeit  *weftv1.SynchronizeCommand                                 // what gives up what its caller had, if the caller is gone and it has changed nothing
	keep     bool                                                       // what comes together with the end of the caller's context is kept

	until   time.Time    // of a volatile wait with a limit
	channel *syncChannel // that it was sent on
	since   uint64       // the generation of the event that it waits for
	size    int          // in a frame, about

	done   chan struct{} // closed by the end
	ended  bool
	answer *weftv1.SynchronizeAnswer
	err    error
	gone   bool // abandoned
}

// errAbandoned is the answer to a command that was given up.
var errAbandoned = errors.New("client: the wait was given up")

// call carries out a command. A command that waits is given up with ctx, and the error is the cause of that.
func (s *syncSession) call(ctx context.Context, cmd *syncCommand) (*weftv1.SynchronizeAnswer, error) {
	if ctx.Err() != nil && !cmd.stays && cmd.forfeit == nil {
		return nil, context.Cause(ctx)
	}
	if err := s.submit(cmd); err != nil {
		return nil, err
	}
	select {
	case <-cmd.done:
		if ctx.Err() != nil && !cmd.keep && s.giveBack(cmd) {
			return nil, context.Cause(ctx)
		}
	case <-ctx.Done():
		if !s.abandon(cmd) {
			return nil, context.Cause(ctx)
		}
	}
	return cmd.answer, cmd.err
}

// submit queues a command.
func (s *syncSession) submit(cmd *syncCommand) error {
	cmd.done = make(chan struct{})
	cmd.size = proto.Size(cmd.message) + 16
	_ = s.lost() // asks the clock
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.over(cmd.object)
	}
	s.current.queue = append(s.current.queue, cmd)
	s.current.wake()
	return nil
}

// abandon gives up a command whose caller goes; true is one that was answered at the same moment, and stands.
func (s *syncSession) abandon(cmd *syncCommand) (stands bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case cmd.ended && (cmd.keep || cmd.err != nil):
		return true
	case cmd.ended:
		s.giveBackNow(cmd)
	case cmd.stays:
	default:
		s.leave(cmd)
	}
	return false
}

// leave takes a command back that was not sent, and has the broker told of one that waits there. The caller holds s.mu.
func (s *syncSession) leave(cmd *syncCommand) {
	cmd.gone = true
	if at := slices.Index(s.current.queue, cmd); at >= 0 {
		s.current.queue = slices.Delete(s.current.queue, at, at+1)
		s.undo(cmd, cmd.forfeit)
		return
	}
	if ch, number := cmd.sentAt(); cmd.waits && ch != nil {
		ch.abandon(number)
	}
}

// sentAt is where a command was sent.
func (cmd *syncCommand) sentAt() (ch *syncChannel, number uint64) {
	return cmd.channel, cmd.message.GetNumber()
}

// giveBack gives up what a command was granted whose caller is gone by now; false if it has nothing to give.
func (s *syncSession) giveBack(cmd *syncCommand) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveBackNow(cmd)
}

func (s *syncSession) giveBackNow(cmd *syncCommand) bool {
	if cmd.err != nil || cmd.giveBack == nil {
		return false
	}
	m := cmd.giveBack(cmd.answer)
	if m == nil {
		return false
	}
	s.undo(cmd, m)
	return true
}

// undo carries out a command in the background, if it is one; it is not needed once the session is over. The caller
// holds s.mu.
func (s *syncSession) undo(cmd *syncCommand, m *weftv1.SynchronizeCommand) {
	if m == nil || s.err != nil {
		return
	}
	s.current.queue = append(s.current.queue, &syncCommand{
		message: m, object: cmd.object, stays: true, done: make(chan struct{}), size: proto.Size(m) + 16,
	})
	s.current.wake()
}

// repeatable tells whether what was granted may be given back here although the broker, which was told that the
// command is abandoned, does so too. A token stands for one grant, but not for one level of it, and a free permit has
// none.
func repeatable(a *weftv1.SynchronizeAnswer) bool {
	if m := a.GetAcquireSemaphore(); m != nil {
		return m.GetGrant() != nil
	}
	return a.GetAcquireLock().GetGrant().GetDepth() <= 1
}

// finish ends a command. The caller holds s.mu.
func (s *syncSession) finish(cmd *syncCommand, a *weftv1.SynchronizeAnswer, err error) {
	if cmd.ended {
		return
	}
	switch {
	case a.GetRefused() != nil:
		err = fromRefusal(a.GetRefused())
	case a.GetAbandoned():
		err = errAbandoned
	}
	cmd.ended, cmd.answer, cmd.err = true, a, err
	switch {
	case !cmd.gone:
	case a.GetRefused() != nil:
		s.undo(cmd, cmd.forfeit)
	case cmd.channel.retract(cmd.message.GetNumber()) || repeatable(a):
		s.giveBackNow(cmd)
	}
	close(cmd.done)
}

// again prepares a command to be sent once more. The broker remembers what waits at a lock, and not who waits for an
// event or a value: such a wait goes on where it was.
func (cmd *syncCommand) again(now time.Time) {
	if w := cmd.message.GetWaitEvent(); w != nil && w.Since == 0 {
		w.Since = cmd.since
	}
	if cmd.until.IsZero() {
		return
	}
	left := durationpb.New(max(cmd.until.Sub(now), 0))
	if w := cmd.message.GetWaitEvent(); w != nil {
		w.Wait = left
	}
	if w := cmd.message.GetWaitValue(); w != nil {
		w.Wait = left
	}
}

// anew is a wait that is not durable, to be carried out in another session.
func (cmd *syncCommand) anew(now time.Time) *syncCommand {
	out := &syncCommand{message: proto.CloneOf(cmd.message), until: cmd.until, since: cmd.since}
	out.message.Number = 0
	out.again(now)
	return out
}
