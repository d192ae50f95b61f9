package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// caller is a client with one call. What it has (the specs, the outcomes that it acknowledged) outlives its
// process; its session and connection do not.
type caller struct {
	sleeper
	name string
	ttl  time.Duration

	rejects bool // what a full queue has no room for, rather than wait
	specs   []queue.NewTask
	sent    uint64 // indexes below were submitted once

	life     int // of the connection
	c        *conn
	session  session.ID
	attached bool
	updates  bool

	stored   pure.Ranges // told to be accepted
	resend   []uint64
	has      pure.Ranges // acknowledged, or about to be
	arrived  []uint64    // outcomes that are not looked at yet
	unacked  pure.Ranges // looked at, not yet told
	final    map[uint64]string
	refused  map[uint64]bool
	careless map[uint64]bool // acknowledged without having it

	got received

	asked    pure.Ranges // cancelled
	askedAll bool
	stopped  map[uint64]bool    // cancelled in the end, so that it ends
	foreign  bool               // somebody else cancelled the call, or tried to
	asks     []shard.CallCancel // all of them
	cancels  []cancelAsk        // not said on this connection, or not answered

	beat, answered uint64
	heard          time.Duration
	lastBeat       uint64 // after which everything is over; 0 is not yet
	finished       bool
	done           bool
}

type cancelAsk struct {
	what shard.CallCancel
	beat uint64 // that confirms it
}

func newCaller(s *sim, i int) *caller {
	c := &caller{
		sleeper: sleeper{s: s}, name: fmt.Sprintf("call-%d", i), ttl: s.cfg.ttl, updates: s.one(2), rejects: s.one(4),
		final: map[uint64]string{}, refused: map[uint64]bool{}, careless: map[uint64]bool{}, stopped: map[uint64]bool{},
		got: newReceived(),
	}
	for k := range uint64(1 + s.r.IntN(s.cfg.tasks)) {
		n := s.newTask(k)
		s.follow(&n)
		c.specs = append(c.specs, n)
	}
	s.after(s.upTo(2*time.Second), c.connect)
	c.beats()
	c.acts()
	return c
}

func (c *caller) connect() {
	if c.done {
		return
	}
	c.life++
	life := c.life
	c.attached, c.heard, c.answered, c.beat = false, c.s.now, 0, 0
	c.got.reconnect()
	c.c = c.s.dial(c.name, func(msg any) {
		c.awake(func() {
			if life == c.life {
				c.receive(msg)
			}
		})
	}, func(err error) {
		c.awake(func() {
			if life == c.life {
				c.lost(err)
			}
		})
	})
	c.c.send(&shard.CallAttach{
		Namespace: namespace, Call: c.name, Session: c.session, TTL: c.ttl, Client: c.name,
		Acknowledged: c.has.Clone(), Updates: c.updates, Rejects: c.rejects,
	})
}

func (c *caller) lost(error) {
	c.life++
	c.attached = false
	c.c.hangUp()
	c.s.after(50*time.Millisecond+c.s.upTo(500*time.Millisecond), c.connect)
}

// die ends the process; another one comes back to the call.
func (c *caller) die() {
	if c.done || c.c == nil {
		return
	}
	c.s.logf("%s dies", c.name)
	c.life++
	c.attached, c.session, c.arrived, c.late, c.until = false, session.ID{}, nil, nil, 0
	c.c.lose(c.s.cfg.ttl)
	c.s.after(c.s.upTo(3*c.ttl), c.connect)
}

func (c *caller) receive(msg any) {
	switch e := msg.(type) {
	case *shard.Attached:
		c.welcome(e)
	case *queue.Accepted:
		for _, r := range e.Ranges {
			c.stored.Add(r.First, r.Last)
		}
	case *queue.Rejected:
		c.reject(e)
	case *queue.Finished:
		c.outcome(e)
	case *queue.Advanced:
		c.advanced(e)
	case *queue.Interrupted:
		c.interrupted(e)
	case *shard.Beat:
		c.echo(e.Number)
	}
}

func (c *caller) welcome(e *shard.Attached) {
	before := c.stored
	c.session, c.attached, c.stored, c.resend = e.Session, true, e.Accepted.Clone(), nil
	for i := range c.sent {
		switch {
		case c.stored.Contains(i), c.refused[i], c.has.Contains(i):
		case before.Contains(i), c.final[i] != "":
			c.forgotten(i)
		default:
			c.resend = append(c.resend, i)
		}
	}
	c.cancels = nil
	for _, x := range c.asks { // how far the broker came with them is not known
		c.cancels = append(c.cancels, cancelAsk{what: x})
	}
	c.finished, c.lastBeat = false, 0
	c.unacked = nil // the hello had all of it
}

