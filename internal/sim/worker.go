package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// worker is one instance of a worker's process.
type worker struct {
	sleeper
	number int
	name   string
	ttl    time.Duration
	slots  int
	kinds  []string
	queues []string
	labels []string

	dead     bool
	life     int // of the connection
	c        *conn
	session  session.ID
	welcome  bool
	draining bool
	left     bool   // said goodbye
	leaveAt  uint64 // the heartbeat that has to be answered before that
	eager    bool   // reports before it is welcome

	attempts map[uint64]*attempt
	credits  int                     // to be given with the next frame
	reports  map[uint64]queue.Report // ever made, for the observer
	outbox   []queue.Report
	news     []queue.Advance // to be sent with the next frame

	beat, answered uint64
	heard          time.Duration
}

type attempt struct {
	queue.Assignment
	since  time.Duration
	ended  bool
	report queue.Report

	brought    uint32 // partial results, with those of attempts before it
	saved      uint64 // its last checkpoint
	done       int64  // its progress
	unanswered []queue.Advance
}

func newWorker(s *sim, number, instance int) *worker {
	w := &worker{
		sleeper: sleeper{s: s}, number: number, name: fmt.Sprintf("worker-%d.%d", number, instance), ttl: s.cfg.ttl,
		slots: 1 + s.r.IntN(8), eager: s.one(2), attempts: map[uint64]*attempt{}, reports: map[uint64]queue.Report{},
	}
	for _, k := range kinds {
		if number == 0 || s.one(2) { // the first serves everything, so that everything ends
			w.kinds = append(w.kinds, k)
		}
	}
	if len(w.kinds) == 0 {
		w.kinds = kinds[:1]
	}
	w.queues = queueNames[:1+s.r.IntN(len(queueNames))]
	w.labels = offers[s.r.IntN(len(offers))]
	if number == 0 {
		w.queues, w.labels = queueNames, offers[len(offers)-1]
	}
	s.after(s.upTo(2*time.Second), w.connect)
	w.beats()
	return w
}

func (s *sim) workerOf(id session.ID) *worker { return s.bySession[id] }

// running is the number of slots in use.
func (w *worker) running() (n int) {
	for _, a := range w.attempts {
		if !a.ended {
			n++
		}
	}
	return n
}

func (w *worker) connect() {
	if w.dead || w.left {
		return
	}
	w.life++
	life := w.life
	w.welcome, w.heard, w.beat, w.answered, w.credits, w.outbox = false, w.s.now, 0, 0, 0, nil
	w.leaveAt, w.news = 0, nil
	w.c = w.s.dial(w.name, func(msg any) {
		w.awake(func() {
			if life == w.life {
				w.receive(msg)
			}
		})
	}, func(error) {
		w.awake(func() {
			if life == w.life {
				w.lost()
			}
		})
	})
	hello := &shard.WorkerHello{TTL: w.ttl, Hello: queue.Hello{
		Namespace: namespace, Session: w.session, Name: w.name, Queues: w.queues, Kinds: w.kinds, Labels: w.labels,
		Slots: uint32(w.slots), Credits: uint32(w.slots - w.running()),
	}}
	if w.draining {
		hello.Hello.Credits = 0
	}
	for _, token := range slices.Sorted(maps.Keys(w.attempts)) {
		hello.Hello.Attempts = append(hello.Hello.Attempts, queue.Held{ID: w.attempts[token].ID, Token: token})
	}
	w.c.send(hello)
	if w.eager {
		f := &shard.WorkerFrame{}
		for _, token := range slices.Sorted(maps.Keys(w.attempts)) {
			a := w.attempts[token]
			f.Advances = append(f.Advances, a.again(w.s)...)
			if a.ended {
				f.Reports = append(f.Reports, a.report)
			}
		}
		w.send(f)
	}
}

// lost is the drop of the connection: what runs has a tenth of its age to see it come back. What is stopped
// then is reported: a hello that is under way may have listed it.
func (w *worker) lost() {
	w.life++
	life := w.life
	w.welcome = false
	w.c.hangUp()
	for _, token := range slices.Sorted(maps.Keys(w.attempts)) {
		a := w.attempts[token]
		grace := min(max((w.s.now-a.since)/10, time.Second), w.ttl)
		w.s.after(grace, func() {
			if !w.welcome && !w.dead && w.attempts[token] == a && !a.ended && !w.asleep() && w.life <= life+1 {
				w.s.logf("%s stops attempt %d: no broker", w.name, token)
				w.end(token, queue.Report{End: queue.EndKilled})
			}
		})
	}
	again := 300 * time.Millisecond
	if !w.s.calm && w.s.perMille(w.s.cfg.away) {
		again = w.ttl + w.ttl/2
	}
	w.s.after(50*time.Millisecond+w.s.upTo(again), w.connect)
}

