package worker

import (
	"sync/atomic"
	"time"

	"github.com/weftq/weft/pkg/internal/boottime"
	"github.com/weftq/weft/pkg/task"
)

// sessionState is the worker's session, and the time that attempts have while no stream is open.
// Guarded by Worker.mu.
type sessionState struct {
	id      string
	ttl     time.Duration
	renewed time.Time // when the last heartbeat was sent that the broker has heard
	down    bool      // a stream dropped, and none is open since
	dropped time.Time // when it did
	grace   *time.Timer
	// introduced: a hello is on its way. What it lists the broker takes for held, so an attempt whose
	// time is up just then is stopped and reported, not forgotten.
	introduced bool
}

func (w *Worker) ttl() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session.ttl
}

// connected reports whether a stream is open.
func (s *sessionState) connected() bool { return s.id != "" && !s.down }

// moment is a time by both clocks: Go's, for timers, and the one that goes on while the machine sleeps.
type moment struct {
	wall time.Time
	boot time.Duration
}

func now() moment { return moment{time.Now(), boottime.Now()} }

// renewed notes when a sign of life was sent that the broker has heard: the session lives on from there. The
// caller holds w.mu.
func (w *Worker) renewed(sent moment) {
	w.session.renewed = sent.wall
	w.leaseEnd.Store(int64(sent.boot + w.session.ttl))
}

// resumed notes a welcome.
func (s *sessionState) resumed() {
	s.down, s.introduced = false, false
	s.stopGrace()
}

func (s *sessionState) stopGrace() {
	if s.grace != nil {
		s.grace.Stop()
	}
}

// deadline is when an attempt has to end unless a stream is back: after its local grace, and before the
// session can end, whichever is first.
func (s *sessionState) deadline(a *attempt) time.Time {
	deadline := s.dropped.Add(a.localGrace(s.dropped, s.ttl))
	if end := s.renewed.Add(s.ttl); end.Before(deadline) {
		return end
	}
	return deadline
}

// dropped notes that the stream is gone and starts the local grace of every running attempt.
func (w *Worker) dropped(now time.Time) {
	w.mu.Lock()
	w.session.down = true
	w.session.dropped = now
	w.mu.Unlock()
	w.checkGraces()
}

// notWelcomed notes that a hello came to nothing: whose time is up meanwhile is forgotten after all.
func (w *Worker) notWelcomed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session.introduced = false
	for token, a := range w.attempts {
		if a.late && a.report == nil {
			a.advance.tellAnswered()
			delete(w.attempts, token)
		}
	}
}

// checkGraces stops the attempts whose local grace is over, and sets the timer for the next.
func (w *Worker) checkGraces() {
	late, forgotten := w.takeLate(time.Now())
	for _, a := range late {
		w.log.Info("no broker in time: the attempt is stopped", "task", a.TaskID, "token", a.Token)
		w.stop(a, task.ErrLeaseLost, 0)
		if forgotten {
			w.outputs.release(a.Token)
		}
	}
	if len(late) > 0 {
		w.noteProgress()
	}
}

func (w *Worker) takeLate(now time.Time) (late []*attempt, forgotten bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.session
	if !s.down {
		return nil, false // the stream is back
	}
	var next time.Time
	for token, a := range w.attempts {
		if a.report != nil || a.late {
			continue
		}
		switch deadline := s.deadline(a); {
		case !deadline.After(now):
			a.late = true
			late = append(late, a)
			if !s.introduced {
				a.advance.tellAnswered() // who flushes learns of the end
				delete(w.attempts, token)
			}
		case next.IsZero() || deadline.Before(next):
			next = deadline
		}
	}
	if !next.IsZero() {
		s.stopGrace()
		s.grace = time.AfterFunc(next.Sub(now), w.checkGraces)
	}
	return late, !s.introduced
}

// leaseLookEvery lies between two looks at the lease while attempts run. Go's timers do not count the time that the
// machine sleeps: it is found out by looking.
const leaseLookEvery = 250 * time.Millisecond

// leaseOver reports whether the broker may have given the attempts to others by now.
func (w *Worker) leaseOver() bool { return leaseOver(&w.leaseEnd) }

func leaseOver(leaseEnd *atomic.Int64) bool {
	end := leaseEnd.Load()
	return end != 0 && int64(boottime.Now()) >= end
}

// watchLease has the contexts of attempts end with the lease, also those that are derived from them and do not look at
// it themselves: by a timer that goes on while attempts run. After a stop of the process it fires as soon as that goes on.
// The caller holds w.mu.
func (w *Worker) watchLease() {
	if !w.watching && !w.closed && w.running > 0 {
		w.watching = true
		w.lookLater()
	}
}

// lookLater sets the timer; the caller holds w.mu.
func (w *Worker) lookLater() {
	wait := leaseLookEvery
	if left := time.Duration(w.leaseEnd.Load()) - boottime.Now(); left > 0 && left < wait {
		wait = left
	}
	time.AfterFunc(wait, w.lookAtLease)
}

// lookAtLease stops what runs once the lease is over.
func (w *Worker) lookAtLease() {
	over := w.leaseOver()
	if over {
		w.checkGraces() // without a stream, that forgets them
		for _, a := range w.runningAttempts() {
			w.stop(a, task.ErrLeaseLost, 0)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watching = w.running > 0 && !w.closed; w.watching {
		w.lookLater()
	}
}
