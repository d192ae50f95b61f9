//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weftq/weft/internal/cli"
	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

const (
	roleLocker = "locker"
	envLocker  = "WEFT_E2E_LOCKER" // its lockerConfig
)

// lockerConfig is what a process that uses the lock service is told.
type lockerConfig struct {
	Name   string
	Broker string
	Book   string // where it takes orders, and notes what it does
	TTL    time.Duration
	Slots  int // as a worker, whose tasks "guarded" hold the lock that their payload names; 0 is none
}

// lockOrder is something to do. Orders are carried out beside each other.
type lockOrder struct {
	ID     int
	Do     action
	Name   string // of the lock, semaphore, …
	Shared bool
	N      int           // permits, parties, notifications, rounds
	Within time.Duration // how long something is held, in rounds
	Seed   uint64        // of a history
	Kind   string        // of a history
	Of     int           // which order has to go on
}

// action is what an order asks for.
type action string

const (
	doHold      action = "hold"    // acquires the lock and has it until it is told to go on
	doPermits   action = "permits" // does so with N permits of a semaphore that has permitsAll
	doWait      action = "wait"    // waits at the condition of the lock, and then has that until it is told to go on
	doNotify    action = "notify"  // notifies N
	doBarrier   action = "barrier" // waits for N parties
	doContend   action = "contend" // acquires, has and releases until it is told to go on
	doHistory   action = "history" // makes N random steps on an object of that kind
	doGoOn      action = "go on"   // tells another order
	doGuarded   action = "guarded" // is no order, but a task
	permitsAll         = 3         // of the semaphores here
	lookEvery          = time.Millisecond
	conditionOf        = "condition." // the condition of a lock
)

// note is what a process did. What it wrote is there even if it was killed right afterwards.
type note struct {
	Process string
	Order   int
	Do      action
	Name    string
	Phase   notePhase
	At      int64 // by the clock that all processes of a machine share, in nanoseconds
	Token   uint64
	Weight  int    // how much of the object it has
	Index   int    // at a barrier
	Step    *step  `json:",omitempty"`
	Error   string `json:",omitempty"`
	Lost    bool   // the error is the loss of the lease
	Broken  bool   // the error is a broken barrier
}

type notePhase string

const (
	noteCalled notePhase = "called" // is about to ask
	noteHas    notePhase = "has"    // has it
	noteSees   notePhase = "sees"   // looked at the context after the time of the note, and it was not done
	noteLeaves notePhase = "leaves" // does not believe to have it any more
	noteDone   notePhase = "done"   // the order is carried out
)

// sharedClock goes on while the machine sleeps, and is the same in all processes.
func sharedClock() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // Linux has it
	}
	return now.Nano()
}

func lockerMain() int {
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx := procs.UntilParentDies(context.Background())
	if err := lockAs(ctx, signals); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// locker is such a process.
type locker struct {
	cfg    lockerConfig
	client *client.Client

	mu    sync.Mutex
	to    *json.Encoder
	gates map[int]chan struct{} // by order; closed when it may go on
}

func lockAs(ctx context.Context, signals <-chan os.Signal) error {
	l := &locker{gates: make(map[int]chan struct{})}
	if err := json.Unmarshal([]byte(os.Getenv(envLocker)), &l.cfg); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", l.cfg.Book)
	if err != nil {
		return err
	}
	l.to = json.NewEncoder(conn)
	l.client, err = client.Dial(l.cfg.Broker, client.WithSessionTTL(l.cfg.TTL), client.WithName(l.cfg.Name))
	if err != nil {
		return err
	}
	if err := procs.PrintReady(os.Stdout, workercmd.Ready{Worker: l.cfg.Name, Broker: l.cfg.Broker}); err != nil {
		return err
	}
	go l.listen(ctx, conn)
	if l.cfg.Slots > 0 {
		return l.work(ctx, signals)
	}
	select {
	case <-ctx.Done():
	case <-signals:
	}
	return l.client.Close()
}

// work serves tasks as well.
func (l *locker) work(ctx context.Context, signals <-chan os.Signal) error {
	w, err := worker.New(worker.Config{
		Broker: l.cfg.Broker, Name: l.cfg.Name, Slots: l.cfg.Slots, SessionTTL: l.cfg.TTL, DrainTimeout: patience,
	})
	if err != nil {
		return err
	}
	worker.Handle(w, task.DefineWith("guarded", task.TextCodec(), task.TextCodec()), l.guarded)
	app := &cli.App{Name: l.cfg.Name, Out: io.Discard, Err: os.Stderr, Signal: signals}
	err = workercmd.Serve(ctx, app, w, nil)
	return errors.Join(err, l.client.Close())
}

// listen carries out orders until the book is gone.
func (l *locker) listen(ctx context.Context, conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		var o lockOrder
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			panic(err)
		}
		if o.Do == doGoOn {
			close(l.gate(o.Of))
			continue
		}
		go l.carryOut(ctx, o)
	}
}

