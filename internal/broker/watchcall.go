package broker

import (
	"context"

	"google.golang.org/grpc"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// callTasksMax is how many tasks one response of WatchCall has.
const callTasksMax = 1000

// WatchCall implements TaskService.
func (s *taskService) WatchCall(req *weftv1.WatchCallRequest, stream grpc.ServerStreamingServer[weftv1.WatchCallResponse]) error {
	ctx := stream.Context()
	o := shard.NewOutbox()
	view, err := settle[queue.CallView](ctx, s.loop, &shard.WatchCall{Namespace: orDefault(req.GetNamespace()), Call: req.GetCallId(), Stream: o})
	if err != nil {
		return err
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), goneTimeout)
		defer cancel()
		_ = s.loop.Send(gone, &shard.UnwatchCall{ID: view.ID, Stream: o}, 0, nil)
	}()
	w := &callWatch{view: view, send: stream.Send, places: map[uint64]int{}}
	if err := w.flush(); err != nil || w.view.Over {
		return err
	}
	for {
		select {
		case <-o.Wake():
			if err := w.take(o); err != nil || w.view.Over {
				return err
			}
		case <-s.loop.Over():
			return statusError(shard.NotReady())
		case <-ctx.Done():
			return statusError(context.Cause(ctx))
		}
	}
}

// callWatch is one WatchCall under way. While it sends, news gather in the outbox, which is bounded.
type callWatch struct {
	view   queue.CallView // as of the next response
	send   func(*weftv1.WatchCallResponse) error
	tasks  []*weftv1.Task // that have changed
	places map[uint64]int // in tasks, by id
}

// take sends what an outbox has, a task that has changed several times once.
func (w *callWatch) take(o *shard.Outbox) error {
	for {
		items, err := o.Take(nil)
		for _, item := range items {
			switch e := item.(type) {
			case *queue.CallChange:
				if err := w.change(e); err != nil {
					return err
				}
			case *queue.CallOver:
				w.view.Over = true
				return w.flush()
			}
		}
		switch {
		case err != nil:
			return statusError(err)
		case len(items) == 0: // not before: the end may have come behind the news, and with the same wake
			return w.flush()
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
}

// change takes the change of one task.
func (w *callWatch) change(e *queue.CallChange) error {
	if e.Before != 0 {
		w.view.Counts[e.Before]--
	}
	if e.Task.State == 0 {
		return nil // it has left the call
	}
	w.view.Counts[e.Task.State]++
	m := taskMessage(&e.Task, false)
	m.PartialsCount = e.Partials
	if i, ok := w.places[e.Task.ID]; ok {
		w.tasks[i] = m
		return nil
	}
	w.places[e.Task.ID] = len(w.tasks)
	w.tasks = append(w.tasks, m)
	if len(w.tasks) == callTasksMax {
		return w.flush()
	}
	return nil
}

// flush sends what has changed; at the beginning and at the end also when nothing has.
func (w *callWatch) flush() error {
	begun := w.tasks != nil
	if begun && len(w.tasks) == 0 && !w.view.Over {
		return nil
	}
	err := w.send(&weftv1.WatchCallResponse{Counts: countsMessage(&w.view.Counts), Tasks: w.tasks, Over: w.view.Over})
	w.tasks = []*weftv1.Task{} // the last ones are gRPC's now
	clear(w.places)
	return err
}

func countsMessage(n *[10]uint64) *weftv1.TaskCounts {
	return &weftv1.TaskCounts{
		Scheduled: n[queue.Scheduled], Blocked: n[queue.Blocked], Ready: n[queue.Ready],
		Running: n[queue.Running], Cancelling: n[queue.Cancelling],
		Succeeded: n[queue.Succeeded], Failed: n[queue.Failed], Cancelled: n[queue.Cancelled], Expired: n[queue.Expired],
	}
}
