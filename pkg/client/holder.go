package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Environment variables by which a program hands its holder to the programs that it starts: see [Lock.Environ] and
// [HolderFromEnv].
const (
	EnvHolder = "WEFT_HOLDER" // SESSION_ID:NUMBER
	EnvFence  = "WEFT_FENCE"  // the token of the grant
)

// identity is a holder in a context: the thread of one machine. It is one holder at each client that it is used with.
type identity struct {
	name string

	// Of a holder in another's session.

	session   string
	namespace *string // of the session, if it is known
	number    uint64
	err       func() error // whether the task's attempt is over

	mu      sync.Mutex
	holders map[*Client]*holder
}

type identityKey struct{}

// NewHolder makes a holder, which the returned context carries. Everything that is done with the context, or one that
// is derived from it, is done by this holder, also in other goroutines: what one of them holds, all of them hold. A
// holder waits for one thing at a time. The name, of at most 256 bytes, is for people: it stands in listings, and in
// the error that spells out a deadlock.
//
// It is seldom needed: a context without a holder is given a new one by each Acquire and each Do, which its inner
// context carries, and the context of a task's handler is the attempt's, whose locks are given up at the end of the
// attempt. Inside of these it makes a holder of its own, which has nothing to do with the one outside.
func NewHolder(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, identityKey{}, &identity{name: name})
}

// HolderFromEnv is NewHolder of the holder that a program was given by the one that has started it, in WEFT_HOLDER:
// what that one holds, this one holds too, so a re-entrant lock is had at once. Without the variable it is ctx.
func HolderFromEnv(ctx context.Context) (context.Context, error) {
	text := os.Getenv(EnvHolder)
	if text == "" {
		return ctx, nil
	}
	session, last, ok := strings.Cut(text, ":")
	number, err := strconv.ParseUint(last, 10, 64)
	if !ok || err != nil || session == "" {
		return nil, fmt.Errorf("client: %s is %q, not SESSION_ID:NUMBER", EnvHolder, text)
	}
	return context.WithValue(ctx, identityKey{}, &identity{session: session, number: number}), nil
}

// identityOf is the holder of a context, nil if it has none.
func identityOf(ctx context.Context) *identity {
	if id, ok := ctx.Value(identityKey{}).(*identity); ok {
		return id
	}
	h := task.HolderOf(ctx)
	if h == nil {
		return nil
	}
	id, _ := h.State(func() any {
		return &identity{name: h.Name, session: h.SessionID, namespace: &h.Namespace, number: h.Number, err: h.Err}
	}).(*identity)
	return id
}

// holder is what an identity is at one client: what it holds there.
type holder struct {
	client *Client
	id     *identity
	given  string // the session, if it is another's
	number uint64

	mu      sync.Mutex
	session *syncSession // that it was used in last
	grants  []*grant     // oldest first
	lent    []*grant     // whose holder waits at a condition
}

// grant is what a holder has of a lock or a semaphore.
type grant struct {
	session *syncSession
	kind    string // "lock", "semaphore"
	name    string
	token   uint64
	permits int64          // of a semaphore
	levels  []*heldContext // one for each acquire
	owed    int            // levels whose time was over while the holder waited at a condition, without the lock
}

// holderOf is the holder of a context, a new one if it has none.
func (c *Client) holderOf(ctx context.Context) *holder {
	id := identityOf(ctx)
	if id == nil {
		id = &identity{}
	}
	return id.at(c)
}

// heldBy is the holder of a context, nil if it has none.
func (c *Client) heldBy(ctx context.Context) *holder {
	if id := identityOf(ctx); id != nil {
		return id.at(c)
	}
	return nil
}

// at is the identity at a client.
func (id *identity) at(c *Client) *holder {
	id.mu.Lock()
	defer id.mu.Unlock()
	if h := id.holders[c]; h != nil {
		return h
	}
	h := &holder{client: c, id: id}
	if id.session != "" && (id.namespace == nil || orDefault(*id.namespace) == orDefault(c.namespace)) {
		h.given, h.number = id.session, id.number
	} else {
		h.number = c.sync.numbers.Add(1)
	}
	if id.holders == nil {
		id.holders = make(map[*Client]*holder)
	}
	id.holders[c] = h
	return h
}

// proto is the holder in a command.
func (h *holder) proto() *weftv1.Holder { return &weftv1.Holder{Number: h.number, Name: h.id.name} }

