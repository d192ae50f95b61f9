package client

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/pkg/internal/boottime"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// syncChannel numbers commands and carries them over one stream at a time. Usually a session has one. Guarded by
// syncSession.mu.
type syncChannel struct {
	session *syncSession
	number  uint64

	queue    []*syncCommand          // without a number yet
	again    []*syncCommand          // that were sent on a stream that is gone, by number
	sent     map[uint64]*syncCommand // without an answer, by number
	next     uint64                  // number of the next command
	base     uint64                  // the answers to all below it have come
	told     uint64                  // the base that the broker was told on this stream
	abandons []uint64                // to be told
	ackDue   bool                    // the base is told without company
	beats    []syncBeat              // not answered
	lastBeat uint64                  // number of the last heartbeat
	beatDue  bool                    // the ticker wants one
	silence  *time.Timer             // of the stream
	parted   bool                    // the goodbye is sent

	connected bool
	asleep    bool
	wakeC     chan struct{}
}

// syncBeat is a heartbeat under way.
type syncBeat struct {
	number uint64
	sent   time.Duration // by boottime
}

// Limits of a channel and of its frames.
const (
	syncWindowMax     = 4096
	syncCommandsMax   = 1000
	syncBytesMax      = 1 << 20
	syncAbandonsMax   = 1000
	syncAcknowledgeBy = 1024 // answers that have come, and were not acknowledged
)

// syncSilence of the TTL without an answer is a dead stream. It leaves the time to come back on another one before the
// session is lost.
const syncSilence = 0.5

// syncBeatShare of the TTL lies between heartbeats: less than a third, so that one that is a little late is in time.
const syncBeatShare = 0.3

// newSyncChannel makes a channel. The caller holds s.mu.
func newSyncChannel(s *syncSession) *syncChannel {
	return &syncChannel{
		session: s, number: rand.Uint64(), sent: make(map[uint64]*syncCommand), next: 1, base: 1, wakeC: make(chan struct{}, 1),
	}
}

// errSyncOver ends a channel that has nothing left to do.
var errSyncOver = errors.New("client: the channel is over")

// run keeps the channel on a stream until it, or the session, ends.
func (ch *syncChannel) run() {
	s := ch.session
	defer s.left()
	defer ch.fail()
	var b backoff
	for {
		err := ch.serve(&b)
		switch {
		case errors.Is(err, errSyncOver) || s.stream.Err() != nil || s.ctx.Err() != nil:
			return
		case s.fatal(err):
			s.lose(fromRPC(err))
			return
		}
		s.client.logger.Warn("stream of the lock service lost, redialing", slog.Any("error", err))
		if b.sleep(s.stream) != nil || s.lost() != nil {
			return
		}
	}
}

// fail ends the commands of a channel that is over.
func (ch *syncChannel) fail() {
	s := ch.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(ch.sent)) {
		s.finish(ch.sent[n], nil, s.over(ch.sent[n].object))
	}
	for _, cmd := range ch.queue {
		s.finish(cmd, nil, s.over(cmd.object))
	}
	ch.sent, ch.queue, ch.again = nil, nil, nil
}

