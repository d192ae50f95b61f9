//go:build unix

package command

import (
	"syscall"
	"time"
)

const (
	// killWait is how long a killed group may take to vanish before the attempt ends without it.
	killWait = 10 * time.Second

	// Nobody tells when a process that is not our child is gone, so the group is looked at, ever
	// more rarely. It is not there at all after nearly every command.
	lookMin = time.Millisecond
	lookMax = 50 * time.Millisecond
)

// ladder is the way down: SIGTERM to the group, and SIGKILL when the grace is over. Guarded by
// Process.mu.
type ladder struct {
	group        int   // number of the group, and of its leader
	cause        error // of the first Stop
	leaderReaped bool
	ended        bool        // the group's number may be another's
	killAt       time.Time   // zero while there is no ladder
	timer        *time.Timer // kills at killAt
	killed       bool
}

// Stop asks the command to end: SIGTERM to its process group, and SIGKILL after the grace. With no
// grace it is killed at once. Called again, the earlier end and the first cause hold. Once the command
// itself has exited it only hurries those that it left behind.
func (p *Process) Stop(cause error, grace time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ladder.ended {
		return
	}
	if p.ladder.cause == nil && !p.ladder.leaderReaped {
		p.ladder.cause = cause
	}
	p.descend(grace)
}

// descend begins the ladder or shortens it.
func (p *Process) descend(grace time.Duration) {
	l := &p.ladder
	killAt := time.Now().Add(grace)
	switch {
	case l.killed, !l.killAt.IsZero() && !killAt.Before(l.killAt):
		return
	case grace <= 0:
		l.killAt = killAt
		p.kill()
		return
	case l.killAt.IsZero():
		l.signal(syscall.SIGTERM)
		l.signal(syscall.SIGCONT) // a stopped process cannot act on SIGTERM
	}
	l.killAt = killAt
	if l.timer == nil {
		l.timer = time.AfterFunc(grace, p.graceOver)
	} else {
		l.timer.Reset(grace)
	}
}

func (p *Process) graceOver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	l := &p.ladder
	if !l.ended && !l.killed {
		l.killed = true
		l.signal(syscall.SIGKILL)
	}
}

// signal signals the group, if the number is still the group's.
func (l *ladder) signal(sig syscall.Signal) {
	if l.leaderReaped && !groupExists(l.group) {
		return
	}
	_ = syscall.Kill(-l.group, sig)
}

func (l *ladder) reaped() {
	l.leaderReaped = true
	if !groupExists(l.group) {
		l.end()
	}
}

func (l *ladder) end() {
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// clearGroup ends what the leader left behind, and returns once the group is empty, or true if it
// cannot be emptied.
func (p *Process) clearGroup() (left bool) {
	var killedAt time.Time
	for look := lookMin; GroupAlive(p.ladder.group); look = min(2*look, lookMax) {
		if killedAt.IsZero() {
			killedAt = p.stopLeftovers()
		} else if time.Since(killedAt) > killWait {
			left = true
			break
		}
		time.Sleep(look)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ladder.end()
	return left
}

// stopLeftovers begins a ladder if there is none, and returns when the group was killed.
func (p *Process) stopLeftovers() (killedAt time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch l := &p.ladder; {
	case l.killAt.IsZero():
		p.descend(p.runner.cfg.LeftoverGrace)
	case l.killed:
		l.signal(syscall.SIGKILL) // again, for who was forked while the first one came
		return time.Now()
	}
	return time.Time{}
}
