package client

import (
	"context"
	"fmt"
	"iter"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Election has one leader at a time, who publishes a text, an address say, for those who observe. It is the lock of
// its name.
type Election struct{ lock *Lock }

// Election is the election of that name.
func (c *Client) Election(name string) *Election { return &Election{c.Lock(name)} }

// Name is the election's name.
func (e *Election) Name() string { return e.lock.name }

// Lock is the lock that the leader has.
func (e *Election) Lock() *Lock { return e.lock }

// Leader is who leads.
type Leader struct {
	// Name of the session and of the holder, for people.
	Name string
	// Published is what the leader publishes.
	Published string
	// Token is the fencing token of the leadership; 0 if nobody leads.
	Token uint64
}

// publishedMax bounds what is published.
const publishedMax = 4096

func checkPublished(published string) error {
	if len(published) > publishedMax {
		return invalid("published", fmt.Sprintf("must have at most %d bytes: %d", publishedMax, len(published)))
	}
	return nil
}

// Campaign waits until the holder of ctx leads, and publishes a text of at most 4,096 bytes. The returned context ends
// with the leadership, as that of [Lock.Acquire].
func (e *Election) Campaign(ctx context.Context, published string) (context.Context, error) {
	if err := checkPublished(published); err != nil {
		return ctx, err
	}
	held, _, err := e.lock.acquire(ctx, nil, published)
	return held, err
}

// Resign gives the leadership up.
func (e *Election) Resign(ctx context.Context) error { return e.lock.Release(ctx) }

// Publish changes what the leader publishes. Who does not lead is refused with [ErrNotHeld].
func (e *Election) Publish(ctx context.Context, published string) error {
	if err := checkPublished(published); err != nil {
		return err
	}
	h := e.lock.client.heldBy(ctx)
	g, err := h.lock(e.lock.name)
	if err != nil {
		return err
	}
	h.mu.Lock()
	m := &weftv1.PublishLockRequest{Name: e.lock.name, Holder: h.proto(), Token: g.token, Published: published}
	h.mu.Unlock()
	_, err = g.session.call(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_PublishLock{PublishLock: m}},
		object:  e.lock.object(),
	})
	return err
}

// Leader tells who leads; false is nobody.
func (e *Election) Leader(ctx context.Context) (Leader, bool, error) {
	state, err := e.lock.State(ctx)
	if err != nil {
		return Leader{}, false, err
	}
	for _, h := range state.GetHolders() {
		if h.GetMode() == weftv1.LockMode_LOCK_MODE_EXCLUSIVE {
			return leaderOf(h), true, nil
		}
	}
	return Leader{}, false, nil
}

func leaderOf(h *weftv1.LockHolder) Leader {
	return Leader{Name: h.GetName(), Published: h.GetPublished(), Token: h.GetToken()}
}

// Observe gives who leads, now and after each change, also of what is published; with token 0 nobody does. Changes
// that follow each other closely may be given as one. It goes on until ctx ends; an error is the last thing given.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		w := &observing{lock: e.lock, yield: yield}
		if err := e.lock.client.overStreams(ctx, &w.backoff, w.stream); err != nil {
			yield(Leader{}, err)
		}
	}
}

// observing is one run of Observe.
type observing struct {
	lock    *Lock
	yield   func(Leader, error) bool
	backoff backoff
	begun   bool
	last    Leader
}

func (w *observing) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := w.lock.client
	stream, err := c.locks().WatchLock(ctx, &weftv1.WatchLockRequest{Namespace: c.namespace, Name: w.lock.name})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		w.backoff.reset()
		leader := leaderOf(m.GetHolder())
		if w.begun && leader == w.last {
			continue // after a cut
		}
		w.begun, w.last = true, leader
		if !w.yield(leader, nil) {
			return errStopped
		}
	}
}