// use returns the session that the holder acts in. After its own session is lost, and everything with it, it goes on
// in a new one; in another's session it is over.
func (h *holder) use() (*syncSession, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := h.lost(h.session, "")
	switch {
	case lost == nil && h.session != nil:
		return h.session, nil
	case lost != nil && h.given != "":
		return nil, lost
	}
	s, err := h.client.syncSession(h.given)
	if err != nil {
		return nil, err
	}
	h.session = s
	h.grants = slices.DeleteFunc(h.grants, func(g *grant) bool { return g.session != s })
	return s, nil
}

// took notes what was granted, and returns the context of it.
func (h *holder) took(ctx context.Context, g *grant) *heldContext {
	level := h.hold(ctx, g.session, g.kind+" "+g.name)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, known := range h.grants {
		if known.session == g.session && known.kind == g.kind && known.name == g.name && known.token == g.token {
			known.levels = append(known.levels, level) // once more
			return level
		}
	}
	g.levels = append(g.levels, level)
	h.grants = append(h.grants, g)
	return level
}

// newest is the last grant of a lock.
func (h *holder) newest(name string) (*grant, error) {
	if h == nil {
		return nil, notHeld("lock", name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range slices.Backward(h.grants) {
		if g.kind == "lock" && g.name == name {
			return g, nil
		}
	}
	return nil, notHeld("lock", name)
}

// lock is the newest grant of a lock, if it is not lost.
func (h *holder) lock(name string) (*grant, error) {
	g, err := h.newest(name)
	if err != nil {
		return nil, err
	}
	return g, g.lost(h)
}

// lost tells why a grant is lost, nil if it is not.
func (g *grant) lost(h *holder) error { return h.lost(g.session, g.kind+" "+g.name) }

// lost tells why what is held in a session is lost, nil if it is not. What an attempt holds is lost with its lease, too.
func (h *holder) lost(s *syncSession, object string) error {
	if h.id.err != nil {
		if err := h.id.err(); errors.Is(err, task.ErrLeaseLost) {
			return &LeaseLostError{Object: object, SessionID: h.given, Cause: err}
		}
	}
	if s == nil || s.lost() == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over(object)
}

// drop forgets a grant, and ends the contexts of it.
func (h *holder) drop(g *grant, cause error) {
	h.mu.Lock()
	levels := g.levels
	g.levels = nil
	h.grants, h.lent = without(h.grants, g), without(h.lent, g)
	h.mu.Unlock()
	for _, level := range levels {
		level.end(cause)
	}
}

func without(all []*grant, g *grant) []*grant {
	return slices.DeleteFunc(all, func(x *grant) bool { return x == g })
}

// lend takes a grant off the list while its holder waits at a condition, without the lock. It returns the token.
func (h *holder) lend(g *grant) (token uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.grants, g) { // another goroutine was faster
		return 0, notHeld(g.kind, g.name)
	}
	h.grants, h.lent = without(h.grants, g), append(h.lent, g)
	return g.token, nil
}

// back notes that a lent grant is back, but for the levels whose time is over; none may be left. It returns how many are
// to be released, which nobody else does.
func (h *holder) back(g *grant, token uint64) (owed int, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lent = without(h.lent, g)
	g.token = token
	owed, g.owed = g.owed, 0
	left = len(g.levels) > 0
	if left {
		h.grants = append(h.grants, g)
	}
	return owed, left
}

// givenUp is a level of a grant that is to be released.
type givenUp struct {
	grant *grant
	level *heldContext
	token uint64
	owed  bool // when the grant is back
}

// giveUp takes a level off a grant. The caller holds h.mu.
func (h *holder) giveUp(g *grant, at int) givenUp {
	out := givenUp{grant: g, level: g.levels[at], token: g.token, owed: slices.Contains(h.lent, g)}
	g.levels = slices.Delete(g.levels, at, at+1)
	switch {
	case out.owed:
		g.owed++
	case len(g.levels) == 0:
		h.grants = without(h.grants, g)
	}
	return out
}

// giveUpLast takes the last level off a grant; false is that another goroutine was faster.
func (h *holder) giveUpLast(g *grant) (givenUp, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(g.levels) == 0 {
		return givenUp{}, false
	}
	return h.giveUp(g, len(g.levels)-1), true
}

// giveUpLevel takes the level of an acquire off its grant; false is that there is none any more.
func (h *holder) giveUpLevel(level *heldContext) (givenUp, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range slices.Concat(h.grants, h.lent) {
		if at := slices.Index(g.levels, level); at >= 0 {
			return h.giveUp(g, at), true
		}
	}
	return givenUp{}, false
}
