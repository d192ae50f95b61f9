package shard

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
)

const (
	drainMax     = 512 // commands that one pass decides before it looks at the time again
	housekeeping = time.Second
	lazyMax      = 5 * time.Millisecond  // that records which nobody waits for are not appended
	crowdedMax   = 10 * time.Millisecond // that lease time advances in a pass that has not seen all that waits
)

// termLoop is the loop while it serves.
type termLoop struct {
	*Loop
	term    *journal.Term
	stream  journal.Stream
	machine *Machine

	appendC chan appending  // to the appender; at most one
	doneC   chan appendDone // from it
	flying  bool

	lazySince time.Time // since when records wait that nobody waits for

	last    time.Time // when the time was last told to the machine
	emptied bool      // the last pass decided all that waited
	checked time.Time // when the store was last looked at
	current inboxItem // being decided, for the case of a panic
	purgeC  chan error
	ctx     context.Context // of what goes on beside the loop; ends with the term
	purging bool
}

type appending struct {
	frame   []byte
	counter uint64
}

type appendDone struct {
	frame []byte
	err   error
}

// run serves until an append fails, something panics, or ctx ends. Then what is under way is finished if
// it can be, and everybody is told.
func (t *termLoop) run(ctx context.Context) (err error) {
	t.appendC, t.doneC = make(chan appending, 1), make(chan appendDone, 1)
	t.purgeC = make(chan error, 1)
	appendCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.ctx = appendCtx
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		t.appendAll(appendCtx)
	}()
	defer func() {
		t.setReady(false)
		reason := termEnded()
		if err == nil {
			reason = notReady()
		}
		t.machine.Abandon(reason) // first: an append or a purge under way may take a while to end
		close(t.appendC)
		stop()
		<-stopped
		if t.purging {
			if err := <-t.purgeC; err != nil {
				t.log.Debug("a purge ended with the term", "error", err)
			}
		}
	}()
	t.last = time.Now()
	t.look()
	t.setReady(true)
	return t.serve(ctx)
}

func (t *termLoop) serve(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
			if t.current.cmd != nil && t.machine.deciding {
				reason := termEnded()
				if t.poison.add(t.current.cmd) {
					reason = poisoned()
				}
				refuse(t.current, reason)
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		inbox := t.inbox
		if t.machine.Full() {
			inbox = nil // until the append under way makes room
		}
		var r inboxItem
		select {
		case r = <-inbox:
		case done := <-t.doneC:
			if err := t.appended(done); err != nil {
				return err
			}
		case err := <-t.purgeC:
			t.purging = false
			if err != nil {
				t.log.Warn("a purge failed; the next one covers it", "error", err)
			}
		case <-timer.C:
		case <-ctx.Done():
			return t.finish()
		}
		t.wake(inbox != nil)
		if r.cmd != nil {
			t.decide(r)
		}
		t.pass()
		t.sleep(timer)
	}
}

// pass decides what waits, then what is due, and begins an append. What waits comes first: a heartbeat
// that has arrived counts before the time that has passed.
func (t *termLoop) pass() {
	t.emptied = false
drain:
	for range drainMax {
		if t.machine.Full() {
			break
		}
		select {
		case r := <-t.inbox:
			t.decide(r)
		default:
			t.emptied = true
			break drain
		}
	}
	now := time.Now()
	passed := now.Sub(t.last)
	if !t.emptied { // heartbeats may wait behind a full batch: time goes on, but hardly
		passed = min(passed, crowdedMax)
	}
	t.last = now
	t.tell(passed)
	t.machine.Advance()
	if now.Sub(t.checked) >= housekeeping {
		t.look()
	}
	t.flush(now)
}

// wake tells the machine the time before it decides anything again. If nothing waited while the loop slept, what
// comes now comes at the end of that time: a rate's attempts, and what a TTL is counted from.
func (t *termLoop) wake(listened bool) {
	if !listened || !t.emptied {
		t.tell(0)
		return
	}
	now := time.Now()
	passed := now.Sub(t.last)
	t.last = now
	t.tell(passed)
}

// tell tells the machine the time, and how much of it has passed since the last pass.
func (t *termLoop) tell(passed time.Duration) {
	t.machine.Tick(pure.Wall(time.Now().UnixNano()), passed)
}

