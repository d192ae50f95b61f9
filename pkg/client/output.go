package client

import (
	"context"
	"errors"
	"iter"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// OutputChunk is a piece of what a task writes.
type OutputChunk struct {
	// Attempt is the token of the attempt that wrote it: another one begins from the beginning.
	Attempt uint64
	// Stderr says that it is of the standard error.
	Stderr bool
	// Data is the next bytes of the stream.
	Data []byte
}

// errOutputGone is output of a task whose outcome was acknowledged.
var errOutputGone = &Error{
	Code:    reasonCode(weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE),
	Reason:  weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE,
	Message: "the task has ended and its outcome was acknowledged: begin to read earlier, or make the call with ExplicitAck",
}

// Output gives what a command, or a handler by its attempt's Output, writes, live and until the end, each byte once
// and in order within its stream. Begin before the task has ended: the outcome is acknowledged afterwards, unless the
// call has [ExplicitAck]. An error is the last thing given: ctx's, what ended the future, or OUTPUT_GONE if the worker
// does not have all of it any more.
func (f *SpecFuture) Output(ctx context.Context) iter.Seq2[OutputChunk, error] {
	return func(yield func(OutputChunk, error) bool) {
		if !f.holdAck() {
			yield(OutputChunk{}, errOutputGone)
			return
		}
		defer f.releaseAck()
		if err := f.readOutput(ctx, yield); err != nil && !errors.Is(err, errStopped) {
			yield(OutputChunk{}, err)
		}
	}
}

// holdAck has the outcome wait for a reader of output; false is too late.
func (f *SpecFuture) holdAck() bool {
	f.mu().Lock()
	defer f.mu().Unlock()
	if f.call != nil && f.state == futureSettled {
		return false
	}
	f.more().readers++
	return true
}

// releaseAck acknowledges what waited.
func (f *SpecFuture) releaseAck() {
	f.mu().Lock()
	f.extra.readers--
	due := f.extra.readers == 0 && f.call != nil && f.state == futureResolved && !f.call.config.explicitAck
	f.mu().Unlock()
	if due {
		f.Ack()
	}
}

// readOutput watches the task, once the broker has it.
func (f *SpecFuture) readOutput(ctx context.Context, yield func(OutputChunk, error) bool) error {
	client, request := f.client(), weftv1.WatchTaskRequest{TaskId: f.TaskID(), Output: true}
	if request.GetTaskId() == "" {
		if f.call == nil { // attached to no name
			_, err := f.Wait(ctx)
			return err
		}
		if _, err := f.news(ctx, func(*more) bool { return f.state >= futureAccepted }); err != nil {
			return err
		}
		if _, err := f.Outcome(); err != nil {
			return err // it was refused
		}
		request.CallId, request.CallIndex = f.call.ID(), f.index
	}
	for e, err := range client.watch(ctx, &request) {
		if err != nil {
			return err
		}
		chunk := e.Output
		if len(chunk.GetData()) == 0 {
			continue
		}
		if !yield(OutputChunk{
			Attempt: chunk.GetToken(), Stderr: chunk.GetStream() == weftv1.OutputStream_OUTPUT_STREAM_STDERR, Data: chunk.GetData(),
		}, nil) {
			return errStopped
		}
	}
	return nil
}
