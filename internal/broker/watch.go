package broker

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// outputPatience is how long a finished task's worker may say nothing of the output that it kept, be it away
// or silent. Tests have less of it.
var outputPatience = 10 * time.Second

// WaitTask implements TaskService.
func (s *taskService) WaitTask(ctx context.Context, req *weftv1.WaitTaskRequest) (*weftv1.WaitTaskResponse, error) {
	id, err := taskID(req.GetTaskId())
	if err != nil {
		return nil, err
	}
	task, o, stop, err := s.watch(ctx, &shard.WatchTask{Namespace: orDefault(req.GetNamespace()), ID: id})
	if err != nil {
		return nil, err
	}
	defer stop()
	var overC <-chan time.Time
	if req.GetWait() != nil {
		t := time.NewTimer(req.GetWait().AsDuration())
		defer t.Stop()
		overC = t.C
	}
	for !task.State.Final() {
		select {
		case <-o.Wake():
			if task, err = latest(o, task); err != nil {
				return nil, err
			}
		case <-overC:
			return &weftv1.WaitTaskResponse{Task: taskMessage(&task, true)}, nil
		case <-ctx.Done():
			return nil, statusError(context.Cause(ctx))
		}
	}
	return &weftv1.WaitTaskResponse{Task: taskMessage(&task, true)}, nil
}

// watch returns a task and an outbox that is told its changes, until stop is called.
func (s *taskService) watch(ctx context.Context, cmd *shard.WatchTask) (t queue.Snapshot, o *shard.Outbox, stop func(), err error) {
	o = shard.NewOutbox()
	cmd.Stream = o
	t, err = settle[queue.Snapshot](ctx, s.loop, cmd)
	if err != nil {
		return t, nil, nil, err
	}
	return t, o, func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		_ = s.loop.Send(gone, &shard.UnwatchTask{ID: t.ID, Stream: o}, 0, nil)
	}, nil
}

// latest returns the last news of an outbox, or the task as it was known.
func latest(o *shard.Outbox, known queue.Snapshot) (queue.Snapshot, error) {
	for {
		items, err := o.Take(nil)
		for _, item := range items {
			if c, ok := item.(*queue.Changed); ok {
				known = c.Task
			}
		}
		switch {
		case known.State.Final():
			return known, nil // nothing more is told
		case err != nil:
			return known, statusError(err)
		case len(items) == 0: // not before: the end may have come behind the news, and with the same wake
			return known, nil
		}
	}
}

// taskWatch is one WatchTask under way.
type taskWatch struct {
	outputs *outputs
	stream  grpc.ServerStreamingServer[weftv1.WatchTaskResponse]
	task    queue.Snapshot
	wanted  bool // the output
	partial bool // the partial results
	sent    int  // of those
	cursors [2]outputCursor
	wake    chan struct{}
	over    <-chan struct{}  // the broker's end
	silentC <-chan time.Time // while a finished task's output does not come
}

// outputCursor is how far one output stream was sent.
type outputCursor struct {
	stream weftv1.OutputStream
	token  uint64
	offset int64
	reader *outputReader
	done   bool
}

// WatchTask implements TaskService.
func (s *taskService) WatchTask(req *weftv1.WatchTaskRequest, stream grpc.ServerStreamingServer[weftv1.WatchTaskResponse]) error {
	ctx := stream.Context()
	cmd := &shard.WatchTask{Namespace: orDefault(req.GetNamespace()), Call: req.GetCallId(), Index: req.GetCallIndex()}
	if (req.GetTaskId() == "") == (cmd.Call == "") {
		return statusError(invalid("task_id", "or call_id must be set, one of them"))
	}
	if cmd.Call == "" {
		id, err := taskID(req.GetTaskId())
		if err != nil {
			return err
		}
		cmd.ID = id
	}
	task, o, stop, err := s.watch(ctx, cmd)
	if err != nil {
		return err
	}
	defer stop()
	w := &taskWatch{
		outputs: s.outputs, stream: stream, task: task, wake: make(chan struct{}, 1), over: s.loop.Over(),
		partial: req.GetPartials(), sent: int(req.GetPartialsOffset()),
		wanted: req.GetOutput(),
		cursors: [2]outputCursor{
			{stream: weftv1.OutputStream_OUTPUT_STREAM_STDOUT, token: req.GetToken(), offset: req.GetStdoutOffset()},
			{stream: weftv1.OutputStream_OUTPUT_STREAM_STDERR, token: req.GetToken(), offset: req.GetStderrOffset()},
		},
	}
	defer w.close()
	if !task.State.Final() {
		if err := w.sendTask(); err != nil {
			return err
		}
	}
	return w.run(ctx, o)
}

