package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// errDone ends a call that was finished.
var errDone = errors.New("client: the call is done")

// errLostTask ends the future of a task that the broker had accepted and does not know any more.
var errLostTask = &Error{
	Code:    reasonCode(weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND),
	Reason:  weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND,
	Message: "the broker had accepted the task and does not know it any more",
}

// run keeps the call on a stream until it ends.
func (c *Call) run() {
	defer close(c.gone)
	defer c.client.leave(c)
	var b backoff
	for {
		err := c.serve(&b)
		switch {
		case errors.Is(err, errDone):
			c.end(errDone)
			return
		case c.ctx.Err() != nil:
			c.end(context.Cause(c.ctx))
			return
		case !resumable(err):
			c.end(fromRPC(err))
			return
		}
		c.client.logger.Warn("stream to the broker lost, redialing",
			slog.String("call", c.config.id), slog.Any("error", err))
		if b.sleep(c.ctx) != nil {
			c.end(context.Cause(c.ctx))
			return
		}
	}
}

// end gives every future that has none an end, and lets all submitters go.
func (c *Call) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	told := err
	if errors.Is(err, errDone) {
		told = ErrClosed // cannot be: a call is done only once nothing waits
	}
	for f := range c.futures.all() {
		if f.state < futureResolved {
			f.err = told
			c.publish(f)
		}
	}
	c.flushResolved()
	c.cancel(told)
}

// serve runs one stream, from attaching to its end. It never returns nil.
func (c *Call) serve(b *backoff) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	conn := c.client.current()
	stream, err := conn.NewStream(ctx, &weftv1.TaskService_ServiceDesc.Streams[0],
		weftv1.TaskService_Execute_FullMethodName, grpc.ForceCodecV2(frameCodec{}), grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	watch := newWatchdog(c.client.sessionTTL, func() { cancel(errSilent) })
	defer watch.stop()
	if err := c.attach(stream); err != nil {
		return c.lost(ctx, conn, receiveError(stream, err))
	}
	var in inFrame
	err = stream.RecvMsg(&in)
	watch.pause()
	if err != nil {
		return c.lost(ctx, conn, err)
	}
	if err := c.resume(in.attached, watch); err != nil {
		return err
	}
	b.reset()
	return c.lost(ctx, conn, c.exchange(ctx, cancel, stream, &in, watch))
}

// lost says why a stream ended. After silence the connection is not trusted either: a new stream on it
// would wait for the same dead peer.
func (c *Call) lost(ctx context.Context, conn *grpc.ClientConn, err error) error {
	if c.ctx.Err() == nil && errors.Is(context.Cause(ctx), errSilent) {
		c.client.renew(conn)
		return errSilent
	}
	return err
}

// receiveError finds the status behind the io.EOF of a failed send.
func receiveError(stream grpc.ClientStream, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	return stream.RecvMsg(&inFrame{})
}

// attach sends the first frame. From then on acknowledgements count as told up to here.
func (c *Call) attach(stream grpc.ClientStream) error {
	c.mu.Lock()
	m := &weftv1.ExecuteAttach{
		Namespace:    c.client.namespace,
		CallId:       c.config.id,
		SessionId:    c.session,
		SessionTtl:   durationpb.New(c.client.sessionTTL),
		Client:       c.client.name,
		Acknowledged: c.acked.proto(),
		Updates:      c.config.onUpdate != nil,

		RejectWhenFull: c.config.rejectFull,
	}
	c.ackC.clear()
	c.ackCount = 0
	c.mu.Unlock()
	return stream.SendMsg(&weftv1.ExecuteRequest{Attach: m})
}

// resume compares what the broker has with what the client knows, and queues the difference.
func (c *Call) resume(m *weftv1.ExecuteAttached, watch *watchdog) error {
	if m == nil {
		return &Error{
			Code: reasonCode(weftv1.ErrorReason_ERROR_REASON_BAD_FRAME), Reason: weftv1.ErrorReason_ERROR_REASON_BAD_FRAME,
			Message: "the broker's first frame does not attach",
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	accepted := rangeSetFromProto(m.GetAccepted())
	if !c.wasAttached {
		c.wasAttached = true
		c.met = accepted
	}
	c.session = m.GetSessionId()
	c.connected = true
	c.finished, c.lastBeat = false, 0
	c.window.limit(m)
	c.beats.restart()
	watch.attached(m.GetSessionTtl().AsDuration())
	c.requeue(&accepted)
	c.failLost(&accepted)
	c.repeatCancels()
	return nil
}

// requeue queues what was sent and did not arrive. A task that was there before this client came is
// sent at any rate, so that the broker compares it.
func (c *Call) requeue(accepted *rangeSet) {
	var again []*SpecFuture
	for _, f := range c.sent.all() {
		switch {
		case f.state != futureSent:
		case accepted.has(f.index) && !c.met.has(f.index):
			c.accept(f)
		default:
			f.state = futureQueued
			again = append(again, f)
		}
	}
	c.sent.set(nil)
	again = append(again, c.refill...)
	again = append(again, c.held...)
	again = append(again, c.queue.all()...)
	slices.SortFunc(again, func(a, b *SpecFuture) int { return cmp.Compare(a.index, b.index) })
	c.queue.set(slices.Compact(again)) // one that was refused for want of room stands in sent as well
	c.refill, c.held = nil, nil
}

// failLost ends the futures of tasks that the broker knew once: its data is gone, or the call was
// forgotten. To send them again could run them twice.
func (c *Call) failLost(accepted *rangeSet) {
	var lost []*SpecFuture
	for f := range c.futures.all() {
		if f.state == futureAccepted && !accepted.has(f.index) {
			lost = append(lost, f)
		}
	}
	for _, f := range lost {
		f.err = errLostTask
		c.publish(f)
		c.settle(f)
	}
	c.flushResolved()
}

// repeatCancels cancels again what was cancelled on a stream that is gone.
func (c *Call) repeatCancels() {
	c.dropCancelled()
	c.cancels = c.cancels[:0]
	for f := range c.futures.all() {
		if f.cancelled && f.state < futureResolved {
			c.addCancel(f.index, f.index, f.grace)
		}
	}
	c.withdrawnBeat = 0
	if c.withdrawn > 0 && c.waiting > 0 {
		c.cancels = append(c.cancels, cancelRequest{first: 0, last: c.withdrawn - 1, waitingOnly: true})
	}
}

// exchange runs both directions of an attached stream until one of them fails.
func (c *Call) exchange(
	ctx context.Context, cancel context.CancelCauseFunc, stream grpc.ClientStream, in *inFrame, watch *watchdog,
) error {
	var sender sync.WaitGroup
	sender.Go(func() { c.sendFrames(ctx, stream, watch) })
	defer sender.Wait()
	defer cancel(nil)
	defer func() {
		c.mu.Lock()
		c.connected = false
		c.mu.Unlock()
	}()
	for {
		if c.receive(in, watch) {
			return errDone
		}
		watch.resume()
		err := stream.RecvMsg(in)
		watch.pause()
		if err != nil {
			if errors.Is(err, io.EOF) && c.ended() {
				return errDone
			}
			return err
		}
	}
}

// ended reports whether the broker had a reason to end the stream: the call was finished and has nothing
// left.
func (c *Call) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.complete()
}
