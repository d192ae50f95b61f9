package shard

import (
	"errors"
	"sync"

	"github.com/weftq/weft/internal/pure"
)

// What may wait in an outbox. A stream that falls so far behind is disconnected; it comes back and is told
// the current state.
const (
	outboxMax      = 1 << 18
	outboxBytesMax = 64 << 20 // of what nothing else keeps, see weigh
)

// ErrClosed is what an outbox that was closed without a reason says.
var ErrClosed = errors.New("shard: the outbox is closed")

// Outbox takes deliveries from the loop to a stream's own goroutine. The loop never waits for it.
type Outbox struct {
	staged  []any // the loop's alone
	touched bool  // the loop's alone
	worker  bool  // the loop's alone: flushed before those of clients and watchers

	mu    sync.Mutex
	items []any
	bytes int // that the items weigh
	err   error
	wake  chan struct{}
	done  chan struct{}
}

// NewOutbox returns an empty outbox.
func NewOutbox() *Outbox { return &Outbox{wake: make(chan struct{}, 1), done: make(chan struct{})} }

// Done is closed when the outbox is.
func (o *Outbox) Done() <-chan struct{} { return o.done }

// Err is why the outbox is closed, nil while it is not.
func (o *Outbox) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Push adds an item from beside the loop.
func (o *Outbox) Push(item any) {
	bytes := weigh([]any{item})
	o.mu.Lock()
	if o.err == nil {
		o.items = append(o.items, item)
		o.bound(bytes)
	}
	o.mu.Unlock()
	o.signal()
}

// bound closes an outbox in which too much waits, now that items of some bytes came. The mutex is held.
func (o *Outbox) bound(bytes int) {
	o.bytes += bytes
	limit, reached := "limit", outboxMax
	switch { // a large batch may be above both
	case o.bytes > outboxBytesMax:
		limit, reached = "limit_bytes", outboxBytesMax
	case len(o.items) > outboxMax:
	default:
		return
	}
	o.items = nil
	o.fail(pure.Refuse(pure.SlowStream, "the stream did not read what was sent to it: reconnect and resume", limit, reached))
}

// fail closes the outbox, once. The mutex is held.
func (o *Outbox) fail(err error) {
	if o.err == nil {
		o.err = err
		close(o.done)
	}
}

// Wake receives when there may be something to take.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// Take returns everything that waits, in order, and then why the outbox is closed, if it is. into is used
// again for the result.
func (o *Outbox) Take(into []any) ([]any, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := o.items
	o.items, o.bytes = into[:0], 0
	if len(items) == 0 {
		return nil, o.err
	}
	return items, nil
}

// Close ends the outbox; what waits in it can still be taken, the rest is dropped.
func (o *Outbox) Close(err error) {
	if err == nil {
		err = ErrClosed
	}
	o.mu.Lock()
	o.fail(err)
	o.mu.Unlock()
	o.signal()
}

// flush hands over what was staged.
func (o *Outbox) flush() {
	o.touched = false
	bytes := weigh(o.staged) // not while the stream may wait for the mutex
	o.mu.Lock()
	if o.err == nil {
		o.items = append(o.items, o.staged...)
		o.bound(bytes)
	}
	o.mu.Unlock()
	clear(o.staged)
	o.staged = o.staged[:0]
	o.signal()
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
