package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
)

var (
	lockNames = []string{"red", "green", "blue"}
	boundSpec = lockservice.SemaphoreSpec{Permits: 3}
	freeSpec  = lockservice.SemaphoreSpec{Permits: 2, Free: true, Bounded: true}
)

const (
	boundName = "berths"
	freeName  = "tickets"
	partyName = "party"
	parties   = 2
)

// lockWaits draws how long to wait.
func (s *sim) lockWait() lockservice.Wait {
	switch s.r.IntN(4) {
	case 0:
		return lockservice.Wait{Timed: true}
	case 1:
		return lockservice.Wait{Timed: true, For: s.upTo(3 * time.Second)}
	}
	return lockservice.Wait{}
}

// act does the next thing of a holder.
func (h *lockHolder) act() {
	s := h.l.s
	switch {
	case h.acts != 0:
		h.ask(&shard.CompleteBarrier{Name: partyName, Generation: h.acts})
		return
	case s.calm:
		h.end()
		return
	}
	if s.one(3) && h.condition() {
		return
	}
	switch s.r.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		h.acquire()
	case 6, 7, 8, 9:
		h.release()
	case 10:
		h.ask(&shard.AcquireSemaphore{Name: boundName, Spec: boundSpec, Permits: 1 + s.r.Int64N(3), Wait: s.lockWait()})
	case 11:
		h.ask(&shard.AcquireSemaphore{Name: freeName, Spec: freeSpec, Permits: 1, Wait: lockservice.Wait{Timed: true, For: s.upTo(3 * time.Second)}})
	case 12:
		h.ask(&shard.WaitBarrier{Name: partyName, Parties: parties, Action: s.one(2), Wait: lockservice.Wait{Timed: true, For: s.upTo(8 * time.Second)}})
	case 13:
		h.ask(&shard.BreakBarrier{Name: partyName, Reset: !s.one(4)})
	case 14:
		h.event()
	case 15:
		h.value()
	}
}

// acquire asks for a lock, perhaps for one that the holder has.
func (h *lockHolder) acquire() {
	s := h.l.s
	name, mode := lockNames[s.r.IntN(1+s.r.IntN(len(lockNames)))], lockservice.Mode(1+s.r.IntN(5)/3)
	tokens := h.tokens()
	if len(tokens) > 0 && s.one(3) {
		if g := h.grants[tokens[s.r.IntN(len(tokens))]]; !g.semaphore {
			name = g.name
		}
	}
	h.ask(&shard.AcquireLock{Name: name, Mode: mode, Reentrant: !s.one(4), Wait: s.lockWait()})
}

// end gives up what there is, in the end.
func (h *lockHolder) end() {
	if len(h.grants) > 0 || h.free > 0 {
		h.release()
	}
}

// tokens are those of what a holder has, in order.
func (h *lockHolder) tokens() []uint64 { return slices.Sorted(maps.Keys(h.grants)) }

func (h *lockHolder) release() {
	s := h.l.s
	if h.free > 0 && (s.one(2) || len(h.grants) == 0) {
		h.free--
		h.ask(&shard.ReleaseSemaphore{Name: freeName, Spec: freeSpec, Permits: 1})
		return
	}
	tokens := h.tokens()
	if len(tokens) == 0 {
		h.later()
		return
	}
	g := h.grants[tokens[s.r.IntN(len(tokens))]]
	if g.semaphore {
		delete(h.grants, g.token)
		h.ask(&shard.ReleaseSemaphore{Name: g.name, Spec: boundSpec, Token: g.token})
		return
	}
	all := s.one(2)
	if g.levels--; all || g.levels == 0 {
		delete(h.grants, g.token)
	}
	h.ask(&shard.ReleaseLock{Name: g.name, Token: g.token, All: all})
}

// condition waits with a lock that it has, or notifies.
func (h *lockHolder) condition() bool {
	s := h.l.s
	for _, token := range h.tokens() {
		g := h.grants[token]
		if !g.exclusive {
			continue
		}
		if s.one(2) {
			h.ask(&shard.NotifyCondition{Name: g.name + "-changed", Lock: g.name, Token: token, Count: 1 + s.r.IntN(2)})
			return true
		}
		delete(h.grants, token)
		wait := lockservice.Wait{Timed: true, For: s.upTo(6 * time.Second)}
		if s.one(3) {
			wait = lockservice.Wait{}
		}
		h.ask(&shard.WaitCondition{Name: g.name + "-changed", Lock: g.name, Token: token, Wait: wait})
		h.waits.gave = g
		return true
	}
	return false
}

func (h *lockHolder) event() {
	s := h.l.s
	if s.one(2) {
		h.ask(&shard.WaitEvent{Name: "bell", Wait: lockservice.Wait{Timed: true, For: s.upTo(3 * time.Second)}})
		return
	}
	h.ask(&shard.SetEvent{Name: "bell", Set: s.one(2)})
}

