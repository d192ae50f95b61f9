package session

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/internal/pure"
)

type requestKey struct{ namespace, id string }

// Core is the state of all sessions of a shard. It is not safe for concurrent use.
type Core struct {
	sessions  map[ID]*Session
	requests  map[requestKey]*Session
	deadlines pure.Heap[*Session]
	ages      pure.Ages[Session]
	opened    uint64
	counts    map[string]int // by namespace
	numbers   map[uint64]*Session
	order     pure.Order // of the numbers

	// Strangers counts records about sessions that were not there.
	Strangers int
}

// New returns a core without sessions.
func New() *Core {
	return &Core{
		sessions:  map[ID]*Session{},
		requests:  map[requestKey]*Session{},
		numbers:   map[uint64]*Session{},
		counts:    map[string]int{},
		deadlines: pure.NewHeap(func(s *Session) *int32 { return &s.place }),
		ages:      pure.NewAges(func(s *Session) *pure.Age[Session] { return &s.age }),
	}
}

// sessionsMax bounds the sessions of a namespace.
const sessionsMax = 100_000

// Open begins a session. With a request id it is idempotent: the session that the id opened is returned
// again, and another body is REQUEST_MISMATCH.
func (c *Core) Open(step *pure.Step, st State) (*Session, error) {
	if st.RequestID != "" {
		if s := c.requests[requestKey{st.Namespace, st.RequestID}]; s != nil {
			if s.RequestHash != st.RequestHash {
				return nil, pure.Refuse(pure.RequestMismatch,
					"a request with this id had another body", "request_id", st.RequestID)
			}
			return s, nil
		}
	}
	if err := c.Room(st.Namespace); err != nil {
		return nil, err
	}
	st.OpenedAt = step.Wall
	rec := &Put{State: st}
	step.Emit(rec)
	c.applyPut(rec, step.Seq)
	s := c.sessions[st.ID]
	c.renew(step, s)
	return s, nil
}

// Room refuses one session more in a namespace that has as many as it may.
func (c *Core) Room(namespace string) error {
	if c.counts[namespace] < sessionsMax {
		return nil
	}
	return pure.Refuse(pure.StateFull, "the namespace has as many sessions as it may", "limit", sessionsMax)
}

// Get returns a live session of a namespace.
func (c *Core) Get(namespace string, id ID) (*Session, error) {
	s := c.sessions[id]
	if s == nil || s.Namespace != namespace {
		return nil, pure.Refuse(pure.SessionNotFound, "the session ended, or never was",
			"session_id", hex.EncodeToString(id[:]))
	}
	return s, nil
}

// ByRequest returns the live session that a request opened, nil if there is none.
func (c *Core) ByRequest(namespace, requestID string) *Session {
	if requestID == "" {
		return nil
	}
	return c.requests[requestKey{namespace, requestID}]
}

// Lookup returns a live session, nil if there is none.
func (c *Core) Lookup(id ID) *Session { return c.sessions[id] }

// Alive tells whether a session lives.
func (c *Core) Alive(id ID) bool { return c.sessions[id] != nil }

// Name returns a live session's name for people.
func (c *Core) Name(id ID) string {
	if s := c.sessions[id]; s != nil {
		return s.Name
	}
	return ""
}

// Renew gives a session its whole TTL again.
func (c *Core) Renew(step *pure.Step, id ID) {
	if s := c.sessions[id]; s != nil {
		c.renew(step, s)
	}
}

func (c *Core) renew(step *pure.Step, s *Session) {
	s.deadline = step.Lease.Add(s.TTL)
	c.deadlines.Set(s, pure.Key{A: int64(s.deadline), B: s.number})
}

// Remaining is how long a session lives if nobody renews it, 0 if it does not.
func (c *Core) Remaining(id ID, now pure.Lease) time.Duration {
	if s := c.sessions[id]; s != nil {
		return max(time.Duration(s.deadline-now), 0)
	}
	return 0
}

// Connect marks whether a stream is open on the session.
func (c *Core) Connect(id ID, connected bool) {
	if s := c.sessions[id]; s != nil {
		s.connected = connected
	}
}

