package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Barrier is where a number of parties wait for each other, as Python's Barrier, again and again. One that fails, is
// gone or is not in time breaks it for all: then everyone is told [ErrBrokenBarrier], until it is reset.
type Barrier struct {
	client  *Client
	name    string
	parties int
	action  func(context.Context) error
}

// BarrierOption changes a barrier.
type BarrierOption func(*Barrier)

// Action has the last party that comes run a function before all go on. If it fails or panics, the barrier is broken.
// Its context ends when the broker gives the party up. It takes as long as it takes: the others' time does not run
// meanwhile.
func Action(fn func(ctx context.Context) error) BarrierOption {
	return func(b *Barrier) { b.action = fn }
}

// partiesMax is the most parties of a barrier.
const partiesMax = 10_000

// Barrier is the barrier of that name, for 1 to 10,000 parties. All say the same number; else it is BARRIER_MISMATCH.
func (c *Client) Barrier(name string, parties int, opts ...BarrierOption) *Barrier {
	b := &Barrier{client: c, name: name, parties: parties}
	for _, o := range opts {
		o(b)
	}
	return b
}

// Name is the barrier's name.
func (b *Barrier) Name() string { return b.name }

func (b *Barrier) object() string { return "barrier " + b.name }

// Wait waits until all parties have come, and returns the place of this one in their order: 0 to one less than their
// number. If ctx ends first, the error is its cause, and the barrier is broken.
func (b *Barrier) Wait(ctx context.Context) (int, error) { return b.wait(ctx, nil) }

// WaitWithin is Wait that waits for d at most, 24 hours at most. If that is over first, the barrier is broken.
func (b *Barrier) WaitWithin(ctx context.Context, d time.Duration) (int, error) {
	wait, err := waitOf(d)
	if err != nil {
		return 0, err
	}
	return b.wait(ctx, wait)
}

func (b *Barrier) wait(ctx context.Context, wait *durationpb.Duration) (int, error) {
	if b.parties < 1 || b.parties > partiesMax {
		return 0, invalid("parties", fmt.Sprintf("must be 1 to %d", partiesMax))
	}
	h := b.client.holderOf(ctx)
	s, err := h.use()
	if err != nil {
		return 0, err
	}
	answer, err := s.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_WaitBarrier{
			WaitBarrier: &weftv1.WaitBarrierRequest{
				Name: b.name, Holder: h.proto(), Parties: int32(b.parties), Action: b.action != nil, Wait: wait, //nolint:gosec // checked above
			},
		}},
		object: b.object(), waits: true,
	})
	if err != nil {
		return 0, err
	}
	m := answer.GetWaitBarrier()
	if m.GetAct() {
		if err := b.act(ctx, h, s, m.GetGeneration()); err != nil {
			return 0, err
		}
	}
	return int(m.GetIndex()), nil
}

// act runs the action, and lets the others go on.
func (b *Barrier) act(ctx context.Context, h *holder, s *syncSession, generation uint64) error {
	held := h.hold(ctx, s, b.object())
	defer held.end(errReleased)
	done := false
	defer func() {
		if !done { // it has failed, or panics
			b.fail(ctx)
		}
	}()
	if err := b.action(held); err != nil {
		return fmt.Errorf("client: the action of the barrier %s: %w", b.name, err)
	}
	done = true
	_, err := s.call(context.WithoutCancel(ctx), &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_CompleteBarrier{
			CompleteBarrier: &weftv1.CompleteBarrierRequest{Name: b.name, Holder: h.proto(), Generation: generation},
		}},
		object: b.object(), stays: true,
	})
	return err
}

// fail breaks the barrier for the others; if the broker is away for long, this party's end does.
func (b *Barrier) fail(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	_, _ = b.client.ownCommand(ctx, &syncCommand{message: b.aborting(), object: b.object(), stays: true})
}

func (b *Barrier) aborting() *weftv1.SynchronizeCommand {
	return &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_AbortBarrier{
		AbortBarrier: &weftv1.AbortBarrierRequest{Name: b.name},
	}}
}

// Abort breaks the barrier: who waits there, and who comes, is told [ErrBrokenBarrier].
func (b *Barrier) Abort(ctx context.Context) error {
	_, err := b.client.ownCommand(ctx, &syncCommand{message: b.aborting(), object: b.object()})
	return err
}

// Reset makes the barrier as new. Who waits there is told [ErrBrokenBarrier].
func (b *Barrier) Reset(ctx context.Context) error {
	_, err := b.client.ownCommand(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_ResetBarrier{
			ResetBarrier: &weftv1.ResetBarrierRequest{Name: b.name},
		}},
		object: b.object(),
	})
	return err
}
