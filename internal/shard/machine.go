package shard

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	"github.com/weftq/weft/pkg/session"
)

// batchBytesMax is the size from which a batch takes no more commands. One command more, and the bulk
// work after it, stay below the journal's largest entry.
const batchBytesMax = 2 << 20

// leaseStepMax is the most that lease time advances in one pass of the loop: a broker that stood still
// expires nobody.
const leaseStepMax = 500 * time.Millisecond

// Command is something to be decided. run changes the state through the cores; what it returns is the
// reply, told once everything that it has seen is durable.
type Command interface {
	run(m *Machine, step *pure.Step) (any, error)
}

// Reply takes a command's result. It is called once, by the loop, and must not wait.
type Reply func(value any, err error)

// Config is what a machine is told at its making.
type Config struct {
	// BatchBytesMax is the size from which a batch takes no more commands; 0 is 3 MiB.
	BatchBytesMax int
	// StepRecordsMax bounds the records of one step of bulk work; 0 is 1,000.
	StepRecordsMax int
	// Seed begins the sequence of pseudo-random numbers for jitter.
	Seed uint64
	// LeaseStepMax is the most that lease time advances in one pass of the loop; 0 is 500 ms.
	LeaseStepMax time.Duration
	// Limits bound what is kept.
	Limits queue.Limits
	// CompactAfter is how far the journal may outgrow the live state before old entities are written
	// anew, in bytes; 0 is 64 MiB.
	CompactAfter uint64
	// PurgeStep is the least that is purged at once, in bytes; 0 is 64 MiB.
	PurgeStep uint64
	// NextRun is the first time of a cron line in a time zone that is after a moment, and false if there is
	// none. A replay does not ask it. Without it no schedule can be made.
	NextRun func(cron, zone string, after pure.Wall) (pure.Wall, bool)
}

// Machine is a shard's state and what it has decided. It is not safe for concurrent use.
type Machine struct {
	cfg       Config
	sessions  *session.Core
	queue     *queue.Core
	schedules *schedule.Core
	locks     *lockservice.Core
	counter   uint64
	seed      uint64
	wall      pure.Wall
	lease     pure.Lease
	diskLow   bool

	enc      *encoder
	pending  batch // being decided
	flight   batch // being appended
	flying   bool
	nextSeq  uint64 // of the pending batch
	deciding bool   // a command; not bulk work
	reply    Reply  // of the command being decided, unless it took it to answer later
	spare    []byte // memory for the next frame
	touched  []*Outbox

	size   ledger
	replay replayState

	workers  map[session.ID]*Outbox
	clients  map[uint64]client                  // by call
	listens  map[session.ID]map[uint64]struct{} // the calls that a session's streams are attached to
	watchers map[uint64][]*Outbox               // by task
	waiters  map[uint64]*waiting
	requests map[request]uint64 // waiters by request
	replies  map[uint64]Reply   // of submissions and joins that wait, by their names

	callWatchers map[uint64][]*Outbox

	lockWaits      map[uint64]*lockWait // by waiter
	tickets        map[uint64]uint64    // waiters by the names of their requests
	pinned         map[session.ID]int   // sessions whose requests wait: they live as long
	channels       map[lockservice.Channel]*channel
	channelsOf     map[session.ID]map[uint64]struct{}
	objectWatchers map[watchKey][]*Outbox
	behind         map[lockservice.Channel]struct{} // with frames that are not carried out yet
}

type client struct {
	outbox  *Outbox
	session session.ID
}

// batch is what one journal entry causes.
type batch struct {
	deliveries []delivery
	floor      uint64 // the floor that the entry makes durable, 0 if none
}

// delivery is something to tell: an effect to a stream, or a reply.
type delivery struct {
	outbox *Outbox
	effect any
	close  error // closes the outbox after the effect
	reply  Reply
	err    error
}

