package broker

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	frameTasksMax  = 1000
	frameBytesMax  = 8 << 20
	frameCancelMax = 1000
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
	attached, err := do[*shard.Attached](ctx, s.loop, cmd)
	if err != nil {
		return err
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		_ = s.loop.Send(gone, &shard.CallGone{Call: attached.Call, Stream: cmd.Stream}, 0, nil)
	}()
	go s.readExecute(stream, attached.Call, cmd.Stream)
	return serveOutbox(ctx, cmd.Stream, &executeWriter{stream: stream})
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
	if len(first.GetTasks())+len(first.GetAcknowledged())+len(first.GetCancels()) > 0 || first.GetFinish() {
		return nil, badFrame("attach", "must stand alone in the first frame")
	}
	namespace, err := namespaceOr(a.GetNamespace())
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
		TTL: ttl, Client: a.GetClient(), Acknowledged: acked, Updates: a.GetUpdates(), Stream: shard.NewOutbox(),
	}, nil
}

// readExecute turns a client's frames into commands until the stream ends. It is ended by the handler's
// return, which ends Recv.
func (s *taskService) readExecute(stream grpc.BidiStreamingServer[weftv1.ExecuteRequest, weftv1.ExecuteResponse], call uint64, o *shard.Outbox) {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return // half closed: the client only listens now, for as long as its session lives
		}
		if err != nil {
			o.Close(err)
			return
		}
		cmd, refusal := executeCommand(req)
		if refusal != nil {
			o.Close(refusal)
			return
		}
		cmd.Call, cmd.Stream = call, o
		if err := s.loop.Send(stream.Context(), cmd, proto.Size(req), nil); err != nil {
			o.Close(err)
			return
		}
	}
}

func executeCommand(req *weftv1.ExecuteRequest) (*shard.CallFrame, *pure.Refusal) {
	switch {
	case req.GetAttach() != nil:
		return nil, badFrame("attach", "is for the first frame")
	case len(req.GetTasks()) > frameTasksMax:
		return nil, badFrame("tasks", "must have at most 1000 items")
	case len(req.GetCancels()) > frameCancelMax:
		return nil, badFrame("cancels", "must have at most 1000 items")
	}
	cmd := &shard.CallFrame{Finish: req.GetFinish(), Heartbeat: req.GetHeartbeat()}
	var err *pure.Refusal
	if len(req.GetAcknowledged()) > 0 {
		if cmd.Acknowledged, err = rangesOf("acknowledged", req.GetAcknowledged()); err != nil {
			return nil, err
		}
	}
	if len(req.GetTasks()) > 0 {
		if err = executeTasks(cmd, req.GetTasks()); err != nil {
			return nil, err
		}
	}
	for _, c := range req.GetCancels() {
		x := shard.CallCancel{All: c.GetRange() == nil, Grace: -1}
		if r := c.GetRange(); r != nil {
			if r.GetFirst() > r.GetLast() {
				return nil, badFrame("cancels.range", "must not end before it begins")
			}
			x.Range = pure.Range{First: r.GetFirst(), Last: r.GetLast()}
		}
		if c.GetGrace() != nil {
			if x.Grace, err = duration("cancels.grace", c.GetGrace(), 0, graceMax); err != nil {
				return nil, err
			}
		}
		cmd.Cancels = append(cmd.Cancels, x)
	}
	return cmd, nil
}

// executeTasks checks a frame's tasks. One that breaks a rule is refused by itself; the others go on.
func executeTasks(cmd *shard.CallFrame, tasks []*weftv1.ExecuteTask) *pure.Refusal {
	cmd.Tasks = make([]queue.NewTask, 0, len(tasks))
	bytes := 0
	for _, t := range tasks {
		n, err := newTask(t.GetSpec(), t.GetIndex())
		if err != nil {
			cmd.Refused = append(cmd.Refused, queue.Rejected{Index: t.GetIndex(), Reason: err})
			continue
		}
		if bytes += len(n.Spec.Payload.Data); bytes > taskBytesMax {
			return badFrame("tasks", "must have at most 4 MiB of payloads")
		}
		cmd.Tasks = append(cmd.Tasks, n)
	}
	return nil
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
func serveOutbox(ctx context.Context, o *shard.Outbox, w frameWriter) error {
	sentC := make(chan error, 1)
	go func() { sentC <- pump(ctx, o, w) }()
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

// executeWriter writes a call's responses.
type executeWriter struct {
	stream grpc.ServerStreamingServer[weftv1.ExecuteResponse]
	resp   weftv1.ExecuteResponse
}

func (w *executeWriter) add(effect any) int {
	switch e := effect.(type) {
	case *queue.Finished:
		w.resp.Outcomes = append(w.resp.Outcomes, &weftv1.ExecuteOutcome{
			Index: e.Index, TaskId: queue.FormatID(e.ID), Outcome: outcomeMessage(e.Outcome),
		})
		return 128 + len(e.Outcome.Result.Data)
	case *queue.Accepted:
		w.resp.Accepted = append(w.resp.Accepted, rangeMessages(e.Ranges)...)
		return 16 * len(e.Ranges)
	case *queue.Rejected:
		w.resp.Rejected = append(w.resp.Rejected, &weftv1.ExecuteRejection{
			Index: e.Index, Reason: reasonEnum(e.Reason.Reason), Message: e.Reason.Message, Metadata: metadata(e.Reason),
		})
		return 256
	case *queue.Updated:
		w.resp.Updates = append(w.resp.Updates, &weftv1.ExecuteUpdate{
			Index: e.Index, TaskId: queue.FormatID(e.ID), State: weftv1.TaskState(e.State),
			Token: e.Token, Worker: e.Worker, Attempts: e.Attempts,
		})
		return 64
	case *shard.Attached:
		w.resp.Attached = &weftv1.ExecuteAttached{
			SessionId: formatSession(e.Session), SessionTtl: durationpb.New(e.TTL), Accepted: rangeMessages(e.Accepted),
			UnacknowledgedTasksMax: queue.CallTasksMax, UnacknowledgedBytesMax: queue.CallBytesMax,
		}
		return 128
	case *shard.Beat:
		w.resp.Heartbeat = e.Number
		return 8
	}
	return 0
}

func (w *executeWriter) send() error {
	err := w.stream.Send(&w.resp)
	w.resp.Reset()
	return err
}