// die is kill -9; another instance comes up.
func (w *worker) die() {
	if w.dead {
		return
	}
	w.s.logf("%s dies", w.name)
	w.dead = true
	w.life++
	if w.c != nil {
		w.c.lose(w.s.upTo(w.ttl))
	}
	w.replace()
}

func (w *worker) replace() {
	w.s.after(w.s.upTo(2*time.Second), func() {
		if w.s.workers[w.number] == w && !w.s.leaving {
			w.s.workers[w.number] = newWorker(w.s, w.number, int(w.s.number))
		}
	})
}

func (w *worker) receive(msg any) {
	if w.dead {
		return
	}
	switch e := msg.(type) {
	case *shard.Welcome:
		w.enter(e)
	case *queue.Assigned:
		w.start(e.Assignment)
	case *queue.Stop:
		w.stop(e)
	case *queue.AdvanceAnswered:
		w.advanced(e)
	case *queue.Answered:
		if a := w.attempts[e.Token]; a != nil && a.ended {
			delete(w.attempts, e.Token)
		}
		w.leaveIfDone()
	case *shard.Beat:
		if e.Number != w.answered+1 {
			w.s.fail("%s: heartbeat %d is answered after %d", w.name, e.Number, w.answered)
		}
		w.answered, w.heard = e.Number, w.s.now
		w.leaveIfDone()
	}
}

func (w *worker) enter(e *shard.Welcome) {
	w.session, w.welcome = e.Session, true
	w.s.bySession[e.Session] = w
	for _, token := range e.Superseded {
		w.drop(token)
	}
	for _, token := range slices.Sorted(maps.Keys(w.attempts)) {
		a := w.attempts[token]
		w.news = append(w.news, a.again(w.s)...)
		if a.ended {
			w.outbox = append(w.outbox, a.report)
		}
	}
	w.flush()
	if w.draining {
		w.announce()
	}
}

// announce says that the worker drains. Once that is answered, nothing more can be on its way to it.
func (w *worker) announce() {
	w.send(&shard.WorkerFrame{Draining: true})
	w.leaveAt = w.beat
}

// drop forgets an attempt that is no longer the worker's.
func (w *worker) drop(token uint64) {
	if a := w.attempts[token]; a != nil {
		if !a.ended {
			w.credits++
		}
		delete(w.attempts, token)
	}
}

func (w *worker) start(a queue.Assignment) {
	if w.attempts[a.Token] != nil {
		w.s.fail("%s: attempt %d is assigned twice", w.name, a.Token)
	}
	if w.draining { // it crossed the announcement: given back
		w.attempts[a.Token] = &attempt{Assignment: a, since: w.s.now}
		w.end(a.Token, queue.Report{End: queue.EndReleased})
		return
	}
	w.attempts[a.Token] = &attempt{Assignment: a, since: w.s.now}
	if n := w.running(); n > w.slots {
		w.s.fail("%s runs %d attempts in %d slots", w.name, n, w.slots)
	}
	w.began(a)
	b := w.s.behaviourOf(a.Payload)
	takes := b.takes
	w.advances(a.Token, takes)
	switch {
	case a.Attempt <= b.kills:
		w.s.after(min(takes, 500*time.Millisecond), func() {
			if w.attempts[a.Token] != nil {
				w.die()
			}
		})
		return
	case b.hangs:
		takes = time.Duration(1 << 60)
	}
	if o := a.Options; o.Timeout > 0 && o.Timeout < takes && !b.silent && !b.overdue {
		w.later(o.Timeout, a.Token, queue.Report{End: queue.EndTimeout, Error: &queue.Error{Reason: "timeout"}})
		return
	}
	if !b.hangs {
		w.later(takes, a.Token, reportOf(b, a))
	}
}

// began holds a task that may run only once to that: an attempt that really began is followed by another one
// only if it ended by itself.
func (w *worker) began(a queue.Assignment) {
	if !a.Options.FailOnWorkerLost {
		return
	}
	since := w.s.model.tasks[a.ID].since
	if a.Token <= since { // it was told to be tried again after that
		return
	}
	for _, token := range w.s.begun[a.ID] {
		if token <= since {
			continue
		}
		end := w.s.model.ends[token]
		if end.end != queue.EndError && end.end != queue.EndTimeout && w.s.reported[token] != queue.EndReleased {
			w.s.fail("task %d may run once, and runs again as %d after %d, which ended as %d", a.ID, a.Token, token, end.end)
		}
	}
	w.s.begun[a.ID] = append(w.s.begun[a.ID], a.Token)
}