func (l *locker) carryOut(ctx context.Context, o lockOrder) {
	ctx = client.NewHolder(ctx, fmt.Sprintf("%s/%d", l.cfg.Name, o.ID))
	n := note{}
	var err error
	switch o.Do {
	case doHold:
		err = l.hold(ctx, o)
	case doPermits:
		err = l.permits(ctx, o)
	case doWait:
		err = l.wait(ctx, o)
	case doNotify:
		err = l.notify(ctx, o)
	case doBarrier:
		l.note(o, note{Phase: noteCalled, At: sharedClock()})
		n.Index, err = l.client.Barrier(o.Name, o.N, client.Action(func(ctx context.Context) error {
			return l.keep(ctx, o, 0, 1, l.gate(o.ID))
		})).Wait(ctx)
	case doContend:
		err = l.contend(ctx, o)
	case doHistory:
		l.history(ctx, o)
	default:
		err = fmt.Errorf("no order: %q", o.Do)
	}
	n.Phase, n.At = noteDone, sharedClock()
	if err != nil {
		n.Error = err.Error()
		n.Lost, n.Broken = errors.Is(err, client.ErrLeaseLost), errors.Is(err, client.ErrBrokenBarrier)
	}
	l.note(o, n)
}

// note writes into the book.
func (l *locker) note(o lockOrder, n note) {
	n.Process, n.Order, n.Do, n.Name = l.cfg.Name, o.ID, o.Do, o.Name
	l.mu.Lock()
	err := l.to.Encode(n)
	l.mu.Unlock()
	if err != nil {
		os.Exit(1) // the test is over
	}
}

// gate is what lets an order go on.
func (l *locker) gate(id int) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gates[id] == nil {
		l.gates[id] = make(chan struct{})
	}
	return l.gates[id]
}

// keep has something until a channel says so or its context is done, and looks at that all the time.
func (l *locker) keep(held context.Context, o lockOrder, token uint64, weight int, until <-chan struct{}) error {
	n := note{Phase: noteHas, At: sharedClock(), Token: token, Weight: weight}
	l.note(o, n)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for told := false; ; {
		at := sharedClock() // before the look: what is not done afterwards was not done then
		switch {
		case held.Err() != nil:
			l.note(o, note{Phase: noteLeaves, At: at, Token: token, Error: context.Cause(held).Error()})
			return context.Cause(held)
		case told: // after one more look
			n.Phase, n.At = noteLeaves, at
			l.note(o, n)
			return nil
		}
		n.Phase, n.At = noteSees, at
		l.note(o, n)
		select {
		case <-until:
			told = true
		case <-tick.C:
		}
	}
}

// wholeLock is how much of a lock its exclusive holder has; who shares it has 1.
const wholeLock = 1000

func (l *locker) lock(o lockOrder) (lock *client.Lock, weight int) {
	lock = l.client.Lock(o.Name)
	if o.Shared {
		return lock.Shared(), 1
	}
	return lock, wholeLock
}

