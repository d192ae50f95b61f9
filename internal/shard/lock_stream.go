package shard

import (
	"cmp"
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// SynchronizeHello opens a stream of the lock service, or comes back to it. The reply is a *[Synchronized], which the
// stream is told first as well.
type SynchronizeHello struct {
	Namespace  string
	Session    session.ID // zero opens a new one
	NewSession session.ID `json:"-"`
	TTL        time.Duration
	Client     string
	Channel    uint64
	Stream     *Outbox `json:"-"`
}

// Synchronized is the first thing that a stream of the lock service is told.
type Synchronized struct {
	Session session.ID
	TTL     time.Duration
}

// channel is a stream of the lock service.
type channel struct {
	outbox  *Outbox
	waiting map[uint64]LockOp // commands that are not answered, by number
	below   uint64            // answers to lower numbers are acknowledged
	rest    []*rest           // frames that are not carried out yet
}

func (c *SynchronizeHello) run(m *Machine, step *pure.Step) (any, error) {
	s, err := m.synchronized(step, c)
	if err != nil {
		return nil, err
	}
	key := lockservice.Channel{Session: s.ID, Number: c.Channel}
	if old := m.channels[key]; old != nil {
		m.closeAfter(old.outbox, pure.Refuse(pure.Superseded, "another stream took over the channel"))
		m.hangUp(step, key)
	} else if len(m.channelsOf[s.ID]) >= lockservice.ChannelMax {
		return nil, pure.Refuse(pure.Overloaded, "the session has as many channels as it may", "limit", lockservice.ChannelMax)
	}
	if count, known := m.locks.Windows(key); count >= lockservice.WindowsMax && !known {
		return nil, pure.Refuse(pure.Overloaded, "the session has as many channels with answers that were not acknowledged as it may",
			"limit", lockservice.WindowsMax)
	}
	m.renewFor(step, s.ID)
	m.channels[key] = &channel{outbox: c.Stream, waiting: map[uint64]LockOp{}}
	if m.channelsOf[s.ID] == nil {
		m.channelsOf[s.ID] = map[uint64]struct{}{}
	}
	m.channelsOf[s.ID][c.Channel] = struct{}{}
	m.noteStreams(s.ID)
	welcome := &Synchronized{Session: s.ID, TTL: s.TTL}
	m.deliver(c.Stream, welcome)
	return welcome, nil
}

func (m *Machine) synchronized(step *pure.Step, c *SynchronizeHello) (*session.Session, error) {
	if !c.Session.IsZero() {
		return m.sessions.Get(c.Namespace, c.Session)
	}
	if m.diskLow {
		return nil, diskLow()
	}
	return m.sessions.Open(step, session.State{
		ID: c.NewSession, Namespace: c.Namespace, Kind: session.Client, Name: c.Client, TTL: c.TTL,
	})
}

// hangUp forgets a channel's stream. What waits and is not durable will be asked for again.
func (m *Machine) hangUp(step *pure.Step, key lockservice.Channel) {
	delete(m.channels, key)
	delete(m.behind, key)
	if delete(m.channelsOf[key.Session], key.Number); len(m.channelsOf[key.Session]) == 0 {
		delete(m.channelsOf, key.Session)
	}
	m.locks.Disconnect(step, key)
	m.noteStreams(key.Session)
}

// noteStreams notes whether any stream is open on a session.
func (m *Machine) noteStreams(id session.ID) {
	m.sessions.Connect(id, m.workers[id] != nil || len(m.listens[id]) > 0 || len(m.channelsOf[id]) > 0)
}

// LockCommand is one command of a stream.
type LockCommand struct {
	Number uint64
	Holder uint64
	Label  string
	Op     LockOp
	Err    *pure.Refusal // it broke a rule at the edge
}

// SynchronizeFrame is what a stream of the lock service says. A frame of a stream that another one took over is void.
type SynchronizeFrame struct {
	Namespace string
	Channel   lockservice.Channel
	Stream    *Outbox `json:"-"`
	Commands  []LockCommand
	Abandoned []uint64
	Below     uint64 // answers to lower numbers are acknowledged
	Heartbeat uint64
	Goodbye   bool
}

// LockAnswered answers a command of a stream.
type LockAnswered struct {
	Number uint64
	Op     LockOp
	Reply  LockReply
	Err    error
	Since  uint64 // not 0: it waits for an event of this generation, and is answered later
}

func (c *SynchronizeFrame) run(m *Machine, step *pure.Step) (any, error) {
	ch := m.channels[c.Channel]
	if ch == nil || ch.outbox != c.Stream {
		return nil, nil
	}
	m.renewFor(step, c.Channel.Session)
	if ch.rest = append(ch.rest, newRest(c)); len(ch.rest) == 1 { // else it is behind another one
		m.carryOut(step, c.Channel, ch)
	}
	return nil, nil
}

// rest is what of a frame is yet to be carried out: one that has much to do is cut into steps, so that none is too large for
// an entry.
type rest struct {
	*SynchronizeFrame
	before, after []uint64 // numbers that are abandoned: of earlier frames, and of this one
}

func newRest(c *SynchronizeFrame) *rest {
	frame := *c // the command itself stays as it was sent, should it turn out to be poison
	r := &rest{SynchronizeFrame: &frame}
	for _, number := range c.Abandoned {
		if slices.ContainsFunc(c.Commands, func(cmd LockCommand) bool { return cmd.Number == number }) {
			r.after = append(r.after, number)
		} else {
			r.before = append(r.before, number)
		}
	}
	return r
}

// carryOut goes on with a channel's frames as far as the step may go.
func (m *Machine) carryOut(step *pure.Step, key lockservice.Channel, ch *channel) {
	for len(ch.rest) > 0 && m.channels[key] == ch {
		if m.locks.Full(step) {
			m.behind[key] = struct{}{}
			return
		}
		if m.carryOne(step, key, ch, ch.rest[0]) {
			ch.rest = ch.rest[1:]
		}
	}
	delete(m.behind, key)
}

func compareChannels(a, b lockservice.Channel) int {
	return cmp.Or(slices.Compare(a.Session[:], b.Session[:]), cmp.Compare(a.Number, b.Number))
}

// carryOne carries out the next part of a frame, and tells whether that was the last.
func (m *Machine) carryOne(step *pure.Step, key lockservice.Channel, ch *channel, r *rest) (over bool) {
	switch {
	case len(r.before) > 0:
		m.abandon(step, r.SynchronizeFrame, ch, r.before[0])
		r.before = r.before[1:]
	case len(r.Commands) > 0:
		m.locks.Acknowledge(key, r.Below)
		ch.below = max(ch.below, r.Below, m.locks.Told(key)) // also of answers that nobody keeps
		cmd := &r.Commands[0]
		r.Commands = r.Commands[1:]
		if cmd.Number > ch.below+lockservice.WindowMax {
			m.closeAfter(r.Stream, pure.Refuse(pure.BadFrame, "too many commands have no acknowledged answer",
				"field", "number", "limit", lockservice.WindowMax))
			m.hangUp(step, key)
			return true
		}
		if m.command(step, r.SynchronizeFrame, ch, cmd) { // it was abandoned before a cut
			r.after = slices.DeleteFunc(r.after, func(number uint64) bool { return number == cmd.Number })
		}
	case len(r.after) > 0:
		m.abandon(step, r.SynchronizeFrame, ch, r.after[0])
		r.after = r.after[1:]
	default:
		m.endFrame(step, key, ch, r)
		return true
	}
	return false
}

func (m *Machine) endFrame(step *pure.Step, key lockservice.Channel, ch *channel, r *rest) {
	m.locks.Acknowledge(key, r.Below)
	ch.below = max(ch.below, r.Below)
	s := m.sessions.Lookup(key.Session)
	if r.Heartbeat != 0 {
		step.Tell(&leaseTo{r.Stream, LeaseBeat{Number: r.Heartbeat, Lease: m.sessions.Remaining(key.Session, step.Lease)}})
	}
	if !r.Goodbye {
		return
	}
	step.Tell(&saidGoodbye{r.Stream})
	if s != nil && s.Kind != session.Worker { // which is its worker's to end
		m.endSession(step, key.Session, session.Closed)
	}
}

// abandon ends a command that nobody wants any more, and answers it.
func (m *Machine) abandon(step *pure.Step, c *SynchronizeFrame, ch *channel, number uint64) {
	delete(ch.waiting, number) // whatever it comes to now is not told
	m.locks.Abandon(step, c.Namespace, lockservice.Origin{Session: c.Channel.Session, Channel: c.Channel.Number, Number: number})
	step.Tell(&answerTo{ch.outbox, &LockAnswered{
		Number: number, Reply: LockReply{Answer: lockservice.Answer{Outcome: lockservice.Abandoned}},
	}})
}

// LeaseBeat answers a heartbeat of the lock service.
type LeaseBeat struct {
	Number uint64
	Lease  time.Duration // that the session has left
}

// leaseTo keeps it in its place behind the effects of its frame.
type leaseTo struct {
	stream *Outbox
	beat   LeaseBeat
}

// command carries out a command, and tells whether its answer is that it was abandoned.
func (m *Machine) command(step *pure.Step, c *SynchronizeFrame, ch *channel, cmd *LockCommand) (abandoned bool) {
	answer := &LockAnswered{Number: cmd.Number, Op: cmd.Op}
	if cmd.Err != nil {
		answer.Err = cmd.Err
		step.Tell(&answerTo{ch.outbox, answer})
		return false
	}
	by := lockCaller{
		namespace: c.Namespace, label: cmd.Label,
		holder: lockservice.HolderID{Session: c.Channel.Session, Number: cmd.Holder},
		origin: lockservice.Origin{
			Session: c.Channel.Session, Channel: c.Channel.Number, Number: cmd.Number, Below: ch.below,
		},
	}
	if answer.Err = m.mayHold(c.Namespace, by.holder); answer.Err != nil {
		step.Tell(&answerTo{ch.outbox, answer})
		return false
	}
	d, err := cmd.Op.decide(m, step, &by)
	if err == nil && d.Waiter != 0 {
		ch.waiting[cmd.Number] = cmd.Op
		if d.Since == 0 {
			return false
		}
		answer.Since = d.Since
	}
	answer.Reply, answer.Err = m.lockReply(c.Channel.Session, d.Answer), err
	step.Tell(&answerTo{ch.outbox, answer})
	return d.Answer.Outcome == lockservice.Abandoned
}

// answerTo keeps an answer in its place among the effects of its frame.
type answerTo struct {
	stream *Outbox
	answer *LockAnswered
}

// resolvedOnStream tells a stream what became of a command that waited. After a cut the client has to ask again first.
func (m *Machine) resolvedOnStream(e *lockservice.Resolved) {
	key := lockservice.Channel{Session: e.Origin.Session, Number: e.Origin.Channel}
	ch := m.channels[key]
	if ch == nil {
		return
	}
	op, waits := ch.waiting[e.Origin.Number]
	if !waits {
		return
	}
	delete(ch.waiting, e.Origin.Number)
	answer := &LockAnswered{Number: e.Origin.Number, Op: op, Reply: m.lockReply(key.Session, e.Answer)}
	if e.Err != nil {
		answer.Err = e.Err
	}
	m.deliver(ch.outbox, answer)
}

// SynchronizeGone says that a stream of the lock service is closed.
type SynchronizeGone struct {
	Channel lockservice.Channel
	Stream  *Outbox `json:"-"`
}

func (c *SynchronizeGone) run(m *Machine, step *pure.Step) (any, error) {
	if ch := m.channels[c.Channel]; ch != nil && ch.outbox == c.Stream {
		m.hangUp(step, c.Channel)
	}
	return nil, nil
}
