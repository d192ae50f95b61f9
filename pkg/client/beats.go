package client

import (
	"slices"
	"time"
)

// beats keeps the heartbeats of a stream, which have two uses: an unanswered one betrays a dead stream,
// and an answered one proves that the broker took everything that was sent before it.
type beats struct {
	last    uint64 // the last number given
	due     bool   // the ticker wants one
	open    []beat // sent and not answered, oldest first
	flushes []flush
}

// beat is a heartbeat under way.
type beat struct {
	number uint64
	sentAt time.Duration // by the watchdog's clock
}

// flush waits for the answer to a heartbeat.
type flush struct {
	number uint64 // 0 until one was sent for it
	done   chan struct{}
}

// flush asks for a heartbeat behind everything that is queued; done is closed by its answer.
func (b *beats) flush(done chan struct{}) {
	b.flushes = append(b.flushes, flush{done: done})
}

// wanted reports whether a frame should carry a heartbeat; last says that nothing is left behind it.
func (b *beats) wanted(last bool) bool {
	return b.due || (last && slices.ContainsFunc(b.flushes, func(f flush) bool { return f.number == 0 }))
}

// send returns the next heartbeat's number. The moment is taken before it is sent.
func (b *beats) send(now time.Duration, last bool) uint64 {
	b.last++
	b.due = false
	b.open = append(b.open, beat{b.last, now})
	if last {
		for i := range b.flushes {
			if b.flushes[i].number == 0 {
				b.flushes[i].number = b.last
			}
		}
	}
	return b.last
}

// answer takes an answered heartbeat and returns when it was sent, if it was one of this stream.
func (b *beats) answer(number uint64) (sentAt time.Duration, ok bool) {
	for len(b.open) > 0 && b.open[0].number <= number {
		sentAt, ok = b.open[0].sentAt, true
		b.open = slices.Delete(b.open, 0, 1)
	}
	b.flushes = slices.DeleteFunc(b.flushes, func(f flush) bool {
		if f.number == 0 || f.number > number {
			return false
		}
		close(f.done)
		return true
	})
	return sentAt, ok
}

// restart forgets the heartbeats of a lost stream: who waits for one waits for another.
func (b *beats) restart() {
	b.due, b.open = false, nil
	for i := range b.flushes {
		b.flushes[i].number = 0
	}
}
