package wefttest

import (
	"bytes"
	"context"
	"io"
	"sync"

	"github.com/weftq/weft/pkg/task"
)

// Recorder stands in for the worker in tests of a handler by itself: it keeps what the handler tells of its attempt.
// Its fields are to be read when the handler has returned. The zero Recorder is ready.
type Recorder struct {
	// Checkpoint is what the handler loads, and then what it saved last; nil is none.
	Checkpoint *task.Payload
	// Partials are the partial results that it emitted.
	Partials []task.Payload
	// Done, Total and Message are its progress.
	Done, Total int64
	Message     string
	// Interrupts are the messages with which it interrupted who submitted its task.
	Interrupts []string
	// Written is its output.
	Written bytes.Buffer
	// Stop is what the attempt's Err method returns: why it has to stop, nil while it may go on.
	Stop error

	mu sync.Mutex
}

// Context is the context of an attempt whose news the recorder keeps. It ends with ctx.
func (r *Recorder) Context(ctx context.Context, a task.Attempt) context.Context {
	a.Runtime = recording{r}
	return task.NewContext(ctx, &a)
}

// recording is a recorder as an attempt sees it.
type recording struct{ *Recorder }

var _ task.Runtime = recording{}

// Progress implements task.Runtime.
func (r recording) Progress(done, total int64, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Done, r.Total, r.Message = done, total, message
}

// Save implements task.Runtime.
func (r recording) Save(state task.Payload) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Checkpoint = &state
	return nil
}

// Saved implements task.Runtime.
func (r recording) Saved() (task.Payload, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Checkpoint == nil {
		return task.Payload{}, false
	}
	return *r.Checkpoint, true
}

// Emit implements task.Runtime.
func (r recording) Emit(partial task.Payload) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Partials = append(r.Partials, partial)
	return nil
}

// Flush implements task.Runtime: everything is here at once.
func (recording) Flush(ctx context.Context) error { return context.Cause(ctx) }

// Err implements task.Runtime.
func (r recording) Err() error { return r.Stop }

// Interrupt implements task.Runtime.
func (r recording) Interrupt(_ context.Context, message string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Interrupts = append(r.Interrupts, message)
	return nil
}

// Output implements task.Runtime.
func (r recording) Output() io.Writer { return r }

// Write implements io.Writer.
func (r recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Written.Write(p)
}
