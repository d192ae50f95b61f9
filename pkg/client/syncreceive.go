package client

import (
	"time"

	"github.com/weftq/weft/pkg/internal/boottime"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// receive takes a frame. It returns true when the broker has answered the last frame of a channel whose session goes on,
// and when the session is lost: an answer that the machine slept over is none.
func (ch *syncChannel) receive(in *weftv1.SynchronizeResponse) (over bool) {
	s := ch.session
	if sent, ok := ch.answered(in.GetHeartbeat()); ok {
		s.renewed(sent, in.GetLease())
	}
	if s.lost() != nil && !s.parting() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range in.GetAnswers() {
		ch.take(a)
	}
	for ch.base < ch.next && ch.sent[ch.base] == nil {
		ch.base++
	}
	if ch.ackDue || ch.base-ch.told >= syncAcknowledgeBy || ch.full() || ch.parting() {
		ch.wake()
	}
	return ch.parted && !(s.closing && s.given == "") && len(ch.beats) == 0
}

// parting tells whether the client is being closed.
func (s *syncSession) parting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && s.stream.Err() == nil
}

// answered tells when the heartbeat was sent that the broker answers, if it did.
func (ch *syncChannel) answered(number uint64) (sent time.Duration, ok bool) {
	s := ch.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(ch.beats) > 0 && ch.beats[0].number <= number {
		sent, ok = ch.beats[0].sent, true
		ch.beats = ch.beats[1:]
	}
	if ok {
		limit := time.Duration(syncSilence * float64(s.ttl))
		ch.silence.Reset(limit - (boottime.Now() - sent))
	}
	return sent, ok
}

// take takes an answer. The caller holds s.mu.
func (ch *syncChannel) take(a *weftv1.SynchronizeAnswer) {
	cmd := ch.sent[a.GetNumber()]
	if cmd == nil {
		return // answered before
	}
	if since := a.GetWaitsSince(); since != 0 {
		cmd.since = since // the message may be on its way still
		return
	}
	if cmd.abandoned() && !a.GetAbandoned() {
		return // the abandon crosses it
	}
	delete(ch.sent, a.GetNumber())
	if a.GetWaitCondition() != nil {
		ch.ackDue = true // until then the notification goes to the next, should this client be gone
	}
	ch.session.finish(cmd, a, nil)
}
