package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
)

const (
	inboxCommands = 4096
	inboxBytes    = 64 << 20 // of large frames that wait to be decided

	restartPause    = 50 * time.Millisecond // before the second term in a row that fails; doubles
	restartPauseMax = 5 * time.Second
)

// LoopConfig is what a loop is told at its making.
type LoopConfig struct {
	Machine Config
	// Open opens the journal's store for a term; the term closes it.
	Open func(ctx context.Context) (journal.Stream, error)
	// DiskReserve is the free space, in bytes, below which commands that grow the state are refused.
	DiskReserve uint64
	// Logger is where the loop tells of terms; nil is nowhere.
	Logger *slog.Logger
}

// Loop runs a shard: it owns the goroutine that owns the state.
type Loop struct {
	cfg    LoopConfig
	log    *slog.Logger
	inbox  chan inboxItem
	bytes  *semaphore.Weighted
	ready  atomic.Bool
	change atomic.Pointer[chan struct{}] // closed when ready changes
	over   chan struct{}                 // closed when Run has returned
	poison poison
	stats  atomic.Pointer[Stats]
	served bool // Run's alone: a term has been ready
}

// Stats is what a loop says of itself, about once a second.
type Stats struct {
	Epoch        uint64
	StateBytes   int64  // of all that is kept, about as encoded
	JournalBytes uint64 // on the store
	FreeBytes    uint64 // that the store can still take
}

type inboxItem struct {
	cmd   Command
	reply Reply
	bytes int64
}

// NewLoop returns a loop; Run runs it.
func NewLoop(cfg LoopConfig) *Loop {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Loop{
		cfg: cfg, log: cfg.Logger, inbox: make(chan inboxItem, inboxCommands),
		bytes: semaphore.NewWeighted(inboxBytes), over: make(chan struct{}),
	}
	l.stats.Store(&Stats{})
	change := make(chan struct{})
	l.change.Store(&change)
	return l
}

// Ready tells whether commands are decided now.
func (l *Loop) Ready() bool { return l.ready.Load() }

// Changed returns a channel that is closed when Ready changes after this call.
func (l *Loop) Changed() <-chan struct{} { return *l.change.Load() }

func (l *Loop) setReady(ready bool) {
	if l.ready.Swap(ready) != ready {
		next := make(chan struct{})
		close(*l.change.Swap(&next))
	}
}

// Stats returns what the loop last said of itself.
func (l *Loop) Stats() Stats { return *l.stats.Load() }

// untrusted tells whether an error says that the journal holds something else than was written there, or
// what this version cannot read. Another term would find the same.
func untrusted(err error) bool {
	var corrupt *journal.CorruptError
	var format *journal.FormatError
	return errors.As(err, &corrupt) || errors.As(err, &format) || errors.Is(err, journal.ErrDamaged)
}

// Over is closed when Run has returned: nothing is decided any more.
func (l *Loop) Over() <-chan struct{} { return l.over }

// NotReady is what a request is refused with while there is no term.
func NotReady() error { return notReady() }

func notReady() error {
	return pure.Refuse(pure.NotReady, "the broker is starting, recovering or shutting down")
}

// answer is what a reply was called with.
type answer struct {
	value any
	err   error
}

