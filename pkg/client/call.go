package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Call is a group of tasks that a client submits on one stream. The stream may be cut at any moment:
// the call comes back by itself, sends what did not arrive and loses nothing. Its methods may be used
// from several goroutines.
type Call struct {
	client *Client
	config callConfig

	ctx    context.Context // ends with the call
	cancel context.CancelCauseFunc
	gone   chan struct{} // closed when the call's goroutines are gone

	mu          sync.Mutex
	err         error // why the call ended; nil while it goes on
	encoder     encoder
	next        uint64        // index of the next task
	futures     pages         // those that are not settled
	live        int           // how many
	waiting     int           // of them, without an end
	queue       fifo          // to be sent, by index
	sent        fifo          // sent on this stream; the accepted ones leave from the front
	refill      []*SpecFuture // refused for a full window, to be sent again after an acknowledgement
	held        []*SpecFuture // wait for the broker to take the tasks that they are after
	window      window
	met         rangeSet // what was in the call before this client came to it
	early       early    // of tasks that are not accepted: of a call met again
	acked       rangeSet // everything that the broker may forget, told or not
	ackC        rangeSet // of that, what is to be told on this stream
	ackCount    int      // how many indexes that is
	cancels     []cancelRequest
	finish      bool   // no more tasks
	finished    bool   // and told so on this stream
	lastBeat    uint64 // the heartbeat behind the last word of a finished call, 0 before
	over        bool   // it was answered
	beats       beats
	asleep      bool          // the sender waits for wakeC
	wakeC       chan struct{} // has room for one sign
	session     string
	wasAttached bool
	connected   bool          // on an attached stream
	resolved    []*SpecFuture // ended since the sink was told
	idleC       chan struct{} // closed when every task has ended; nil while nobody waits for it

	interruptTaken uint64 // its number, to be told; 0 is none
	interruptHad   uint64 // the number of the last one that was heard
	withdrawn      uint64 // tasks below this index that had not begun are to be cancelled, until the broker knows
	withdrawnBeat  uint64 // a heartbeat behind that, 0 before it was sent
}

// cancelRequest is a cancel to be sent for the indexes from first to last.
type cancelRequest struct {
	first, last uint64
	grace       time.Duration
	waitingOnly bool
}

// early is what the broker tells of tasks before this client has come to them.
type early struct {
	outcomes map[uint64]inOutcome
	advances map[uint64]*more
}

// take notes what a task has brought: the last progress, and each partial result once.
func (e *early) take(m *weftv1.ExecuteAdvance) {
	if e.advances == nil {
		e.advances = make(map[uint64]*more)
	}
	x := e.advances[m.GetIndex()]
	if x == nil {
		x = &more{}
		e.advances[m.GetIndex()] = x
	}
	if p := m.GetProgress(); p != nil {
		x.takeProgress(p, m.GetToken())
	}
	x.takePartials(m.GetPartialsOffset(), m.GetPartials())
}

// callConfig is what the options say.
type callConfig struct {
	id          string
	named       bool
	explicitAck bool
	rejectFull  bool
	onUpdate    func(Update)
	sink        func([]*SpecFuture) // futures that have ended, a frame's at a time
}

// check finds options that make no sense.
func (c *callConfig) check() error { return checkCallName(c.id) }

