package broker

import (
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// frame is a response under way. It implements frameOut.
type frame struct{ buf *[]byte }

func (f *frame) bytes() *[]byte {
	if f.buf == nil {
		f.buf = getFrame()
	}
	return f.buf
}

func (f *frame) take() *[]byte {
	b := f.bytes()
	f.buf = nil
	return b
}

// executeWriter writes a call's responses.
type executeWriter struct {
	stream grpc.ServerStream
	frame  frame
}

func (w *executeWriter) add(effect any) int {
	buf := w.frame.bytes()
	before := len(*buf)
	*buf = appendExecute(*buf, effect)
	return len(*buf) - before
}

func (w *executeWriter) send() error { return w.stream.SendMsg(&w.frame) }

// appendExecute appends an effect as a field of an ExecuteResponse.
func appendExecute(b []byte, effect any) []byte {
	var at int
	switch e := effect.(type) {
	case *queue.Finished:
		b, at = wire.Open(b, 5)
		b = wire.Uint(b, 1, e.Index)
		b = appendTaskID(b, 2, e.ID)
		b = appendOutcome(b, 3, e.Outcome)
		return wire.Shut(b, at)
	case *queue.Accepted:
		return appendRanges(b, 2, e.Ranges)
	case *queue.Rejected:
		b, at = wire.Open(b, 3)
		b = wire.Uint(b, 1, e.Index)
		b = wire.Uint(b, 2, uint64(reasonEnum(e.Reason.Reason)))
		b = wire.String(b, 3, e.Reason.Message)
		b = appendMap(b, 4, e.Reason.Meta)
		return wire.Shut(b, at)
	case *queue.Updated:
		b, at = wire.Open(b, 4)
		b = wire.Uint(b, 1, e.Index)
		b = appendTaskID(b, 2, e.ID)
		b = wire.Uint(b, 3, uint64(e.State))
		b = wire.Uint(b, 4, e.Token)
		b = wire.String(b, 5, e.Worker)
		b = wire.Uint(b, 6, uint64(e.Attempts))
		return wire.Shut(b, at)
	case *queue.Advanced:
		b, at = wire.Open(b, 7)
		b = wire.Uint(b, 1, e.Index)
		b = appendTaskID(b, 2, e.ID)
		b = wire.Uint(b, 3, e.Token)
		b = appendProgress(b, 4, e.Progress)
		b = appendPayloads(b, 5, e.Partials)
		b = wire.Uint(b, 6, uint64(e.Offset))
		return wire.Shut(b, at)
	case *queue.Interrupted:
		b, at = wire.Open(b, 8)
		b = wire.Uint(b, 1, e.Index)
		b = appendTaskID(b, 2, e.Task)
		b = wire.String(b, 3, e.Message)
		b = wire.Uint(b, 4, e.Number)
		return wire.Shut(b, at)
	case *shard.Attached:
		b, at = wire.Open(b, 1)
		b = appendSession(b, 1, e.Session)
		b = appendDuration(b, 2, e.TTL)
		b = appendRanges(b, 3, e.Accepted)
		b = wire.Uint(b, 4, queue.CallTasksMax)
		b = wire.Uint(b, 5, queue.CallBytesMax)
		return wire.Shut(b, at)
	case *shard.Beat:
		return wire.Uint(b, 6, e.Number)
	}
	return b
}

func appendOutcome(b []byte, number protowire.Number, o *queue.Outcome) []byte {
	b, at := wire.Open(b, number)
	b = wire.Uint(b, 1, uint64(o.State))
	b = wire.Uint(b, 2, uint64(o.End))
	b = appendPayload(b, 3, 4, o.Result)
	b = appendError(b, 5, o.Error)
	b = wire.Uint(b, 6, uint64(o.Attempts))
	b = wire.String(b, 7, o.Worker)
	b = wire.Uint(b, 8, o.Token)
	b = appendTime(b, 9, o.StartedAt)
	b = appendTime(b, 10, o.FinishedAt)
	return wire.Shut(b, at)
}

// appendMap appends keys and values in turn as a map.
func appendMap(b []byte, number protowire.Number, list []string) []byte {
	for i := 0; i+1 < len(list); i += 2 {
		var at int
		b, at = wire.Open(b, number)
		b = wire.String(b, 1, list[i])
		b = wire.String(b, 2, list[i+1])
		b = wire.Shut(b, at)
	}
	return b
}

// workWriter writes a worker's responses.
type workWriter struct {
	stream   grpc.ServerStream
	frame    frame
	accepted []uint64
	refused  []uint64
	released []uint64
}

func (w *workWriter) add(effect any) int {
	switch e := effect.(type) {
	case *queue.Answered:
		if e.Accepted {
			w.accepted = append(w.accepted, e.Token)
		} else {
			w.refused = append(w.refused, e.Token)
		}
		return 4
	case *queue.Released:
		w.released = append(w.released, e.Token)
		return 4
	}
	buf := w.frame.bytes()
	before := len(*buf)
	*buf = appendWork(*buf, effect)
	return len(*buf) - before
}

func (w *workWriter) send() error {
	buf := w.frame.bytes()
	*buf = wire.Packed(*buf, 4, w.accepted)
	*buf = wire.Packed(*buf, 5, w.refused)
	*buf = wire.Packed(*buf, 7, w.released)
	w.accepted, w.refused, w.released = w.accepted[:0], w.refused[:0], w.released[:0]
	return w.stream.SendMsg(&w.frame)
}

// appendWork appends an effect as a field of a WorkResponse.
func appendWork(b []byte, effect any) []byte {
	var at int
	switch e := effect.(type) {
	case *queue.Assigned:
		return appendAssignment(b, 2, &e.Assignment)
	case *queue.Stop:
		b, at = wire.Open(b, 3)
		b = wire.Uint(b, 1, e.Token)
		b = wire.Uint(b, 2, uint64(e.Reason))
		b = appendDuration(b, 3, e.Grace)
		return wire.Shut(b, at)
	case *queue.AdvanceAnswered:
		b, at = wire.Open(b, 9)
		b = wire.Uint(b, 1, e.Token)
		b = wire.Uint(b, 2, e.Sequence)
		if e.Reason != "" {
			b = wire.Uint(b, 3, uint64(reasonEnum(e.Reason)))
		}
		b = wire.String(b, 4, e.Message)
		return wire.Shut(b, at)
	case *shard.Welcome:
		b, at = wire.Open(b, 1)
		b = appendSession(b, 1, e.Session)
		b = appendDuration(b, 2, e.TTL)
		b = wire.Packed(b, 3, e.Superseded)
		return wire.Shut(b, at)
	case *weftv1.OutputRequest:
		b, at = wire.Open(b, 6)
		b = wire.Uint(b, 1, e.GetToken())
		b = wire.Uint(b, 2, uint64(e.GetStream()))
		b = wire.Uint(b, 3, uint64(e.GetOffset()))
		b = wire.Uint(b, 4, uint64(e.GetBytesMax()))
		if e.GetStop() {
			b = wire.Uint(b, 5, 1)
		}
		b = wire.Uint(b, 6, e.GetReader())
		return wire.Shut(b, at)
	case *shard.Beat:
		return wire.Uint(b, 8, e.Number)
	}
	return b
}

func appendAssignment(b []byte, number protowire.Number, a *queue.Assignment) []byte {
	b, at := wire.Open(b, number)
	b = appendTaskID(b, 1, a.ID)
	b = wire.Uint(b, 2, a.Token)
	b = wire.String(b, 3, a.Queue)
	b = wire.String(b, 4, a.Kind)
	b = appendPayload(b, 5, 6, a.Payload)
	if a.Options.Timeout > 0 {
		b = appendDuration(b, 7, a.Options.Timeout)
	}
	if a.Options.Grace != queue.GraceDefault {
		b = appendDuration(b, 8, a.Options.Grace)
	}
	b = wire.Uint(b, 9, uint64(a.Attempt))
	b = appendMap(b, 10, a.Options.Labels)
	if p := a.Checkpoint; p != nil {
		var in int
		b, in = wire.Open(b, 11)
		b = appendPayload(b, 1, 1, p.State)
		b = wire.Uint(b, 2, uint64(p.Partials))
		b = wire.Shut(b, in)
	}
	if a.Called {
		b = wire.Uint(b, 12, 1)
	}
	b = wire.Uint(b, 13, uint64(a.Partials))
	b = wire.Uint(b, 14, uint64(a.PartialsBytes))
	return wire.Shut(b, at)
}

// executeRest takes the fields of a client's frame that are read through the message.
func executeRest(cmd *shard.CallFrame, req *weftv1.ExecuteRequest) *pure.Refusal {
	if req.GetAttach() != nil {
		return badFrame("attach", "is for the first frame")
	}
	cmd.Finish, cmd.InterruptTaken = req.GetFinish(), req.GetInterruptTaken()
	if len(req.GetCancels()) > frameCancelMax {
		return badFrame("cancels", "must have at most 1000 items")
	}
	cmd.Cancels = slices.Grow(cmd.Cancels, len(req.GetCancels()))
	for _, c := range req.GetCancels() {
		x, err := cancelOf(c)
		if err != nil {
			return err
		}
		cmd.Cancels = append(cmd.Cancels, x)
	}
	return nil
}

func cancelOf(c *weftv1.ExecuteCancel) (x shard.CallCancel, err *pure.Refusal) {
	x = shard.CallCancel{All: c.GetRange() == nil, Grace: -1, WaitingOnly: c.GetWaitingOnly()}
	if x.All && x.WaitingOnly {
		return x, badFrame("cancels.waiting_only", "is for a range")
	}
	if r := c.GetRange(); r != nil {
		if r.GetFirst() > r.GetLast() {
			return x, badFrame("cancels.range", "must not end before it begins")
		}
		x.Range = pure.Range{First: r.GetFirst(), Last: r.GetLast()}
	}
	if c.GetGrace() != nil {
		x.Grace, err = duration("cancels.grace", c.GetGrace(), 0, graceMax)
	}
	return x, err
}

// workRest takes the fields of a worker's frame that are read through the message. The frame has so many bytes of
// results already.
func workRest(cmd *shard.WorkerFrame, req *weftv1.WorkRequest, bytes int) *pure.Refusal {
	switch {
	case req.GetHello() != nil:
		return badFrame("hello", "is for the first frame")
	case len(req.GetOutput()) > frameChunksMax:
		return badFrame("output", "must have at most 1000 items")
	}
	cmd.Draining, cmd.Goodbye = req.GetDraining(), req.GetGoodbye()
	return advancesOf(cmd, req.GetAdvances(), bytes)
}
