package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// SharedEvent is a flag that programs wait for, as Python's Event. It stays set, for those who come later, until it is
// cleared.
type SharedEvent struct {
	client *Client
	name   string
}

// Event is the event of that name. One that was never set is clear.
func (c *Client) Event(name string) *SharedEvent { return &SharedEvent{c, name} }

// Name is the event's name.
func (e *SharedEvent) Name() string { return e.name }

// Set sets the event, and wakes all who wait for it. One that is set stays so.
func (e *SharedEvent) Set(ctx context.Context) error {
	return e.change(ctx, &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_SetEvent{
		SetEvent: &weftv1.SetEventRequest{Name: e.name},
	}})
}

// Clear clears the event.
func (e *SharedEvent) Clear(ctx context.Context) error {
	return e.change(ctx, &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_ClearEvent{
		ClearEvent: &weftv1.ClearEventRequest{Name: e.name},
	}})
}

func (e *SharedEvent) change(ctx context.Context, m *weftv1.SynchronizeCommand) error {
	_, err := e.client.ownCommand(ctx, &syncCommand{message: m, object: e.object()})
	return err
}

func (e *SharedEvent) object() string { return "event " + e.name }

// ownCommand carries out a command that needs no holder, in the client's own session.
func (c *Client) ownCommand(ctx context.Context, cmd *syncCommand) (*weftv1.SynchronizeAnswer, error) {
	s, err := c.syncSession("")
	if err != nil {
		return nil, err
	}
	return s.call(ctx, cmd)
}

// IsSet tells whether the event is set.
func (e *SharedEvent) IsSet(ctx context.Context) (bool, error) { return e.WaitWithin(ctx, 0) }

// Wait waits until the event is set. One that is cleared again at once has woken all who waited all the same.
func (e *SharedEvent) Wait(ctx context.Context) error {
	_, err := e.wait(ctx, nil)
	return err
}

// WaitWithin is Wait that waits for d at most, 24 hours at most; false is that d was over first.
func (e *SharedEvent) WaitWithin(ctx context.Context, d time.Duration) (bool, error) {
	wait, err := waitOf(d)
	if err != nil {
		return false, err
	}
	return e.wait(ctx, wait)
}

// wait waits, in a new session if one is lost: nothing hangs on it but what the event was at the beginning.
func (e *SharedEvent) wait(ctx context.Context, wait *durationpb.Duration) (bool, error) {
	cmd := &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_WaitEvent{
			WaitEvent: &weftv1.WaitEventRequest{Name: e.name, Wait: wait},
		}},
	}
	answer, err := e.client.ownWait(ctx, cmd, e.object(), wait)
	return answer.GetWaitEvent().GetSet(), err
}

// ownWait carries out a wait that is not durable, over as many sessions as it takes.
func (c *Client) ownWait(
	ctx context.Context, first *syncCommand, object string, wait *durationpb.Duration,
) (*weftv1.SynchronizeAnswer, error) {
	cmd := first
	if wait != nil {
		cmd.until = time.Now().Add(wait.AsDuration())
	}
	for {
		cmd.object, cmd.waits = object, true
		answer, err := c.ownCommand(ctx, cmd)
		if !errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrClosed) || ctx.Err() != nil {
			return answer, err
		}
		cmd = cmd.anew(time.Now())
	}
}
