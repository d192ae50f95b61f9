package sim

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/shard"
)

// broker is the shell around a machine: what the loop does, in steps that can be killed in between.
type broker struct {
	s     *sim
	life  int // how often it was started; what belongs to an earlier life is void
	up    bool
	m     *shard.Machine
	term  *journal.Term
	inbox []command

	streams  []*stream
	attached map[uint64]*stream // the last one of each call
	waiters  uint64
	putting  []putting
	asked    map[string]bool // requests for tasks that ever came
	hungUp   map[uint64]bool // waiters that nobody listens for
	lastTick time.Duration
	lease    time.Duration // lease time, by this side's account
	waking   time.Duration // when the next pass is, 0 if none is planned
	stalled  time.Duration // until then nothing moves
	passes   int

	frame   []byte // under way to the journal, nil if none is
	counter uint64
	stored  bool
	dump    []string // the state that the frame leads to, if it is to be compared
}

type command struct {
	cmd   shard.Command
	reply shard.Reply
}

func (b *broker) enqueue(cmd shard.Command, reply shard.Reply) {
	b.inbox = append(b.inbox, command{cmd, reply})
	b.wake(b.s.upTo(b.s.cfg.pass))
}

// wake has the loop pass in a while, unless it does so before that.
func (b *broker) wake(d time.Duration) {
	at := max(b.s.now+d, b.stalled, 1)
	if !b.up || b.waking != 0 && b.waking <= at {
		return
	}
	b.waking = at
	life := b.life
	b.s.after(at-b.s.now, func() {
		if life == b.life && b.waking == at {
			b.pass()
		}
	})
}

func (b *broker) tick() {
	passed := b.s.now - b.lastTick
	b.lastTick = b.s.now
	b.m.Tick(b.s.wall(), passed)
	b.lease += min(passed, 500*time.Millisecond)
	b.s.model.ticked(b.s.wall())
}

// pass is one round of the loop: everything that waits, then what is due, then one entry.
func (b *broker) pass() {
	if b.stalled > b.s.now {
		b.waking = 0
		b.wake(0)
		return
	}
	b.waking = 0
	b.tick()
	n := 0
	for n < len(b.inbox) && !b.m.Full() {
		c := b.inbox[n]
		n++
		b.s.logf("decide %T%s", c.cmd, brief(c.cmd))
		b.s.heard(c.cmd)
		b.m.Decide(c.cmd, c.reply)
	}
	b.inbox = b.inbox[n:]
	b.m.Advance()
	b.flush()
	b.check()
	b.drain()
	switch {
	case (b.m.Busy() || len(b.inbox) > 0) && b.frame == nil:
		b.wake(0)
	case b.frame == nil || len(b.inbox) == 0:
		b.wake(b.idle())
	}
}

// idle is how long the loop may sleep.
func (b *broker) idle() time.Duration {
	d, ok := b.m.Next()
	if !ok {
		return 500 * time.Millisecond
	}
	return min(max(d, time.Millisecond), 500*time.Millisecond)
}

// checks tells whether this pass is held to everything: less often once the faults are over.
func (b *broker) checks() bool {
	every := b.s.cfg.checkEvery
	if b.s.calm {
		every *= 6
	}
	return b.passes%every == 0
}

func (b *broker) check() {
	b.passes++
	if b.checks() {
		if err := b.m.Check(); err != nil {
			b.s.fail("the machine's state: %v", err)
		}
	}
}

func (b *broker) flush() {
	frame, counter := b.m.Flush()
	if frame == nil {
		return
	}
	b.frame, b.counter, b.stored, b.dump = frame, counter, false, nil
	b.s.model.flushed()
	if b.checks() {
		b.dump = b.m.Dump()
	}
	life := b.life
	b.s.after(b.s.upTo(b.s.cfg.append/2), func() {
		if life == b.life {
			b.store()
		}
	})
}

// store appends the frame; the broker learns of it a little later.
func (b *broker) store() {
	want := b.term.Last() + 1
	_, err := b.term.Append(context.Background(), b.counter, b.frame)
	b.s.logf("append %d: %d bytes, %v", want, len(b.frame), err)
	b.stored = true
	if st, _ := b.s.journal.State(context.Background()); st.Last != want {
		b.dump = nil
	}
	b.s.model.sync(b.dump)
	life := b.life
	b.s.after(max(b.s.upTo(b.s.cfg.append/2), b.stalled-b.s.now), func() {
		if life == b.life {
			b.appended(err)
		}
	})
}