func (l *locker) hold(ctx context.Context, o lockOrder) error {
	lock, weight := l.lock(o)
	l.note(o, note{Phase: noteCalled, At: sharedClock()})
	return lock.Do(ctx, func(ctx context.Context) error {
		token, err := lock.Token(ctx)
		if err != nil {
			return err
		}
		return l.keep(ctx, o, token, weight, l.gate(o.ID))
	})
}

func (l *locker) permits(ctx context.Context, o lockOrder) error {
	l.note(o, note{Phase: noteCalled, At: sharedClock()})
	return l.client.Semaphore(o.Name, permitsAll).Do(ctx, o.N, func(ctx context.Context) error {
		return l.keep(ctx, o, 0, o.N, l.gate(o.ID))
	})
}

func (l *locker) wait(ctx context.Context, o lockOrder) error {
	lock, weight := l.lock(o)
	return lock.Do(ctx, func(ctx context.Context) error {
		token, err := lock.Token(ctx)
		if err != nil {
			return err
		}
		now := make(chan struct{})
		close(now)
		if err := l.keep(ctx, o, token, weight, now); err != nil {
			return err
		}
		l.note(o, note{Phase: noteCalled, At: sharedClock()})
		if err := l.client.Condition(conditionOf+o.Name, l.client.Lock(o.Name)).Wait(ctx); err != nil {
			return err
		}
		if token, err = lock.Token(ctx); err != nil {
			return err
		}
		return l.keep(ctx, o, token, weight, l.gate(o.ID))
	})
}

func (l *locker) notify(ctx context.Context, o lockOrder) error {
	lock := l.client.Lock(o.Name)
	l.note(o, note{Phase: noteCalled, At: sharedClock()})
	return lock.Do(ctx, func(ctx context.Context) error {
		return l.client.Condition(conditionOf+o.Name, lock).Notify(ctx, o.N)
	})
}

// contend has something again and again. What is lost on the way is asked for anew.
func (l *locker) contend(ctx context.Context, o lockOrder) error {
	gate := l.gate(o.ID)
	for {
		select {
		case <-gate:
			return nil
		default:
		}
		if err := l.once(ctx, o); err != nil && !errors.Is(err, client.ErrLeaseLost) {
			return err
		}
	}
}

func (l *locker) once(ctx context.Context, o lockOrder) error {
	until := make(chan struct{})
	kept := func(token uint64, weight int) func(context.Context) error {
		return func(held context.Context) error {
			timer := time.AfterFunc(o.Within, func() { close(until) })
			defer timer.Stop()
			return l.keep(held, o, token, weight, until)
		}
	}
	l.note(o, note{Phase: noteCalled, At: sharedClock()})
	if o.N > 0 {
		return l.client.Semaphore(o.Name, permitsAll).Do(ctx, o.N, kept(0, o.N))
	}
	lock, weight := l.lock(o)
	return lock.Do(ctx, func(ctx context.Context) error {
		token, err := lock.Token(ctx)
		if err != nil {
			return err
		}
		return kept(token, weight)(ctx)
	})
}

// guarded is a task that holds the lock that its payload names; it does not release it if it is stopped.
func (l *locker) guarded(ctx context.Context, name string) (string, error) {
	attempt := task.Current(ctx)
	o := lockOrder{ID: -int(attempt.Token), Do: doGuarded, Name: name} //nolint:gosec // a small number
	lock, weight := l.lock(o)
	l.note(o, note{Phase: noteCalled, At: sharedClock()})
	held, err := lock.Acquire(ctx)
	if err != nil {
		return "", err
	}
	token, err := lock.Token(held)
	if err != nil {
		return "", err
	}
	if err := l.keep(held, o, token, weight, l.gate(o.ID)); err != nil {
		return "", err
	}
	return name, lock.Release(held)
}