// callName is what a call may be named.
var callName = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,256}$`)

// checkCallName refuses what the broker would.
func checkCallName(name string) error {
	if !callName.MatchString(name) {
		return fmt.Errorf("client: Name(%q): 1 to 256 bytes of A-Z a-z 0-9 . _ / -", name)
	}
	return nil
}

// CallOption changes a call.
type CallOption interface{ applyCall(*callConfig) }

type callOptionFunc func(*callConfig)

func (f callOptionFunc) applyCall(c *callConfig) { f(c) }

// NameOption is an option of calls and of maps.
type NameOption struct{ name string }

func (o NameOption) applyCall(c *callConfig) { c.id, c.named = o.name, true }
func (o NameOption) applyMap(c *mapConfig)   { c.name = &o.name }

// Name gives the call a name of 1 to 256 bytes of [A-Za-z0-9._/-] by which it is met again: a call of
// that name attaches to the tasks that are there, and an equal task at the same index is not doubled.
// Without it the name is random, and nobody else can attach.
func Name(name string) NameOption { return NameOption{name} }

// OnUpdate tells when a task begins and when it falls back to waiting. The function is called from the
// goroutine that receives, which it must not hold up.
func OnUpdate(fn func(Update)) CallOption {
	return callOptionFunc(func(c *callConfig) { c.onUpdate = fn })
}

// ExplicitAck keeps an outcome at the broker until [SpecFuture.Ack], so that its spooled output can still be
// fetched, and counts it in the window until then. By default it is forgotten once it has arrived.
func ExplicitAck() CallOption {
	return callOptionFunc(func(c *callConfig) { c.explicitAck = true })
}

// RejectWhenFull has a task refused with [ErrFull] when its queue is full. By default it waits for room.
func RejectWhenFull() CallOption {
	return callOptionFunc(func(c *callConfig) { c.rejectFull = true })
}

// sinkTo hands over futures that have ended, from the goroutine that receives.
func sinkTo(fn func([]*SpecFuture)) CallOption {
	return callOptionFunc(func(c *callConfig) { c.sink = fn })
}

// NewCall begins a call, which has to be closed. It connects in the background: an error that ends the
// call is told by Submit, by its futures and by [Call.Wait].
func (c *Client) NewCall(opts ...CallOption) *Call {
	call := &Call{
		client: c,
		config: callConfig{id: rand.Text()},
		gone:   make(chan struct{}),
		wakeC:  make(chan struct{}, 1),
		window: newWindow(),
	}
	for _, o := range opts {
		o.applyCall(&call.config)
	}
	call.ctx, call.cancel = context.WithCancelCause(c.ctx)
	err := call.config.check()
	if err == nil && !c.join(call) {
		err = ErrClosed
	}
	if err != nil {
		call.end(err)
		close(call.gone)
		return call
	}
	go call.run()
	return call
}

// ID is the call's name.
func (c *Call) ID() string { return c.config.id }

// Submit gives a task to the call and returns its future. It blocks while the call's window is full:
// when the broker holds too many tasks or bytes that were not acknowledged. Errors: ctx's, the error
// that ended the call, [ErrFinished], or one of encoding. That the broker refuses the task is told by
// the future.
func (c *Call) Submit(ctx context.Context, spec Spec) (*SpecFuture, error) {
	f := &SpecFuture{}
	if err := c.submit(ctx, f, &spec); err != nil {
		return nil, err
	}
	return f, nil
}

// submit is Submit with a future that the caller made.
func (c *Call) submit(ctx context.Context, f *SpecFuture, spec *Spec) error {
	before, err := c.futuresBefore(spec)
	if err != nil {
		return err
	}
	f.call, f.size = c, spec.workBytes()
	f.after, f.runOnFailure = before, spec.OnDependencyFailure == weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.waitForRoom(ctx, f.size); err != nil {
		return err
	}
	encoded, err := c.encoder.task(c.next, spec)
	if err != nil {
		return err
	}
	f.index, f.encoded = c.next, encoded
	c.next++
	c.futures.put(f.index, f)
	c.live++
	c.waiting++
	c.window.take(f.size)
	c.queue.push(f)
	c.wake()
	return nil
}

// submitBad gives the call a task that ends at once with an error: the broker never hears of it.
func (c *Call) submitBad(f *SpecFuture, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.endError()
	}
	f.call, f.index, f.err = c, c.next, err
	c.next++
	c.futures.put(f.index, f)
	c.live++
	c.waiting++
	c.window.take(0)
	c.publish(f)
	c.void(f)
	c.flushResolved()
	return nil
}

// waitForRoom returns once a task of that size fits into the window. It is called and returns with the
// lock held, and lets it go meanwhile.
func (c *Call) waitForRoom(ctx context.Context, size int) error {
	for {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.err != nil:
			return c.endError()
		case c.finish:
			c.window.pass() // the others are to know it too
			return ErrFinished
		case c.window.fits(size):
			c.window.pass()
			return nil
		}
		c.window.waiters++
		c.mu.Unlock()
		err := c.awaitRoom(ctx)
		c.mu.Lock()
		c.window.waiters--
		if err != nil {
			c.window.pass() // the room may have been meant for this one
			return err
		}
	}
}

// awaitRoom waits for a sign that there may be room.
func (c *Call) awaitRoom(ctx context.Context) error {
	select {
	case <-c.window.roomC:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ctx.Done():
		return nil // the loop finds the call's error
	}
}

// Finish says that no more tasks will come. The call ends once every outcome is acknowledged.
func (c *Call) Finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish = true
	c.window.pass()
	c.wake()
}

// Wait waits for the end of the call: nil after [Call.Finish] when the broker has nothing left of it,
// or the error that ended it. ctx ending changes nothing.
func (c *Call) Wait(ctx context.Context) error {
	select {
	case <-c.gone:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Err is why the call ended: nil while it goes on, and after it ended well.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.err, errDone) {
		return nil
	}
	return c.err
}

// endError is what a call that has ended answers to who wants more of it.
func (c *Call) endError() error {
	if errors.Is(c.err, errDone) {
		return ErrFinished
	}
	return c.err
}

// Cancel cancels every task that has not ended, as [SpecFuture.Cancel] does. The call goes on.
func (c *Call) Cancel(grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	for f := range c.futures.all() {
		c.markCancelled(f, grace)
	}
	c.dropCancelled()
	if c.waiting > 0 {
		c.cancels = append(c.cancels, cancelRequest{first: 0, last: c.next - 1, grace: grace})
		c.wake()
	}
}

// addCancel queues a cancel; neighbours with the same grace become one.
func (c *Call) addCancel(first, last uint64, grace time.Duration) {
	if n := len(c.cancels); n > 0 {
		if tail := &c.cancels[n-1]; tail.last+1 == first && tail.grace == grace && !tail.waitingOnly {
			tail.last = last
			return
		}
	}
	c.cancels = append(c.cancels, cancelRequest{first: first, last: last, grace: grace})
}

// cancelOne is SpecFuture.Cancel.
func (c *Call) cancelOne(f *SpecFuture, grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || f.state >= futureResolved {
		return
	}
	c.markCancelled(f, grace)
	if f.state == futureQueued && !c.met.has(f.index) {
		c.dropCancelled()
		return
	}
	c.addCancel(f.index, f.index, grace)
	c.wake()
}

// markCancelled remembers a cancel for a future that has not ended. A shorter grace takes over.
func (c *Call) markCancelled(f *SpecFuture, grace time.Duration) {
	if f.state >= futureResolved {
		return
	}
	if !f.cancelled || (grace != 0 && (f.grace == 0 || grace < f.grace)) {
		f.grace = grace
	}
	f.cancelled = true
}

// dropCancelled ends cancelled tasks that were not sent: the broker never hears of them. One of a call
// that was met again may be there from before.
func (c *Call) dropCancelled() {
	c.queue.set(c.dropFrom(c.queue.all()))
	c.refill = c.dropFrom(c.refill)
	c.held = c.dropFrom(c.held)
	c.releaseHeld()
	c.flushResolved()
}

// dropFrom ends the cancelled futures of a list and returns the others.
func (c *Call) dropFrom(list []*SpecFuture) []*SpecFuture {
	kept := list[:0]
	for _, f := range list {
		if !f.cancelled || c.met.has(f.index) {
			kept = append(kept, f)
			continue
		}
		f.outcome = cancelledHere()
		c.publish(f)
		c.void(f)
	}
	clear(list[len(kept):])
	return kept
}

// Flush returns once the broker has durably taken everything that was submitted, cancelled and
// acknowledged before.
func (c *Call) Flush(ctx context.Context) error {
	done := make(chan struct{})
	c.mu.Lock()
	if c.err == nil {
		c.beats.flush(done)
		c.wake()
	}
	c.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-c.gone:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closeWait bounds what a clean end may take.
const closeWait = time.Second

// Close ends the call on the client's side. What has not ended gets [ErrClosed]; its tasks go on, daemon
// tasks apart, and a call of a name can be met again. What was acknowledged is told to the broker first,
// if it is reachable: Close takes a second at most. It may be repeated.
func (c *Call) Close() {
	c.leaveCleanly()
	c.cancel(ErrClosed)
	<-c.gone
	c.closeSession()
}

// leaveCleanly finishes a call that has nothing open, or tells its last acknowledgements.
func (c *Call) leaveCleanly() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	c.mu.Lock()
	reachable, live, untold := c.connected && c.err == nil, c.live, !c.ackC.empty()
	c.mu.Unlock()
	switch {
	case !reachable:
	case live == 0 && !c.config.named: // who meets a named call again may have more tasks for it
		c.Finish()
		_ = c.Wait(ctx) // it ends at any rate
	case untold:
		_ = c.Flush(ctx) // as above
	}
}

// closeSession gives up the session, and with it the daemon tasks, which would else live for its TTL.
func (c *Call) closeSession() {
	c.mu.Lock()
	session := c.session
	c.session = ""
	c.mu.Unlock()
	if session == "" || c.client.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = c.client.endSession(ctx, session) // it ends by itself if the broker is not there
}