func (b *broker) appended(err error) {
	if err != nil {
		b.abandon()
		return
	}
	frame := b.frame
	b.frame = nil
	if below := b.m.Appended(frame); below != 0 {
		b.s.logf("purge below %d is allowed", below)
		b.s.journal.purgeLater(below)
	}
	b.drain()
	if b.checks() {
		b.s.observe.abreast()
	}
	b.pass()
}

// abandon ends the term as the loop does after an append that was not acknowledged.
func (b *broker) abandon() {
	b.s.logf("the term ends")
	late := b.frame
	b.m.Abandon(errUnavailable)
	b.drain()
	for _, c := range b.inbox {
		if c.reply != nil {
			c.reply(nil, errUnavailable)
		}
	}
	for _, st := range b.streams {
		if _, err := st.out.Take(nil); err == nil {
			b.s.fail("the term is over, and the stream of %s is open", st.c.name)
		}
	}
	if b.s.one(3) { // what was not acknowledged arrives after all
		last := b.term.Last()
		b.s.after(b.s.upTo(2*time.Second), func() {
			err := b.s.journal.Append(context.Background(), last, late)
			b.s.logf("late append after %d: %v", last, err)
			b.s.model.sync(nil)
		})
	}
	b.down()
}

// kill ends the broker between any two steps. What is under way to the journal gets there, or does not, or
// does later.
func (b *broker) kill() {
	if !b.up {
		return
	}
	b.s.logf("broker killed; an entry is under way: %v, stored: %v", b.frame != nil, b.stored)
	if b.frame != nil && !b.stored {
		term, counter, frame := b.term, b.counter, b.frame
		arrive := func() {
			_, err := term.Append(context.Background(), counter, frame)
			b.s.logf("the entry under way: %v", err)
			b.s.model.sync(nil)
		}
		switch b.s.r.IntN(3) {
		case 0:
			arrive()
		case 1:
			b.s.after(b.s.upTo(2*time.Second), arrive)
		}
	}
	b.down()
}

func (b *broker) down() {
	b.life++
	b.up, b.m, b.frame, b.inbox, b.waking, b.putting = false, nil, nil, nil, 0, nil
	for _, st := range b.streams {
		st.c.lose(b.s.cfg.latency)
	}
	b.streams = nil
	for _, c := range b.s.live() {
		c.lose(b.s.cfg.latency)
	}
	b.s.after(b.s.upTo(b.s.restart()), b.start)
}

// start begins a term and reads the journal.
func (b *broker) start() {
	var nonce journal.Nonce
	binary.LittleEndian.PutUint64(nonce[:], b.s.r.Uint64())
	term, err := journal.Begin(context.Background(), b.s.journal, nonce)
	if err != nil {
		b.s.logf("no term: %v", err)
		b.s.after(b.s.upTo(time.Second), b.start)
		return
	}
	b.s.model.sync(nil)
	cfg := b.s.cfg.machine
	cfg.Seed, cfg.NextRun = b.s.r.Uint64(), nextOf
	m := shard.NewMachine(cfg)
	b.s.journal.racing = true
	err = term.Replay(context.Background(), m)
	b.s.journal.racing = false
	if err != nil {
		b.s.fail("replay: %v", err)
		return
	}
	b.s.compare("the journal's replay", m.Dump(), b.s.model.shadow.Dump())
	b.m, b.term, b.up, b.lastTick = m, term, true, b.s.now
	b.tick()
	if err := m.Serve(term.Epoch()); err != nil {
		b.s.fail("serve: %v", err)
		return
	}
	b.m.SetDiskLow(b.s.diskLow)
	b.s.renewAll()
	b.s.logf("broker serves, epoch %d", term.Epoch())
	b.pass()
}

// drain hands what the machine told to the network.
func (b *broker) drain() {
	kept := b.streams[:0]
	for _, st := range b.streams {
		if !st.drain() {
			kept = append(kept, st)
		}
	}
	clear(b.streams[len(kept):])
	b.streams = kept
}
