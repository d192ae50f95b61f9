package task

import (
	"context"
	"sync"
)

// Holder is an attempt as the lock service knows it: what the attempt's handler locks is held by it, and given up when
// its worker reports its end. Package client uses it; handlers need not.
type Holder struct {
	// Namespace is the worker's; empty is "default".
	Namespace string
	// SessionID is the worker's session.
	SessionID string
	// Number of the holder in that session: the attempt's token.
	Number uint64
	// Name for people: the kind and the task's id.
	Name string
	// Err is [Attempt.Err].
	Err func() error

	once  sync.Once
	state any
}

// State is what a client keeps about the holder: what init returned the first time.
func (h *Holder) State(init func() any) any {
	h.once.Do(func() { h.state = init() })
	return h.state
}

// HolderOf is the holder of the attempt that ctx belongs to; nil outside of a worker.
func HolderOf(ctx context.Context) *Holder {
	if r, ok := Current(ctx).Runtime.(interface{ Holder() *Holder }); ok {
		return r.Holder()
	}
	return nil
}
