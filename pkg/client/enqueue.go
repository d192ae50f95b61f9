package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// EnqueueOption changes a submission of its own: [Client.Enqueue], [Queue.Put].
type EnqueueOption interface{ applyEnqueue(*enqueueConfig) }

// enqueueConfig is what the options say.
type enqueueConfig struct {
	requestID string
	bound     Bound
	joined    *bool
	guard     []GuardOption
}

// requestIDMax is the longest id of a request, in bytes.
const requestIDMax = 256

// check finds options that make no sense: a request of no name would be another one each time.
func (c *enqueueConfig) check() error {
	if n := len(c.requestID); n == 0 || n > requestIDMax {
		return fmt.Errorf("client: RequestID of %d bytes: 1 to %d", n, requestIDMax)
	}
	return c.bound.check()
}

type enqueueOptionFunc func(*enqueueConfig)

func (f enqueueOptionFunc) applyEnqueue(c *enqueueConfig) { f(c) }

// RequestID names the submission, in place of a random name: the same again, from any process, submits
// nothing for as long as the task is known. 1 to 256 bytes.
func RequestID(id string) EnqueueOption {
	return enqueueOptionFunc(func(c *enqueueConfig) { c.requestID = id })
}

// Joined tells whether a live task of the same unique key was joined.
func Joined(joined *bool) EnqueueOption {
	return enqueueOptionFunc(func(c *enqueueConfig) { c.joined = joined })
}

// Bound is how long something may wait. It is an option of puts, gets and joins.
type Bound struct {
	set  bool
	wait time.Duration
}

// Within bounds a wait, as the timeout of Python's queues; zero does not wait at all, and less is an error.
func Within(d time.Duration) Bound { return Bound{true, d} }

func (b Bound) applyEnqueue(c *enqueueConfig) { c.bound = b }
func (b Bound) applyGet(c *getConfig)         { c.bound = b }

// errNegative refuses a wait that cannot be.
var errNegative = errors.New("client: a wait must not be negative")

// check refuses a negative wait.
func (b Bound) check() error {
	if b.set && b.wait < 0 {
		return fmt.Errorf("%w: %v", errNegative, b.wait)
	}
	return nil
}

// waitMax is the longest wait of one request that the broker takes.
const waitMax = time.Hour

// deadline bounds a wait by the option and by ctx; false is no bound.
func (b Bound) deadline(ctx context.Context) (time.Time, bool) {
	at, ok := ctx.Deadline()
	if b.set {
		if own := time.Now().Add(b.wait); !ok || own.Before(at) {
			return own, true
		}
	}
	return at, ok
}

// nextWait is how long the next request may wait, at least a moment: what is there at once is taken
// even if the time is over. last is set when no request follows it.
func nextWait(at time.Time, bounded bool) (wait *durationpb.Duration, last bool) {
	if !bounded {
		return durationpb.New(waitMax), false
	}
	left := time.Until(at)
	if left <= 0 {
		return nil, true
	}
	return durationpb.New(min(left, waitMax)), left <= waitMax
}

// Enqueue submits one task that belongs to no call, and returns the broker's name for it. Its outcome
// stays for 24 h, or for a minute if somebody got the task ([Queue.Get]) and has done it, unless the spec says
// otherwise; a daemon task needs a call. A queue that is full refuses it with [ErrFull]; with [Within] it waits
// for room.
func (c *Client) Enqueue(ctx context.Context, spec Spec, opts ...EnqueueOption) (taskID string, err error) {
	cfg := enqueueConfig{requestID: rand.Text(), bound: Within(0)}
	for _, o := range opts {
		o.applyEnqueue(&cfg)
	}
	return c.submitOne(ctx, spec, &cfg)
}

