package sim

import (
	"time"

	"github.com/weftq/weft/internal/journal/memory"
)

// troubles begins the faults that the seed has.
func (s *sim) troubles() {
	s.trouble(s.cfg.cut, func() {
		if c := s.anyConn(); c != nil {
			s.logf("cut %s", c.name)
			c.lose(s.cfg.ttl)
		}
	})
	s.trouble(s.cfg.halfCut, func() {
		if c := s.anyConn(); c != nil {
			up := s.one(2)
			s.logf("cut half of %s, upwards: %v", c.name, up)
			c.up.cut, c.down.cut = c.up.cut || up, c.down.cut || !up
		}
	})
	s.trouble(s.cfg.crash, func() { s.broker.kill() })
	s.trouble(s.cfg.appendFault, func() {
		s.journal.fault = []memory.Fault{memory.Fail, memory.AmbiguousStored, memory.AmbiguousLost}[s.r.IntN(3)]
	})
	s.trouble(s.cfg.killWorker, func() {
		if w := s.workers[s.r.IntN(len(s.workers))]; s.one(3) {
			w.drain()
		} else {
			w.die()
		}
	})
	if len(s.lockers) > 0 {
		s.lockTroubles()
	}
	s.trouble(s.cfg.killCaller, func() { s.callers[s.r.IntN(len(s.callers))].die() })
	s.trouble(s.cfg.pause, func() {
		d := s.upTo(3 * s.cfg.ttl)
		if s.one(2) {
			s.callers[s.r.IntN(len(s.callers))].sleep(d)
		} else {
			s.workers[s.r.IntN(len(s.workers))].sleep(d)
		}
	})
	s.trouble(s.cfg.stall, func() {
		d := s.upTo(2 * s.cfg.ttl)
		s.logf("the broker stands still for %v", d)
		s.broker.stalled = s.now + d
	})
	s.trouble(s.cfg.wallJump, func() {
		d := s.upTo([]time.Duration{time.Second, time.Minute, 2 * time.Hour}[s.r.IntN(3)])
		if s.one(2) {
			d = -d
		}
		s.logf("the wall clock jumps by %v", d)
		s.epoch += d
		s.latest = max(s.latest, s.epoch)
	})
	s.trouble(s.cfg.impatient, func() {
		if c := s.callers[s.r.IntN(len(s.callers))]; s.one(2) && c.attached {
			c.lost(errUnavailable)
		}
		if w := s.workers[s.r.IntN(len(s.workers))]; w.welcome {
			w.lost()
		}
	})
	s.trouble(s.cfg.diskLow, func() { s.setDisk(!s.diskLow) })
}

// lockTroubles are those of the clients of the lock service.
func (s *sim) lockTroubles() {
	one := func() *locker { return s.lockers[s.r.IntN(len(s.lockers))] }
	s.trouble(s.cfg.killLocker, func() { one().die() })
	s.trouble(s.cfg.pause, func() { one().sleep(s.upTo(2 * s.cfg.ttl)) })
	s.trouble(s.cfg.impatient, func() {
		if l := one(); l.entered {
			l.lost(errUnavailable)
		}
	})
}

func (s *sim) setDisk(low bool) {
	s.logf("disk low: %v", low)
	s.diskLow = low
	if s.broker.m != nil {
		s.broker.m.SetDiskLow(low)
	}
}

// trouble does something about once in a while, until the run is calm.
func (s *sim) trouble(every time.Duration, do func()) {
	if every == 0 {
		return
	}
	s.after(s.upTo(2*every), func() {
		if !s.calm {
			do()
			s.trouble(every, do)
		}
	})
}

func (s *sim) anyConn() *conn {
	if live := s.live(); len(live) > 0 {
		return live[s.r.IntN(len(live))]
	}
	return nil
}
