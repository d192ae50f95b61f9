package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/weftq/weft/pkg/queue"
)

// behaviour is what a task does when it runs. The payload has its number.
type behaviour struct {
	takes     time.Duration
	fails     uint32 // so many attempts end in an error
	permanent bool
	kills     uint32 // so many attempts kill their worker
	hangs     bool   // until it is stopped
	deaf      bool   // does not stop when asked, only when killed
	silent    bool   // its worker never reports
	overdue   bool   // goes on for long after its timeout
	releases  uint32 // so many attempts are given back
	spooled   bool

	parts      uint32 // partial results that it brings
	saves      bool   // checkpoints
	says       bool   // how far it has come
	interrupts bool   // who submitted it
}

// resultOf is the result of a success: it names the attempt that brought it.
func resultOf(token uint64) string { return fmt.Sprintf("r%d", token) }

// newTask draws a task.
func (s *sim) newTask(index uint64) queue.NewTask {
	b := behaviour{takes: s.upTo(2 * time.Second)}
	if s.perMille(s.cfg.slow) {
		b.takes = s.upTo(30 * time.Second)
	}
	switch {
	case s.perMille(s.cfg.killers):
		b.kills = 1 + uint32(s.r.IntN(4))
	case s.perMille(s.cfg.hangers):
		b.hangs, b.deaf, b.silent = true, s.one(3), s.one(5)
	case s.perMille(s.cfg.overdue):
		b.overdue, b.takes = true, 30*time.Second+s.upTo(20*time.Second)
	case s.one(5):
		b.fails, b.permanent = 1+uint32(s.r.IntN(4)), s.one(4)
	case s.one(10):
		b.releases = 1 + uint32(s.r.IntN(3))
	}
	b.spooled = s.one(5)
	if s.perMille(s.cfg.advances) {
		b.parts, b.saves, b.says = uint32(s.r.IntN(8)), s.one(2), s.one(2)
	}
	b.interrupts = s.perMille(s.cfg.interrupts)
	s.behaviours = append(s.behaviours, b)
	data := make([]byte, 8+s.r.IntN(200))
	binary.LittleEndian.PutUint64(data, uint64(len(s.behaviours)-1))
	n := queue.NewTask{Index: index, Queue: queueNames[s.r.IntN(len(queueNames))], Spec: queue.Spec{
		Kind: kinds[s.r.IntN(len(kinds))], Payload: queue.Payload{Encoding: 1, Data: data}, Options: s.newOptions(),
	}}
	if s.one(6) {
		n.Spec.RunAt = s.wall().Add(s.upTo(20 * time.Second))
	}
	s.decorate(&n)
	return n
}

func (s *sim) newOptions() *queue.Options {
	if s.one(3) {
		return nil
	}
	o := *queue.DefaultOptions
	o.Grace = s.upTo(5 * time.Second)
	o.AttemptsMax = uint32(s.r.IntN(4))
	o.InitialBackoff = time.Millisecond + s.upTo(3*time.Second)
	o.Multiplier, o.BackoffMax, o.Jitter = 1+s.r.Float64()*2, time.Second+s.upTo(5*time.Second), s.r.Float64()
	if s.one(3) {
		o.Timeout = time.Millisecond + s.upTo(5*time.Second)
	}
	o.Daemon = s.perMille(s.cfg.daemons)
	if s.perMille(s.cfg.retention) {
		o.Retention = s.upTo([]time.Duration{1, time.Minute, 3 * time.Hour}[s.r.IntN(3)])
	}
	if s.perMille(s.cfg.retention) {
		o.FailedRetention = s.upTo([]time.Duration{1, time.Minute, 3 * time.Hour}[s.r.IntN(3)])
	}
	o.FailOnWorkerLost = s.perMille(s.cfg.once)
	if s.one(5) {
		o.Labels = []string{"k", "v"}
	}
	return &o
}

func (s *sim) behaviourOf(p queue.Payload) *behaviour {
	return &s.behaviours[binary.LittleEndian.Uint64(p.Data)]
}

// cancelAsked tells whether somebody cancelled a task.
func (s *sim) cancelAsked(t *modelTask) bool {
	if s.cancels[t.id] {
		return true
	}
	if t.detached { // for those that joined it
		return false
	}
	k := s.model.calls[t.call]
	if k == nil {
		return false
	}
	c := s.caller(k.name)
	return c != nil && (c.askedAll || c.foreign || c.asked.Contains(t.index))
}

func (s *sim) caller(name string) *caller {
	for _, c := range s.callers {
		if c.name == name {
			return c
		}
	}
	return nil
}
