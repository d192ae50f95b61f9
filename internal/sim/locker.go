package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// locker is a client of the lock service: a session with one channel, and a few holders that do one thing at a time each.
type locker struct {
	sleeper
	name string
	ttl  time.Duration
	lazy bool // it acknowledges seldom

	life    int // of the connection
	c       *conn
	session session.ID
	entered bool
	renewed time.Duration // when the last acknowledged renewal was sent
	beats   map[uint64]time.Duration
	beat    uint64
	heard   time.Duration

	number  uint64
	asked   map[uint64]*lockAsk // commands without an answer
	holders []*lockHolder
	leaving uint64 // the beat of the goodbye
	done    bool
}

// lockHolder is a thread of it.
type lockHolder struct {
	l      *locker
	number uint64
	waits  *lockAsk
	grants map[uint64]*lockView // by token
	free   int64                // permits of the free semaphore
	acts   uint64               // the generation of the meeting whose action it runs
	wakes  bool                 // it does its next thing some time
}

// lockAsk is a command that is not answered.
type lockAsk struct {
	number    uint64
	h         *lockHolder
	op        shard.LockOp
	sent      time.Duration
	gave      *lockView // what it gave up to wait at a condition
	abandoned bool
}

// lockView is what a client believes to have.
type lockView struct {
	name      string
	semaphore bool
	exclusive bool
	levels    uint32
	token     uint64
}

func newLocker(s *sim, i int) *locker {
	l := &locker{sleeper: sleeper{s: s}, name: fmt.Sprintf("locker-%d", i), ttl: s.cfg.ttl + 4*(s.cfg.append+2*s.cfg.latency)}
	l.lazy = s.one(2)
	l.forget()
	s.after(s.upTo(2*time.Second), l.connect)
	l.pulse()
	return l
}

// forget begins anew, with a session that is yet to be opened.
func (l *locker) forget() {
	l.session, l.number, l.leaving = session.ID{}, 0, 0
	l.asked, l.holders = map[uint64]*lockAsk{}, nil
	for i := range 1 + l.s.r.IntN(3) {
		l.holders = append(l.holders, &lockHolder{l: l, number: uint64(i), grants: map[uint64]*lockView{}})
	}
}

// trusts tells whether the session lives for sure.
func (l *locker) trusts() bool { return !l.session.IsZero() && l.s.now < l.renewed+l.ttl*3/4 }

func (l *locker) connect() {
	if l.done {
		return
	}
	if !l.session.IsZero() && !l.trusts() { // it may be over: what it has is lost
		l.s.logf("%s gives its session up", l.name)
		l.forget()
	}
	l.life++
	life := l.life
	l.entered, l.heard, l.beat, l.beats = false, l.s.now, 0, map[uint64]time.Duration{}
	mine := func(do func()) {
		l.awake(func() {
			if life == l.life {
				do()
			}
		})
	}
	sent := l.s.now
	l.c = l.s.dial(l.name, func(msg any) { mine(func() { l.receive(msg, sent) }) }, func(err error) { mine(func() { l.lost(err) }) })
	l.c.send(&shard.SynchronizeHello{Namespace: namespace, Session: l.session, TTL: l.ttl, Client: l.name, Channel: 7})
}

func (l *locker) lost(err error) {
	if l.leaving != 0 && reasonOf(err) == pure.SessionNotFound || l.s.calm && l.session.IsZero() && reasonOf(err) == "" && l.idle() {
		l.over()
		return
	}
	if reasonOf(err) == pure.SessionNotFound {
		if l.trusts() {
			l.s.fail("%s: its session is over, and it renewed it %v ago", l.name, l.s.now-l.renewed)
		}
		l.forget()
	}
	l.life++
	l.entered = false
	l.c.hangUp()
	l.s.after(50*time.Millisecond+l.s.upTo(500*time.Millisecond), l.connect)
}

func (l *locker) over() {
	l.done = true
	l.life++
	l.c.hangUp()
	l.forget()
}

// die ends the process; another one takes its place.
func (l *locker) die() {
	if l.done || l.c == nil {
		return
	}
	l.s.logf("%s dies", l.name)
	l.life++
	l.entered, l.late, l.until = false, nil, 0
	l.forget()
	l.c.lose(l.s.cfg.ttl)
	l.s.after(l.s.upTo(2*l.ttl), l.connect)
}

func (l *locker) receive(msg any, sent time.Duration) {
	switch e := msg.(type) {
	case *shard.Synchronized:
		l.enter(e, sent)
	case *shard.LockAnswered:
		l.answer(e)
	case *shard.LeaseBeat:
		l.heard = l.s.now
		if at, ok := l.beats[e.Number]; ok {
			l.renewed = max(l.renewed, at)
			if e.Lease <= 0 || e.Lease > l.ttl {
				l.s.fail("%s: heartbeat %d leaves %v of %v", l.name, e.Number, e.Lease, l.ttl)
			}
			delete(l.beats, e.Number)
		} else {
			l.s.fail("%s: heartbeat %d is answered, and was not sent or is answered twice", l.name, e.Number)
		}
		if l.leaving != 0 && e.Number >= l.leaving {
			l.over()
		}
	}
}

