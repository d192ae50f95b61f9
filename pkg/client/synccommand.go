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
//	  │         └──▶ abandoned ──▶ answered as abandoned
//	  └──▶ dropped
//
// The broker undoes what an abandoned command did, whatever that is and whenever it hears of it; so until it says that
// it has, the command counts as unanswered, and nothing is given back here.
//
// Everything but what the maker sets is guarded by syncSession.mu.
type syncCommand struct {
	// Set by the maker.

	message *weftv1.SynchronizeCommand
	object  string                     // for people: "lock NAME"
	waits   bool                       // it may be abandoned
	stays   bool                       // it is sent although its caller is gone
	forfeit *weftv1.SynchronizeCommand // what gives up what its caller had, should it be abandoned and have changed nothing

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
	case cmd.ended:
		return true
	case cmd.stays:
	default:
		s.leave(cmd)
	}
	return false
}

// leave takes a command back that was not sent, and has the broker told of one that waits there. What the caller had is
// given up behind it, in case that the command was refused: the caller does not count on it any more, and a grant of
// the same holder that comes later has another token. The caller holds s.mu.
func (s *syncSession) leave(cmd *syncCommand) {
	cmd.gone = true
	if at := slices.Index(s.current.queue, cmd); at >= 0 {
		s.current.queue = slices.Delete(s.current.queue, at, at+1)
	} else if cmd.waits && cmd.channel != nil {
		cmd.channel.abandon(cmd.message.GetNumber())
	}
	s.undo(cmd, cmd.forfeit)
}

// abandoned tells whether the broker is told that nobody wants the answer.
func (cmd *syncCommand) abandoned() bool { return cmd.gone && cmd.waits }

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
