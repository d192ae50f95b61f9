package sim

import (
	"time"

	"github.com/weftq/weft/internal/shard"
)

// lease is this side's account of a worker's session: when it was last heard, in lease time.
type lease struct {
	stream  *shard.Outbox // frames of any other are void
	renewed time.Duration
	silent  time.Duration // when the entry under way was closed
}

// heard notes whom a command is from that is decided now. It never says that somebody was heard who was not.
func (s *sim) heard(cmd shard.Command) {
	switch c := cmd.(type) {
	case *shard.WorkerHello:
		s.leases[c.NewSession] = &lease{stream: c.Stream, renewed: s.broker.lease}
		if l := s.leases[c.Hello.Session]; l != nil {
			l.stream = c.Stream
		}
	case *shard.SynchronizeHello:
		s.leases[c.NewSession] = &lease{stream: c.Stream, renewed: s.broker.lease}
		if l := s.leases[c.Session]; l != nil {
			l.stream = c.Stream
		}
	case *shard.SynchronizeFrame:
		if l := s.leases[c.Channel.Session]; l != nil && l.stream == c.Stream && s.broker.m.Alive(c.Channel.Session) {
			l.renewed = s.broker.lease
			s.model.locks.told(c)
		}
	case *shard.WorkerFrame:
		if l := s.leases[c.Session]; l != nil && l.stream == c.Stream && s.broker.m.Alive(c.Session) {
			l.renewed = s.broker.lease
		}
	}
}

// renewAll gives every session its whole time again: a new term is ready.
func (s *sim) renewAll() {
	for _, l := range s.leases {
		l.renewed = s.broker.lease
	}
	clear(s.model.locks.heard) // also that is yet to be said
}
