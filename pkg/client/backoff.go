package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Redials wait 50 ms at first, twice as long each time, at most 2 s, of which up to a fifth is taken
// off at random so that many clients of one broker do not come back together.
const (
	backoffFirst  = 50 * time.Millisecond
	backoffMax    = 2 * time.Second
	backoffJitter = 0.2
)

// backoff is the wait between attempts. The zero backoff is ready.
type backoff struct{ next time.Duration }

// reset makes the next wait the first one again.
func (b *backoff) reset() { b.next = 0 }

// step returns the next wait.
func (b *backoff) step() time.Duration {
	if b.next == 0 {
		b.next = backoffFirst
	}
	d := b.next
	b.next = min(2*b.next, backoffMax)
	return d - time.Duration(backoffJitter*rand.Float64()*float64(d))
}

// sleep waits for the next step or for the end of ctx, whose error it returns.
func (b *backoff) sleep(ctx context.Context) error {
	t := time.NewTimer(b.step())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry runs fn until it succeeds, fails for good, ctx ends or the client is closed. What is asked on a connection that
// was given up is asked again on the next one.
func (c *Client) retry(ctx context.Context, fn func() error) error {
	var b backoff
	for {
		err := fn()
		awaitOwnEnd(ctx, err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.ctx.Err() != nil:
			return ErrClosed
		case !resumable(err):
			return fromRPC(err)
		}
		if b.sleep(ctx) != nil { // the real error says more than the deadline that cut the retries
			return fmt.Errorf("%w: %w", context.Cause(ctx), fromRPC(err))
		}
	}
}

// ownEndMargin is how much sooner than ctx the broker, or gRPC, may find ctx's deadline passed.
const ownEndMargin = 100 * time.Millisecond

// awaitOwnEnd waits for the end of ctx if an error says that its deadline has passed: else the error would be
// taken for the broker's.
func awaitOwnEnd(ctx context.Context, err error) {
	if status.Code(err) != codes.DeadlineExceeded {
		return
	}
	if at, ok := ctx.Deadline(); ok && time.Until(at) < ownEndMargin {
		<-ctx.Done()
	}
}
