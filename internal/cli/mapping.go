package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// mapping is one `map`. Its inputs are read by a goroutine of their own.
type mapping struct {
	app      *App
	flags    *mapFlags
	client   *client.Client
	spec     client.Spec
	argv     []string
	progress *Progress
	spool    spool
	stop     context.CancelCauseFunc // ends the map

	screen sync.Mutex // results, and words about inputs that cannot be sent

	mu       sync.Mutex
	inputs   map[uint64]input // by the task's place in the call, until its result
	sent     uint64           // tasks
	read     int              // inputs
	ended    int              // inputs that have their result, or cannot be sent
	failed   int              // of them
	over     bool
	call     *client.Call // that has the tasks; nil before the first
	inputErr error

	interrupts int // by the person at the keyboard
}

// input is one input and its place among all of them, from 0.
type input struct {
	number int
	text   string
}

// String is the input for people.
func (in input) String() string { return fmt.Sprintf("task %d (%s)", in.number, shorten(in.text)) }

// next numbers an input.
func (m *mapping) next(text string) input {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
	return input{m.read - 1, text}
}

// remember keeps the next task's input until its result; false is that there is to be none any more.
func (m *mapping) remember(in input) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.interrupts > 0 {
		return false
	}
	m.inputs[m.sent] = in
	m.sent++
	return true
}

// input is a task's input.
func (m *mapping) input(index uint64) input {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputs[index]
}

// fail notes that the inputs could not be read to their end.
func (m *mapping) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inputErr = err
}

// failure is what fail noted.
func (m *mapping) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inputErr
}

// count counts an input that has ended.
func (m *mapping) count(failed bool) {
	m.mu.Lock()
	m.ended++
	if failed {
		m.failed++
	}
	m.mu.Unlock()
	m.screen.Lock()
	defer m.screen.Unlock()
	if !m.over {
		m.progress.Add(failed)
	}
}

// counts is how many inputs have ended, and how many of them failed.
func (m *mapping) counts() (ended, failed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended, m.failed
}

// close ends it: a reader of inputs that comes back late has nothing more to say.
func (m *mapping) close() {
	m.screen.Lock()
	m.over = true
	m.screen.Unlock()
	m.spool.close()
}

// say tells the person something, between results.
func (m *mapping) say(format string, args ...any) {
	m.screen.Lock()
	defer m.screen.Unlock()
	if !m.over {
		m.progress.Hide()
		m.app.Say(format, args...)
	}
}

// errFailFast ends a map with --fail-fast after the first failure.
var errFailFast = errors.New("cancelled the rest (--fail-fast)")

// run gives out the results.
func (m *mapping) run(parent context.Context, inputs iter.Seq[string]) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	m.stop = stop
	stopWaiting := m.app.noteWaiting(ctx, m.obstacle(), m.say)
	stopLadder := m.ladder(ctx)
	err := m.results(ctx, inputs)
	stopLadder()
	stopWaiting()
	m.screen.Lock()
	m.progress.Hide()
	m.screen.Unlock()
	ended, failed := m.counts()
	byTask, isByTask := interruptText(err)
	_, wasLeft := errors.AsType[*ExitError](err)
	switch {
	case isByTask:
		m.say("%s", byTask)
		return errInterrupted
	case wasLeft, errors.Is(err, context.Canceled), err == nil && m.wasInterrupted():
		err = m.interrupted(err)
	case errors.Is(err, errFailFast), err == nil && failed > 0 && m.flags.failFast:
		m.say("%v", errFailFast)
		err = exit(min(failed, ExitMapMax))
	case err == nil:
		err = cmp.Or(m.failure(), exit(min(failed, ExitMapMax)))
	}
	if failed > 0 {
		m.say("%d of %d failed", failed, ended)
	}
	return err
}

// results handles one result after the other. Its error is one of the whole map.
func (m *mapping) results(ctx context.Context, inputs iter.Seq[string]) error {
	for r := range client.MapSpecs(ctx, m.client, m.specs(inputs), m.options()...) {
		if r.Outcome == nil && !oneTasksOwn(r.Err) && !m.stopped(&r) {
			return r.Err
		}
		in := m.input(r.Index)
		failed, err := m.result(ctx, in, &r)
		if err != nil {
			return err
		}
		m.forget(r.Index)
		if m.stopped(&r) {
			continue
		}
		m.count(failed)
		if failed && m.flags.failFast {
			return errFailFast
		}
	}
	return nil
}

