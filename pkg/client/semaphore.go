package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Semaphore is a number of permits that programs share, given out in turn: a small request never overtakes a large one.
//
// A permit is held by a holder, as a lock is (see [Lock]), and comes back when that is gone, unless the semaphore is
// [Free].
type Semaphore struct {
	client *Client
	name   string
	spec   *weftv1.SemaphoreSpec
}

// SemaphoreOption says what sort of semaphore it is.
type SemaphoreOption func(*weftv1.SemaphoreSpec)

// Free is a semaphore whose permits are nobody's, as Python's Semaphore: who acquired one may end, and anyone may
// release, also more than were acquired.
func Free() SemaphoreOption { return func(s *weftv1.SemaphoreSpec) { s.Free = true } }

// Bounded is a free semaphore that never has more permits than declared, as Python's BoundedSemaphore: one that is
// released too many times is [ErrSemaphoreFull].
func Bounded() SemaphoreOption {
	return func(s *weftv1.SemaphoreSpec) { s.Free, s.Bounded = true, true }
}

// permitsMax is the most permits of a semaphore.
const permitsMax = 1_000_000_000

// Semaphore is the semaphore of that name, with 0 to 1,000,000,000 permits. All who use it at a time declare it alike;
// else it is SEMAPHORE_MISMATCH.
func (c *Client) Semaphore(name string, permits int, opts ...SemaphoreOption) *Semaphore {
	s := &Semaphore{client: c, name: name, spec: &weftv1.SemaphoreSpec{Permits: int64(permits)}}
	for _, o := range opts {
		o(s.spec)
	}
	return s
}

// Name is the semaphore's name.
func (s *Semaphore) Name() string { return s.name }

// Acquire acquires n permits, all at once, as [Lock.Acquire] does a lock. The returned context ends with what was
// acquired, but not that of a free semaphore.
func (s *Semaphore) Acquire(ctx context.Context, n int) (context.Context, error) {
	held, _, err := s.acquire(ctx, n, nil)
	return held, err
}

// TryAcquire is Acquire that does not wait; false is that there are not so many, or that others wait.
func (s *Semaphore) TryAcquire(ctx context.Context, n int) (context.Context, bool, error) {
	return s.acquire(ctx, n, durationpb.New(0))
}

// AcquireWithin is Acquire that waits for d at most, 24 hours at most; false is that d was over first.
func (s *Semaphore) AcquireWithin(ctx context.Context, n int, d time.Duration) (context.Context, bool, error) {
	wait, err := waitOf(d)
	if err != nil {
		return ctx, false, err
	}
	return s.acquire(ctx, n, wait)
}

func (s *Semaphore) object() string { return "semaphore " + s.name }

// check refuses what no semaphore can be or have.
func (s *Semaphore) check(n int) error {
	switch {
	case s.spec.Permits < 0 || s.spec.Permits > permitsMax:
		return invalid("spec.permits", fmt.Sprintf("must be 0 to %d", permitsMax))
	case n < 1 || n > permitsMax:
		return invalid("permits", fmt.Sprintf("must be 1 to %d", permitsMax))
	}
	return nil
}

func (s *Semaphore) acquire(
	ctx context.Context, n int, wait *durationpb.Duration,
) (held context.Context, ok bool, err error) {
	if err := s.check(n); err != nil {
		return ctx, false, err
	}
	h := s.client.holderOf(ctx)
	session, err := h.use()
	if err != nil {
		return ctx, false, err
	}
	request := &weftv1.AcquireSemaphoreRequest{
		Name: s.name, Holder: h.proto(), Spec: s.spec, Permits: int64(n), Wait: wait,
	}
	answer, err := session.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_AcquireSemaphore{AcquireSemaphore: request}},
		object:  s.object(), waits: true,
	})
	switch {
	case err != nil || !answer.GetAcquireSemaphore().GetAcquired():
		return ctx, false, err
	case s.spec.Free:
		return context.WithValue(ctx, identityKey{}, h.id), true, nil
	}
	return h.took(ctx, &grant{
		session: session, kind: "semaphore", name: s.name, permits: int64(n),
		token: answer.GetAcquireSemaphore().GetGrant().GetToken(),
	}), true, nil
}

// releasing is the command that gives permits back.
func (s *Semaphore) releasing(h *holder, token uint64, n int64) *weftv1.SynchronizeCommand {
	m := &weftv1.ReleaseSemaphoreRequest{Name: s.name, Holder: h.proto(), Spec: s.spec, Token: token}
	if s.spec.Free {
		m.Permits = n
	}
	return &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_ReleaseSemaphore{ReleaseSemaphore: m}}
}

