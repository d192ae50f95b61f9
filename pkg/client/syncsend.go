package client

import (
	"context"
	"time"

	"github.com/weftq/weft/pkg/internal/boottime"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// send sends what is queued until the stream ends. While one frame is on its way to the transport the next one gathers.
func (ch *syncChannel) send(ctx context.Context, stream syncStream) {
	s := ch.session
	s.mu.Lock()
	interval := time.Duration(syncBeatShare * float64(s.ttl))
	s.mu.Unlock()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		frame, last := ch.nextFrame(ctx, tick.C)
		if frame == nil || stream.Send(frame) != nil {
			return // the receiver finds out why
		}
		if last {
			_ = stream.CloseSend()
			return
		}
	}
}

// nextFrame waits for something to send; nil is the end of the stream, and last the end of the channel.
func (ch *syncChannel) nextFrame(ctx context.Context, tickC <-chan time.Time) (frame *weftv1.SynchronizeRequest, last bool) {
	s := ch.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if ctx.Err() != nil {
			return nil, false
		}
		if ch.full() {
			s.turnOver(ch)
		}
		if ch.parting() {
			ch.parted = true
		}
		if ch.parted || ch.hasWork() {
			return ch.frame(), ch.parted
		}
		ch.asleep = true
		s.mu.Unlock()
		tick := false
		select {
		case <-ch.wakeC:
		case <-tickC:
			tick = true
		case <-ctx.Done():
		}
		if tick {
			_ = s.lost() // asks the clock
		}
		s.mu.Lock()
		ch.asleep = false
		ch.beatDue = ch.beatDue || tick
	}
}

// room tells whether another command may be sent.
func (ch *syncChannel) room() bool { return ch.next < ch.base+syncWindowMax }

// full tells whether commands are kept back.
func (ch *syncChannel) full() bool { return len(ch.queue) > 0 && !ch.room() }

// turnOver begins another channel if the oldest command of a full one waits, for hours perhaps: what keeps it waiting
// may be in the queue. The old channel ends with its last answer. The caller holds s.mu.
func (s *syncSession) turnOver(ch *syncChannel) {
	if s.current != ch || s.err != nil || !ch.sent[ch.base].waits || !s.client.begin() {
		return
	}
	s.open()
	s.current.queue, ch.queue = ch.queue, nil
}

// parting tells whether the channel is to end: its session does, or another channel has followed it and everything is
// answered.
func (ch *syncChannel) parting() bool {
	s := ch.session
	switch {
	case s.closing && s.given == "":
		return true
	case s.closing:
		for _, cmd := range ch.sent {
			if !cmd.waits {
				return false // what others are to have is sent before
			}
		}
		return len(ch.queue) == 0
	}
	return s.current != ch && len(ch.sent) == 0
}

// hasWork tells whether a frame is worth sending.
func (ch *syncChannel) hasWork() bool {
	return len(ch.again) > 0 || len(ch.queue) > 0 && ch.room() || len(ch.abandons) > 0 || ch.ackDue || ch.beatDue ||
		ch.base-ch.told >= syncAcknowledgeBy
}

// frame takes what waits, up to a frame's limits.
func (ch *syncChannel) frame() *weftv1.SynchronizeRequest {
	s := ch.session
	m := &weftv1.SynchronizeRequest{}
	ch.fill(m)
	if n := min(len(ch.abandons), syncAbandonsMax-len(m.Abandoned)); n > 0 {
		m.Abandoned = append(m.Abandoned, ch.abandons[:n]...)
		ch.abandons = append(ch.abandons[:0], ch.abandons[n:]...)
	}
	if ch.base > ch.told {
		m.AcknowledgedBelow = ch.base
		ch.told = ch.base
	}
	ch.ackDue = false
	m.Goodbye = ch.parted && s.closing && s.given == ""
	if ch.beatDue || ch.parted && !m.Goodbye { // its answer is the end: see receive
		ch.beatDue = false
		ch.lastBeat++
		m.Heartbeat = ch.lastBeat
		ch.beats = append(ch.beats, syncBeat{ch.lastBeat, boottime.Now()})
	}
	return m
}

// fill takes commands: first those of a stream that is gone. One that was abandoned waits until the frame is carried
// out, and its holder cannot wait for another thing before: that is of the next frame.
func (ch *syncChannel) fill(m *weftv1.SynchronizeRequest) {
	size, taken := 0, 0
	fits := func(cmd *syncCommand) bool {
		if len(m.Abandoned) > 0 && cmd.waits && !cmd.gone {
			return false
		}
		return len(m.Commands) == 0 || len(m.Commands) < syncCommandsMax && size+cmd.size <= syncBytesMax
	}
	take := func(cmd *syncCommand) {
		m.Commands = append(m.Commands, cmd.message)
		size += cmd.size
		taken++
	}
	for _, cmd := range ch.again {
		if !fits(cmd) {
			break
		}
		take(cmd)
		if cmd.abandoned() {
			m.Abandoned = append(m.Abandoned, cmd.message.GetNumber())
		}
	}
	ch.again = ch.again[taken:]
	if len(ch.again) > 0 {
		return
	}
	taken = 0
	for _, cmd := range ch.queue {
		if !ch.room() || !fits(cmd) {
			break
		}
		cmd.channel, cmd.message.Number = ch, ch.next
		ch.sent[ch.next] = cmd
		ch.next++
		take(cmd)
	}
	clear(ch.queue[:taken])
	ch.queue = ch.queue[taken:]
}
