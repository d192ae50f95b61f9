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
	Err() error
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
// waits for that. v is encoded as by [PayloadOf]; an error is that of the encoding, a [*LimitError] for a checkpoint of
// more than 512 KiB, or an [*Error]: the broker's refusal of an earlier one.
func (a *Attempt) Save(v any) error {
	p, err := PayloadOf(v)
	if err == nil {
		err = CheckSize("the checkpoint", p)
	}
	if err != nil || a.Runtime == nil {
		return err
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
// [PayloadOf]; an error is as with [Attempt.Save]. What is emitted is on its way, not durable: an attempt that succeeds
// waits for that before it ends, and if the broker refuses a partial result it fails, with [ReasonPayload].
func (a *Attempt) Emit(v any) error {
	p, err := PayloadOf(v)
	if err == nil {
		err = CheckSize("the partial result", p)
	}
	if err != nil || a.Runtime == nil {
		return err
	}
	return a.Runtime.Emit(p)
}

// Flush waits until everything that was saved and emitted is durable at the broker, or ctx is done. It returns early
// only if that cannot be any more: with [ErrLeaseLost] once the task is no longer this attempt's, or with the broker's
// refusal. An attempt that is told to stop (cancelled, drained, beyond its timeout) can still flush what it leaves to
// the next one, within its grace; but the handler's own context is done then, so give it another:
//
//	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
func (a *Attempt) Flush(ctx context.Context) error {
	if a.Runtime == nil {
		return nil
	}
	return a.Runtime.Flush(ctx)
}

// ErrNoSubmitter refuses [Attempt.Interrupt] for a task that nobody waits for in a call.
var ErrNoSubmitter = errors.New("task: the task belongs to no call, so there is nobody to interrupt")

// Err is why the attempt has to stop: [ErrCancelled], [ErrTimeout], [ErrDrained] or [ErrLeaseLost]; nil while it may go
// on, and outside of a worker. It asks the clock whether the lease is over, as the Err method of the handler's own
// context does. Contexts that are derived from that one (context.WithTimeout and the like) do not: they learn of it when
// its Done channel closes, which is when a timer fires, and after the process or the machine stood still that may be up
// to a quarter of a second late. So before what must not happen twice, ask task.Current(ctx).Err().
func (a *Attempt) Err() error {
	if a.Runtime == nil {
		return nil
	}
	return a.Runtime.Err()
}

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