func (h *lockHolder) value() {
	s := h.l.s
	one := lockservice.Data{Type: lockservice.Int64, Number: 1}
	change := shard.ValueChange{}
	for _, token := range h.tokens() {
		if g := h.grants[token]; g.exclusive && s.one(2) {
			change.Guard = lockservice.Guard{Lock: g.name, Token: token}
		}
	}
	switch s.r.IntN(4) {
	case 0:
		until := lockservice.Until{Comparison: lockservice.AtLeast, Data: lockservice.Data{Type: lockservice.Int64, Number: s.r.Int64N(20)}}
		h.ask(&shard.WaitValue{Name: "count", Until: until, Wait: lockservice.Wait{Timed: true, For: s.upTo(3 * time.Second)}})
	case 1:
		h.ask(&shard.SetValue{Name: "count", Change: change, Data: one})
	default:
		h.ask(&shard.AddValue{Name: "count", Change: change, Delta: one})
	}
}

// took takes in what a command came to.
func (h *lockHolder) took(a *lockAsk, e *shard.LockAnswered) {
	reason := reasonOf(e.Err)
	answer := e.Reply.Answer
	if a.abandoned && answer.Outcome == lockservice.Abandoned {
		return
	}
	switch op := a.op.(type) {
	case *shard.AcquireLock:
		if answer.Token != 0 {
			h.got(op.Name, answer, 1)
			return
		}
		h.expect(a, e, pure.Deadlock)
	case *shard.WaitCondition:
		if answer.Token != 0 {
			if answer.Depth != a.gave.levels {
				h.l.s.fail("%s/%d: %s comes back %d times, and was had %d times", h.l.name, h.number, op.Lock, answer.Depth, a.gave.levels)
			}
			h.got(op.Lock, answer, answer.Depth)
			return
		}
		if e.Err == nil {
			h.l.s.fail("%s/%d: command %d, %s, does not come back with the lock", h.l.name, h.number, a.number, opText(a.op))
			return
		}
		h.grants[a.gave.token] = a.gave // it has not waited
		h.expect(a, e)
	case *shard.AcquireSemaphore:
		switch {
		case answer.Token != 0:
			h.grants[answer.Token] = &lockView{name: op.Name, semaphore: true, token: answer.Token}
		case answer.Permits != 0:
			h.free += answer.Permits
		default:
			h.expect(a, e, pure.Deadlock)
		}
	case *shard.WaitBarrier:
		if answer.Act {
			h.acts = answer.Generation
		}
		h.expect(a, e, pure.BarrierBroken)
	case *shard.CompleteBarrier:
		h.acts = 0
		h.expect(a, e, pure.BarrierBroken, pure.NotHeld)
	case *shard.ReleaseSemaphore:
		if op.Spec.Free && reason == "" && e.Err != nil {
			h.free++
		}
		h.expect(a, e)
	default:
		h.expect(a, e)
	}
}

// expect fails the run if a command was refused for a reason that it cannot have.
func (h *lockHolder) expect(a *lockAsk, e *shard.LockAnswered, may ...pure.Reason) {
	reason := reasonOf(e.Err)
	full := reason == pure.DiskLow && h.l.s.cfg.diskLow != 0 || reason == pure.StateFull && h.l.s.limited
	if e.Err != nil && !full && !slices.Contains(may, reason) {
		h.l.s.fail("%s/%d: command %d, %s, is refused: %v", h.l.name, h.number, a.number, opText(a.op), e.Err)
	}
	if _, try := tryOf(a.op); !try && e.Err == nil && e.Reply.Answer.Outcome == lockservice.TimedOut {
		h.l.s.fail("%s/%d: command %d, %s, has no time and its time is over", h.l.name, h.number, a.number, opText(a.op))
	}
}

// tryOf returns how long a command may wait, and whether it is for some time only.
func tryOf(op shard.LockOp) (lockservice.Wait, bool) {
	switch op := op.(type) {
	case *shard.AcquireLock:
		return op.Wait, op.Wait.Timed
	case *shard.AcquireSemaphore:
		return op.Wait, op.Wait.Timed
	}
	return lockservice.Wait{}, true
}

// got is the client's belief to have a lock, from now on.
func (h *lockHolder) got(name string, a lockservice.Answer, levels uint32) {
	g := h.grants[a.Token]
	if g != nil {
		g.levels += levels
		return
	}
	known := h.l.s.model.locks.tokens[a.Token]
	g = &lockView{name: name, exclusive: known == nil || known.Mode == uint32(lockservice.Exclusive), levels: levels, token: a.Token}
	h.grants[a.Token] = g
	h.l.s.apart(h.l.name, h.number, g)
}

// apart holds a client's belief to those of all others: what one has exclusively nobody else has.
func (s *sim) apart(who string, number uint64, g *lockView) {
	for _, l := range s.lockers {
		if !l.trusts() {
			continue
		}
		for _, h := range l.holders {
			for _, token := range h.tokens() {
				other := h.grants[token]
				if other.name == g.name && other.token != g.token && !other.semaphore && (other.exclusive || g.exclusive) {
					s.fail("%s/%d believes to have %s by %d, and %s/%d by %d", who, number, g.name, g.token, l.name, h.number, token)
				}
			}
		}
	}
	for _, v := range s.smiths {
		for _, token := range slices.Sorted(maps.Keys(v.views)) {
			if other := v.views[token]; s.now < v.until[token] && other.name == g.name && token != g.token && (other.exclusive || g.exclusive) {
				s.fail("%s/%d believes to have %s by %d, and %s by %d", who, number, g.name, g.token, v.name, token)
			}
		}
	}
}