// enter is welcome: whatever has no answer is asked again, in order.
func (l *locker) enter(e *shard.Synchronized, sent time.Duration) {
	l.session, l.entered, l.renewed, l.leaving = e.Session, true, max(l.renewed, sent), 0
	f := &shard.SynchronizeFrame{}
	for _, n := range slices.Sorted(maps.Keys(l.asked)) {
		a := l.asked[n]
		f.Commands = append(f.Commands, shard.LockCommand{Number: n, Holder: a.h.number, Op: a.op})
		if a.abandoned {
			f.Abandoned = append(f.Abandoned, n)
		}
	}
	l.send(f)
	for _, h := range l.holders {
		h.later()
	}
}

// below is the number below which every answer is here.
func (l *locker) below() uint64 {
	low := l.number + 1
	for n := range l.asked {
		low = min(low, n)
	}
	return low
}

func (l *locker) send(f *shard.SynchronizeFrame) {
	l.beat++
	f.Heartbeat, f.Below = l.beat, l.below()
	if !l.s.calm && (l.s.one(4) || l.lazy && !l.s.one(10)) {
		f.Below = 0 // later
	}
	l.beats[l.beat] = l.s.now
	l.c.send(f)
}

func (l *locker) pulse() {
	l.s.after(l.ttl/3, func() {
		if l.done {
			return
		}
		l.pulse()
		switch {
		case l.asleep():
		case l.c == nil || l.c.clientKnows:
		case !l.session.IsZero() && !l.trusts() && l.entered, l.s.now-l.heard > l.ttl+l.s.cfg.append+2*l.s.cfg.latency:
			l.s.logf("%s hears nothing", l.name)
			l.lost(errUnavailable)
		case l.entered && l.s.calm && l.idle() && l.leaving == 0:
			l.leaving = l.beat + 1
			l.send(&shard.SynchronizeFrame{Goodbye: true})
		case l.entered:
			l.send(&shard.SynchronizeFrame{Abandoned: l.abandons()})
		}
	})
}

// idle tells whether no holder has anything or waits.
func (l *locker) idle() bool {
	for _, h := range l.holders {
		if h.waits != nil || len(h.grants) > 0 || h.free > 0 || h.acts != 0 {
			return false
		}
	}
	return true
}

// abandons draws waits that are given up. In the end those that nobody will ever end.
func (l *locker) abandons() (out []uint64) {
	for _, n := range slices.Sorted(maps.Keys(l.asked)) {
		a := l.asked[n]
		hopeless, seldom := false, 20
		switch op := a.op.(type) {
		case *shard.WaitCondition:
			hopeless, seldom = true, 5
		case *shard.WaitBarrier, *shard.WaitEvent, *shard.WaitValue:
			hopeless = true
		case *shard.AcquireSemaphore:
			hopeless = op.Spec.Free // who died has taken permits along
		}
		if !a.abandoned && (l.s.calm && hopeless || !l.s.calm && l.s.one(seldom)) {
			a.abandoned = true
			out = append(out, n)
		}
	}
	return out
}

// ask sends a command of a holder.
func (h *lockHolder) ask(op shard.LockOp) {
	l := h.l
	l.number++
	a := &lockAsk{number: l.number, h: h, op: op, sent: l.s.now}
	h.waits, l.asked[a.number] = a, a
	l.s.logf("%s/%d asks %d: %s", l.name, h.number, a.number, opText(op))
	l.send(&shard.SynchronizeFrame{Commands: []shard.LockCommand{{Number: a.number, Holder: h.number, Label: "", Op: op}}})
}

// answer takes an answer in. One that comes too late to be believed is of no use.
func (l *locker) answer(e *shard.LockAnswered) {
	if e.Since != 0 {
		if a := l.asked[e.Number]; a != nil {
			if op, ok := a.op.(*shard.WaitEvent); ok {
				again := *op
				again.Since = e.Since
				a.op = &again
			}
		}
		return
	}
	a := l.asked[e.Number]
	if a == nil {
		l.s.fail("%s: command %d is answered twice, or was never asked", l.name, e.Number)
		return
	}
	if !l.trusts() {
		l.lost(errUnavailable)
		return
	}
	if a.abandoned && e.Reply.Answer.Outcome != lockservice.Abandoned {
		return // whatever it is, it is undone when the abandonment arrives
	}
	delete(l.asked, e.Number)
	a.h.waits = nil
	a.h.took(a, e)
	a.h.later()
}

// later has a holder do something some time.
func (h *lockHolder) later() {
	if h.wakes {
		return
	}
	h.wakes = true
	h.l.s.after(time.Millisecond+h.l.s.upTo(h.l.ttl/4), func() {
		h.wakes = false
		if l := h.l; !l.done && slices.Contains(l.holders, h) {
			if l.entered && !l.asleep() && h.waits == nil && l.trusts() && l.leaving == 0 {
				h.act()
			} else if h.waits == nil {
				h.later()
			}
		}
	})
}

// opText writes a command for the trace.
func opText(op shard.LockOp) string { return fmt.Sprintf("%T %+v", op, op) }