func (w *taskWatch) run(ctx context.Context, o *shard.Outbox) error {
	for {
		if err := w.sendPartials(); err != nil {
			return err
		}
		done, err := w.sendOutput()
		if err != nil {
			return err
		}
		if done && w.task.State.Final() {
			return w.sendTask()
		}
		select {
		case <-o.Wake():
			before := w.task
			if w.task, err = latest(o, w.task); err != nil {
				return err
			}
			changed := w.task.State != before.State || w.task.Token != before.Token || w.task.Progress != before.Progress
			if !w.task.State.Final() && changed {
				if err := w.sendTask(); err != nil {
					return err
				}
			}
		case <-w.wake:
		case <-w.silentC:
			return statusError(pure.Refuse(pure.OutputGone, "the task's worker is gone, and the rest of its output with it",
				"task_id", queue.FormatID(w.task.ID)))
		case <-w.over:
			return statusError(shard.NotReady())
		case <-ctx.Done():
			return statusError(context.Cause(ctx))
		}
	}
}

func (w *taskWatch) sendTask() error {
	m := taskMessage(&w.task, w.task.State.Final())
	m.Partials, m.Checkpoint = nil, nil // the ones come by themselves, the other is for who asks for the task
	return w.stream.Send(&weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Task{Task: m}})
}

// sendPartials sends the partial results that have come.
func (w *taskWatch) sendPartials() error {
	for ; w.partial && w.sent < len(w.task.Partials); w.sent++ {
		m := payloadMessages(w.task.Partials[w.sent : w.sent+1])[0]
		if err := w.stream.Send(&weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Partial{Partial: m}}); err != nil {
			return err
		}
	}
	return nil
}

// sendOutput sends what there is of the output, and tells whether that is all there will be.
func (w *taskWatch) sendOutput() (done bool, err error) {
	if !w.wanted || w.task.Token == 0 {
		return true, nil
	}
	done = true
	moved := false
	for i := range w.cursors {
		c := &w.cursors[i]
		if c.token != w.task.Token {
			c.restart(w.task.Token)
		}
		more, err := w.advance(c)
		if err != nil {
			return false, err
		}
		done = done && c.done
		moved = moved || more
	}
	w.setSilent(!done && w.task.State.Final(), moved)
	return done, nil
}

// setSilent begins the patience, or begins it anew when something has come.
func (w *taskWatch) setSilent(silent, moved bool) {
	switch {
	case !silent:
		w.silentC = nil
	case w.silentC == nil, moved:
		w.silentC = time.After(outputPatience)
	}
}

// restart begins with another attempt's output.
func (c *outputCursor) restart(token uint64) {
	c.closeReader()
	c.token, c.offset, c.done = token, 0, false
}

func (c *outputCursor) closeReader() {
	if c.reader != nil {
		c.reader.close()
		c.reader = nil
	}
}

// advance sends what there is of one output stream, and tells whether there was something.
func (w *taskWatch) advance(c *outputCursor) (moved bool, err error) {
	if c.done {
		return false, nil
	}
	if w.task.State.Final() {
		if data, complete := captured(w.task.Outcome, c.stream); complete {
			return true, w.sendCaptured(c, data)
		}
	}
	if c.reader == nil {
		c.reader = w.outputs.open(w.task.Session, c.token, c.stream, c.offset, w.wake)
	}
	chunks, done := c.reader.take()
	for _, chunk := range chunks {
		c.offset = chunk.GetOffset() + int64(len(chunk.GetData()))
		if err := w.stream.Send(outputEvent(chunk)); err != nil {
			return true, err
		}
	}
	if done {
		c.closeReader()
		c.done = true
	}
	return len(chunks) > 0, nil
}

// sendCaptured sends the rest of an output that the outcome has in full.
func (w *taskWatch) sendCaptured(c *outputCursor, data []byte) error {
	c.closeReader()
	c.done = true
	data = data[min(c.offset, int64(len(data))):]
	for {
		n := min(len(data), outputChunkBytes)
		chunk := &weftv1.OutputChunk{Token: c.token, Stream: c.stream, Offset: c.offset, Data: data[:n], End: n == len(data)}
		if err := w.stream.Send(outputEvent(chunk)); err != nil {
			return err
		}
		c.offset += int64(n)
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

func outputEvent(c *weftv1.OutputChunk) *weftv1.WatchTaskResponse {
	return &weftv1.WatchTaskResponse{Event: &weftv1.WatchTaskResponse_Output{Output: c}}
}

// captured returns an output stream as the outcome has it, and whether that is all of it. An attempt that
// ended without a result, by the broker's word, has nothing more to give either.
func captured(o *queue.Outcome, stream weftv1.OutputStream) (data []byte, complete bool) {
	if o.Result.Encoding != encodingCommandResult {
		return nil, !o.Spooled
	}
	r := commandResultMessage(o.Result)
	out := r.GetStdout()
	if stream == weftv1.OutputStream_OUTPUT_STREAM_STDERR {
		out = r.GetStderr()
	}
	if t, ok := out.GetValue().(*weftv1.CapturedOutput_Text); ok {
		return []byte(t.Text), !out.GetTruncated()
	}
	return out.GetData(), !out.GetTruncated()
}

func (w *taskWatch) close() {
	for i := range w.cursors {
		w.cursors[i].closeReader()
	}
}
