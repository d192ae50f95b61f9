package worker

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Worker runs tasks. Make it with New, give it handlers, and Run it once.
type Worker struct {
	cfg        Config
	log        *slog.Logger
	handlers   map[string]Handler
	middleware []Middleware
	runner     *command.Runner // nil without HandleCommands
	outputs    *outputs
	pool       *pool
	stopNow    chan struct{} // closed by Stop
	stopOnce   sync.Once
	wake       chan struct{} // there may be something to send
	progress   chan struct{} // while draining: something ended or was acknowledged

	mu       sync.Mutex
	started  bool
	conn     grpc.ClientConnInterface // of the stream that is open
	attempts map[uint64]*attempt      // at hand: running, or ended and not acknowledged
	running  int                      // slots in use, also by attempts that were lost
	outbox   outbox
	session  sessionState
	draining bool
	leaving  bool // all is done: say goodbye
	watching bool // the lease, by a timer: see watchLease
	closed   bool // Run is over

	leaseEnd atomic.Int64 // by boottime.Now: when the broker may have given the attempts to others; 0 before the first
}

// New makes a worker. It fails if the configuration cannot work: the error names the field and what is possible.
func New(cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Worker{
		cfg:      cfg,
		log:      cfg.Logger,
		handlers: make(map[string]Handler),
		outputs:  newOutputs(cfg.Output),
		stopNow:  make(chan struct{}),
		wake:     make(chan struct{}, 1),
		progress: make(chan struct{}, 1),
		attempts: make(map[uint64]*attempt),
		session:  sessionState{ttl: cfg.SessionTTL},
	}, nil
}

// HandleCommands lets the worker run commands (tasks of kind "command"), those that the policy allows. A command has
// the worker's environment without WEFT_KEY; WEFT_BROKER and WEFT_NAMESPACE as the worker uses them, and the attempt's
// [task.EnvTaskID], [task.EnvToken] and [task.EnvAttempt]; and over all of that what it asks for itself.
// It fails if the policy has an entry that can match nothing, and panics where Handle does.
func (w *Worker) HandleCommands(policy command.Policy) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started || w.runner != nil {
		panic("worker: HandleCommands after Run, or a second time")
	}
	runner, err := command.New(command.Config{
		Policy:        policy,
		SpoolDir:      w.cfg.Output.SpoolDir,
		SpoolBytesMax: w.cfg.Output.AttemptBytesMax,
	})
	if err != nil {
		return err
	}
	w.runner = runner
	return nil
}

// kinds lists what the worker handles.
func (w *Worker) kinds() []string {
	kinds := make([]string, 0, len(w.handlers)+1)
	for kind := range w.handlers {
		kinds = append(kinds, kind)
	}
	if w.runner != nil {
		kinds = append(kinds, task.CommandKind)
	}
	slices.Sort(kinds)
	return kinds
}

// begin marks the worker as started.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.started:
		return errors.New("worker: Run was called before")
	case len(w.kinds()) == 0:
		return errors.New("worker: there is no handler")
	}
	w.started = true
	w.wrapHandlers()
	w.pool = newPool(w.execute)
	return nil
}

// assign takes over tasks from the broker. What it sends beyond the credits, or after the worker said
// that it takes no more, is given back.
func (w *Worker) assign(assignments []*weftv1.Assignment) {
	if len(assignments) == 0 {
		return
	}
	now := time.Now()
	fresh := make([]*attempt, 0, len(assignments))
	for _, asg := range assignments {
		fresh = append(fresh, newAttempt(w, asg, now))
	}
	w.mu.Lock()
	fresh = slices.DeleteFunc(fresh, func(a *attempt) bool { return !w.admit(a) })
	for _, a := range fresh {
		if a.command != nil {
			a.output = w.outputs.expect(a.Token)
		}
	}
	w.watchLease()
	w.mu.Unlock()
	for _, a := range fresh {
		if a.timeout > 0 {
			a.ctx.setDeadline(now.Add(a.timeout))
		}
	}
	w.pool.submit(fresh)
	if len(fresh) < len(assignments) {
		w.wakeSender()
	}
}

// admit puts an attempt on a slot, and returns false if it is not to be run; the caller holds w.mu.
func (w *Worker) admit(a *attempt) bool {
	switch _, held := w.attempts[a.Token]; {
	case held: // told twice; the first one goes on
		return false
	case w.draining || w.running == w.cfg.Slots:
		a.report = &weftv1.AttemptReport{
			TaskId: a.TaskID,
			Token:  a.Token,
			End:    weftv1.AttemptEnd_ATTEMPT_END_RELEASED,
		}
		w.outbox.reports = append(w.outbox.reports, a)
	default:
		w.running++
	}
	w.attempts[a.Token] = a
	return a.report == nil
}

// finish frees the slot of an attempt and queues its report.
func (w *Worker) finish(a *attempt, end *ending) {
	report := makeReport(a, end)
	a.ctx.cancel(nil)
	w.mu.Lock()
	if output := a.output; output != nil && output.sink != nil {
		a.sealed = true
		w.mu.Unlock() // a writer may be at the disk
		report.Spooled = output.sink.End() > 0
		w.mu.Lock()
	}
	a.advance.end()
	w.running--
	if !w.draining {
		w.outbox.credits++
	}
	held := w.attempts[a.Token] == a
	if held {
		a.report = report
		w.outbox.reports = append(w.outbox.reports, a)
	}
	a.process = nil
	output := a.output
	w.mu.Unlock()
	if output != nil {
		w.outputs.end(output, !held, spooled(report))
	}
	w.wakeSender()
	w.noteProgress()
}

// acknowledge forgets reports that the broker has.
func (w *Worker) acknowledge(accepted, refused []uint64) {
	if len(accepted)+len(refused) == 0 {
		return
	}
	w.mu.Lock()
	for _, tokens := range [][]uint64{accepted, refused} {
		for _, token := range tokens {
			if a := w.attempts[token]; a != nil && a.report != nil {
				a.advance.tellAnswered() // who flushes learns of the end
				delete(w.attempts, token)
			}
		}
	}
	w.mu.Unlock()
	w.outputs.reported(accepted, refused)
	w.noteProgress()
}

func (w *Worker) wakeSender() {
	select {
	case w.wake <- struct{}{}:
	default: // it is on its way already
	}
}
