//go:build linux

package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/weftq/weft/pkg/client"
)

// step is an operation of a history: what was asked, and what came of it.
type step struct {
	Kind  stepKind
	Epoch int // of the client: another one after its session was lost
	N     int64
	// What was asked for, and then what came.
	Token, Version uint64
	Value          int64
	OK             bool
	Unknown        bool // what came of it
}

type stepKind string

const (
	stepAcquire stepKind = "acquire" // a lock, or N permits
	stepTry     stepKind = "try"
	stepRelease stepKind = "release"
	stepCheck   stepKind = "check"
	stepAdd     stepKind = "add"
	stepCAS     stepKind = "compare and set"
	stepGet     stepKind = "get"
	stepSet     stepKind = "set"
	stepClear   stepKind = "clear"
	stepIsSet   stepKind = "is set"
	stepWait    stepKind = "wait"
	stepExpire  stepKind = "expire" // the end of a client's session, which nobody asked for
)

// Kinds of histories.
const (
	historyLock      = "lock"
	historySemaphore = "semaphore"
	historyValue     = "value"
	historyEvent     = "event"
)

// historyWait bounds a wait in a history.
const historyWait = 30 * time.Millisecond

// player makes the steps of a history.
type player struct {
	*locker
	order   lockOrder
	rng     *rand.Rand
	ctx     context.Context // of the holder
	epoch   int
	token   uint64 // of the lock that it has; the last one that it had
	has     int64  // how much it has
	version uint64 // of the value when it was last seen
}

// history makes random steps until there were enough.
func (l *locker) history(ctx context.Context, o lockOrder) {
	p := &player{locker: l, order: o, rng: rand.New(rand.NewPCG(o.Seed, 0)), ctx: ctx}
	for range o.N {
		p.take(p.choose())
	}
	if p.has > 0 { // so that others, who may have more steps to go, get on
		p.take(&step{Kind: stepRelease, N: p.has, Token: p.token})
	}
}

// take takes a step, and notes it.
func (p *player) take(s *step) {
	play := map[string]func(*step) error{
		historyLock: p.playLock, historySemaphore: p.playSemaphore, historyValue: p.playValue, historyEvent: p.playEvent,
	}[p.order.Kind]
	s.Epoch = p.epoch
	question := *s
	p.note(p.order, note{Phase: noteCalled, At: sharedClock(), Step: &question})
	err := play(s)
	n := note{Phase: noteDone, At: sharedClock(), Step: s}
	s.OK = err == nil && s.OK
	if err != nil && !isVerdict(err) {
		s.Unknown, n.Error = true, err.Error()
		p.epoch++
		p.has = 0
	}
	p.note(p.order, n)
}

// isVerdict tells whether an error is an answer.
func isVerdict(err error) bool {
	return errors.Is(err, client.ErrTokenStale) || errors.Is(err, client.ErrValueChanged)
}

// choose makes the next step.
func (p *player) choose() *step {
	oneOf := func(kinds ...stepKind) *step { return &step{Kind: kinds[p.rng.IntN(len(kinds))]} }
	switch p.order.Kind {
	case historyLock, historySemaphore:
		switch {
		case p.has > 0 && p.order.Kind == historyLock:
			s := oneOf(stepRelease, stepRelease, stepCheck)
			s.Token = p.token
			return s
		case p.has > 0:
			return &step{Kind: stepRelease, N: p.has}
		case p.token > 0 && p.rng.IntN(6) == 0:
			return &step{Kind: stepCheck, Token: p.token} // which is over
		}
		s := oneOf(stepAcquire, stepAcquire, stepTry)
		s.N = 1
		if p.order.Kind == historySemaphore {
			s.N = 1 + p.rng.Int64N(2)
		}
		return s
	case historyValue:
		s := oneOf(stepAdd, stepCAS, stepGet)
		s.N, s.Version, s.Value = 1+p.rng.Int64N(9), p.version, p.rng.Int64N(1000)
		return s
	}
	return oneOf(stepSet, stepClear, stepClear, stepIsSet, stepWait)
}

func (p *player) playLock(s *step) (err error) {
	lock := p.client.Lock(p.order.Name)
	switch s.Kind {
	case stepAcquire, stepTry:
		wait := historyWait
		if s.Kind == stepTry {
			wait = 0
		}
		var held context.Context
		if held, s.OK, err = lock.AcquireWithin(p.ctx, wait); err != nil || !s.OK {
			return err
		}
		if s.Token, err = lock.Token(held); err == nil {
			p.has, p.token = 1, s.Token
		}
		return err
	case stepRelease:
		p.has, s.OK = 0, true
		return lock.Release(p.ctx)
	default:
		s.OK = true
		return lock.Check(p.ctx, s.Token)
	}
}

func (p *player) playSemaphore(s *step) (err error) {
	semaphore := p.client.Semaphore(p.order.Name, permitsAll)
	switch s.Kind {
	case stepRelease:
		p.has, s.OK = 0, true
		return semaphore.Release(p.ctx, int(s.N))
	case stepTry:
		_, s.OK, err = semaphore.TryAcquire(p.ctx, int(s.N))
	default:
		_, s.OK, err = semaphore.AcquireWithin(p.ctx, int(s.N), historyWait)
	}
	if err == nil && s.OK {
		p.has = s.N
	}
	return err
}

func (p *player) playValue(s *step) (err error) {
	value := client.NewValue[int64](p.client, p.order.Name)
	s.OK = true
	switch s.Kind {
	case stepAdd:
		s.Value, err = client.Add(p.ctx, value, s.N)
	case stepCAS:
		var version uint64
		if version, err = value.CompareAndSet(p.ctx, s.Version, s.Value); err == nil {
			p.version, s.N = version, int64(version) //nolint:gosec // a small number
		}
	default:
		s.Value, s.Version, err = value.Get(p.ctx)
		p.version = s.Version
	}
	return err
}

func (p *player) playEvent(s *step) (err error) {
	e := p.client.Event(p.order.Name)
	switch s.Kind {
	case stepSet:
		s.OK = true
		return e.Set(p.ctx)
	case stepClear:
		s.OK = true
		return e.Clear(p.ctx)
	case stepIsSet:
		s.OK, err = e.IsSet(p.ctx)
	default:
		s.OK, err = e.WaitWithin(p.ctx, historyWait)
	}
	return err
}