// Release gives n permits back. Of a free semaphore anyone may. Else they are those that the holder of ctx has
// acquired last, and what one Acquire has acquired is released as a whole: n has to be what the last one, or the last
// ones together, have acquired, or what one of them has. It is done also if ctx has ended.
func (s *Semaphore) Release(ctx context.Context, n int) error {
	if err := s.check(n); err != nil {
		return err
	}
	if s.spec.Free {
		return s.releaseFree(ctx, n)
	}
	h := s.client.heldBy(ctx)
	grants, err := s.taken(h, int64(n))
	if err != nil {
		return err
	}
	var first error
	for _, g := range grants {
		if err := s.release(ctx, h, g); first == nil {
			first = err
		}
	}
	return first
}

func (s *Semaphore) releaseFree(ctx context.Context, n int) error {
	h := s.client.holderOf(ctx)
	session, err := h.use()
	if err != nil {
		return err
	}
	ctx, stop := outlast(ctx)
	defer stop()
	_, err = session.call(ctx, &syncCommand{message: s.releasing(h, 0, int64(n)), object: s.object(), stays: true})
	return err
}

// taken takes grants of so many permits together off the holder's list.
func (s *Semaphore) taken(h *holder, n int64) ([]*grant, error) {
	if h == nil {
		return nil, notHeld("semaphore", s.name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var mine []*grant
	sum := int64(0)
	for _, g := range slices.Backward(h.grants) {
		if g.kind != "semaphore" || g.name != s.name {
			continue
		}
		if g.permits == n {
			mine, sum = []*grant{g}, n
			break
		}
		if sum < n {
			mine = append(mine, g)
			sum += g.permits
		}
	}
	switch {
	case len(mine) == 0:
		return nil, notHeld("semaphore", s.name)
	case sum != n:
		return nil, invalid("permits", fmt.Sprintf("must be what was acquired: the last ones have %d", sum))
	}
	h.grants = slices.DeleteFunc(h.grants, func(g *grant) bool { return slices.Contains(mine, g) })
	return mine, nil
}

// release gives up a grant that is off the list.
func (s *Semaphore) release(ctx context.Context, h *holder, g *grant) error {
	lost := g.lost(h)
	ended := lost
	if lost == nil {
		ended = errReleased
	}
	ctx, stop := outlast(ctx)
	defer stop()
	for _, level := range g.levels {
		level.end(ended)
	}
	if lost != nil {
		return lost
	}
	_, err := g.session.call(ctx, &syncCommand{message: s.releasing(h, g.token, g.permits), object: s.object(), stays: true})
	return err
}

// Environ is what a program that the holder starts is told, for the environment of it: WEFT_HOLDER, so that it acts as the same
// holder ([HolderFromEnv]). The permits of a free semaphore are nobody's, and it is nothing.
func (s *Semaphore) Environ(ctx context.Context) ([]string, error) {
	if s.spec.Free {
		return nil, nil
	}
	h := s.client.heldBy(ctx)
	if h == nil {
		return nil, notHeld("semaphore", s.name)
	}
	h.mu.Lock()
	at := slices.IndexFunc(h.grants, func(g *grant) bool { return g.kind == "semaphore" && g.name == s.name })
	if at < 0 {
		h.mu.Unlock()
		return nil, notHeld("semaphore", s.name)
	}
	g := h.grants[at]
	h.mu.Unlock()
	if err := g.lost(h); err != nil {
		return nil, err
	}
	return h.environ(g), nil
}

// Do runs fn while n permits are held, as [Lock.Do] does.
func (s *Semaphore) Do(ctx context.Context, n int, fn func(ctx context.Context) error) (err error) {
	held, err := s.Acquire(ctx, n)
	if err != nil {
		return err
	}
	defer func() {
		if released := s.releaseLevel(held, n); err == nil {
			err = released
		}
	}()
	return fn(held)
}

// releaseLevel releases what an acquire has got, unless that was done before.
func (s *Semaphore) releaseLevel(held context.Context, n int) error {
	level, ok := held.(*heldContext)
	if !ok {
		return s.releaseFree(context.WithoutCancel(held), n)
	}
	h := level.holder
	h.mu.Lock()
	at := slices.IndexFunc(h.grants, func(g *grant) bool { return slices.Contains(g.levels, level) })
	if at < 0 {
		h.mu.Unlock()
		return level.gone()
	}
	g := h.grants[at]
	h.grants = slices.Delete(h.grants, at, at+1)
	h.mu.Unlock()
	return s.release(context.WithoutCancel(held), h, g)
}