// forgotten takes in that the broker knew a task and does not any more: its outcome is past its retention,
// and the call with it. To submit it again would run it twice.
func (c *caller) forgotten(i uint64) {
	for _, t := range c.s.model.tasks {
		if k := c.s.model.calls[t.call]; k != nil && k.name == c.name && t.index == i && !t.dropped {
			c.s.fail("%s: index %d is forgotten, and the journal has it", c.name, i)
		}
	}
	c.refused[i] = true
}

func (c *caller) reject(e *queue.Rejected) {
	i := e.Index
	switch reason := e.Reason.Reason; reason {
	case pure.DiskLow, pure.StateFull, pure.CallWindowFull, pure.QueueNotFound, pure.QueueClosed, pure.UniqueMismatch:
		c.resend = append(c.resend, i)
	case pure.QueueFull:
		if !c.rejects {
			c.s.fail("%s: index %d is refused as its queue is full, and was to wait", c.name, i)
		}
		c.resend = append(c.resend, i)
	case pure.CallFinished:
		if c.has.Contains(i) { // once more, and the call is over
			return
		}
		if !c.askedAll && !c.finished && !c.foreign {
			c.s.fail("%s: index %d is refused as the call is over, and nobody ended it", c.name, i)
		}
		c.refused[i] = true
	case pure.TaskNotFound:
		if len(e.Reason.Meta) > 0 && e.Reason.Meta[0] == "field" { // what it is after is not there any more
			c.specs[i] = alone(c.specs[i])
			c.resend = append(c.resend, i)
			return
		}
		if !c.stored.Contains(i) {
			c.s.fail("%s: index %d is gone and was never accepted", c.name, i)
		}
		c.settled(i, "gone")
	case pure.RequestMismatch: // asked for
	default:
		c.s.fail("%s: index %d is refused: %v", c.name, i, e.Reason)
	}
}

func (c *caller) settled(i uint64, text string) {
	if before := c.final[i]; before != "" && before != text && text != "gone" {
		c.s.fail("%s: index %d ended as %s, before that as %s", c.name, i, text, before)
	}
	if c.final[i] == "" {
		c.final[i] = text
	}
	if !c.has.Contains(i) || c.careless[i] {
		c.arrived = append(c.arrived, i)
	}
}

func (c *caller) outcome(e *queue.Finished) {
	if e.Index >= c.sent {
		c.s.fail("%s: an outcome of index %d, which was not submitted", c.name, e.Index)
	}
	o := *e.Outcome
	o.Spooled = false // that may end before the outcome is acknowledged
	c.settled(e.Index, outcomeText(&o))
}

func (c *caller) echo(n uint64) {
	if n != c.answered+1 {
		c.s.fail("%s: heartbeat %d is answered after %d", c.name, n, c.answered)
	}
	c.answered, c.heard = n, c.s.now
	c.took(n)
	kept := c.cancels[:0]
	for _, x := range c.cancels {
		if x.beat == 0 || x.beat > n {
			kept = append(kept, x)
		}
	}
	c.cancels = kept
	if c.lastBeat != 0 && n >= c.lastBeat {
		c.finish()
	}
}

// finish is the end: everything is known, and the broker knows that.
func (c *caller) finish() {
	c.s.logf("%s is done", c.name)
	c.done = true
	c.life++
	c.c.hangUp()
	if c.s.one(2) {
		id := c.session
		c.s.keepCalling(c.name, &shard.CloseSession{Namespace: namespace, ID: id})
	}
}

func (c *caller) beats() {
	c.s.after(c.ttl/3, func() {
		if c.done {
			return
		}
		c.beats()
		switch {
		case c.asleep():
		case c.c == nil || c.c.clientKnows:
		case c.s.now-c.heard > c.ttl+c.s.cfg.append+2*c.s.cfg.latency:
			c.s.logf("%s hears nothing", c.name)
			c.lost(errors.New("silence"))
		case c.attached:
			c.send(&shard.CallFrame{})
		}
	})
}

// send sends a frame with a heartbeat in it.
func (c *caller) send(f *shard.CallFrame) {
	c.beat++
	f.Heartbeat = c.beat
	c.c.send(f)
}

// acts has the client do something now and then.
func (c *caller) acts() {
	c.s.after(time.Millisecond+c.s.upTo(c.ttl/3), func() {
		if c.done {
			return
		}
		c.acts()
		if c.attached && !c.asleep() {
			c.act()
		}
	})
}

func (c *caller) act() {
	f := &shard.CallFrame{}
	c.look(f)
	c.submit(f)
	c.cancel(f)
	c.take(f)
	if uint64(len(c.specs)) == c.sent && len(c.resend) == 0 {
		c.end(f)
	}
	c.send(f)
}

