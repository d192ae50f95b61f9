package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Condition is a condition variable: a holder of its lock waits for what another holder changes. As in Python, but
// over the network: no notification is lost, also not to one who is gone or whose time was over, and nobody wakes
// without one.
type Condition struct {
	lock *Lock
	name string
}

// Condition is the condition of that name, with its lock. All who use it say the same lock; nil is the re-entrant lock
// of the condition's own name.
func (c *Client) Condition(name string, lock *Lock) *Condition {
	if lock == nil {
		lock = c.Lock(name).Reentrant()
	}
	return &Condition{lock: lock, name: name}
}

// Lock is the condition's lock.
func (k *Condition) Lock() *Lock { return k.lock }

// Name is the condition's name.
func (k *Condition) Name() string { return k.name }

// Wait gives the lock up, all levels of it, waits to be notified, and comes back with the lock, as deep as before and
// with a new token. Without the lock it is [ErrNotHeld].
//
// If ctx ends first, the error is its cause, and the lock is not held any more: its contexts have ended, and there is
// nothing to release. [Lock.Do] knows that.
func (k *Condition) Wait(ctx context.Context) error {
	_, err := k.wait(ctx, nil)
	return err
}

// WaitWithin is Wait that waits for d at most, 24 hours at most, to be notified; false is that d was over first. The
// lock is held again in any case, however long that takes.
func (k *Condition) WaitWithin(ctx context.Context, d time.Duration) (notified bool, err error) {
	wait, err := waitOf(d)
	if err != nil {
		return false, err
	}
	return k.wait(ctx, wait)
}

// WaitFor waits until the predicate holds, which it asks with the lock held: at first, and after each notification.
func (k *Condition) WaitFor(ctx context.Context, predicate func(ctx context.Context) (bool, error)) error {
	for {
		holds, err := predicate(ctx)
		if err != nil || holds {
			return err
		}
		if err := k.Wait(ctx); err != nil {
			return err
		}
	}
}

// WaitForWithin is WaitFor that waits for d at most, 24 hours at most, and returns what the predicate said last.
func (k *Condition) WaitForWithin(
	ctx context.Context, d time.Duration, predicate func(ctx context.Context) (bool, error),
) (bool, error) {
	if _, err := waitOf(d); err != nil {
		return false, err
	}
	for end := time.Now().Add(d); ; {
		holds, err := predicate(ctx)
		left := time.Until(end)
		if err != nil || holds || left <= 0 {
			return holds, err
		}
		if _, err := k.WaitWithin(ctx, left); err != nil {
			return false, err
		}
	}
}

// wait takes the grant off the holder's list for as long as it waits.
func (k *Condition) wait(ctx context.Context, wait *durationpb.Duration) (notified bool, err error) {
	h := k.lock.client.heldBy(ctx)
	g, err := h.lock(k.lock.name)
	if err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	token, err := h.lend(g)
	if err != nil {
		return false, err
	}
	answer, err := g.session.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_WaitCondition{
			WaitCondition: &weftv1.WaitConditionRequest{
				Name: k.name, Holder: h.proto(), Lock: k.lock.name, Token: token, Wait: wait,
			},
		}},
		object: "condition " + k.name, waits: true, forfeit: k.lock.releasing(h, token, true),
	})
	switch {
	case err == nil:
		err = k.regain(ctx, h, g, answer.GetWaitCondition().GetGrant().GetToken())
		return answer.GetWaitCondition().GetNotified(), err
	case isRefusal(err): // nothing has changed
		_ = k.regain(ctx, h, g, token)
	default:
		h.drop(g, err)
	}
	return false, err
}

// regain takes a grant back that was lent, and releases the levels whose Do has returned in another goroutine meanwhile:
// there was nothing to release then. It is ErrNotHeld if no level is left.
func (k *Condition) regain(ctx context.Context, h *holder, g *grant, token uint64) error {
	owed, left := h.back(g, token)
	for range owed {
		_, err := g.session.call(context.WithoutCancel(ctx), &syncCommand{
			message: k.lock.releasing(h, token, false), object: k.lock.object(), stays: true,
		})
		if err != nil {
			break // it is not held any more
		}
	}
	if !left {
		return notHeld(g.kind, g.name)
	}
	return nil
}

// Notify wakes n of those who wait, the ones that wait longest first; fewer if there are fewer. They go on as each
// gets the lock, which the caller has, and keeps. Without it, it is [ErrNotHeld].
func (k *Condition) Notify(ctx context.Context, n int) error {
	if n < 1 || n > notifyMax {
		return invalid("count", "must be 1 to 1,000,000; see NotifyAll")
	}
	return k.notify(ctx, &weftv1.NotifyConditionRequest{Count: uint32(n)}) //nolint:gosec // checked above
}

// notifyMax is how many can be woken by number.
const notifyMax = 1_000_000

// NotifyAll is Notify of all who wait.
func (k *Condition) NotifyAll(ctx context.Context) error {
	return k.notify(ctx, &weftv1.NotifyConditionRequest{All: true})
}

func (k *Condition) notify(ctx context.Context, m *weftv1.NotifyConditionRequest) error {
	h := k.lock.client.heldBy(ctx)
	g, err := h.lock(k.lock.name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	m.Name, m.Lock, m.Holder, m.Token = k.name, k.lock.name, h.proto(), g.token
	h.mu.Unlock()
	_, err = g.session.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_NotifyCondition{NotifyCondition: m}},
		object:  "condition " + k.name,
	})
	return err
}
