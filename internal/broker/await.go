package broker

import (
	"context"
	"time"

	"github.com/weftq/weft/internal/shard"
)

// answer is what a reply was called with.
type answer[T any] struct {
	value T
	err   error
}

// await has a command decided whose reply may come much later, and waits for it until a time is over or the
// RPC is. forget has it come then: it may be granted at the same moment, so whatever was sent is answered for
// certain, also when the term is over and nothing can be forgotten. over is nil to wait as long as the RPC.
func await[T any](ctx context.Context, loop *shard.Loop, cmd shard.Command, over <-chan time.Time, forget shard.Command) (a answer[T], sent error) {
	answerC := make(chan answer[T], 1)
	err := loop.Send(ctx, cmd, 0, func(value any, err error) {
		v, _ := value.(T)
		select {
		case answerC <- answer[T]{v, err}:
		default: // a term that ends by a panic may answer twice
		}
	})
	if err != nil {
		return a, err
	}
	select {
	case a = <-answerC:
		return a, nil
	case <-over:
	case <-ctx.Done():
	}
	_ = loop.Send(context.WithoutCancel(ctx), forget, 0, nil)
	return <-answerC, nil
}

// waitTimer is a timer's channel for a wait, nil without one; stop it in the end.
func waitTimer(wait time.Duration, limited bool) (<-chan time.Time, func()) {
	if !limited {
		return nil, func() {}
	}
	timer := time.NewTimer(wait)
	return timer.C, func() { timer.Stop() }
}
