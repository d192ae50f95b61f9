package client

import (
	"context"
	"iter"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// CallEvent is one piece of news of a call.
type CallEvent struct {
	// Counts are its tasks by state, after the changes of this event. A task that the broker has forgotten since, as
	// its outcome was acknowledged, goes on to be counted, until the connection is lost.
	Counts *weftv1.TaskCounts
	// Tasks are those that have changed, in order, without payload, command and result. The first event has none, and
	// the first one after a lost connection.
	Tasks []*weftv1.Task
	// Over says that this is the last event.
	Over bool
}

// Unfinished is how many tasks have not ended.
func (e *CallEvent) Unfinished() uint64 {
	n := e.Counts
	return n.GetScheduled() + n.GetBlocked() + n.GetReady() + n.GetRunning() + n.GetCancelling()
}

// Failed is how many tasks have ended otherwise than well: failed, cancelled, expired.
func (e *CallEvent) Failed() uint64 {
	return e.Counts.GetFailed() + e.Counts.GetCancelled() + e.Counts.GetExpired()
}

// WatchCall follows all tasks of a call: how many there are by state, and each change of a task, until nothing of the
// call is unfinished and nothing more can come (its client has finished it, or is gone). After a lost connection it
// begins again with the state of then. An error is the last thing given; CALL_NOT_FOUND says that there is no such
// call, or that it has ended and everything of it is acknowledged.
func (c *Client) WatchCall(ctx context.Context, callID string) iter.Seq2[CallEvent, error] {
	return func(yield func(CallEvent, error) bool) {
		w := &callWatching{client: c, yield: yield, request: &weftv1.WatchCallRequest{Namespace: c.namespace, CallId: callID}}
		if err := c.overStreams(ctx, &w.backoff, w.stream); err != nil {
			yield(CallEvent{}, err)
		}
	}
}

// callWatching is one run of WatchCall.
type callWatching struct {
	client  *Client
	request *weftv1.WatchCallRequest
	yield   func(CallEvent, error) bool
	backoff backoff
}

// stream watches on one stream; nil is after the end of the call.
func (w *callWatching) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.tasks().WatchCall(ctx, w.request)
	if err != nil {
		return err
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		w.backoff.reset()
		e := CallEvent{Counts: response.GetCounts(), Tasks: response.GetTasks(), Over: response.GetOver()}
		if !w.yield(e, nil) {
			return errStopped
		}
		if e.Over {
			return nil
		}
	}
}
