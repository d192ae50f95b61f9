package client

import (
	"sync"
	"time"
)

// silenceShare of the TTL without an answer is a dead stream, and beatShare lies between heartbeats.
const (
	silenceShare = 0.75
	beatShare    = 3
)

// watchdog ends a stream whose broker is silent. Its clock runs only while the receiver waits for a frame: answers
// that lie unread while it is busy, in the program's OnUpdate for one, are no silence.
type watchdog struct {
	bite func()

	mu     sync.Mutex
	ttl    time.Duration
	timer  *time.Timer
	waited time.Duration // by the clock, up to since
	since  time.Time     // the receiver has been waiting; zero while it is busy
	due    time.Duration // when the watchdog bites, by the clock
}

// newWatchdog begins to watch a stream that is about to attach.
func newWatchdog(ttl time.Duration, bite func()) *watchdog {
	w := &watchdog{bite: bite, ttl: ttl, since: time.Now()}
	w.due = w.limit()
	w.timer = time.AfterFunc(w.due, w.look)
	return w
}

// limit is how long the answer to a heartbeat may take, counted from its sending.
func (w *watchdog) limit() time.Duration {
	return time.Duration(silenceShare * float64(w.ttl))
}

// interval lies between two heartbeats.
func (w *watchdog) interval() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ttl / beatShare
}

// now is the time by the watchdog's clock.
func (w *watchdog) now() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read()
}

func (w *watchdog) read() time.Duration {
	if w.since.IsZero() {
		return w.waited
	}
	return w.waited + time.Since(w.since)
}

// look bites if the time is over. The timer may have been late: the receiver has a frame by now, or had an answer.
func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch left := w.due - w.read(); {
	case w.since.IsZero():
	case left > 0:
		w.timer.Reset(left)
	default:
		w.bite()
	}
}

// pause stops the clock: the receiver has a frame, and is busy with it.
func (w *watchdog) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waited, w.since = w.read(), time.Time{}
	w.timer.Stop()
}

// resume lets the clock go on: the receiver waits for the next frame.
func (w *watchdog) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	w.timer.Reset(w.due - w.waited)
}

// attached takes over the session's TTL.
func (w *watchdog) attached(ttl time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ttl > 0 {
		w.ttl = ttl
	}
	w.due = w.read() + w.limit()
}

// answered moves the limit to behind the heartbeat that was sent then. The clock stands meanwhile.
func (w *watchdog) answered(sentAt time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = sentAt + w.limit()
}

// stop ends the watch.
func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
	w.timer.Stop()
}
