package client

import (
	"context"
	"errors"
)

// errReleased ends the context of what was released.
var errReleased = errors.New("client: released")

// heldContext is the context of what is held: it ends with its parent, with the lease, or when that is released.
type heldContext struct {
	context.Context // of the standard library, so that what is derived from it follows it without a goroutine

	holder  *holder
	session *syncSession
	object  string
	cancel  context.CancelCauseFunc
	forget  func() bool // stops following the session
}

// hold makes the context of what is held in a session.
func (h *holder) hold(ctx context.Context, s *syncSession, object string) *heldContext {
	c := &heldContext{holder: h, session: s, object: object}
	c.Context, c.cancel = context.WithCancelCause(ctx)
	s.holds()
	c.forget = context.AfterFunc(s.ctx, func() { _ = c.check() })
	context.AfterFunc(c.Context, func() {
		c.forget()
		s.held.Add(-1)
	})
	return c
}

// check ends the context if the lease is over, which it finds by asking the clock. It returns the lease's loss.
func (c *heldContext) check() error {
	lost := c.holder.lost(c.session, c.object)
	if lost != nil {
		c.cancel(lost)
	}
	return lost
}

// Err implements context.Context. It does not rely on timers alone: a process or a machine that stood still for longer
// than the lease, and goes on, finds its context done before any timer has fired.
func (c *heldContext) Err() error {
	if err := c.Context.Err(); err != nil {
		return err
	}
	_ = c.check()
	return c.Context.Err()
}

// Value implements context.Context: the holder, and what the parent has.
func (c *heldContext) Value(key any) any {
	if key == (identityKey{}) {
		return c.holder.id
	}
	return c.Context.Value(key)
}

// end ends the context of what is held no more.
func (c *heldContext) end(cause error) { c.cancel(cause) }