// End ends a session, if it lives. What it held is the caller's to give up, in the same step.
func (c *Core) End(step *pure.Step, id ID, reason EndReason) bool {
	if c.sessions[id] == nil {
		return false
	}
	rec := &Ended{ID: id, Reason: reason}
	step.Emit(rec)
	c.applyEnded(rec)
	return true
}

// Due returns a session whose TTL is over, if there is one.
func (c *Core) Due(now pure.Lease) (ID, bool) {
	s, key, ok := c.deadlines.Min()
	if !ok || key.A > int64(now) {
		return ID{}, false
	}
	return s.ID, true
}

// NextDeadline is when the next session is due.
func (c *Core) NextDeadline() (pure.Lease, bool) {
	_, key, ok := c.deadlines.Min()
	return pure.Lease(key.A), ok
}

// Ready begins a term: every session has its whole TTL from now.
func (c *Core) Ready(now pure.Lease) {
	for s := c.ages.Oldest(); s != nil; s = c.ages.Next(s) {
		s.deadline = now.Add(s.TTL)
		c.deadlines.Set(s, pure.Key{A: int64(s.deadline), B: s.number})
	}
}

// Apply applies a record of the journal.
func (c *Core) Apply(rec any, seq uint64) {
	switch rec := rec.(type) {
	case *Put:
		c.applyPut(rec, seq)
	case *Ended:
		c.applyEnded(rec)
	}
}

func (c *Core) applyPut(rec *Put, seq uint64) {
	s := c.sessions[rec.State.ID]
	if s == nil {
		c.opened++
		s = &Session{State: rec.State, number: c.opened}
		c.sessions[s.ID], c.numbers[s.number] = s, s
		c.counts[s.Namespace]++
		c.order.Add(s.number, len(c.sessions), func(n uint64) bool { return c.numbers[n] != nil })
		if s.RequestID != "" {
			c.requests[requestKey{s.Namespace, s.RequestID}] = s
		}
	}
	c.ages.Touch(s, seq)
}

func (c *Core) applyEnded(rec *Ended) {
	s := c.sessions[rec.ID]
	if s == nil {
		c.Strangers++ // opened below the floor: see the journal's rules of replay
		return
	}
	delete(c.sessions, s.ID)
	delete(c.numbers, s.number)
	if c.counts[s.Namespace]--; c.counts[s.Namespace] == 0 {
		delete(c.counts, s.Namespace)
	}
	if s.RequestID != "" {
		delete(c.requests, requestKey{s.Namespace, s.RequestID})
	}
	c.deadlines.Remove(s)
	c.ages.Remove(s)
}

// OldestBase is the least base of any session.
func (c *Core) OldestBase() (uint64, bool) {
	s := c.ages.Oldest()
	if s == nil {
		return 0, false
	}
	return s.age.Base(), true
}

// CopyOldest writes the oldest session's whole state anew.
func (c *Core) CopyOldest(step *pure.Step) {
	s := c.ages.Oldest()
	step.Emit(&Put{State: s.State})
	c.ages.Touch(s, step.Seq)
}

// List returns the sessions of a namespace that were opened after a number, oldest first, at most n,
// and the number to go on from, 0 at the end.
func (c *Core) List(namespace string, kind Kind, after uint64, n int) ([]*Session, uint64) {
	var out []*Session
	for examined, number := range c.order.After(after) {
		if len(out) == n || examined == examinedMax {
			return out, number - 1
		}
		if s := c.numbers[number]; s != nil && s.Namespace == namespace && (kind == 0 || s.Kind == kind) {
			out = append(out, s)
		}
	}
	return out, 0
}

// examinedMax bounds the sessions that one page looks at, so that a listing never holds up the loop.
const examinedMax = 10_000

// Len is the number of live sessions.
func (c *Core) Len() int { return len(c.sessions) }

// States returns every session's durable state, by id: what a replay of the journal must give again.
func (c *Core) States() []State {
	out := make([]State, 0, len(c.sessions))
	for _, s := range c.sessions {
		out = append(out, s.State)
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(string(a.ID[:]), string(b.ID[:])) })
	return out
}
