package client

import (
	"context"
	"errors"
	"io"
	"iter"

	"google.golang.org/protobuf/proto"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Event is one piece of news of a task: exactly one field is set.
type Event struct {
	// Task is the task after a change; the last one has the outcome.
	Task *weftv1.Task
	// Output is the next piece of a command's output. Each attempt's begins at offset 0. One that is gone
	// says that the worker has no more of the stream, although there was more.
	Output *weftv1.OutputChunk
	// Partial is the next partial result.
	Partial *weftv1.Payload
}

// Watch follows a task: its state and its progress now and at each change, and each partial result once and in order,
// until its outcome; with output, also what it writes, each byte once and in order within its stream. Changes that
// follow each other quickly may be told as one. A lost connection is resumed where it was. An error is the last thing
// given; OUTPUT_GONE says that the worker no longer has the output.
func (c *Client) Watch(ctx context.Context, taskID string, output bool) iter.Seq2[Event, error] {
	return c.watch(ctx, &weftv1.WatchTaskRequest{TaskId: taskID, Output: output, Partials: true})
}

// watch is Watch of what a request asks for.
func (c *Client) watch(ctx context.Context, request *weftv1.WatchTaskRequest) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		w := &watching{client: c, request: proto.CloneOf(request), yield: yield}
		w.request.Namespace = c.namespace
		if err := c.overStreams(ctx, &w.backoff, w.stream); err != nil {
			yield(Event{}, err)
		}
	}
}

// errStopped ends a watch whose loop was broken.
var errStopped = errors.New("client: stopped")

// errGap is output that is missing between two chunks, which is asked for again.
var errGap = errors.New("client: a gap in the output")

// watching is one run of Watch.
type watching struct {
	client  *Client
	request *weftv1.WatchTaskRequest // with the offsets of what was given
	yield   func(Event, error) bool
	backoff backoff
}

// overStreams watches until the end, over as many streams as it takes: one returns nil after the end, and resets b when
// something comes. A loop that was broken is no error.
func (c *Client) overStreams(ctx context.Context, b *backoff, stream func(context.Context) error) error {
	for {
		err := stream(ctx)
		switch {
		case err == nil || errors.Is(err, errStopped):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.ctx.Err() != nil:
			return ErrClosed
		case !resumable(err) && !errors.Is(err, errGap):
			return fromRPC(err)
		}
		if b.sleep(ctx) != nil {
			return context.Cause(ctx)
		}
	}
}

// stream watches on one stream; nil is after the outcome.
func (w *watching) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.tasks().WatchTask(ctx, w.request)
	if err != nil {
		return err
	}
	final := false
	for {
		response, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && final:
			return nil
		case err != nil:
			return err
		}
		w.backoff.reset()
		switch e := response.GetEvent().(type) {
		case *weftv1.WatchTaskResponse_Output:
			err = w.output(e.Output)
		case *weftv1.WatchTaskResponse_Partial:
			w.request.PartialsOffset++
			err = w.tell(Event{Partial: e.Partial})
		case *weftv1.WatchTaskResponse_Task:
			final = e.Task.GetOutcome() != nil
			err = w.tell(Event{Task: e.Task})
		}
		if err != nil {
			return err
		}
	}
}

// tell gives an event to the loop.
func (w *watching) tell(e Event) error {
	if !w.yield(e, nil) {
		return errStopped
	}
	return nil
}

// output gives what is new in a chunk, and moves the offset that a resumption begins at.
func (w *watching) output(chunk *weftv1.OutputChunk) error {
	if chunk.GetToken() < w.request.GetToken() {
		return nil // of an attempt that another one has followed
	}
	if chunk.GetToken() != w.request.GetToken() {
		w.request.Token = chunk.GetToken()
		w.request.StdoutOffset, w.request.StderrOffset = 0, 0
	}
	offset := &w.request.StdoutOffset
	if chunk.GetStream() == weftv1.OutputStream_OUTPUT_STREAM_STDERR {
		offset = &w.request.StderrOffset
	}
	seen := *offset - chunk.GetOffset()
	switch {
	case seen < 0:
		return errGap
	case seen > int64(len(chunk.GetData())):
		return nil
	case seen == int64(len(chunk.GetData())) && !chunk.GetEnd() && !chunk.GetGone():
		return nil
	}
	chunk.Offset, chunk.Data = *offset, chunk.GetData()[seen:]
	*offset += int64(len(chunk.GetData()))
	return w.tell(Event{Output: chunk})
}
