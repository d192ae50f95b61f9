package worker

import (
	"sync"
	"time"
)

// silenceMax is how long the broker may be silent, counted from the sending of the last heartbeat that
// it answered. It leaves the attempts a quarter of the session's life to end in.
func silenceMax(ttl time.Duration) time.Duration { return ttl * 3 / 4 }

// pulse numbers the heartbeats of a stream and remembers when they were sent.
type pulse struct {
	every time.Duration

	mu    sync.Mutex
	first uint64   // number of sent[0]
	sent  []moment // not answered yet
}

// start sets the rate. The hello needs no number: the welcome answers it.
func (p *pulse) start(ttl time.Duration) {
	p.every = ttl * 3 / 10 // a third, and some room for a late timer
	p.first = 1
}

// beat returns the next number.
func (p *pulse) beat(now moment) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, now)
	return p.first + uint64(len(p.sent)) - 1
}

// answered returns when a heartbeat was sent that the broker now answers, and forgets those before it.
// It is false for a number that was never sent or was answered before.
func (p *pulse) answered(beat uint64) (sent moment, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if beat < p.first || beat-p.first >= uint64(len(p.sent)) {
		return moment{}, false
	}
	n := beat - p.first
	sent = p.sent[n]
	p.sent = p.sent[n+1:]
	p.first = beat + 1
	return sent, true
}
