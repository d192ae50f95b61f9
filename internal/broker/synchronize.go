package broker

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	frameCommandsMax   = 1000
	synchronizeBytes   = 1 << 20 // of a frame
	commandBytesBeside = 64      // that an answer adds to a response, about
)

type synchronizeStream = grpc.BidiStreamingServer[weftv1.SynchronizeRequest, weftv1.SynchronizeResponse]

// Synchronize implements LockService.
func (s *lockService) Synchronize(stream synchronizeStream) error {
	first, err := stream.Recv()
	if err != nil {
		return endOfStream(err)
	}
	cmd, refusal := synchronizeHello(first)
	if refusal != nil {
		return statusError(refusal)
	}
	ctx := stream.Context()
	welcome, err := settle[*shard.Synchronized](ctx, s.loop, cmd)
	if err != nil {
		return err
	}
	frame := shard.SynchronizeFrame{
		Namespace: cmd.Namespace, Channel: lockservice.Channel{Session: welcome.Session, Number: cmd.Channel}, Stream: cmd.Stream,
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		cmd.Stream.Close(shard.ErrClosed) // it gathers nothing more, whenever the loop hears of it
		_ = s.loop.Send(gone, &shard.SynchronizeGone{Channel: frame.Channel, Stream: cmd.Stream}, 0, nil)
	}()
	go s.readSynchronize(stream, frame)
	return serveOutbox(ctx, s.log, cmd.Stream, &synchronizeWriter{stream: stream})
}

func synchronizeHello(first *weftv1.SynchronizeRequest) (*shard.SynchronizeHello, *pure.Refusal) {
	h := first.GetHello()
	if h == nil {
		return nil, badFrame("hello", "is required in the first frame")
	}
	if len(first.GetCommands())+len(first.GetAbandoned()) > 0 || first.GetAcknowledgedBelow() != 0 || first.GetHeartbeat() != 0 || first.GetGoodbye() {
		return nil, badFrame("hello", "must stand alone in the first frame")
	}
	namespace, refusal := namespaceOr("hello.namespace", h.GetNamespace())
	if refusal != nil {
		return nil, refusal
	}
	if len(h.GetClient()) > sessionNameBytesMax {
		return nil, invalid("hello.client", "must have at most 256 bytes")
	}
	ttl, refusal := sessionTTL("hello.session_ttl", h.GetSessionTtl())
	if refusal != nil {
		return nil, refusal
	}
	cmd := &shard.SynchronizeHello{
		Namespace: namespace, Session: parseSession(h.GetSessionId()), NewSession: newSessionID(), TTL: ttl,
		Client: h.GetClient(), Channel: h.GetChannel(), Stream: shard.NewOutbox(),
	}
	if h.GetSessionId() != "" && cmd.Session.IsZero() {
		return nil, noSession(h.GetSessionId())
	}
	return cmd, nil
}

// readSynchronize turns a client's frames into commands until the stream ends. It is ended by the handler's return, which
// ends Recv.
func (s *lockService) readSynchronize(stream synchronizeStream, of shard.SynchronizeFrame) {
	defer closeOnPanic(s.log, of.Stream)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return // half closed: the client only listens now, for as long as its session lives
		}
		var frame *shard.SynchronizeFrame
		bytes := 0
		if err == nil {
			bytes = proto.Size(req)
			var refusal *pure.Refusal
			if frame, refusal = s.synchronizeFrame(req, of, bytes); refusal != nil {
				err = refusal
			}
		}
		if err == nil {
			err = s.loop.Send(stream.Context(), frame, bytes, nil)
		}
		if err != nil {
			of.Stream.Close(err)
			return
		}
	}
}

// synchronizeFrame reads a frame. A command that breaks a rule is refused alone; what breaks the protocol ends the stream.
func (s *lockService) synchronizeFrame(req *weftv1.SynchronizeRequest, of shard.SynchronizeFrame, bytes int) (*shard.SynchronizeFrame, *pure.Refusal) {
	switch {
	case req.GetHello() != nil:
		return nil, badFrame("hello", "is for the first frame")
	case len(req.GetCommands()) > frameCommandsMax:
		return nil, badFrame("commands", "must be at most 1000")
	case len(req.GetAbandoned()) > frameCommandsMax:
		return nil, badFrame("abandoned", "must be at most 1000")
	case bytes > synchronizeBytes:
		return nil, badFrame("commands", "must have at most 1 MiB")
	}
	frame := of
	frame.Abandoned, frame.Below, frame.Heartbeat, frame.Goodbye = req.GetAbandoned(), req.GetAcknowledgedBelow(), req.GetHeartbeat(), req.GetGoodbye()
	frame.Commands = make([]shard.LockCommand, len(req.GetCommands()))
	for i, c := range req.GetCommands() {
		if c.GetNumber() == 0 {
			return nil, badFrame("number", "must be above 0")
		}
		out := &frame.Commands[i]
		out.Number = c.GetNumber()
		m, op, refusal := s.command(c)
		if out.Op, out.Err = op, refusal; refusal != nil {
			continue
		}
		if h, ok := m.(interface{ GetHolder() *weftv1.Holder }); ok {
			if h.GetHolder().GetSessionId() != "" {
				out.Err = invalid("holder.session_id", "must be empty on a stream: it is the stream's")
			}
			out.Holder, out.Label = h.GetHolder().GetNumber(), h.GetHolder().GetName()
		}
	}
	return &frame, nil
}

