package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A frame holds what waits, up to these limits.
const (
	frameTasksMax   = 1000
	frameBytesMax   = 2 << 20
	frameRangesMax  = 10_000
	frameCancelsMax = 100
)

// Acknowledgements ride along with the next tasks or the next heartbeat. So many of them go alone: an
// append at the broker for each single one would stand in the way of the next task.
const ackCountMax = 512

// sendFrames sends what is queued until the stream ends. While one frame is on its way to the transport
// the next one gathers.
func (c *Call) sendFrames(ctx context.Context, stream grpc.ClientStream, watch *watchdog) {
	tick := time.NewTicker(watch.interval())
	defer tick.Stop()
	var frame outFrame
	for {
		if !c.nextFrame(ctx, tick.C, watch, &frame) {
			return
		}
		if stream.SendMsg(&frame) != nil {
			return // the receiver finds out why
		}
	}
}

// nextFrame waits for something to send and writes it into the frame; false is the end of the stream.
func (c *Call) nextFrame(ctx context.Context, tickC <-chan time.Time, watch *watchdog, frame *outFrame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return false
		}
		if c.hasWork() {
			c.writeFrame(frame, watch.now())
			return true
		}
		c.asleep = true
		c.mu.Unlock()
		tick := false
		select {
		case <-c.wakeC:
		case <-tickC:
			tick = true
		case <-ctx.Done():
		}
		c.mu.Lock()
		c.asleep = false
		c.beats.due = c.beats.due || tick
	}
}

// wake tells the sender that there is something to send.
func (c *Call) wake() {
	if !c.asleep {
		return // it looks again before it sleeps
	}
	c.asleep = false
	select {
	case c.wakeC <- struct{}{}:
	default:
	}
}

// hasWork reports whether a frame is worth sending.
func (c *Call) hasWork() bool {
	return c.queue.len() > 0 || len(c.cancels) > 0 || c.acksDue() || c.interruptTaken != 0 ||
		c.beats.wanted(true) || (c.finish && !c.finished && len(c.refill) == 0 && len(c.held) == 0) ||
		(c.complete() && c.lastBeat == 0)
}

// complete reports whether the call was finished and has nothing left. A last heartbeat then proves that
// the broker has heard it.
func (c *Call) complete() bool { return c.finished && c.live == 0 && c.ackC.empty() }

// acksDue reports whether acknowledgements go without company.
func (c *Call) acksDue() bool {
	return c.ackCount >= ackCountMax || (c.ackCount > 0 && (c.finish || len(c.refill) > 0))
}

// writeFrame fills a frame with what waits. Acknowledgements always go along, so that the room that
// they make is there before the tasks that take it.
func (c *Call) writeFrame(frame *outFrame, now time.Duration) {
	if len(c.refill) > 0 && (c.ackCount > 0 || c.beats.due) {
		c.refillQueue()
	}
	tasks, size := c.taskRun()
	cancels := min(len(c.cancels), frameCancelsMax)
	b := frame.begin(size + 24*min(len(c.ackC.rs), frameRangesMax) + 64*cancels + 32)
	b = c.writeTasks(b, tasks)
	b = c.writeAcks(b, min(len(c.ackC.rs), frameRangesMax)) // tasks that never run are among them now
	b = c.writeCancels(b, cancels)
	if c.interruptTaken != 0 {
		b = protowire.AppendTag(b, requestInterruptTaken, protowire.VarintType)
		b = protowire.AppendVarint(b, c.interruptTaken)
		c.interruptTaken = 0
	}
	last := c.queue.len() == 0 && len(c.refill) == 0 && len(c.held) == 0 && len(c.cancels) == 0 && c.ackC.empty()
	if c.finish && !c.finished && last {
		c.finished = true
		b = protowire.AppendTag(b, requestFinish, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
	}
	if c.beats.wanted(last) || c.complete() {
		beat := c.beats.send(now, last)
		b = protowire.AppendTag(b, requestHeartbeat, protowire.VarintType)
		b = protowire.AppendVarint(b, beat)
		if c.complete() && c.lastBeat == 0 {
			c.lastBeat = beat
		}
	}
	frame.end(b)
}

// refillQueue tries again what was refused for a full window.
func (c *Call) refillQueue() {
	c.queue.set(append(c.refill, c.queue.all()...))
	c.refill = nil
}

// taskRun counts the tasks that go into the next frame, at least one if there is one, and their bytes.
func (c *Call) taskRun() (tasks, size int) {
	for _, f := range c.queue.all() {
		if tasks == frameTasksMax || (tasks > 0 && size+len(f.encoded) > frameBytesMax) {
			break
		}
		tasks++
		size += len(f.encoded)
	}
	return tasks, size
}

// writeTasks moves tasks from the queue to the frame.
func (c *Call) writeTasks(b []byte, tasks int) []byte {
	for range tasks {
		f := c.queue.front()
		c.queue.pop()
		if f.failedBefore() != nil && !c.met.has(f.index) {
			c.failDependent(f)
			continue
		}
		b = f.appendTo(b)
		f.state = futureSent
		c.sent.push(f)
	}
	c.flushResolved()
	return b
}

// writeAcks moves acknowledgements to the frame.
func (c *Call) writeAcks(b []byte, ranges int) []byte {
	for _, r := range c.ackC.rs[:ranges] {
		b = r.appendWire(b, requestAcknowledged)
	}
	c.ackC.rs = c.ackC.rs[:copy(c.ackC.rs, c.ackC.rs[ranges:])]
	if c.ackC.empty() {
		c.ackCount = 0
	}
	return b
}

// writeCancels moves cancels to the frame. A task is always in an earlier frame than its cancel.
func (c *Call) writeCancels(b []byte, cancels int) []byte {
	for _, r := range c.cancels[:cancels] {
		if r.waitingOnly {
			c.withdrawnBeat = c.beats.last + 1 // one that follows, in this frame or later
		}
		m := &weftv1.ExecuteCancel{
			Range: &weftv1.IndexRange{First: r.first, Last: r.last},
			Grace: graceProto(r.grace), WaitingOnly: r.waitingOnly,
		}
		b = protowire.AppendTag(b, requestCancels, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(proto.Size(m))) //nolint:gosec // a size is not negative
		b, _ = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	}
	c.cancels = c.cancels[:copy(c.cancels, c.cancels[cancels:])]
	return b
}
