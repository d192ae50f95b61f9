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

// leaseDefault is how long what was got stays with a client that says nothing more.
const leaseDefault = 30 * time.Second

// GetOption changes a get.
type GetOption interface{ applyGet(*getConfig) }

// getConfig is what the options say.
type getConfig struct {
	bound  Bound
	lease  *time.Duration // given; nil is one that is renewed
	kinds  []string
	labels map[string]string
}

// Bounds of a get.
const (
	leaseMax = 24 * time.Hour
	batchGet = 1000
)

// check finds options that make no sense, for so many tasks.
func (c *getConfig) check(n int) error {
	switch {
	case n < 1 || n > batchGet:
		return fmt.Errorf("client: get %d tasks: from 1 to %d", n, batchGet)
	case c.lease != nil && (*c.lease < minTTL || *c.lease > leaseMax):
		return fmt.Errorf("client: WithLease(%v): from %v to %v", *c.lease, minTTL, leaseMax)
	}
	return c.bound.check()
}

type getOptionFunc func(*getConfig)

func (f getOptionFunc) applyGet(c *getConfig) { f(c) }

// WithLease holds what is got for so long, 1 s to 24 h, also if this client is gone. It turns the renewal in the
// background off: once the time is over somebody else gets the task, unless [Held.Renew] was called. Without it the lease is renewed until the task is done, failed or released, and ends with the
// client.
func WithLease(d time.Duration) GetOption {
	return getOptionFunc(func(c *getConfig) { c.lease = &d })
}

// Kinds gets only tasks of these kinds.
func Kinds(kinds ...string) GetOption {
	return getOptionFunc(func(c *getConfig) { c.kinds = kinds })
}

// WithLabels gets also tasks that ask for a worker with these labels.
func WithLabels(labels map[string]string) GetOption {
	return getOptionFunc(func(c *getConfig) { c.labels = labels })
}

// Get takes the next task. While there is none it waits until ctx ends, or the time of [Within] is over: then the
// error is [ErrEmpty]. A queue that is closed is [ErrQueueClosed], also while waiting, once no task is left that could
// come: a task that somebody holds, this client too, may come back.
func (q *Queue) Get(ctx context.Context, opts ...GetOption) (*Held, error) {
	held, err := q.GetBatch(ctx, 1, opts...)
	if err != nil {
		return nil, err
	}
	return held[0], nil
}

// TryGet is Get that does not wait: [ErrEmpty] at once.
func (q *Queue) TryGet(ctx context.Context, opts ...GetOption) (*Held, error) {
	return q.Get(ctx, append(opts, Within(0))...)
}

// GetBatch is Get of the next tasks, at least one and at most n, which is at most 1,000.
func (q *Queue) GetBatch(ctx context.Context, n int, opts ...GetOption) ([]*Held, error) {
	var cfg getConfig
	for _, o := range opts {
		o.applyGet(&cfg)
	}
	if err := cfg.check(n); err != nil {
		return nil, err
	}
	request := &weftv1.ReserveTasksRequest{
		Namespace: q.client.namespace, Queue: q.name, Kinds: cfg.kinds, TasksMax: uint32(n), Labels: cfg.labels, //nolint:gosec // the broker checks it
		Lease: durationpb.New(leaseDefault), RequestId: rand.Text(),
	}
	if cfg.lease != nil {
		request.Lease = durationpb.New(*cfg.lease)
	}
	at, bounded := cfg.bound.deadline(ctx)
	for {
		var last bool
		request.Wait, last = nextWait(at, bounded)
		if cfg.bound.set && cfg.bound.wait == 0 {
			request.Wait, last = nil, true
		}
		begun := time.Now()
		response, err := q.client.reserve(ctx, request)
		switch {
		case err != nil:
			return nil, err
		case len(response.GetTasks()) > 0:
			return q.client.hold(response, begun, cfg.lease == nil)
		case last:
			return nil, ErrEmpty
		}
	}
}

// reserve makes one request until it is answered. If ctx ends first, what was granted at the same moment is
// given back: a request of the same name tells it.
func (c *Client) reserve(ctx context.Context, request *weftv1.ReserveTasksRequest) (response *weftv1.ReserveTasksResponse, err error) {
	ask := func(ctx context.Context) error {
		return c.retry(ctx, func() (err error) {
			response, err = c.tasks().ReserveTasks(ctx, request)
			return err
		})
	}
	err = ask(ctx)
	if err == nil || ctx.Err() == nil {
		return response, err
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	waited := request.Wait != nil
	request.Wait = nil
	switch again := ask(short); {
	case again == nil && response.GetSessionId() != "":
		_ = c.endSession(short, response.GetSessionId()) // else its lease ends by itself
	case again == nil && waited:
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), ErrEmpty)
	case errors.Is(again, ErrQueueClosed):
		return nil, again
	}
	return nil, err
}
