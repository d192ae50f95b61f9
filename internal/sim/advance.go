package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
)

// advances is what was said of attempts, by those who hold them.
type advances struct {
	sequence uint64            // the last one of all: a reservation that is answered twice is run twice
	said     map[uint64]said   // by sequence
	brought  map[uint64]uint32 // partial results that a task had when an attempt succeeded, by token
	saved    map[uint64]uint64 // the last checkpoint of a task that its holder knows to be durable
	asked    map[string]uint64 // tasks by the interrupt that they asked for
}

// said is how far an attempt had come.
type said struct {
	brought uint32
	saved   uint64
}

func newAdvances() advances {
	return advances{said: map[uint64]said{}, brought: map[uint64]uint32{}, saved: map[uint64]uint64{}, asked: map[string]uint64{}}
}

// partialOf is a task's partial result at a place, whichever attempt brings it. Some are empty.
func partialOf(task uint64, place int) queue.Payload {
	if place%4 == 3 {
		return queue.Payload{}
	}
	return queue.Payload{Encoding: 1, Data: fmt.Appendf(nil, "p%d.%d", task, place)}
}

func partialsOf(task uint64, from, to uint32) (out []queue.Payload) {
	for place := from; place < to; place++ {
		out = append(out, partialOf(task, int(place)))
	}
	return out
}

// Checkpoints are numbered, over all attempts of a task.

func checkpointOf(task, number uint64, partials uint32) *queue.Checkpoint {
	state := fmt.Appendf(nil, "c%d.%d", task, number)
	return &queue.Checkpoint{State: queue.Payload{Encoding: 1, Data: state}, Partials: partials}
}

func checkpointNumber(state []byte) (number uint64) {
	_, after, _ := strings.Cut(string(state), ".")
	if _, err := fmt.Sscan(after, &number); err != nil {
		return 0
	}
	return number
}

// savedIn is the number of what an attempt begins with, 0 if that is nothing, and how many partial results there were.
func savedIn(p *queue.Checkpoint) (number uint64, partials uint32) {
	if p == nil {
		return 0, 0
	}
	return checkpointNumber(p.State.Data), p.Partials
}

// say makes news of an attempt: some of its partial results or all of them, a checkpoint, progress; nothing if there
// is nothing to say.
func (a *attempt) say(s *sim, all bool) *queue.Advance {
	b := s.behaviourOf(a.Payload)
	more := b.parts - min(a.brought, b.parts)
	if !all {
		more = uint32(s.r.IntN(int(more) + 1))
	}
	x := &queue.Advance{ID: a.ID, Token: a.Token, Offset: a.brought}
	if s.one(3) { // some once more
		x.Offset -= uint32(s.r.IntN(int(a.brought) + 1))
	}
	a.brought += more
	x.Partials = partialsOf(a.ID, x.Offset, a.brought)
	if b.saves && s.one(2) {
		a.saved++
		x.Checkpoint = checkpointOf(a.ID, a.saved, a.brought)
	}
	if b.says {
		a.done++
		x.Progress = &queue.Progress{Done: a.done, Total: 100}
	}
	if len(x.Partials) == 0 && x.Checkpoint == nil && x.Progress == nil {
		return nil
	}
	s.advances.sequence++
	x.Sequence = s.advances.sequence
	s.advances.said[x.Sequence] = said{a.brought, a.saved}
	return x
}

// advances has an attempt say something now and then.
func (w *worker) advances(token uint64, takes time.Duration) {
	a := w.attempts[token]
	b := w.s.behaviourOf(a.Payload)
	a.saved, a.brought = savedIn(a.Checkpoint)
	takes = min(takes, 20*time.Second)
	if b.parts > 0 || b.saves || b.says {
		for range 1 + w.s.r.IntN(5) {
			w.s.after(w.s.upTo(takes), func() {
				if a := w.attempts[token]; a != nil && !a.ended && !w.dead && !w.asleep() {
					w.advance(a, false)
				}
			})
		}
	}
	if b.interrupts {
		w.s.after(w.s.upTo(takes), func() {
			if !w.dead && !w.asleep() {
				w.s.interrupt(w.name, a.ID, token)
			}
		})
	}
}

// advance says something of an attempt, and keeps it until it is answered.
func (w *worker) advance(a *attempt, all bool) {
	x := a.say(w.s, all)
	if x == nil {
		return
	}
	a.unanswered = append(a.unanswered, *x)
	if w.welcome {
		w.news = append(w.news, *x)
		w.s.after(w.s.upTo(10*time.Millisecond), w.flush)
	}
}

// again is what an attempt has to say on a new stream: what is not answered, and how far it is.
func (a *attempt) again(s *sim) []queue.Advance {
	for i := range a.unanswered {
		a.unanswered[i].Progress = nil
	}
	if a.done > 0 && !a.ended {
		s.advances.sequence++
		x := queue.Advance{ID: a.ID, Token: a.Token, Sequence: s.advances.sequence}
		x.Progress = &queue.Progress{Done: a.done, Total: 100}
		a.unanswered = append(a.unanswered, x)
	}
	return a.unanswered
}

// advanced takes an answer.
func (w *worker) advanced(e *queue.AdvanceAnswered) {
	if e.Reason != "" && e.Reason != "LEASE_LOST" {
		w.s.fail("%s: advance %d of attempt %d is refused: %s", w.name, e.Sequence, e.Token, e.Reason)
	}
	a := w.attempts[e.Token]
	if a == nil {
		return
	}
	if e.Reason == "" {
		w.s.isSaved(a.ID, w.s.advances.said[e.Sequence].saved)
	}
	a.unanswered = slices.DeleteFunc(slices.Clone(a.unanswered), func(x queue.Advance) bool { return x.Sequence <= e.Sequence })
}

func (s *sim) isSaved(task, number uint64) {
	s.advances.saved[task] = max(s.advances.saved[task], number)
}

// interrupt interrupts whoever submitted a task.
func (s *sim) interrupt(name string, id, token uint64) {
	message := fmt.Sprintf("i%d", len(s.advances.asked))
	s.advances.asked[message] = id
	cmd := &shard.InterruptSubmitter{Namespace: namespace, ID: id, Token: token, Message: message}
	s.call(name, cmd, 5*time.Second, func(_ any, err error) {
		t := s.model.tasks[id]
		switch reason := reasonOf(err); {
		case reason == "NO_SUBMITTER" && t.call != 0:
			s.fail("task %d of call %d interrupts nobody", id, t.call)
		case reason == "TASK_NOT_FOUND" && !t.dropped:
			s.fail("task %d is not found, and the journal has it", id)
		}
	})
}

// bring brings what a task that was reserved has to bring, or some of it, and goes on once that is durable.
func (v *reserver) bring(a *attempt, x *queue.Advance, tries int, then func()) {
	if x == nil {
		then()
		return
	}
	v.busy++
	v.s.call(v.name, &shard.AdvanceTask{Namespace: namespace, Advance: *x}, 3*time.Second, func(_ any, err error) {
		v.busy--
		switch reason := reasonOf(err); {
		case err == nil:
			v.s.isSaved(a.ID, a.saved)
			then()
		case reason == "" && tries > 1:
			v.bring(a, x, tries-1, then)
		case reason == "PARTIALS_GAP" || reason == "PARTIALS_FULL":
			v.s.fail("%s: an advance of attempt %d is refused: %s", v.name, a.Token, reason)
		} // else it walks away
	})
}
