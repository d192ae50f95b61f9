package client

import (
	"context"
	"errors"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Submitter takes tasks and gives futures: a [*Client], whose tasks are one call until it is closed, a [*Call] or a
// [*Pool].
type Submitter interface{ submitter() *Call }

func (c *Call) submitter() *Call { return c }

func (c *Client) submitter() *Call {
	c.ownMu.Lock()
	defer c.ownMu.Unlock()
	if c.own == nil || c.own.hasEnded() {
		c.own = c.NewCall()
	}
	return c.own
}

// hasEnded reports whether nothing can be submitted any more.
func (c *Call) hasEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// TaskOption changes tasks of [Submit], and of [Map].
type TaskOption struct{ spec Spec }

func (o TaskOption) applyMap(c *mapConfig) { c.template = c.template.with(&o.spec) }

// With says everything of a task but its kind and its input: its queue, retries, timeout, priority. Of several the
// later ones go on where the earlier ones ended: a field that they set, a map or a slice as a whole, takes over. For
// [MapSpecs] it says what the inputs leave out.
func With(spec Spec) TaskOption { return TaskOption{spec} }

// mergeTasks is what all the options say.
func mergeTasks(opts []TaskOption) (Spec, error) {
	var spec Spec
	for i := range opts {
		spec = spec.with(&opts[i].spec)
	}
	if spec.hasWork() {
		return spec, errTypedSpec
	}
	return spec, nil
}

// Submit gives a task of a kind to a call and returns its future. It returns before the broker has the task, and
// blocks while the call's window is full. An error is ctx's, the one that ended the call ([ErrClosed],
// [ErrFinished] after its end), or that of an input that cannot be encoded. That the broker refuses the task is
// told by the future.
func Submit[In, Out any](
	ctx context.Context, s Submitter, kind task.Kind[In, Out], in In, opts ...TaskOption,
) (*Future[Out], error) {
	spec, err := NewSpec(kind, in, opts...)
	if err != nil {
		return nil, err
	}
	return submitTyped(ctx, s, spec, decodeWith(kind))
}

// NewSpec is a task of a kind, for what takes specs: [Client.Enqueue], [Queue.Put], [MapSpecs].
func NewSpec[In, Out any](kind task.Kind[In, Out], in In, opts ...TaskOption) (spec Spec, err error) {
	if spec, err = mergeTasks(opts); err != nil {
		return spec, err
	}
	return fillSpec(spec, kind, in)
}

// errTypedSpec refuses options that say what the kind, or an input, says.
var errTypedSpec = errors.New("client: With sets neither Kind, Payload nor Command")

// errZeroKind refuses a kind of no name and no codecs.
var errZeroKind = errors.New("client: the kind is task.Kind's zero value: make it by task.Define")

// checkKind refuses a kind that cannot be used.
func checkKind[In, Out any](kind task.Kind[In, Out]) error {
	if kind.Name() == "" {
		return errZeroKind
	}
	return nil
}

// fillSpec puts kind and input into a template.
func fillSpec[In, Out any](spec Spec, kind task.Kind[In, Out], in In) (Spec, error) {
	if err := checkKind(kind); err != nil {
		return spec, err
	}
	var err error
	spec.Kind = kind.Name()
	spec.Payload, err = kind.EncodeInput(in)
	return spec, err
}

// decodeWith reads results of a kind.
func decodeWith[In, Out any](kind task.Kind[In, Out]) func(*Outcome) (Out, error) {
	return func(o *Outcome) (out Out, err error) {
		if err := o.Err(); err != nil {
			return out, err
		}
		return kind.DecodeOutput(o.Payload)
	}
}

// SubmitCommand is [Submit] of a program to run. Its result has the exit code and the output, also beside the error
// of one that did not exit with 0.
func SubmitCommand(
	ctx context.Context, s Submitter, command *weftv1.Command, opts ...TaskOption,
) (*Future[*weftv1.CommandResult], error) {
	spec, err := mergeTasks(opts)
	if err != nil {
		return nil, err
	}
	spec.Command = command
	return submitTyped(ctx, s, spec, func(o *Outcome) (*weftv1.CommandResult, error) { return o.Command, o.Err() })
}

// submitTyped submits a task whose future reads the outcome.
func submitTyped[Out any](
	ctx context.Context, s Submitter, spec Spec, decode func(*Outcome) (Out, error),
) (*Future[Out], error) {
	t := &struct { // in one piece of memory
		typed  Future[Out]
		future SpecFuture
	}{}
	t.typed = Future[Out]{SpecFuture: &t.future, decode: decode}
	if err := s.submitter().submit(ctx, &t.future, &spec); err != nil {
		return nil, err
	}
	return &t.typed, nil
}

// Future is a client's view of a task's result. It ends, in any case: with the result, with the error of a task that
// did not succeed, or with what kept the broker from telling.
type Future[Out any] struct {
	*SpecFuture
	decode func(*Outcome) (Out, error)
}

// Wait returns the result once it is there. The error is a *task.Error of a task that did not succeed; ctx's if that
// ends first, which stops nobody but the waiter; an [*Error] if the task was refused; the one that ended the call;
// or that of a result which does not fit the kind.
func (f *Future[Out]) Wait(ctx context.Context) (out Out, err error) {
	outcome, err := f.SpecFuture.Wait(ctx)
	if err != nil {
		return out, err
	}
	return f.decode(outcome)
}

// WaitFor is [Future.Wait] for a time at most, as the timeout of Python's Future.result(); the error is
// context.DeadlineExceeded then, and the task goes on.
func (f *Future[Out]) WaitFor(d time.Duration) (Out, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return f.Wait(ctx)
}

// AnyFuture is a [*Future] of any type, or a [*SpecFuture].
type AnyFuture interface {
	comparable
	// Done is closed when the future has ended.
	Done() <-chan struct{}
	// Err is why the task did not succeed; nil while it has not ended, and after a success.
	Err() error

	specFuture() *SpecFuture
}

func (f *SpecFuture) specFuture() *SpecFuture { return f }

// Err is why the task did not succeed: a *task.Error, or what Wait's error is. It is nil while the future has not
// ended, and after a success.
func (f *SpecFuture) Err() error {
	outcome, err := f.Outcome()
	if outcome == nil {
		return err
	}
	return outcome.Err()
}

// Terminate cancels the task without grace: a command is killed, and a handler's context ends. A handler that does not
// heed that, and returns a result all the same, has succeeded.
func (f *SpecFuture) Terminate() { f.Cancel(KillNow) }
