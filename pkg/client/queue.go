package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// DefaultQueue is the queue that is in every namespace.
const DefaultQueue = "default"

// DataKind is the kind of a task that was put without one: nobody is to run it, somebody gets it.
const DataKind = "data"

// Queue is a queue of the namespace, with the operations of Python's queue.Queue over the network: put and get
// wait for room and for tasks, what was got is done, failed or given back, and join waits for all of it. Its
// methods may be used from several goroutines; what is asked while the broker is away waits for it, and
// happens once.
type Queue struct {
	client *Client
	name   string
}

// Queue is the queue of that name; empty is "default". Nothing is asked of the broker yet: [Queue.Create]
// makes one.
func (c *Client) Queue(name string) *Queue { return &Queue{c, orDefault(name)} }

// orDefault is a queue's name.
func orDefault(name string) string {
	if name == "" {
		return DefaultQueue
	}
	return name
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.name }

// Put adds a task and returns the broker's name for it. While the queue is full it waits for room, in turn, until
// ctx ends or the time of [Within] is over: then the error is [ErrFull], and nothing was added. A queue that
// is closed, or is being closed meanwhile, is [ErrQueueClosed]. The kind is [DataKind] unless the spec has one; its Queue is this one's name, or empty.
func (q *Queue) Put(ctx context.Context, spec Spec, opts ...EnqueueOption) (taskID string, err error) {
	cfg := enqueueConfig{requestID: rand.Text()}
	for _, o := range opts {
		o.applyEnqueue(&cfg)
	}
	if spec, err = q.spec(spec); err != nil {
		return "", err
	}
	return q.client.submitOne(ctx, spec, &cfg)
}

// TryPut is Put that does not wait for room: [ErrFull] at once.
func (q *Queue) TryPut(ctx context.Context, spec Spec, opts ...EnqueueOption) (taskID string, err error) {
	return q.Put(ctx, spec, append(opts, Within(0))...)
}

// spec is a task of the queue. One of another queue was meant for that.
func (q *Queue) spec(spec Spec) (Spec, error) {
	if spec.Queue != "" && spec.Queue != q.name {
		return spec, fmt.Errorf("client: a task with Queue %q is put into the queue %q: leave it empty", spec.Queue, q.name)
	}
	spec.Queue = q.name
	if spec.Kind == "" && spec.Command == nil {
		spec.Kind = DataKind
	}
	return spec, nil
}

// PutBatch puts tasks, a thousand in a request, each on its own merits, and in order as long as the queue has
// room; those that find none wait for it one after the other, as with Put. An error is one of all that follow.
func (q *Queue) PutBatch(ctx context.Context, specs []Spec, bounds ...Bound) ([]Enqueued, error) {
	var cfg enqueueConfig
	for _, b := range bounds {
		cfg.bound = b
	}
	all := make([]Spec, len(specs))
	for i := range specs {
		var err error
		if all[i], err = q.spec(specs[i]); err != nil {
			return nil, err
		}
	}
	out := make([]Enqueued, 0, len(all))
	for len(out) < len(all) {
		batch := all[len(out):]
		batch = batch[:batchSize(batch)]
		results, err := q.client.submitBatch(ctx, batch)
		if err != nil {
			return out, err
		}
		for i := range results {
			if errors.Is(results[i].Err, ErrFull) && !(cfg.bound.set && cfg.bound.wait == 0) {
				cfg.requestID, cfg.joined = rand.Text(), &results[i].Joined
				results[i].TaskID, results[i].Err = q.client.submitOne(ctx, batch[i], &cfg)
			}
			out = append(out, results[i])
			if err := ctx.Err(); err != nil && results[i].Err != nil {
				return out, context.Cause(ctx)
			}
		}
	}
	return out, nil
}

// Info is the queue as it is now, with its settings and counts.
func (q *Queue) Info(ctx context.Context) (info *weftv1.Queue, err error) {
	err = q.client.retry(ctx, func() error {
		response, err := q.client.queues().GetQueue(ctx, &weftv1.GetQueueRequest{Namespace: q.client.namespace, Name: q.name})
		info = response.GetQueue()
		return err
	})
	return info, err
}

// Len is how many tasks wait: Python's qsize.
func (q *Queue) Len(ctx context.Context) (int, error) {
	info, err := q.Info(ctx)
	n := info.GetCounts()
	return int(n.GetReady() + n.GetScheduled() + n.GetBlocked()), err //nolint:gosec // they are in memory
}

// Unfinished is how many tasks have not ended: Python's unfinished_tasks.
func (q *Queue) Unfinished(ctx context.Context) (int, error) {
	info, err := q.Info(ctx)
	return int(info.GetUnfinished()), err //nolint:gosec // they are in memory
}

// Join waits until every task of the queue has ended. It may be repeated.
func (q *Queue) Join(ctx context.Context) error {
	request := &weftv1.JoinQueueRequest{
		Namespace: q.client.namespace, Name: q.name, Wait: durationpb.New(waitSlice),
	}
	for {
		var info *weftv1.Queue
		err := q.client.retry(ctx, func() error {
			response, err := q.client.queues().JoinQueue(ctx, request)
			info = response.GetQueue()
			return err
		})
		if err != nil || info.GetUnfinished() == 0 {
			return err
		}
	}
}

// Peek shows the next ready tasks without taking them, at most 100, the first first.
func (q *Queue) Peek(ctx context.Context, n int) (tasks []*weftv1.Task, err error) {
	request := &weftv1.PeekQueueRequest{
		Namespace: q.client.namespace, Name: q.name, TasksMax: uint32(max(n, 1)), //nolint:gosec // the broker checks it
	}
	err = q.client.retry(ctx, func() error {
		response, err := q.client.queues().PeekQueue(ctx, request)
		tasks = response.GetTasks()
		return err
	})
	return tasks, err
}
