package sim

import "time"

// sleeper is a process that can be stopped and woken: what comes meanwhile waits.
type sleeper struct {
	s     *sim
	until time.Duration
	late  []func()
}

func (p *sleeper) asleep() bool { return p.s.now < p.until }

// sleep is SIGSTOP, and SIGCONT after a while.
func (p *sleeper) sleep(d time.Duration) {
	p.until = max(p.until, p.s.now+d)
	p.s.after(d, p.wake)
}

func (p *sleeper) wake() {
	for !p.asleep() && len(p.late) > 0 {
		do := p.late[0]
		p.late = p.late[1:]
		do()
	}
}

// awake does something now, or when the process is awake.
func (p *sleeper) awake(do func()) {
	if p.asleep() || len(p.late) > 0 {
		p.late = append(p.late, do)
		return
	}
	do()
}