// serve runs one stream. It never returns nil.
func (ch *syncChannel) serve(b *backoff) error {
	s := ch.session
	ctx, cancel := context.WithCancelCause(s.stream)
	defer cancel(nil)
	conn := s.client.current()
	stream, err := weftv1.NewLockServiceClient(conn).Synchronize(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	sent := boottime.Now()
	silence := time.AfterFunc(s.silenceMax(), func() { cancel(errSilent) })
	defer silence.Stop()
	err = stream.Send(&weftv1.SynchronizeRequest{Hello: s.hello(ch.number)})
	if err != nil && !errors.Is(err, io.EOF) {
		return ch.cut(ctx, conn, err)
	}
	in, err := stream.Recv()
	switch {
	case err != nil:
		return ch.cut(ctx, conn, err)
	case in.GetWelcome() == nil:
		return &Error{
			Code: reasonCode(weftv1.ErrorReason_ERROR_REASON_BAD_FRAME), Reason: weftv1.ErrorReason_ERROR_REASON_BAD_FRAME,
			Message: "the broker's first frame has no welcome",
		}
	case s.lost() != nil:
		return errSyncOver
	}
	s.welcomed(in.GetWelcome(), sent)
	b.reset()
	ch.resume(silence)
	return ch.cut(ctx, conn, ch.exchange(ctx, cancel, stream))
}

// hello is a stream's first frame.
func (s *syncSession) hello(channel uint64) *weftv1.SynchronizeHello {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &weftv1.SynchronizeHello{
		Namespace: s.client.namespace, SessionId: s.id, Client: s.client.name, Channel: channel,
	}
	if s.id == "" {
		m.SessionTtl = durationpb.New(s.ttl)
	}
	return m
}

// silenceMax is how long the answer to a heartbeat may take, counted from the sending of the last one that was answered.
func (s *syncSession) silenceMax() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(syncSilence * float64(s.ttl))
}

// cut says why a stream ended. After silence the connection is not trusted either.
func (ch *syncChannel) cut(ctx context.Context, conn *grpc.ClientConn, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		ch.session.client.renew(conn)
		return errSilent
	}
	return err
}

// resume has everything sent again that has no answer.
func (ch *syncChannel) resume(silence *time.Timer) {
	s := ch.session
	limit := s.silenceMax()
	s.mu.Lock()
	defer s.mu.Unlock()
	ch.again = ch.again[:0]
	now := time.Now()
	for _, n := range slices.Sorted(maps.Keys(ch.sent)) {
		ch.sent[n].again(now)
		ch.again = append(ch.again, ch.sent[n])
	}
	// What was abandoned is sent again as well, and abandoned then. The broker may never have had it: unless it has, it
	// does not know what to answer, and a wait at a condition would not have given up its lock.
	ch.abandons = ch.abandons[:0]
	ch.beats, ch.told, ch.ackDue = ch.beats[:0], 1, ch.base > 1
	ch.beatDue = s.given != "" // a stream does not renew a worker's session: how long does that live?
	ch.connected, ch.silence = true, silence
	silence.Reset(limit)
}

// exchange runs both directions of a stream until one of them fails.
func (ch *syncChannel) exchange(ctx context.Context, cancel context.CancelCauseFunc, stream syncStream) error {
	s := ch.session
	var sender sync.WaitGroup
	sender.Go(func() { ch.send(ctx, stream) })
	defer sender.Wait()
	defer cancel(nil)
	defer func() {
		s.mu.Lock()
		ch.connected = false
		s.mu.Unlock()
	}()
	for {
		in, err := stream.Recv()
		if err != nil {
			if ch.over() {
				return errSyncOver
			}
			return err
		}
		if ch.receive(in) {
			return errSyncOver
		}
	}
}

// over tells whether the channel has nothing left to do.
func (ch *syncChannel) over() bool {
	ch.session.mu.Lock()
	defer ch.session.mu.Unlock()
	return ch.parted
}

// syncStream is the client's end of a stream.
type syncStream = grpc.BidiStreamingClient[weftv1.SynchronizeRequest, weftv1.SynchronizeResponse]

// abandon has the broker told that a command is not to wait any longer. The caller holds s.mu.
func (ch *syncChannel) abandon(number uint64) {
	if !slices.ContainsFunc(ch.again, func(cmd *syncCommand) bool { return cmd.message.GetNumber() == number }) {
		ch.abandons = append(ch.abandons, number) // else it follows the command
	}
	ch.wake()
}

// wake tells the sender that there is something to send. The caller holds s.mu.
func (ch *syncChannel) wake() {
	if !ch.asleep {
		return // it looks again before it sleeps
	}
	ch.asleep = false
	select {
	case ch.wakeC <- struct{}{}:
	default:
	}
}
