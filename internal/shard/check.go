package shard

import (
	"errors"
	"fmt"
	"maps"

	"github.com/weftq/weft/pkg/session"
)

// Check returns every invariant that does not hold, of the cores and of what the machine adds to them. It
// looks at everything, so it is for tests and for the simulator.
func (m *Machine) Check() error {
	return errors.Join(m.sessions.Check(), m.queue.Check(), m.schedules.Check(), m.locks.Check(), m.checkLocks(), m.checkStreams(), m.checkWaiters(), m.checkPeers())
}

// checkStreams holds the tables of streams to live sessions.
func (m *Machine) checkStreams() (broken error) {
	for id, o := range m.workers {
		if s := m.sessions.Lookup(id); s == nil || o == nil || !s.Connected() || s.Kind != session.Worker {
			broken = errors.Join(broken, fmt.Errorf("worker's stream of session %x: its session is %v", id, s))
		}
	}
	attached := map[session.ID]bool{}
	for call, c := range m.clients {
		attached[c.session] = true
		if s := m.sessions.Lookup(c.session); s == nil || c.outbox == nil || !s.Connected() {
			broken = errors.Join(broken, fmt.Errorf("stream of call %d: its session is %v", call, s))
		}
	}
	for _, st := range m.sessions.States() {
		if m.sessions.Lookup(st.ID).Connected() && m.workers[st.ID] == nil && !attached[st.ID] && len(m.channelsOf[st.ID]) == 0 {
			broken = errors.Join(broken, fmt.Errorf("session %x is connected and has no stream", st.ID))
		}
	}
	return broken
}

func (m *Machine) checkWaiters() (broken error) {
	if submits, joins := m.queue.Awaiting(); len(m.replies) != submits+joins {
		broken = fmt.Errorf("%d replies are owed, %d submissions and %d joins wait", len(m.replies), submits, joins)
	}
	if len(m.waiters) != m.queue.Waiting() {
		broken = errors.Join(broken, fmt.Errorf("%d reservations wait, the queues know %d", len(m.waiters), m.queue.Waiting()))
	}
	named := 0
	for id, w := range m.waiters {
		if r, ok := w.requestOf(); ok {
			named++
			if m.requests[r] != id {
				broken = errors.Join(broken, fmt.Errorf("reservation %d is not known by its request", id))
			}
		}
		if w.open == nil && !m.sessions.Alive(w.id) {
			broken = errors.Join(broken, fmt.Errorf("reservation %d waits for session %x, which is over", id, w.id))
		}
		if w.reply == nil {
			broken = errors.Join(broken, fmt.Errorf("reservation %d cannot be answered", id))
		}
	}
	if named != len(m.requests) {
		broken = errors.Join(broken, fmt.Errorf("%d reservations with requests, known are %d", named, len(m.requests)))
	}
	return broken
}

// checkLocks holds the tables of the lock service's requests and streams to what it knows.
func (m *Machine) checkLocks() (broken error) {
	pins := map[session.ID]int{}
	for waiter, w := range m.lockWaits {
		if m.tickets[w.ticket] != waiter {
			broken = errors.Join(broken, fmt.Errorf("waiter %d is not known by its request", waiter))
		}
		if w.pins {
			pins[w.holder.Session]++
		}
	}
	if !maps.Equal(pins, m.pinned) || len(m.tickets) != len(m.lockWaits) {
		broken = errors.Join(broken, fmt.Errorf("%d requests wait, %d named; sessions kept by them: %v, noted %v",
			len(m.lockWaits), len(m.tickets), pins, m.pinned))
	}
	for key := range m.channels {
		if _, ok := m.channelsOf[key.Session][key.Number]; !ok || !m.sessions.Alive(key.Session) {
			broken = errors.Join(broken, fmt.Errorf("channel %d is not its session's", key.Number))
		}
	}
	return broken
}

// checkPeers finds what is held by sessions that do not live: nobody would ever give it up.
func (m *Machine) checkPeers() (broken error) {
	for _, id := range m.queue.Holders() {
		if !m.sessions.Alive(id) {
			broken = errors.Join(broken, fmt.Errorf("session %x is over, and holds tasks or calls", id))
		}
	}
	return broken
}

// Dump returns the durable state, a line an entity: what a replay of the journal must give again.
func (m *Machine) Dump() []string {
	lines := []string{fmt.Sprintf("counter %d", m.counter)}
	for _, s := range m.sessions.States() {
		lines = append(lines, fmt.Sprintf("session %x: %s kind %d %q ttl %v opened %d request %q %x",
			s.ID, s.Namespace, s.Kind, s.Name, s.TTL, s.OpenedAt, s.RequestID, s.RequestHash))
	}
	lines = append(lines, m.schedules.Dump()...)
	lines = append(lines, m.locks.Dump()...)
	return append(lines, m.queue.Dump()...)
}

// Alive tells whether a session lives.
func (m *Machine) Alive(id session.ID) bool { return m.sessions.Alive(id) }

// Live is the size of what lives, about as the journal counts it: bytes of tasks, and how many entities.
func (m *Machine) Live() (bytes int64, sessions int) { return m.queue.Bytes(), m.sessions.Len() }

// Leftovers names what is in memory beside queues and sessions; "" is nothing.
func (m *Machine) Leftovers() string {
	left := m.queue.Leftovers() + m.locks.Leftovers()
	if n := len(m.lockWaits) + len(m.channels) + len(m.objectWatchers); n > 0 {
		left += fmt.Sprintf(" %d requests of the lock service, %d channels, %d followed", len(m.lockWaits), len(m.channels), len(m.objectWatchers))
	}
	if n := len(m.workers) + len(m.clients) + len(m.watchers) + len(m.waiters) + len(m.requests) + len(m.replies); n > 0 {
		left += fmt.Sprintf(" %d workers, %d clients, %d watchers, %d reservations, %d requests, %d replies",
			len(m.workers), len(m.clients), len(m.watchers), len(m.waiters), len(m.requests), len(m.replies))
	}
	return left
}
