package session

import (
	"time"

	"github.com/weftq/weft/internal/pure"
)

// ID is a session's unguessable name.
type ID [16]byte

// IsZero tells whether the id is none.
func (id ID) IsZero() bool { return id == ID{} }

// Kind says whose session it is.
type Kind uint8

// Kinds of sessions.
const (
	Client      Kind = 1
	Worker      Kind = 2
	Reservation Kind = 3
)

// TTL bounds and default.
const (
	TTLMin     = time.Second
	TTLMax     = 24 * time.Hour
	TTLDefault = 10 * time.Second
)

// State is what of a session is durable.
type State struct {
	ID          ID
	Namespace   string
	Kind        Kind
	Name        string
	TTL         time.Duration
	OpenedAt    pure.Wall
	RequestID   string
	RequestHash [16]byte
}

// Session is a live session.
type Session struct {
	State

	deadline  pure.Lease
	connected bool
	number    uint64 // order of opening within the term, for listings and ties

	place int32
	age   pure.Age[Session]
}

// Connected tells whether a stream is open on the session.
func (s *Session) Connected() bool { return s.connected }

// Put is the record of a session's whole state.
type Put struct{ State State }

// EndReason says how a session ended.
type EndReason uint8

// Reasons for the end of a session.
const (
	Closed  EndReason = 1
	Expired EndReason = 2
)

// Ended is the record of a session's end.
type Ended struct {
	ID     ID
	Reason EndReason
}