// NewMachine returns an empty machine, to be filled by a replay.
func NewMachine(cfg Config) *Machine {
	if cfg.CompactAfter == 0 {
		cfg.CompactAfter = 64 << 20
	}
	if cfg.PurgeStep == 0 {
		cfg.PurgeStep = 64 << 20
	}
	if cfg.LeaseStepMax == 0 {
		cfg.LeaseStepMax = leaseStepMax
	}
	if cfg.BatchBytesMax == 0 {
		cfg.BatchBytesMax = batchBytesMax
	}
	m := &Machine{
		lease: 1, // 0 is a moment before this term
		cfg:   cfg, seed: cfg.Seed, enc: newEncoder(),
		workers: map[session.ID]*Outbox{}, clients: map[uint64]client{},
		listens:  map[session.ID]map[uint64]struct{}{},
		watchers: map[uint64][]*Outbox{}, waiters: map[uint64]*waiting{},
		requests: map[request]uint64{}, replies: map[uint64]Reply{}, callWatchers: map[uint64][]*Outbox{},
		lockWaits: map[uint64]*lockWait{}, tickets: map[uint64]uint64{}, pinned: map[session.ID]int{},
		channels: map[lockservice.Channel]*channel{}, channelsOf: map[session.ID]map[uint64]struct{}{},
		objectWatchers: map[watchKey][]*Outbox{}, behind: map[lockservice.Channel]struct{}{},
	}
	m.reset()
	m.enc.buf = newFrame(nil)
	return m
}

func (m *Machine) reset() {
	m.sessions = session.New()
	m.queue = queue.New(queue.Config{
		SessionName: m.sessionName, Limits: m.cfg.Limits, StepRecordsMax: m.cfg.StepRecordsMax,
	})
	m.schedules = schedule.New(schedule.Config{
		Next: m.cfg.NextRun, Room: m.roomFor, NamespaceBytes: m.cfg.Limits.NamespaceBytes,
	})
	m.locks = lockservice.New(lockservice.Config{
		Alive: func(id session.ID) bool { return m.sessions.Alive(id) }, SessionName: m.sessionName, Room: m.roomFor,
		NamespaceBytes: m.cfg.Limits.NamespaceBytes, StepRecordsMax: m.cfg.StepRecordsMax,
	})
	m.counter = 0
	m.size = ledger{grain: m.cfg.PurgeStep / 64}
}

func (m *Machine) sessionName(id session.ID) string { return m.sessions.Name(id) }

// newFrame returns an entry's frame without records, in the memory of an old one.
func newFrame(old []byte) []byte {
	if cap(old) < journal.HeaderSize || cap(old) > 2*batchBytesMax {
		old = make([]byte, 0, 64<<10)
	}
	return old[:journal.HeaderSize]
}

// Tick tells the time: the wall clock's, and how much monotonic time has passed since the last Tick.
// Lease time advances by that, but no more than Config.LeaseStepMax.
func (m *Machine) Tick(wall pure.Wall, passed time.Duration) {
	m.wall = wall
	m.lease = m.lease.Add(min(max(passed, 0), m.cfg.LeaseStepMax))
}

// SetDiskLow says whether the journal's disk is below its reserve.
func (m *Machine) SetDiskLow(low bool) {
	m.diskLow = low
	m.queue.Hold(low)
}

func (m *Machine) step() *pure.Step {
	m.seed += 0x9e3779b97f4a7c15
	return &pure.Step{
		Wall: m.wall, Lease: m.lease, Seq: m.nextSeq, Sink: m.enc, Counter: &m.counter, Seed: m.seed,
	}
}

// Decide decides a command. The reply, if there is one, is told with the command's entry.
func (m *Machine) Decide(cmd Command, reply Reply) {
	step := m.step()
	m.reply, m.deciding = reply, true
	value, err := cmd.run(m, step)
	m.settle(step)
	m.deciding = false // what follows is not the command's fault
	if m.reply != nil {
		m.pending.deliveries = append(m.pending.deliveries, delivery{reply: m.reply, effect: value, err: err})
		m.reply = nil
	}
	if m.bulk() && !m.Full() {
		m.work()
	}
}

// bulk tells whether there is work that was left over.
func (m *Machine) bulk() bool { return m.queue.Pending() || m.locks.Pending() || len(m.behind) > 0 }