// Do has a command decided and returns its reply, which is told once everything that it has seen is
// durable. When ctx ends first, whether the command took effect is open.
func (l *Loop) Do(ctx context.Context, cmd Command) (any, error) {
	answerC, err := l.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answerC:
		return a.value, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Settle is [Loop.Do] for a command that has to be undone if nobody is there for its reply: once it is
// sent, the reply is awaited, whatever becomes of ctx.
func (l *Loop) Settle(ctx context.Context, cmd Command) (any, error) {
	answerC, err := l.ask(ctx, cmd)
	if err != nil {
		return nil, err
	}
	a := <-answerC
	return a.value, a.err
}

// ask sends a command and returns where its reply will be.
func (l *Loop) ask(ctx context.Context, cmd Command) (<-chan answer, error) {
	answerC := make(chan answer, 1)
	err := l.Send(ctx, cmd, 0, func(value any, err error) {
		select {
		case answerC <- answer{value, err}:
		default: // a term that ends by a panic may answer twice
		}
	})
	return answerC, err
}

// Send has a command decided, after what was sent before by the same goroutine, and waits only for a
// place in the inbox. The reply, if not nil, is called for certain when Send returns no error: by the loop,
// or by whoever finds that it is over. bytes is the command's size if it is large.
func (l *Loop) Send(ctx context.Context, cmd Command, bytes int, reply Reply) error {
	if !l.ready.Load() {
		return notReady()
	}
	r := inboxItem{cmd: cmd, reply: reply}
	if bytes > 4<<10 {
		r.bytes = min(int64(bytes), inboxBytes)
		if err := l.bytes.Acquire(ctx, r.bytes); err != nil {
			return context.Cause(ctx)
		}
	}
	select {
	case l.inbox <- r:
		l.refuseIfOver() // nobody else may look into the inbox any more
		return nil
	case <-l.over:
		l.bytes.Release(r.bytes)
		return notReady()
	case <-ctx.Done():
		l.bytes.Release(r.bytes)
		return context.Cause(ctx)
	}
}

// Run runs terms, one after the other, until ctx ends or the journal cannot be trusted. Until it has been
// ready once, a term that fails is Run's error too: what is wrong then is nearly always the place or the
// rights, which waiting does not change, and somebody is there to read it. It is called once.
func (l *Loop) Run(ctx context.Context) error {
	defer func() {
		close(l.over)
		l.refuseInbox()
	}()
	pause := time.Duration(0)
	for {
		began := time.Now()
		err := l.runTerm(ctx)
		l.refuseInbox()
		if ctx.Err() != nil {
			return nil
		}
		if untrusted(err) || !l.served {
			return err
		}
		if time.Since(began) > time.Minute {
			pause = 0
		}
		l.log.Error("the term is over", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(max(2*pause, restartPause), restartPauseMax)
	}
}

func (l *Loop) refuseIfOver() {
	select {
	case <-l.over:
		l.refuseInbox()
	default:
	}
}

// refuseInbox answers what was sent to a term that is over and not decided in it.
func (l *Loop) refuseInbox() {
	for {
		select {
		case r := <-l.inbox:
			l.bytes.Release(r.bytes)
			refuse(r, notReady())
		default:
			return
		}
	}
}

// refuse answers a request that is not decided: by its reply, or by closing its stream.
func refuse(r inboxItem, err error) {
	if r.reply != nil {
		r.reply(nil, err)
	} else if o := streamOf(r.cmd); o != nil {
		o.Close(err)
	}
}

// streamOf returns the stream that a command came from, nil if it is none's.
func streamOf(cmd Command) *Outbox {
	switch c := cmd.(type) {
	case *WorkerFrame:
		return c.Stream
	case *CallFrame:
		return c.Stream
	case *SynchronizeFrame:
		return c.Stream
	}
	return nil
}

// runTerm runs one term: fence, replay, serve. It always returns an error, but at ctx's end.
func (l *Loop) runTerm(ctx context.Context) (err error) {
	stream, err := l.cfg.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()

	began := time.Now()
	term, err := journal.Begin(ctx, stream, nonce())
	if err != nil {
		return err
	}
	cfg := l.cfg.Machine
	cfg.Seed = rand.Uint64()
	m := NewMachine(cfg)
	if err := replay(ctx, term, m); err != nil {
		return err
	}
	l.log.Info("the term begins", "epoch", term.Epoch(), "records", m.Records(), "took", time.Since(began))
	t := &termLoop{Loop: l, term: term, stream: stream, machine: m}
	l.served = true
	return t.run(ctx)
}

// replay fills a machine from the journal. A panic is an error like any other: the next term may be luckier.
func replay(ctx context.Context, term *journal.Term, m *Machine) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	if err := term.Replay(ctx, m); err != nil {
		return err
	}
	return m.Serve(term.Epoch())
}

func nonce() (n journal.Nonce) {
	for i := 0; i < len(n); i += 8 {
		for k, v := 0, rand.Uint64(); k < 8; k, v = k+1, v>>8 {
			n[i+k] = byte(v)
		}
	}
	return n
}

// panicError is a panic of the machine.
type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (e *panicError) Error() string { return fmt.Sprintf("shard: panic: %v\n%s", e.value, e.stack) }
