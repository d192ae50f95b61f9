package task

import (
	"context"
	"errors"
	"io"
)

// Attempt is one run of a task, as its handler sees it: [Current] returns it. Its methods may be used from
// several goroutines, until the handler returns.
type Attempt struct {
	// TaskID is the broker's name for the task.
	TaskID string
	// Token is the fencing number of this attempt: every later attempt, of any task of the namespace,
	// has a higher one.
	Token uint64
	// Queue that the task came from.
	Queue string
	// Kind of the task.
	Kind string
	// Number is 1 for the task's first attempt.
	Number uint32
	// Labels of the task; not to be changed.
	Labels map[string]string
	// Runtime does what the methods ask for; nil outside of a worker.
	Runtime Runtime
}

// Runtime is what a worker does for a handler. Handlers use [Attempt]'s methods.
type Runtime interface {
	Progress(done, total int64, message string)
	Save(state Payload) error
	Saved() (state Payload, ok bool)
	Emit(partial Payload) error
	Flush(ctx context.Context) error
	Interrupt(ctx context.Context, message string) error
	Output() io.Writer
}

// What a worker tells a command of its attempt, in the command's environment. With WEFT_BROKER and WEFT_NAMESPACE, which
// are the worker's own, the command can speak to the broker for it, as `weft interrupt` does.
const (
	EnvTaskID  = "WEFT_TASK_ID"    // the broker's name for the task
	EnvToken   = "WEFT_TASK_TOKEN" // the attempt's fencing number
	EnvAttempt = "WEFT_ATTEMPT"    // 1 for the task's first attempt
)

// Limits of a task's partial results.
const (
	PartialsMax      = 1000    // how many
	PartialsBytesMax = 1 << 20 // and their bytes together
)

type attemptKey struct{}

// AttemptKey is the key under which the context of a handler has its *[Attempt], for who makes such contexts.
func AttemptKey() any { return attemptKey{} }

// NewContext is a context of an attempt: for tests of handlers by themselves.
func NewContext(ctx context.Context, a *Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// nobody is the attempt of code that runs outside of one.
var nobody = &Attempt{}

// Current is the attempt that ctx belongs to. Outside of a handler it is an empty one, whose methods do nothing.
func Current(ctx context.Context) *Attempt {
	if a, ok := ctx.Value(attemptKey{}).(*Attempt); ok {
		return a
	}
	return nobody
}

// Progress says how far the attempt has come, in units of its own; a total of 0 is unknown. Whoever watches sees
// the last value, at most some ten times a second. A message of at most 1,024 bytes says what it is at.
func (a *Attempt) Progress(done, total int64, message ...string) {
	if a.Runtime == nil {
		return
	}
	text := ""
	if len(message) > 0 {
		text = truncate(message[0], 1024)
	}
	a.Runtime.Progress(done, total, text)
}

// Save leaves a checkpoint, which a later attempt of the task is given: after an error, a drain, a worker that
// was lost. The last one counts. It is on its way when Save returns, and durable a moment later; [Attempt.Flush]
// waits for that. v is encoded as by [PayloadOf]; an error is that of the encoding, a checkpoint of more than
// 512 KiB, or the broker's refusal of an earlier one.
func (a *Attempt) Save(v any) error {
	p, err := PayloadOf(v)
	switch {
	case err != nil:
		return err
	case p.Len() > PayloadBytesMax:
		return tooLarge("the checkpoint", p.Len())
	case a.Runtime == nil:
		return nil
	}
	return a.Runtime.Save(p)
}

// Load reads the last checkpoint, of this attempt or an earlier one, into what v points to, as by [Payload.Into].
// Without one, v is left as it is and found is false. If an earlier attempt
// saved it, and this one has neither saved nor emitted yet, partial results go on from where they were then.
func (a *Attempt) Load(v any) (found bool, err error) {
	if a.Runtime == nil {
		return false, nil
	}
	p, ok := a.Runtime.Saved()
	if !ok {
		return false, nil
	}
	return true, p.Into(v)
}

// Emit brings a partial result: it reaches who waits for the task now, in order and durably. At most 1,000 of
// them a task, of 512 KiB each and 1 MiB together; what is more belongs into a queue. An attempt that begins anew emits from the
// beginning again, one that has loaded a checkpoint from there on, and what the task has already is passed over:
// so each partial result counts once, if the handler emits the same ones each time. v is encoded as by
// [PayloadOf].
func (a *Attempt) Emit(v any) error {
	p, err := PayloadOf(v)
	switch {
	case err != nil:
		return err
	case p.Len() > PayloadBytesMax:
		return tooLarge("the partial result", p.Len())
	case a.Runtime == nil:
		return nil
	}
	return a.Runtime.Emit(p)
}

// Flush waits until everything that was saved and emitted is durable at the broker.
func (a *Attempt) Flush(ctx context.Context) error {
	if a.Runtime == nil {
		return nil
	}
	return a.Runtime.Flush(ctx)
}

// ErrNoSubmitter refuses [Attempt.Interrupt] for a task that nobody waits for in a call.
var ErrNoSubmitter = errors.New("task: the task belongs to no call, so there is nobody to interrupt")

// Interrupt interrupts the program that submitted the task, as Python's interrupt_main() does: its context ends.
// It returns once that is durable. The message, of at most 1,024 bytes, says why.
func (a *Attempt) Interrupt(ctx context.Context, message string) error {
	if a.Runtime == nil {
		return ErrNoSubmitter
	}
	return a.Runtime.Interrupt(ctx, truncate(message, 1024))
}

// Output is for what the attempt has to say while it runs, as the standard output of a command: who watches the
// task reads it live. It stays at the worker for 10 minutes after the end, and never ends up in the result.
func (a *Attempt) Output() io.Writer {
	if a.Runtime == nil {
		return io.Discard
	}
	return a.Runtime.Output()
}