// look takes in outcomes and acknowledges what was looked at.
func (c *caller) look(f *shard.CallFrame) {
	n := len(c.arrived)
	if !c.s.calm {
		n = c.s.r.IntN(n + 1)
	}
	for _, i := range c.arrived[:n] {
		c.has.Add(i, i)
		c.unacked.Add(i, i)
	}
	c.arrived = c.arrived[n:]
	if !c.s.calm && c.sent > 0 && c.s.one(30) { // one that it does not care for, final or not
		i := c.s.r.Uint64N(c.sent)
		if !c.has.Contains(i) && c.stored.Contains(i) {
			c.has.Add(i, i)
			c.careless[i] = true
			c.unacked.Add(i, i)
		}
	}
	if c.s.calm || c.s.one(2) {
		f.Acknowledged, c.unacked = c.unacked, nil
	}
}

func (c *caller) submit(f *shard.CallFrame) {
	n := 1 + c.s.r.IntN(10)
	for len(c.resend) > 0 && n > 0 {
		i := c.resend[0]
		c.resend = c.resend[1:]
		f.Tasks = append(f.Tasks, c.specs[i])
		n--
	}
	for c.sent < uint64(len(c.specs)) && n > 0 {
		f.Tasks = append(f.Tasks, c.specs[c.sent])
		c.sent++
		n--
	}
	if c.sent > 0 && c.s.one(20) && !c.s.calm { // once more, equal or not
		i := c.s.r.Uint64N(c.sent)
		if c.stored.Contains(i) {
			again := c.specs[i]
			if c.s.one(2) {
				again.Spec.Kind = otherKind(again.Spec.Kind)
			}
			f.Tasks = append(f.Tasks, again)
		}
	}
}

func (c *caller) cancel(f *shard.CallFrame) {
	switch {
	case c.s.calm:
		for i := range c.sent {
			if b := c.s.behaviourOf(c.specs[i].Spec.Payload); b.hangs && c.final[i] == "" && c.stored.Contains(i) && !c.stopped[i] {
				c.stopped[i] = true
				c.ask(shard.CallCancel{Range: pure.Range{First: i, Last: i}, Grace: -1})
			}
		}
	case c.sent > 2 && c.s.one(4) && c.s.perMille(c.s.cfg.cancels):
		c.ask(shard.CallCancel{All: true, Grace: c.s.upTo(2*time.Second) - time.Second})
	case c.sent > 0 && c.s.perMille(c.s.cfg.cancels):
		first := c.s.r.Uint64N(c.sent)
		grace := c.s.upTo(3*time.Second) - time.Second
		c.ask(shard.CallCancel{Range: pure.Range{First: first, Last: min(first+c.s.r.Uint64N(5), c.sent-1)}, Grace: grace})
	}
	for i := range c.cancels {
		// Not ahead of the tasks that are meant; but in the end one that hangs may be why there is no room for others.
		if c.cancels[i].beat == 0 && (len(c.resend) == 0 || c.s.calm) {
			c.cancels[i].beat = c.beat + 1
			f.Cancels = append(f.Cancels, c.cancels[i].what)
		}
	}
}

func (c *caller) ask(x shard.CallCancel) {
	if x.All {
		c.askedAll = true
	} else {
		c.asked.Add(x.Range.First, x.Range.Last)
	}
	c.asks = append(c.asks, x)
	c.cancels = append(c.cancels, cancelAsk{what: x})
}

// caresStill tells whether an index that was acknowledged blindly runs still. The client cannot know; the
// run has to, so that hanging tasks are cancelled by somebody.
func (c *caller) caresStill(i uint64) bool {
	if !c.careless[i] || c.final[i] != "" {
		return false
	}
	for _, t := range c.s.model.tasks {
		if k := c.s.model.calls[t.call]; k != nil && k.name == c.name && t.index == i && !t.state.Final() {
			return true
		}
	}
	return false
}

// end finishes the call: early, once everything is accepted, or late, once everything is known.
func (c *caller) end(f *shard.CallFrame) {
	all, known := true, true
	for i := range c.sent {
		all = all && (c.stored.Contains(i) || c.refused[i])
		known = known && (c.has.Contains(i) || c.refused[i]) && !c.caresStill(i)
	}
	if all && !c.finished && c.s.one(10) {
		c.finished, f.Finish = true, true
	}
	if known && len(c.unacked) == 0 && c.lastBeat == 0 && len(c.cancels) == 0 {
		c.finished, f.Finish = true, true
		c.lastBeat = c.beat + 1
	}
}
