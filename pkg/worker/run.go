package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weftq/weft/pkg/task"
)

const (
	// stopFlush is how long Stop waits for the broker to have the last reports.
	stopFlush = 2 * time.Second
	// stopMargin is what an attempt may take to end after its grace.
	stopMargin = 15 * time.Second
)

// Run works until ctx is done, and then drains: it takes no more tasks, lets the running attempts end
// within Config.DrainTimeout, stops the others by the ladder and gives their tasks back, waits until the
// broker has every report, and says goodbye. Stop cuts that short.
//
// It returns nil after a clean end. Otherwise it returns what the broker said when it refused this worker
// from the beginning, or what was left undone: handlers that did not heed their context (their
// goroutines go on), or reports that the broker did not confirm within the session's TTL.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var refused error
	go func() {
		defer close(ended)
		refused = w.connect(life)
	}()
	select {
	case <-ctx.Done():
	case <-w.stopNow:
	case <-ended: // the broker will not have this worker, so nothing runs
		end()
		w.close()
		return refused
	}
	err := w.drain()
	w.sayGoodbye(ended)
	end()
	<-ended
	w.close()
	if err = errors.Join(refused, err); err != nil {
		w.log.Info("stopped", "error", err)
	} else {
		w.log.Info("stopped")
	}
	return err
}

// Stop ends Run at once: running attempts get no grace, their tasks are given back, and the broker
// has 2 s to take the reports. It may be called at any time and does not wait.
func (w *Worker) Stop() {
	w.stopOnce.Do(func() { close(w.stopNow) })
}

// Quiet has the worker take no more tasks, before it is told to end: what runs goes on, and so does Run until its
// context is done. It may be called at any time, and cannot be taken back.
func (w *Worker) Quiet() {
	w.mu.Lock()
	w.quiet()
	running := w.running
	w.mu.Unlock()
	w.wakeSender()
	w.log.Info("quiet", "running", running)
}

// quiet gives up the credits; the caller holds w.mu.
func (w *Worker) quiet() {
	w.draining = true
	w.outbox.credits = 0
}

// drain brings all attempts to their end and their reports to the broker.
func (w *Worker) drain() error {
	w.mu.Lock()
	w.quiet()
	running := w.running
	w.mu.Unlock()
	w.wakeSender()
	w.log.Info("draining: no more tasks are taken, and what runs may end", "running", running,
		"tasks", names(w.runningAttempts()), "told_to_stop_in", max(w.cfg.DrainTimeout, 0))

	if !w.await(w.isIdle, max(w.cfg.DrainTimeout, 0), w.stopNow) {
		if err := w.stopAll(); err != nil {
			return err
		}
	}
	return w.flush()
}

// stopAll stops what still runs: with each task's own grace, or with none once Stop was called.
func (w *Worker) stopAll() error {
	longest := time.Duration(0)
	stopped := w.runningAttempts()
	for _, a := range stopped {
		longest = max(longest, a.grace)
		w.stop(a, task.ErrDrained, a.grace)
	}
	w.log.Warn("draining: attempts are told to stop, and their tasks will run again elsewhere",
		"tasks", names(stopped), "killed_in", longest+stopMargin)
	if w.await(w.isIdle, longest+stopMargin, w.stopNow) {
		return nil
	}
	stopped = w.runningAttempts()
	for _, a := range stopped {
		w.stop(a, task.ErrDrained, 0)
	}
	w.log.Warn("draining: attempts do not heed that they are to stop; commands are killed, handlers are waited for a last time",
		"tasks", names(stopped), "given_up_in", stopMargin)
	if w.await(w.isIdle, stopMargin, nil) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Errorf("worker: %d handlers did not end when they were told to", w.running)
}

// flush waits until the broker has every report.
func (w *Worker) flush() error {
	timeout := w.ttl()
	select {
	case <-w.stopNow:
		timeout = stopFlush
	default:
	}
	if w.await(w.isDone, timeout, nil) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Errorf("worker: the broker did not confirm %d reports", len(w.attempts))
}

// sayGoodbye ends the session, if nothing is left and there is somebody to tell.
func (w *Worker) sayGoodbye(ended <-chan struct{}) {
	w.mu.Lock()
	w.leaving = w.session.connected() && len(w.attempts) == 0
	leaving := w.leaving
	w.mu.Unlock()
	if !leaving {
		return
	}
	w.wakeSender()
	timer := time.NewTimer(goodbyeTimeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

// close gives everything back. Handlers that go on are left alone.
func (w *Worker) close() {
	w.mu.Lock()
	w.closed = true
	w.session.stopGrace()
	idle := w.running == 0
	for _, a := range w.attempts {
		a.lost = true
		a.advance.tellAnswered() // nobody acknowledges anything any more
	}
	w.mu.Unlock()
	w.outputs.close()
	if w.runner != nil {
		w.runner.Close()
	}
	w.pool.close()
	if idle {
		w.pool.wait()
	}
}

// await waits for a condition that progress can bring about: at most so long, and no longer than until
// cut is closed. It returns whether the condition holds.
func (w *Worker) await(holds func() bool, timeout time.Duration, cut <-chan struct{}) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for !holds() {
		select {
		case <-w.progress:
		case <-cut:
			return holds()
		case <-timer.C:
			return holds()
		}
	}
	return true
}

// noteProgress wakes await.
func (w *Worker) noteProgress() {
	select {
	case w.progress <- struct{}{}:
	default:
	}
}

func (w *Worker) isIdle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == 0
}

// isDone: nothing runs, and nothing is to be confirmed.
func (w *Worker) isDone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running == 0 && len(w.attempts) == 0
}

func (w *Worker) isLeaving() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leaving
}

// runningAttempts lists what runs and would be reported. What was lost is being stopped already.
func (w *Worker) runningAttempts() []*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	var running []*attempt
	for _, a := range w.attempts {
		if a.report == nil {
			running = append(running, a)
		}
	}
	return running
}

// namesMax is how many attempts a line of the log names.
const namesMax = 10

// names are those of attempts, for the log: the task and its kind, the oldest first.
func names(attempts []*attempt) []string {
	slices.SortFunc(attempts, func(a, b *attempt) int { return cmp.Compare(a.Token, b.Token) })
	var list []string
	for i, a := range attempts {
		if i == namesMax {
			return append(list, fmt.Sprintf("and %d more", len(attempts)-namesMax))
		}
		list = append(list, a.TaskID+" ("+a.Kind+")")
	}
	return list
}
