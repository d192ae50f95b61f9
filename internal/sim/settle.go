package sim

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/queue"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/session"
)

// patience is how long, in simulated time, a calm system may take for anything: a schedule that was away may have
// made up hundreds of runs for one slot.
const patience = 3 * time.Hour

// settle is the end of every run: the faults stop, everybody comes back, everything comes to its end.
func (s *sim) settle() {
	if s.err != nil {
		return
	}
	s.logf("calm")
	s.calm = true
	s.setDisk(false)
	s.broker.stalled = 0
	s.journal.fault = 0
	s.epoch = max(s.epoch, s.latest) // whoever waits for a time does so for long otherwise
	if s.one(2) || s.cfg.machine.Limits != (queue.Limits{}) {
		s.cfg.machine.Limits = queue.Limits{}
		s.broker.kill()
	}
	if !s.play(patience, s.answered) {
		s.unsettled("not everything came to its end")
		return
	}
	s.leaving = true
	for _, w := range s.workers {
		w.drain()
	}
	if !s.play(patience, s.left) {
		s.unsettled("sessions are left")
		return
	}
	s.logf("everybody left")
	s.epoch += 9 * 24 * time.Hour
	if !s.play(patience, s.forgotten) {
		s.unsettled("tasks or calls are left")
		return
	}
	s.empty()
	s.sizes()
}

// answered tells whether every future resolved.
func (s *sim) answered() bool {
	for _, c := range s.callers {
		if !c.done {
			return false
		}
	}
	for _, t := range s.model.tasks {
		if !t.state.Final() {
			return false
		}
	}
	for _, u := range s.submitters {
		if !u.done() {
			return false
		}
	}
	if s.planner != nil && !s.planner.done() {
		return false
	}
	for _, l := range s.lockers {
		if !l.done {
			return false
		}
	}
	for _, v := range s.smiths {
		if v.busy > 0 {
			return false
		}
	}
	for _, v := range s.reservers {
		if v.busy > 0 {
			return false
		}
	}
	for _, o := range s.operators { // one that tries tasks again may be decided, and not in the journal
		if o.asks > 0 {
			return false
		}
	}
	return true
}

// left tells whether nobody is there any more.
func (s *sim) left() bool {
	if !s.broker.up {
		return false
	}
	_, sessions := s.broker.m.Live()
	return sessions == 0
}

// forgotten tells whether the model has nothing that lives.
func (s *sim) forgotten() bool {
	for _, t := range s.model.tasks {
		if !t.dropped {
			return false
		}
	}
	for _, k := range s.model.calls {
		if !k.dropped {
			return false
		}
	}
	return s.broker.up && s.broker.frame == nil && s.broker.m.Leftovers() == ""
}

func (s *sim) unsettled(what string) {
	for _, c := range s.callers {
		if !c.done {
			s.logf("%s: sent %d of %d, stored %v, has %v, refused %v, attached %v", c.name, c.sent, len(c.specs), c.stored, c.has, c.refused, c.attached)
		}
	}
	for _, l := range s.lockers {
		for _, n := range slices.Sorted(maps.Keys(l.asked)) {
			s.logf("%s waits for %d: %s", l.name, n, opText(l.asked[n].op))
		}
	}
	if s.broker.m != nil {
		for _, line := range s.broker.m.Dump() {
			s.logf("left: %s", line)
		}
	}
	s.fail("%s in %v", what, patience)
}

// empty holds the machine to nothing but its queues.
func (s *sim) empty() {
	if s.err != nil {
		return
	}
	if err := s.broker.m.Check(); err != nil {
		s.fail("in the end: %v", err)
	}
	if what := s.model.locks.left(); what != "" {
		s.fail("in the end %s", what)
	}
	if bytes, _ := s.broker.m.Live(); bytes != 0 {
		s.fail("in the end there are %d bytes of no tasks", bytes)
	}
	if n := s.broker.m.Leftovers(); n != "" {
		s.fail("in the end there are %s", n)
	}
}

// sizes writes what leaves nothing behind, and holds the journal to what is promised of its size.
func (s *sim) sizes() {
	if s.err != nil {
		return
	}
	for range 300 {
		id := s.newSession()
		s.broker.enqueue(&shard.OpenSession{State: session.State{ID: id, Namespace: namespace, Kind: session.Client, TTL: time.Hour}}, nil)
		s.broker.enqueue(&shard.CloseSession{Namespace: namespace, ID: id}, nil)
		s.play(time.Second, func() bool { return len(s.broker.inbox) == 0 && s.broker.frame == nil })
	}
	s.play(20*time.Second, func() bool { return false })
	st, _ := s.journal.State(context.Background())
	live := uint64(0)
	for _, line := range s.broker.m.Dump() {
		live += uint64(len(line))
	}
	if most := 4*live + s.cfg.machine.CompactAfter + 2*s.cfg.machine.PurgeStep + 3000; st.Bytes > most {
		s.fail("the journal has %d bytes, about %d live, compacting after %d, purging from %d",
			st.Bytes, live, s.cfg.machine.CompactAfter, s.cfg.machine.PurgeStep)
	}
}