// Full tells whether the pending batch takes no more commands until the one under way is appended.
func (m *Machine) Full() bool { return len(m.enc.buf) >= m.cfg.BatchBytesMax }

func (m *Machine) work() {
	step := m.step()
	m.queue.Work(step)
	m.locks.Work(step)
	for _, key := range slices.SortedFunc(maps.Keys(m.behind), compareChannels) {
		m.carryOut(step, key, m.channels[key])
	}
	m.settle(step)
}

// advanceStepsMax bounds one Advance: work that records nothing does not fill the batch, and must not keep
// others waiting all the same.
const advanceStepsMax = 64

// Advance does what is due and goes on with bulk work, in steps, until there is nothing to do, the batch
// is full, or others should have their turn.
func (m *Machine) Advance() {
	for range advanceStepsMax {
		if m.Full() {
			return
		}
		id, sessionDue := m.sessions.Due(m.lease)
		scheduleDue := m.schedules.Due(m.wall)
		switch {
		case sessionDue && m.pinned[id] > 0:
			m.sessions.Renew(m.step(), id)
		case sessionDue:
			step := m.step()
			m.endSession(step, id, session.Expired)
			m.settle(step)
		case m.queue.Due(m.wall, m.lease):
			step := m.step()
			m.queue.Advance(step)
			m.settle(step)
		case m.locks.Due(m.lease):
			step := m.step()
			m.locks.Advance(step)
			m.settle(step)
		case scheduleDue != nil:
			step := m.step()
			m.fire(step, scheduleDue)
			m.settle(step)
		case m.bulk():
			m.work()
		default:
			return
		}
	}
}

// Busy tells whether Advance has more to do.
func (m *Machine) Busy() bool {
	_, due := m.sessions.Due(m.lease)
	return due || m.bulk() || m.queue.Due(m.wall, m.lease) || m.locks.Due(m.lease) || m.schedules.Due(m.wall) != nil
}

// Next returns how long nothing is due if no command comes, and whether anything ever is.
func (m *Machine) Next() (time.Duration, bool) {
	const never = time.Duration(1<<63 - 1)
	wait := never
	if at, ok := m.sessions.NextDeadline(); ok {
		wait = min(wait, time.Duration(at-m.lease))
	}
	if at, ok := m.locks.NextLease(); ok {
		wait = min(wait, time.Duration(at-m.lease))
	}
	if at, ok := m.queue.NextLease(); ok {
		wait = min(wait, time.Duration(at-m.lease))
	}
	if at, ok := m.queue.NextWall(); ok {
		wait = min(wait, time.Duration(at-m.wall))
	}
	if at, ok := m.schedules.NextWall(); ok {
		wait = min(wait, time.Duration(at-m.wall))
	}
	return max(wait, 0), wait != never
}

// Awaited tells whether somebody waits for the pending batch to be durable, or it can take no more.
func (m *Machine) Awaited() bool { return len(m.pending.deliveries) > 0 || m.Full() }

// Recorded tells whether the pending batch has records.
func (m *Machine) Recorded() bool { return m.enc.records > 0 }

// Flush returns the pending batch's frame, which the caller appends and then calls [Machine.Appended]; nil
// if there is nothing to append now. A batch without records is told at once unless one is under way: it
// has seen nothing that is not durable.
func (m *Machine) Flush() (frame []byte, counter uint64) {
	if m.flying {
		return nil, 0
	}
	if m.enc.records == 0 {
		m.release(&m.pending)
		return nil, 0
	}
	m.compact()
	m.pending.floor = m.emitFloor()
	frame = m.enc.buf
	m.size.appended(m.nextSeq, uint64(len(frame)))
	m.flight, m.pending = m.pending, batch{deliveries: m.flight.deliveries[:0]}
	m.flying = true
	m.nextSeq++
	m.enc.buf, m.enc.records = newFrame(m.spare), 0
	m.spare = nil
	return frame, m.counter
}