// command reads one command: the request that it has, and what the shard takes.
func (s *lockService) command(c *weftv1.SynchronizeCommand) (m lockRequest, op shard.LockOp, refusal *pure.Refusal) {
	m, op, refusal = commandOf(c)
	switch {
	case m == nil:
		return nil, nil, invalid("command", "is required")
	case m.GetNamespace() != "":
		return nil, nil, invalid("namespace", "must be empty on a stream: it is the stream's")
	}
	if r, ok := m.(interface{ GetRequestId() string }); ok && r.GetRequestId() != "" {
		return nil, nil, invalid("request_id", "must be empty on a stream: a command has a number")
	}
	if err := s.check(m); err != nil {
		if errors.As(err, &refusal) {
			return nil, nil, refusal
		}
		return nil, nil, ownBug(err.Error())
	}
	return m, op, refusal
}

// check checks a command against its annotations.
func (s *lockService) check(m lockRequest) error {
	if plain(m) {
		return nil
	}
	if r, ok := m.(interface{ GetHolder() *weftv1.Holder }); ok && r.GetHolder() == nil {
		m = withHolder(m)
	}
	return validate(s.validator, m)
}

// withHolder is a request with the holder that a stream's command has if it brings none.
func withHolder(m lockRequest) lockRequest {
	dup := proto.Clone(m).(lockRequest)
	field := dup.ProtoReflect().Descriptor().Fields().ByName("holder")
	dup.ProtoReflect().Mutable(field)
	return dup
}

func commandOf(c *weftv1.SynchronizeCommand) (lockRequest, shard.LockOp, *pure.Refusal) {
	switch c := c.GetCommand().(type) {
	case *weftv1.SynchronizeCommand_AcquireLock:
		return c.AcquireLock, acquireLock(c.AcquireLock), nil
	case *weftv1.SynchronizeCommand_ReleaseLock:
		return c.ReleaseLock, releaseLock(c.ReleaseLock), nil
	case *weftv1.SynchronizeCommand_PublishLock:
		return c.PublishLock, publishLock(c.PublishLock), nil
	case *weftv1.SynchronizeCommand_WaitCondition:
		return c.WaitCondition, waitCondition(c.WaitCondition), nil
	case *weftv1.SynchronizeCommand_NotifyCondition:
		return c.NotifyCondition, notifyCondition(c.NotifyCondition), nil
	case *weftv1.SynchronizeCommand_AcquireSemaphore:
		return c.AcquireSemaphore, acquireSemaphore(c.AcquireSemaphore), nil
	case *weftv1.SynchronizeCommand_ReleaseSemaphore:
		return c.ReleaseSemaphore, releaseSemaphore(c.ReleaseSemaphore), releasable(c.ReleaseSemaphore)
	case *weftv1.SynchronizeCommand_WaitBarrier:
		return c.WaitBarrier, waitBarrier(c.WaitBarrier), nil
	case *weftv1.SynchronizeCommand_CompleteBarrier:
		return c.CompleteBarrier, completeBarrier(c.CompleteBarrier), nil
	case *weftv1.SynchronizeCommand_AbortBarrier:
		return c.AbortBarrier, &shard.BreakBarrier{Name: c.AbortBarrier.GetName()}, nil
	case *weftv1.SynchronizeCommand_ResetBarrier:
		return c.ResetBarrier, &shard.BreakBarrier{Name: c.ResetBarrier.GetName(), Reset: true}, nil
	case *weftv1.SynchronizeCommand_SetEvent:
		return c.SetEvent, &shard.SetEvent{Name: c.SetEvent.GetName(), Set: true}, nil
	case *weftv1.SynchronizeCommand_ClearEvent:
		return c.ClearEvent, &shard.SetEvent{Name: c.ClearEvent.GetName()}, nil
	case *weftv1.SynchronizeCommand_WaitEvent:
		return c.WaitEvent, waitEvent(c.WaitEvent), nil
	case *weftv1.SynchronizeCommand_SetValue:
		op, refusal := setValue(c.SetValue)
		return c.SetValue, op, refusal
	case *weftv1.SynchronizeCommand_AddValue:
		op, refusal := addValue(c.AddValue)
		return c.AddValue, op, refusal
	case *weftv1.SynchronizeCommand_WaitValue:
		op, refusal := waitValue(c.WaitValue)
		return c.WaitValue, op, refusal
	}
	return nil, nil, nil
}

// synchronizeWriter turns effects into responses.
type synchronizeWriter struct {
	stream synchronizeStream
	resp   weftv1.SynchronizeResponse
}

// add implements frameWriter.
func (w *synchronizeWriter) add(effect any) int {
	switch e := effect.(type) {
	case *shard.Synchronized:
		w.resp.Welcome = &weftv1.SynchronizeWelcome{SessionId: formatSession(e.Session), SessionTtl: durationpb.New(e.TTL)}
	case *shard.LeaseBeat:
		w.resp.Heartbeat, w.resp.Lease = e.Number, durationpb.New(e.Lease)
	case *shard.LockAnswered:
		m := answerMessage(e)
		w.resp.Answers = append(w.resp.Answers, m)
		return commandBytesBeside + len(e.Reply.Answer.Data.Text)
	}
	return commandBytesBeside
}

// send implements frameWriter.
func (w *synchronizeWriter) send() error {
	err := w.stream.Send(&w.resp)
	w.resp = weftv1.SynchronizeResponse{}
	return err
}
