package client

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Lock is a lock of the namespace, for programs on many machines. It needs no declaration, and its methods may be
// used from several goroutines.
//
// Who has it is a holder (see [NewHolder]), for as long as its client is in touch with the broker: the context that
// [Lock.Acquire] returns, and that [Lock.Do] gives to its function, ends when that is over, before the broker can give
// the lock to others. Its Err method asks the clock; contexts that are derived from it learn by a timer, which after a
// standstill of the process or the machine comes a moment late. What the code has begun after its last look at the
// context is protected by the fencing token alone ([Lock.Token]): whoever guards a resource remembers the highest
// token that it has seen, or asks [Lock.Check].
type Lock struct {
	client    *Client
	name      string
	mode      weftv1.LockMode
	reentrant bool
}

// Lock is the lock of that name: 1 to 256 letters, digits and . _ / -.
func (c *Client) Lock(name string) *Lock {
	return &Lock{client: c, name: name, mode: weftv1.LockMode_LOCK_MODE_EXCLUSIVE}
}

// Name is the lock's name.
func (l *Lock) Name() string { return l.name }

// Shared is the same lock, to be held beside others who hold it shared, as a read lock. Who waits for it exclusively
// goes before those who come later.
func (l *Lock) Shared() *Lock {
	out := *l
	out.mode = weftv1.LockMode_LOCK_MODE_SHARED
	return &out
}

// Reentrant is the same lock, which a holder that has it acquires once more, at once, as Python's RLock: it is free
// after as many releases. Without it a holder that acquires it again waits for itself, which is [ErrDeadlock].
func (l *Lock) Reentrant() *Lock {
	out := *l
	out.reentrant = true
	return &out
}

// Acquire acquires the lock, in turn with the others who wait. The returned context is of the holder of ctx, or of a
// new one, and ends with the lock: by [Lock.Release], or because the lease is lost, and then its cause is a
// [*LeaseLostError]. A wait that would never end is [ErrDeadlock], in which the cycle is spelled out. If ctx ends
// first, the error is its cause, and nothing is held.
func (l *Lock) Acquire(ctx context.Context) (context.Context, error) {
	held, _, err := l.acquire(ctx, nil, "")
	return held, err
}

// TryAcquire is Acquire that does not wait; false is a lock that another holder has, and then the context is ctx.
func (l *Lock) TryAcquire(ctx context.Context) (context.Context, bool, error) {
	return l.acquire(ctx, durationpb.New(0), "")
}

// AcquireWithin is Acquire that waits for d at most, 24 hours at most; false is that d was over first. As such a wait
// ends by itself, it is no deadlock.
func (l *Lock) AcquireWithin(ctx context.Context, d time.Duration) (context.Context, bool, error) {
	wait, err := waitOf(d)
	if err != nil {
		return ctx, false, err
	}
	return l.acquire(ctx, wait, "")
}

// syncWaitMax is the longest wait of the lock service.
const syncWaitMax = 24 * time.Hour

// waitOf is a limited wait.
func waitOf(d time.Duration) (*durationpb.Duration, error) {
	switch {
	case d < 0:
		return nil, invalid("wait", fmt.Sprintf("must not be negative: %v", d))
	case d > syncWaitMax:
		return nil, invalid("wait", fmt.Sprintf("must be at most %v: %v", syncWaitMax, d))
	}
	return durationpb.New(d), nil
}

// object is the lock for people.
func (l *Lock) object() string { return "lock " + l.name }

func (l *Lock) acquire(
	ctx context.Context, wait *durationpb.Duration, published string,
) (held context.Context, ok bool, err error) {
	h := l.client.holderOf(ctx)
	s, err := h.use()
	if err != nil {
		return ctx, false, err
	}
	request := &weftv1.AcquireLockRequest{
		Name: l.name, Holder: h.proto(), Mode: l.mode, Reentrant: l.reentrant, Wait: wait, Published: published,
	}
	answer, err := s.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_AcquireLock{AcquireLock: request}},
		object:  l.object(), waits: true,
	})
	if err != nil || !answer.GetAcquireLock().GetAcquired() {
		return ctx, false, err
	}
	return h.took(ctx, &grant{
		session: s, kind: "lock", name: l.name, token: answer.GetAcquireLock().GetGrant().GetToken(),
	}), true, nil
}

// releasing is the command that gives up a grant.
func (l *Lock) releasing(h *holder, token uint64, all bool) *weftv1.SynchronizeCommand {
	return &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_ReleaseLock{
		ReleaseLock: &weftv1.ReleaseLockRequest{Name: l.name, Holder: h.proto(), Token: token, All: all},
	}}
}