// Appended says that the frame of the last Flush is durable: its deliveries are told. It returns the
// sequence below which the journal may now be purged, 0 if there is nothing new to purge. The frame's
// memory is the machine's again.
func (m *Machine) Appended(frame []byte) (purge uint64) {
	purge = m.flight.floor
	m.flying = false
	m.release(&m.flight)
	m.spare = frame
	return purge
}

// release tells a batch's deliveries, in order.
func (m *Machine) release(b *batch) {
	for i := range b.deliveries {
		d := &b.deliveries[i]
		switch {
		case d.reply != nil:
			d.reply(d.effect, d.err)
		default:
			if d.effect != nil {
				d.outbox.staged = append(d.outbox.staged, d.effect)
			}
			if !d.outbox.touched {
				d.outbox.touched = true
				m.touched = append(m.touched, d.outbox)
			}
			if d.close != nil {
				d.outbox.flush()
				d.outbox.Close(d.close)
			}
		}
	}
	clear(b.deliveries)
	b.deliveries = b.deliveries[:0]
	// Workers first: who reads a task's output asks its worker as soon as the task is said to run, and
	// the worker has to know the task by then.
	for _, workers := range []bool{true, false} {
		for _, o := range m.touched {
			if o.worker == workers {
				o.flush()
			}
		}
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

// Abandon ends the term: every stream is closed and every reply that is not told is told the error.
func (m *Machine) Abandon(err error) {
	for _, b := range []*batch{&m.flight, &m.pending} {
		for i := range b.deliveries {
			if d := &b.deliveries[i]; d.reply != nil {
				d.reply(nil, err)
			} else {
				d.outbox.Close(err) // its table may have forgotten it already
			}
		}
	}
	for _, o := range m.workers {
		o.Close(err)
	}
	for _, c := range m.clients {
		c.outbox.Close(err)
	}
	for _, byID := range []map[uint64][]*Outbox{m.watchers, m.callWatchers} {
		for _, list := range byID {
			for _, o := range list {
				o.Close(err)
			}
		}
	}
	for _, ch := range m.channels {
		ch.outbox.Close(err)
	}
	for _, list := range m.objectWatchers {
		for _, o := range list {
			o.Close(err)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.lockWaits)) {
		m.lockWaits[id].reply(nil, err)
	}
	for _, id := range slices.Sorted(maps.Keys(m.waiters)) {
		m.waiters[id].reply(nil, err)
	}
	for _, id := range slices.Sorted(maps.Keys(m.replies)) {
		m.replies[id](nil, err)
	}
}

// endSession ends a session and everything that hangs on it.
func (m *Machine) endSession(step *pure.Step, id session.ID, reason session.EndReason) {
	if !m.sessions.End(step, id, reason) {
		return
	}
	for _, waiter := range m.queue.SessionEnded(step, id, reason == session.Closed) {
		m.answer(m.awaited(waiter), Reservation{}, sessionOver(id))
	}
	m.locks.SessionEnded(step, id)
	step.Tell(&sessionEnded{id})
}

func sessionOver(id session.ID) error {
	return pure.Refuse(pure.SessionNotFound, "the session has ended", "session_id", hex.EncodeToString(id[:]))
}

// sessionEnded closes a session's streams, behind what the same step told them.
type sessionEnded struct{ id session.ID }

func (m *Machine) closeStreams(step *pure.Step, id session.ID) {
	if o := m.workers[id]; o != nil {
		delete(m.workers, id)
		m.closeAfter(o, sessionOver(id))
	}
	for _, call := range m.callsOf(id) {
		m.closeAfter(m.clients[call].outbox, sessionOver(id))
		m.unlisten(call)
	}
	for _, number := range slices.Sorted(maps.Keys(m.channelsOf[id])) {
		key := lockservice.Channel{Session: id, Number: number}
		m.closeAfter(m.channels[key].outbox, sessionOver(id))
		m.hangUp(step, key)
	}
}

func (m *Machine) closeAfter(o *Outbox, err error) {
	m.pending.deliveries = append(m.pending.deliveries, delivery{outbox: o, close: err})
}