func (t *termLoop) decide(r inboxItem) {
	t.bytes.Release(r.bytes)
	if t.poison.has(r.cmd) {
		refuse(r, poisoned())
		return
	}
	t.current = r
	t.machine.Decide(r.cmd, r.reply)
	t.current = inboxItem{}
}

// flush begins the append of what was decided, if none is under way. Records that nobody waits for, such
// as acknowledgements of outcomes, wait a little for others: the disk is then free when a task comes.
func (t *termLoop) flush(now time.Time) {
	if t.flying {
		return
	}
	switch {
	case t.machine.Awaited() || !t.machine.Recorded():
		t.lazySince = time.Time{}
	case t.lazySince.IsZero():
		t.lazySince = now
		return
	case now.Sub(t.lazySince) < lazyMax:
		return
	default:
		t.lazySince = time.Time{}
	}
	t.beginAppend()
}

func (t *termLoop) beginAppend() {
	if frame, counter := t.machine.Flush(); frame != nil {
		t.flying = true
		t.appendC <- appending{frame, counter}
	}
}

func (t *termLoop) appended(done appendDone) error {
	t.flying = false
	if done.err != nil {
		return done.err
	}
	if floor := t.machine.Appended(done.frame); floor != 0 {
		t.purge(floor)
	}
	return nil
}

// purge removes what a durable floor covers, beside the loop: it takes a while. One that comes while
// another is under way is left to the next floor.
func (t *termLoop) purge(below uint64) {
	if t.purging {
		return
	}
	t.purging = true
	ctx := t.ctx
	go func() {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		t.purgeC <- t.term.Purge(ctx, below)
	}()
}

// appendAll is the appender: one append after the other, none beside another.
func (t *termLoop) appendAll(ctx context.Context) {
	for a := range t.appendC {
		_, err := t.term.Append(ctx, a.counter, a.frame)
		t.doneC <- appendDone{a.frame, err}
	}
}

// sleep sets the timer for what is due next.
func (t *termLoop) sleep(timer *time.Timer) {
	wait := t.machine.cfg.LeaseStepMax / 2 // lease time advances by at most twice that in a pass
	if !t.lazySince.IsZero() {
		wait = lazyMax
	}
	if next, ok := t.machine.Next(); ok {
		wait = min(wait, next)
	}
	if t.machine.Busy() && !t.machine.Full() {
		wait = 0
	}
	// Not less than a millisecond for a deadline: lease time is told at each pass anyway.
	if wait > 0 && wait < time.Millisecond {
		wait = time.Millisecond
	}
	timer.Reset(wait)
}

// look looks at the store: whether there is room, and how large the journal is.
func (t *termLoop) look() {
	t.checked = time.Now()
	free, err := t.stream.Free()
	if err != nil {
		t.log.Warn("the free space is unknown", "error", err)
		return
	}
	low := free < t.cfg.DiskReserve
	t.machine.SetDiskLow(low)
	if was := t.Stats(); low != (was.FreeBytes < t.cfg.DiskReserve && was.Epoch != 0) {
		t.log.Warn("the disk's reserve", "low", low, "free", free, "reserve", t.cfg.DiskReserve)
	}
	t.stats.Store(&Stats{
		Epoch: t.term.Epoch(), FreeBytes: free,
		StateBytes:   t.machine.queue.Bytes() + t.machine.schedules.Bytes() + t.machine.locks.Bytes(),
		JournalBytes: t.machine.size.total - t.machine.size.purged,
	})
}

// finish makes durable what was decided, and ends the term in order.
func (t *termLoop) finish() error {
	t.setReady(false)
	for range 2 { // the append under way, and the batch behind it
		if t.flying {
			if err := t.appended(<-t.doneC); err != nil {
				return err
			}
		}
		t.beginAppend()
	}
	if t.flying {
		return t.appended(<-t.doneC)
	}
	return nil
}

func termEnded() error {
	return pure.Refuse(pure.TermEnded, "the broker's term ended while the request was in it")
}

func poisoned() error {
	return pure.Refuse(pure.RequestPoisoned,
		"the broker met its own bug while deciding this request and refuses it for 10 minutes")
}