// submitOne submits a task, and waits for room as the configuration says.
func (c *Client) submitOne(ctx context.Context, spec Spec, cfg *enqueueConfig) (string, error) {
	if err := errors.Join(spec.alone(), cfg.check()); err != nil {
		return "", err
	}
	guard, err := guardOf(ctx, cfg.guard)
	if err != nil {
		return "", err
	}
	request := &weftv1.SubmitTaskRequest{Namespace: c.namespace, RequestId: cfg.requestID, Task: spec.proto(), Guard: guard}
	at, bounded := cfg.bound.deadline(ctx)
	for {
		var last bool
		request.Wait, last = nextWait(at, bounded)
		if guard != nil || cfg.bound.set && cfg.bound.wait == 0 {
			request.Wait, last = nil, true
		}
		response, err := c.submitOnce(ctx, request)
		switch {
		case err == nil:
			if cfg.joined != nil {
				*cfg.joined = response.GetJoined()
			}
			return response.GetTaskId(), nil
		case !last && ctx.Err() == nil && errors.Is(err, ErrFull):
			continue
		default:
			return "", err
		}
	}
}

// submitOnce makes one request until it is answered. If ctx ends first, a request of the same name that does
// not wait tells whether the task was taken.
func (c *Client) submitOnce(ctx context.Context, request *weftv1.SubmitTaskRequest) (response *weftv1.SubmitTaskResponse, err error) {
	ask := func(ctx context.Context) error {
		return c.retry(ctx, func() (err error) {
			response, err = c.tasks().SubmitTask(ctx, request)
			return err
		})
	}
	err = ask(ctx)
	if err == nil || ctx.Err() == nil || request.Wait == nil {
		return response, err
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	request.Wait = nil
	switch again := ask(short); {
	case again == nil:
		return response, nil
	case errors.Is(again, ErrFull):
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), again)
	default:
		return nil, err
	}
}

// batchMax is how many tasks one request submits, and batchBytesMax how many bytes of them.
const (
	batchMax      = 1000
	batchBytesMax = 3 << 20
)

// Enqueued is what became of one task of [Client.EnqueueAll].
type Enqueued struct {
	// TaskID is the broker's name for it; empty if it was refused.
	TaskID string
	// Joined says that a live task of the same unique key was joined.
	Joined bool
	// Err says why it was refused; an [*Error].
	Err error
}

// EnqueueAll submits tasks that belong to no call, a thousand in a request, each on its own merits. An error is
// one of all that follow; what was submitted before it is returned.
func (c *Client) EnqueueAll(ctx context.Context, specs []Spec) ([]Enqueued, error) {
	out := make([]Enqueued, 0, len(specs))
	for len(out) < len(specs) {
		rest := specs[len(out):]
		results, err := c.submitBatch(ctx, rest[:batchSize(rest)])
		if err != nil {
			return out, err
		}
		out = append(out, results...)
	}
	return out, nil
}

// batchSize is how many of the tasks the next request takes.
func batchSize(specs []Spec) (n int) {
	for bytes := 0; n < min(len(specs), batchMax); n++ {
		if bytes += specs[n].workBytes() + labelBytes(specs[n].Labels); n > 0 && bytes > batchBytesMax {
			break
		}
	}
	return n
}

// labelBytes is what labels count in a batch.
func labelBytes(labels map[string]string) (n int) {
	for k, v := range labels {
		n += len(k) + len(v)
	}
	return n
}

// submitBatch is one request of EnqueueAll.
func (c *Client) submitBatch(ctx context.Context, specs []Spec) ([]Enqueued, error) {
	request := &weftv1.SubmitTasksRequest{Namespace: c.namespace, RequestId: rand.Text()}
	for i := range specs {
		if err := specs[i].alone(); err != nil {
			return nil, err
		}
		request.Tasks = append(request.Tasks, specs[i].proto())
	}
	var response *weftv1.SubmitTasksResponse
	err := c.retry(ctx, func() (err error) {
		response, err = c.tasks().SubmitTasks(ctx, request)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]Enqueued, len(response.GetResults()))
	for i, r := range response.GetResults() {
		out[i] = Enqueued{TaskID: r.GetTaskId(), Joined: r.GetJoined()}
		if r.GetTaskId() == "" {
			out[i].Err = &Error{
				Code: reasonCode(r.GetReason()), Reason: r.GetReason(), Message: r.GetMessage(), Metadata: r.GetMetadata(),
			}
		}
	}
	return out, nil
}
