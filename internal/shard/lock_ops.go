package shard

import (
	"fmt"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

// What is asked of the lock service. Each is one request of the API.
type (
	// AcquireLock acquires a lock.
	AcquireLock struct {
		Name      string
		Mode      lockservice.Mode
		Reentrant bool
		Wait      lockservice.Wait
		Published string
	}
	// ReleaseLock gives a lock up.
	ReleaseLock struct {
		Name  string
		Token uint64
		All   bool
	}
	// PublishLock changes what a holder shows.
	PublishLock struct {
		Name      string
		Token     uint64
		Published string
	}
	// WaitCondition waits at a condition.
	WaitCondition struct {
		Name, Lock string
		Token      uint64
		Wait       lockservice.Wait
	}
	// NotifyCondition wakes those who wait at a condition.
	NotifyCondition struct {
		Name, Lock string
		Token      uint64
		Count      int
	}
	// AcquireSemaphore acquires permits.
	AcquireSemaphore struct {
		Name    string
		Spec    lockservice.SemaphoreSpec
		Permits int64
		Wait    lockservice.Wait
	}
	// ReleaseSemaphore gives permits back.
	ReleaseSemaphore struct {
		Name    string
		Spec    lockservice.SemaphoreSpec
		Token   uint64
		Permits int64
	}
	// SetEvent sets an event, or clears it.
	SetEvent struct {
		Name string
		Set  bool
	}
	// WaitEvent waits for an event.
	WaitEvent struct {
		Name  string
		Since uint64
		Wait  lockservice.Wait
	}
	// WaitBarrier comes to a barrier.
	WaitBarrier struct {
		Name    string
		Parties uint32
		Action  bool
		Wait    lockservice.Wait
	}
	// CompleteBarrier says that a barrier's action is done.
	CompleteBarrier struct {
		Name       string
		Generation uint64
	}
	// BreakBarrier breaks a barrier, or makes it as new.
	BreakBarrier struct {
		Name  string
		Reset bool
	}
	// SetValue sets a value.
	SetValue struct {
		Name   string
		Change ValueChange
		Data   lockservice.Data
	}
	// AddValue adds to a value.
	AddValue struct {
		Name   string
		Change ValueChange
		Delta  lockservice.Data
	}
	// DeleteValue forgets a value.
	DeleteValue struct {
		Name   string
		Change ValueChange
	}
	// WaitValue waits for a value.
	WaitValue struct {
		Name  string
		Until lockservice.Until
		Wait  lockservice.Wait
	}
)

// ValueChange is what holds of all changes of values.
type ValueChange struct {
	IfVersion   uint64
	Conditional bool
	Guard       lockservice.Guard
}

func (o *AcquireLock) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.AcquireLock(step, &lockservice.AcquireLock{
		Request: by.request(o.Name, o.Wait), Mode: o.Mode, Reentrant: o.Reentrant, Published: o.Published,
	})
}

// owner is the session that a token is looked up in: the holder's, or one that a request opened for the token.
func (m *Machine) owner(by *lockCaller, token uint64) (session.ID, error) {
	if !by.holder.Session.IsZero() {
		return by.holder.Session, nil
	}
	g := m.locks.GrantOf(token)
	if g == nil || g.Namespace != by.namespace {
		return session.ID{}, nil // which holds nothing
	}
	if s := m.sessions.Lookup(g.Holder.Session); s != nil && s.Kind == session.Reservation {
		return s.ID, nil
	}
	return session.ID{}, pure.Refuse(pure.NotHeld, fmt.Sprintf("the grant with the token %d is a session's: say the holder", token),
		g.Kind.String(), g.Name, "token", token)
}

func (o *ReleaseLock) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	owner, err := m.owner(by, o.Token)
	if err != nil {
		return lockservice.Decision{}, err
	}
	d, err := m.locks.ReleaseLock(step, &lockservice.ReleaseLock{
		Namespace: by.namespace, Name: o.Name, Session: owner, Token: o.Token, All: o.All, Origin: by.origin,
	})
	if err == nil {
		m.idle(step, owner)
	}
	return d, err
}

func (o *PublishLock) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	owner, err := m.owner(by, o.Token)
	if err != nil {
		return lockservice.Decision{}, err
	}
	return m.locks.PublishLock(step, &lockservice.PublishLock{
		Namespace: by.namespace, Name: o.Name, Session: owner, Token: o.Token, Published: o.Published, Origin: by.origin,
	})
}

func at(by *lockCaller, condition, lock string, token uint64) *lockservice.At {
	return &lockservice.At{Namespace: by.namespace, Condition: condition, Lock: lock, Session: by.holder.Session, Token: token}
}

func (o *WaitCondition) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.WaitCondition(step, at(by, o.Name, o.Lock, o.Token), o.Wait, by.origin)
}

func (o *NotifyCondition) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.Notify(step, at(by, o.Name, o.Lock, o.Token), o.Count, by.origin)
}

func (o *AcquireSemaphore) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.AcquireSemaphore(step, &lockservice.AcquireSemaphore{
		Request: by.request(o.Name, o.Wait), Spec: o.Spec, Permits: o.Permits,
	})
}

func (o *ReleaseSemaphore) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	owner := session.ID{}
	if !o.Spec.Free {
		var err error
		if owner, err = m.owner(by, o.Token); err != nil {
			return lockservice.Decision{}, err
		}
	}
	d, err := m.locks.ReleaseSemaphore(step, &lockservice.ReleaseSemaphore{
		Namespace: by.namespace, Name: o.Name, Spec: o.Spec, Session: owner, Token: o.Token, Permits: o.Permits, Origin: by.origin,
	})
	if err == nil {
		m.idle(step, owner)
	}
	return d, err
}

func (o *SetEvent) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.SetEvent(step, by.namespace, o.Name, o.Set, by.origin)
}

func (o *WaitEvent) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.WaitEvent(step, by.namespace, o.Name, o.Since, o.Wait, by.origin, by.holder.Session)
}

func (o *WaitBarrier) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.WaitBarrier(step, &lockservice.WaitBarrier{
		Request: by.request(o.Name, o.Wait), Parties: o.Parties, Action: o.Action,
	})
}

func (o *CompleteBarrier) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	r := by.request(o.Name, lockservice.Wait{})
	return m.locks.CompleteBarrier(step, &r, o.Generation)
}

func (o *BreakBarrier) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	if o.Reset {
		return m.locks.ResetBarrier(step, by.namespace, o.Name, by.origin)
	}
	return m.locks.AbortBarrier(step, by.namespace, o.Name, by.origin)
}

func (v *ValueChange) change(by *lockCaller, name string) *lockservice.Change {
	return &lockservice.Change{
		Namespace: by.namespace, Name: name, IfVersion: v.IfVersion, Conditional: v.Conditional, Guard: v.Guard, Origin: by.origin,
	}
}

func (o *SetValue) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.SetValue(step, o.Change.change(by, o.Name), o.Data)
}

func (o *AddValue) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.AddValue(step, o.Change.change(by, o.Name), o.Delta)
}

func (o *DeleteValue) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.DeleteValue(step, o.Change.change(by, o.Name))
}

func (o *WaitValue) decide(m *Machine, step *pure.Step, by *lockCaller) (lockservice.Decision, error) {
	return m.locks.WaitValue(step, by.namespace, o.Name, o.Until, o.Wait, by.origin, by.holder.Session)
}