// reportOf is how an attempt ends by itself.
func reportOf(b *behaviour, a queue.Assignment) queue.Report {
	switch {
	case a.Attempt <= b.releases:
		return queue.Report{End: queue.EndReleased}
	case a.Attempt <= b.fails:
		return queue.Report{End: queue.EndError, Error: &queue.Error{Reason: "error", Message: "no luck", Permanent: b.permanent}}
	}
	return queue.Report{
		End: queue.EndSucceeded, Result: queue.Payload{Encoding: 1, Data: []byte(resultOf(a.Token))}, Spooled: b.spooled,
	}
}

// later ends an attempt in a while. A process that sleeps ends nothing.
func (w *worker) later(d time.Duration, token uint64, r queue.Report) {
	w.s.after(d, func() {
		if w.asleep() {
			w.later(w.until-w.s.now, token, r)
			return
		}
		w.end(token, r)
	})
}

func (w *worker) end(token uint64, r queue.Report) {
	a := w.attempts[token]
	if w.dead || a == nil || a.ended {
		return
	}
	r.ID, r.Token = a.ID, token
	if r.End == queue.EndSucceeded {
		w.advance(a, true)
		w.s.advances.brought[token] = a.brought
	}
	a.ended, a.report = true, r
	w.reports[token], w.s.reported[token] = r, r.End
	if !w.draining {
		w.credits++
	}
	if w.welcome {
		w.outbox = append(w.outbox, r)
		w.s.after(w.s.upTo(10*time.Millisecond), w.flush)
	}
}

func (w *worker) flush() {
	if !w.welcome || w.dead || w.asleep() || len(w.outbox)+len(w.news) == 0 && w.credits == 0 {
		return
	}
	w.send(&shard.WorkerFrame{Advances: w.news, Reports: w.outbox, Credits: uint32(w.credits)})
	w.outbox, w.news, w.credits = nil, nil, 0
}

func (w *worker) stop(e *queue.Stop) {
	a := w.attempts[e.Token]
	if a == nil || a.ended {
		return
	}
	if e.Reason == queue.EndWorkerLost {
		w.drop(e.Token)
		w.flush()
		return
	}
	b := w.s.behaviourOf(a.Payload)
	switch {
	case b.silent:
		return
	case b.deaf:
		w.later(e.Grace, e.Token, queue.Report{End: queue.EndKilled})
	case w.s.one(10):
		w.later(w.s.upTo(e.Grace), e.Token, queue.Report{
			End: queue.EndSucceeded, Result: queue.Payload{Encoding: 1, Data: []byte(resultOf(e.Token))},
		})
	default:
		w.later(w.s.upTo(e.Grace), e.Token, queue.Report{End: queue.EndKilled})
	}
}

// drain ends the worker in peace: it takes nothing more, gives back what runs, and says goodbye.
func (w *worker) drain() {
	if w.dead || w.draining {
		return
	}
	w.s.logf("%s drains", w.name)
	w.draining, w.credits = true, 0
	if w.welcome {
		w.announce()
		if w.s.one(4) && !w.s.calm { // leaves at once, with what it has
			w.goodbye()
			return
		}
	}
	w.s.after(w.s.upTo(3*time.Second), func() {
		for _, token := range slices.Sorted(maps.Keys(w.attempts)) {
			if a := w.attempts[token]; a.Options.FailOnWorkerLost {
				w.end(token, queue.Report{End: queue.EndKilled})
			} else {
				w.end(token, queue.Report{End: queue.EndReleased})
			}
		}
		w.leaveIfDone()
	})
}

func (w *worker) leaveIfDone() {
	if w.draining && !w.left && !w.dead && w.welcome && len(w.attempts) == 0 && w.answered >= w.leaveAt {
		w.goodbye()
	}
}

func (w *worker) goodbye() {
	w.send(&shard.WorkerFrame{Goodbye: true})
	w.left, w.dead = true, true
	w.life++
	w.c.hangUp()
	w.replace()
}

func (w *worker) beats() {
	w.s.after(w.ttl/3, func() {
		if w.dead {
			return
		}
		w.beats()
		switch {
		case w.asleep():
		case w.c == nil || w.c.clientKnows:
		case w.s.now-w.heard > w.ttl+w.s.cfg.append+2*w.s.cfg.latency:
			w.s.logf("%s hears nothing", w.name)
			w.lost()
		case w.welcome:
			w.send(&shard.WorkerFrame{})
		}
	})
}

func (w *worker) send(f *shard.WorkerFrame) {
	w.beat++
	f.Heartbeat = w.beat
	w.c.send(f)
}
