package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	frameTasksMax  = 1000
	frameBytesMax  = 8 << 20
	frameCancelMax = 100
	taskBytesMax   = 4 << 20 // payload bytes of one frame's tasks or reports: one command is one journal entry

	// sendBytes is about the size at which a response is sent and another one begun.
	sendBytes = 1 << 20

	goneTimeout = 10 * time.Second // for telling the loop that a stream is closed
)

// Execute implements TaskService.
func (s *taskService) Execute(stream grpc.BidiStreamingServer[weftv1.ExecuteRequest, weftv1.ExecuteResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return endOfStream(err)
	}
	cmd, refusal := attachCommand(first)
	if refusal != nil {
		return statusError(refusal)
	}
	ctx := stream.Context()
	attached, err := settle[*shard.Attached](ctx, s.loop, cmd)
	if err != nil {
		return err
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		cmd.Stream.Close(shard.ErrClosed) // it gathers nothing more, whenever the loop hears of it
		_ = s.loop.Send(gone, &shard.CallGone{Call: attached.Call, Stream: cmd.Stream}, 0, nil)
	}()
	go s.readExecute(stream, attached.Call, cmd.Stream)
	return serveOutbox(ctx, s.log, cmd.Stream, &executeWriter{stream: stream})
}

// endOfStream is what a handler returns after a failed Recv: the client went away, or said its last word.
func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func sessionTTL(field string, d *durationpb.Duration) (time.Duration, *pure.Refusal) {
	if d == nil {
		return session.TTLDefault, nil
	}
	return duration(field, d, session.TTLMin, time.Hour)
}

func attachCommand(first *weftv1.ExecuteRequest) (*shard.CallAttach, *pure.Refusal) {
	a := first.GetAttach()
	if a == nil {
		return nil, badFrame("attach", "is required in the first frame")
	}
	if len(first.GetTasks())+len(first.GetAcknowledged())+len(first.GetCancels()) > 0 || first.GetFinish() || first.GetHeartbeat() != 0 ||
		first.GetInterruptTaken() != 0 {
		return nil, badFrame("attach", "must stand alone in the first frame")
	}
	namespace, err := namespaceOr("attach.namespace", a.GetNamespace())
	if err != nil {
		return nil, err
	}
	if !nameOK(a.GetCallId(), 1) {
		return nil, invalid("attach.call_id", "must be 1 to 256 bytes of [A-Za-z0-9._/-]")
	}
	if len(a.GetClient()) > sessionNameBytesMax {
		return nil, invalid("attach.client", "must have at most 256 bytes")
	}
	ttl, err := sessionTTL("attach.session_ttl", a.GetSessionTtl())
	if err != nil {
		return nil, err
	}
	acked, err := rangesOf("attach.acknowledged", a.GetAcknowledged())
	if err != nil {
		return nil, err
	}
	return &shard.CallAttach{
		Namespace: namespace, Call: a.GetCallId(), Session: parseSession(a.GetSessionId()), NewSession: newSessionID(),
		TTL: ttl, Client: a.GetClient(), Acknowledged: acked, Updates: a.GetUpdates(), Rejects: a.GetRejectWhenFull(), Stream: shard.NewOutbox(),
	}, nil
}

// readExecute turns a client's frames into commands until the stream ends. It is ended by the handler's
// return, which ends Recv.
func (s *taskService) readExecute(stream grpc.BidiStreamingServer[weftv1.ExecuteRequest, weftv1.ExecuteResponse], call uint64, o *shard.Outbox) {
	defer closeOnPanic(s.log, o)
	f := &executeFrame{}
	for {
		err := stream.RecvMsg(f)
		if errors.Is(err, io.EOF) {
			return // half closed: the client only listens now, for as long as its session lives
		}
		if err == nil && f.refusal != nil {
			err = f.refusal
		}
		if err != nil {
			o.Close(err)
			return
		}
		f.cmd.Call, f.cmd.Stream = call, o
		if err := s.loop.Send(stream.Context(), f.cmd, f.size, nil); err != nil {
			o.Close(err)
			return
		}
	}
}

// frameWriter turns effects into responses.
type frameWriter interface {
	// add takes an effect into the response under way and returns about how many bytes it adds.
	add(effect any) int
	// send sends the response under way.
	send() error
}

// lingerMax is how long a stream whose outbox is closed may still take what waits in it.
const lingerMax = 5 * time.Second

// serveOutbox sends what an outbox receives until it is closed or the stream ends. The sending is done
// beside it, since a client that does not read holds it up: returning from the handler is what ends it.
func serveOutbox(ctx context.Context, log *slog.Logger, o *shard.Outbox, w frameWriter) error {
	sentC := make(chan error, 1)
	go func() {
		err := statusError(bugBeside()) // of a pump that panics: nobody sends what waits, so nothing is to linger
		defer func() { sentC <- err }()
		defer closeOnPanic(log, o)
		err = pump(ctx, o, w)
	}()
	select {
	case err := <-sentC:
		return err
	case <-ctx.Done():
		return statusError(context.Cause(ctx))
	case <-o.Done():
	}
	linger := time.NewTimer(lingerMax)
	defer linger.Stop()
	select {
	case err := <-sentC:
		return err
	case <-linger.C:
		return statusError(o.Err())
	case <-ctx.Done():
		return statusError(context.Cause(ctx))
	}
}

// pump sends what an outbox receives until it is closed or the stream ends.
func pump(ctx context.Context, o *shard.Outbox, w frameWriter) error {
	var items []any
	for {
		var err error
		items, err = o.Take(items)
		if err != nil {
			return statusError(err)
		}
		if len(items) == 0 {
			select {
			case <-o.Wake():
				continue
			case <-ctx.Done():
				return statusError(context.Cause(ctx))
			}
		}
		bytes := 0
		for i, e := range items {
			items[i] = nil
			if bytes += w.add(e); bytes >= sendBytes {
				if err := w.send(); err != nil {
					return err
				}
				bytes = 0
			}
		}
		if bytes > 0 {
			if err := w.send(); err != nil {
				return err
			}
		}
	}
}