// Release gives the lock up, or one level of it, and ends the context of the last Acquire. The holder is that of ctx;
// if it has the lock several times, it is the newest grant. It is done also if ctx has ended; it returns sooner than
// the broker has answered only if ctx ends meanwhile. What the holder does not have is [ErrNotHeld], what it has lost
// [ErrLeaseLost].
func (l *Lock) Release(ctx context.Context) error {
	h := l.client.heldBy(ctx)
	g, err := h.newest(l.name)
	if err != nil {
		return err
	}
	up, ok := h.giveUpLast(g)
	if !ok {
		return notHeld(g.kind, g.name)
	}
	return l.release(ctx, h, up)
}

// outlast is a context for a release by ctx: it does not end because of the release itself, and not at all if ctx has
// ended already. The release itself ends with the lease at the latest.
func outlast(ctx context.Context) (out context.Context, stop func()) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if ctx.Err() != nil {
		return out, func() { cancel(nil) }
	}
	forget := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); cause != errReleased { //nolint:errorlint // it is never wrapped
			cancel(cause)
		}
	})
	return out, func() { forget(); cancel(nil) }
}

// release releases a level that is off its grant. One that is owed comes back first: see Condition.regain.
func (l *Lock) release(ctx context.Context, h *holder, up givenUp) error {
	if lost := up.grant.lost(h); lost != nil {
		up.level.end(lost)
		return lost
	}
	ctx, stop := outlast(ctx)
	defer stop()
	up.level.end(errReleased)
	if up.owed {
		return nil
	}
	_, err := up.grant.session.call(ctx, &syncCommand{message: l.releasing(h, up.token, false), object: l.object(), stays: true})
	return err
}

// Do runs fn while the lock is held: its context is that of [Lock.Acquire]. The lock is released also if fn panics, or
// ctx has ended. The error is that of Acquire, of fn or of the release, whichever is first: one that has lost the lock
// on the way is [ErrLeaseLost].
func (l *Lock) Do(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	held, err := l.Acquire(ctx)
	if err != nil {
		return err
	}
	return l.within(held, fn)
}

// within runs fn, and releases what was acquired.
func (l *Lock) within(held context.Context, fn func(ctx context.Context) error) (err error) {
	level, _ := held.(*heldContext)
	defer func() {
		if released := l.releaseLevel(level); err == nil {
			err = released
		}
	}()
	return fn(held)
}

// releaseLevel releases what an acquire has got, unless that was done before.
func (l *Lock) releaseLevel(level *heldContext) error {
	up, ok := level.holder.giveUpLevel(level)
	if !ok {
		return level.gone()
	}
	return l.release(context.WithoutCancel(level), level.holder, up)
}

// gone tells why something is held no more, nil if it was released.
func (c *heldContext) gone() error {
	cause := context.Cause(c.Context)
	if cause == errReleased { //nolint:errorlint // it is never wrapped
		return nil
	}
	return cause
}

// Token is the fencing token of the holder's newest grant of the lock. Tokens rise in a namespace: a later grant, of
// any lock, has a higher one.
func (l *Lock) Token(ctx context.Context) (uint64, error) {
	h := l.client.heldBy(ctx)
	g, err := h.lock(l.name)
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return g.token, nil
}

// Check asks the broker whether a token is of a live grant of the lock: for whoever guards a resource. Otherwise it is
// [ErrTokenStale].
func (l *Lock) Check(ctx context.Context, token uint64) error {
	if token == 0 {
		return invalid("token", "must not be 0")
	}
	c := l.client
	return c.retry(ctx, func() error {
		_, err := c.locks().CheckLock(ctx, &weftv1.CheckLockRequest{Namespace: c.namespace, Name: l.name, Token: token})
		return err
	})
}

// State tells who has the lock and who waits for it.
func (l *Lock) State(ctx context.Context) (state *weftv1.Lock, err error) {
	c := l.client
	err = c.retry(ctx, func() error {
		response, err := c.locks().GetLock(ctx, &weftv1.GetLockRequest{Namespace: c.namespace, Name: l.name})
		state = response.GetLock()
		return err
	})
	return state, err
}

// locks is the generated client on the connection of the moment.
func (c *Client) locks() weftv1.LockServiceClient { return weftv1.NewLockServiceClient(c.current()) }

// Environ is what a program that the holder starts is told, for the environment of it: WEFT_HOLDER, so that it acts as
// the same holder ([HolderFromEnv]), and WEFT_FENCE, the token of the lock.
func (l *Lock) Environ(ctx context.Context) ([]string, error) {
	h := l.client.heldBy(ctx)
	g, err := h.lock(l.name)
	if err != nil {
		return nil, err
	}
	env := h.environ(g)
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(env, EnvFence+"="+strconv.FormatUint(g.token, 10)), nil
}

// environ names the holder of a grant to another program.
func (h *holder) environ(g *grant) []string {
	g.session.mu.Lock()
	defer g.session.mu.Unlock()
	g.session.shared = true
	return []string{EnvHolder + "=" + g.session.id + ":" + strconv.FormatUint(h.number, 10)}
}
