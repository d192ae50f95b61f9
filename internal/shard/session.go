package shard

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// OpenSession begins a client's session. The reply is a session.State.
type OpenSession struct{ State session.State }

func (c *OpenSession) run(m *Machine, step *pure.Step) (any, error) {
	if m.diskLow {
		return nil, diskLow()
	}
	s, err := m.sessions.Open(step, c.State)
	if err != nil {
		return nil, err
	}
	return s.State, nil
}

// RenewSession gives a session its TTL again. The reply is the TTL (time.Duration).
type RenewSession struct {
	Namespace string
	ID        session.ID
}

func (c *RenewSession) run(m *Machine, step *pure.Step) (any, error) {
	s, err := m.sessions.Get(c.Namespace, c.ID)
	if err != nil {
		return time.Duration(0), err
	}
	m.sessions.Renew(step, c.ID)
	return s.TTL, nil
}

// CloseSession ends a session, if it lives.
type CloseSession struct {
	Namespace string
	ID        session.ID
}

func (c *CloseSession) run(m *Machine, step *pure.Step) (any, error) {
	if _, err := m.sessions.Get(c.Namespace, c.ID); err == nil {
		m.endSession(step, c.ID, session.Closed)
	}
	return nil, nil
}

// ListSessions returns a page of sessions ([SessionPage]).
type ListSessions struct {
	Namespace string
	Kind      session.Kind // 0 is any
	After     uint64
	Max       int
}

// SessionView is a session as listed.
type SessionView struct {
	session.State
	Connected bool
	Attempts  int
}

// SessionPage is a page of sessions and the number to go on from, 0 at the end.
type SessionPage struct {
	Sessions []SessionView
	Next     uint64
}

func (c *ListSessions) run(m *Machine, _ *pure.Step) (any, error) {
	sessions, next := m.sessions.List(c.Namespace, c.Kind, c.After, c.Max)
	page := SessionPage{Next: next}
	for _, s := range sessions {
		page.Sessions = append(page.Sessions, SessionView{s.State, s.Connected(), m.queue.Attempts(s.ID)})
	}
	return page, nil
}
