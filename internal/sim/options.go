package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/queue"
)

// offers are the labels that workers have: none, some or all.
var offers = [][]string{nil, {"gpu", "y"}, {"gpu", "y", "zone", "x"}}

// decorate draws what a task asks of its queue, of its worker and of other tasks.
func (s *sim) decorate(n *queue.NewTask) {
	o := *queue.DefaultOptions
	if n.Spec.Options != nil {
		o = *n.Spec.Options
	}
	before := o
	if s.perMille(s.cfg.priorities) {
		o.Priority = int16(s.r.IntN(5) - 2)
	}
	if s.perMille(s.cfg.deadlines) {
		o.Deadline = s.wall().Add(s.upTo(30*time.Second) - time.Second)
	}
	if s.perMille(s.cfg.keys) {
		o.FairnessKey = fmt.Sprintf("key-%d", s.r.IntN(4))
	}
	if s.perMille(s.cfg.labels) {
		o.WorkerLabels = offers[s.r.IntN(len(offers))]
	}
	if s.perMille(s.cfg.exclusive) {
		o.Exclusive = true
		s.behaviourOf(n.Spec.Payload).silent = false // nobody would ever end its attempt
	}
	if s.perMille(s.cfg.after) {
		for range 1 + s.r.IntN(3) {
			if ids := s.model.order; len(ids) > 0 {
				o.After = append(o.After, ids[len(ids)-1-s.r.IntN(min(len(ids), 30))])
			}
		}
		o.RunOnFailure = s.one(2)
	}
	if s.perMille(s.cfg.uniques) {
		s.unify(n, &o)
	}
	if fmt.Sprint(o) != fmt.Sprint(before) {
		n.Spec.Options = &o
	}
}

// unify gives a task a unique key, and mostly the work that others of the key have.
func (s *sim) unify(n *queue.NewTask, o *queue.Options) {
	s.behaviourOf(n.Spec.Payload).silent = false
	o.UniqueKey = fmt.Sprintf("unique-%d", s.r.IntN(4))
	shared, ok := s.uniques[o.UniqueKey]
	switch {
	case !ok:
		s.uniques[o.UniqueKey] = n.Spec
	case !s.one(6):
		n.Spec.Kind, n.Spec.Payload = shared.Kind, shared.Payload
	}
}

// follow has a call's task come after others of the call.
func (s *sim) follow(n *queue.NewTask) {
	if n.Index > 0 && s.perMille(s.cfg.after) {
		for range 1 + s.r.IntN(2) {
			n.AfterIndexes = append(n.AfterIndexes, n.Index-1-s.r.Uint64N(min(n.Index, 5)))
		}
	}
}

// alone is a task that comes after nothing: what it was after is not there any more.
func alone(n queue.NewTask) queue.NewTask {
	n.AfterIndexes = nil
	if n.Spec.Options != nil {
		o := *n.Spec.Options
		o.After = nil
		n.Spec.Options = &o
	}
	return n
}

// settings draws those of a queue.
func (s *sim) settings() queue.Settings {
	var q queue.Settings
	if !s.perMille(s.cfg.settings) {
		return q
	}
	q.Order = queue.Order(1 + s.r.IntN(3))
	if s.one(3) {
		q.MaxSize = 1 + s.r.Uint64N(5)
	}
	if s.one(4) {
		q.MaxRunning = 1 + uint32(s.r.IntN(4))
	}
	if s.one(4) {
		q.MaxRunningPerKey = 1 + uint32(s.r.IntN(2))
	}
	if s.one(5) {
		q.Rate, q.Burst = 2+20*s.r.Float64(), uint32(s.r.IntN(5))
	}
	if s.one(3) {
		o := *queue.DefaultOptions
		o.AttemptsMax = uint32(s.r.IntN(4))
		o.InitialBackoff, o.Multiplier, o.BackoffMax = time.Millisecond+s.upTo(2*time.Second), 1+s.r.Float64(), 5*time.Second
		if s.one(2) {
			o.Retention = s.upTo(time.Minute)
		}
		if s.one(2) {
			o.FailedRetention = s.upTo(time.Minute)
		}
		q.Defaults = &o
	}
	return q
}

// hangs tells whether a task of the journal runs until it is stopped.
func (s *sim) hangs(t *modelTask) bool { return t.payload >= 0 && s.behaviours[t.payload].hangs }

func payloadNumber(data []byte) int64 {
	if len(data) < 8 {
		return -1
	}
	return int64(binary.LittleEndian.Uint64(data))
}

// has tells whether all of some labels are among others.
func hasAll(have, want []string) bool {
	for i := 0; i+1 < len(want); i += 2 {
		k := slices.Index(have, want[i])
		if k < 0 || have[k+1] != want[i+1] {
			return false
		}
	}
	return true
}