// obstacle looks for what is in the way when nothing has ended since the last look. Workers that are busy
// are not: the map itself keeps them so.
func (m *mapping) obstacle() look {
	before := 0
	return func(ctx context.Context) (obstacle, bool) {
		m.mu.Lock()
		idle := m.ended == before && len(m.inputs) > 0 && m.call != nil && m.interrupts == 0
		before = m.ended
		call := m.call
		m.mu.Unlock()
		if !idle {
			return obstacle{}, true
		}
		found, waits := m.app.callObstacle(m.client, call.ID(), m.spec.Queue)(ctx)
		if found.word == "workers_busy" {
			found = obstacle{}
		}
		return found, waits
	}
}

// begun notes the call that has the tasks.
func (m *mapping) begun(call *client.Call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.call = call
}

// forget gives up the input of a task whose result was given out. The last one ends a map that was interrupted.
func (m *mapping) forget(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.inputs, index)
	if m.interrupts > 0 && len(m.inputs) == 0 {
		m.stop(errInterrupted)
	}
}

// options are those of the SDK's map.
func (m *mapping) options() []client.MapOption {
	opts := []client.MapOption{client.InFlight(m.flags.inFlight), client.MapCall(m.begun)}
	if m.flags.unordered {
		opts = append(opts, client.Unordered())
	}
	if m.flags.name != "" {
		opts = append(opts, client.Name(m.flags.name))
	}
	return opts
}

// oneTasksOwn reports whether an error is one task's alone. What the broker refuses another task for it
// would refuse every one for: a queue that is not there, a limit of its own.
func oneTasksOwn(err error) bool {
	if _, ok := errors.AsType[*task.Error](err); ok {
		return true
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case weftv1.ErrorReason_ERROR_REASON_PAYLOAD_TOO_LARGE, weftv1.ErrorReason_ERROR_REASON_REQUEST_MISMATCH,
		weftv1.ErrorReason_ERROR_REASON_REQUEST_POISONED, weftv1.ErrorReason_ERROR_REASON_TASK_NOT_FOUND:
		return true
	default:
		return false
	}
}

// result writes one task's output whole, and says whether and why it failed. An error is one of the map.
func (m *mapping) result(ctx context.Context, in input, r *client.SpecResult) (failed bool, err error) {
	var stdout, stderr io.Reader
	lost := r.Err
	if r.Outcome != nil {
		stdout, stderr, lost = m.spool.fetch(ctx, r)
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	m.screen.Lock()
	defer m.screen.Unlock()
	m.progress.Hide()
	switch {
	case r.Outcome == nil && m.stopped(r):
		return true, nil
	case r.Outcome == nil:
		m.app.Say("%v: %s", in, m.app.words(r.Err))
		return true, nil
	case lost != nil:
		m.app.Say("%v: its output is not here: %s", in, m.app.words(lost))
		return true, nil
	}
	if err := m.write(m.app.Out, stdout, in); err != nil {
		return false, err
	}
	if err := m.write(m.app.Err, stderr, in); err != nil {
		return false, err
	}
	if r.Err != nil && !m.stopped(r) {
		m.app.Say("%v: %s", in, m.why(r))
	}
	return r.Err != nil, nil
}

// why is why a task failed.
func (m *mapping) why(r *client.SpecResult) string {
	if saysItself(r.Outcome) {
		return fmt.Sprintf("exit code %d", r.Outcome.Command.GetExitCode())
	}
	return strings.TrimPrefix(m.app.words(r.Err), "task: ")
}

// write copies one stream, with --tag line by line.
func (m *mapping) write(to io.Writer, from io.Reader, in input) error {
	end := func() error { return nil }
	if m.flags.tag {
		t := &tagger{to: to, tag: in.text + "\t"}
		to, end = t, t.end
	}
	_, err := io.Copy(to, from)
	if err == nil {
		err = end()
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
