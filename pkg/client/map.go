package client

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// SpecResult is the end of one input of a [MapSpecs].
type SpecResult struct {
	// Index is the input's place, from 0.
	Index uint64
	// Spec is the input.
	Spec Spec
	// TaskID is the broker's name for the task; empty if it was never taken.
	TaskID string
	// Outcome is how the task ended; nil when Err is not the task's own.
	Outcome *Outcome
	// Err is nil for a success; a *task.Error for a task that did not succeed; an [*Error] for one that was
	// refused; else what ended the whole map, and then it is the last result and Spec is none.
	Err error
}

// Limits of a map.
const (
	inFlightDefault = 1000
	heldFactor      = 4    // results that may wait for the one that is due, per task in flight
	heldMin         = 1000 // and at least
	breakWait       = 2 * time.Second
)

// namedRetention keeps outcomes of a map with a name, so that it can be run again.
const namedRetention = 24 * time.Hour

// mapConfig is what the options say.
type mapConfig struct {
	name      *string // nil is none
	inFlight  int
	unordered bool
	begun     func(*Call)
	template  Spec // what inputs leave out
	typed     bool // so that all tasks are alike but for their payload
}

// MapOption changes a [MapSpecs].
type MapOption interface{ applyMap(*mapConfig) }

type mapOptionFunc func(*mapConfig)

func (f mapOptionFunc) applyMap(c *mapConfig) { f(c) }

// InFlight bounds the tasks that are submitted and have not ended: default 1,000, at least 1.
func InFlight(n int) MapOption {
	return mapOptionFunc(func(c *mapConfig) { c.inFlight = n })
}

// Unordered gives each result as soon as it is there; the default is the order of the inputs.
func Unordered() MapOption {
	return mapOptionFunc(func(c *mapConfig) { c.unordered = true })
}

// MapCall tells the call that has the map's tasks, before the first of them.
func MapCall(fn func(*Call)) MapOption {
	return mapOptionFunc(func(c *mapConfig) { c.begun = fn })
}

// MapSpecs submits a task for each input and gives their results. [With] says what the inputs leave out. Memory is bounded for any number of
// inputs: by InFlight, by four times as many results (at least 1,000) that wait for the one that is due,
// and by the call's window in bytes. An outcome is acknowledged once the loop's body is done with it.
//
// Inputs are read by a goroutine of their own, which ends with the loop; one that is blocked in the
// sequence ends as soon as that goes on. Breaking the loop, or the end of ctx, cancels what has not
// ended and returns once the broker knows it, after 2 s at most; with a [Name] the tasks go on instead,
// and the same inputs under the same name meet them again. An error of the whole map (ctx's, the
// broker's, an [*Interrupt] by one of the tasks, an option's) is the last result; so is the refusal of one task that
// every other one would meet with: by a state or a disk that is full, for the queue that With says. A sequence that
// panics makes the loop panic, with an [*InputsPanic].
func MapSpecs(ctx context.Context, c *Client, inputs iter.Seq[Spec], opts ...MapOption) iter.Seq[SpecResult] {
	if inputs == nil {
		panic("client: MapSpecs of no inputs: the sequence is nil")
	}
	cfg := newMapConfig(opts)
	specs := inputs
	if cfg.templated() {
		specs = func(yield func(Spec) bool) {
			inputs(func(spec Spec) bool { return yield(cfg.template.with(&spec)) })
		}
	}
	return mapSpecs(ctx, c, specs, cfg)
}

// mapSpecs is MapSpecs with its options read.
func mapSpecs(ctx context.Context, c *Client, inputs iter.Seq[Spec], cfg mapConfig) iter.Seq[SpecResult] {
	return func(yield func(SpecResult) bool) {
		if err := cfg.check(); err != nil {
			yield(SpecResult{Err: err})
			return
		}
		m := newMapping(ctx, c, cfg)
		defer m.close()
		go m.feed(inputs)
		m.deliver(yield)
	}
}

// mapping is one run of a map.
type mapping struct {
	cfg    mapConfig
	call   *Call
	ctx    context.Context // ends with the loop
	cancel context.CancelCauseFunc
	forget func() // of interrupts

	mu       sync.Mutex
	changedC chan struct{} // has room for one sign to the consumer
	roomC    chan struct{} // has room for one sign to the feeder
	ready    []*SpecFuture // ended, not yet looked at by the consumer
	inFlight int
	held     int // submitted and not given to the loop
	total    uint64
	fed      bool // all inputs were submitted
	err      error
	broken   *brokenInputs // nil while the sequence behaves
	left     bool          // the loop is over, and waits for the feeder no more

	fedC     chan struct{} // closed when the feeder is gone
	inInputs atomic.Bool   // the feeder is in the sequence, where nothing can reach it

	done    bool                   // the consumer saw the end
	pending map[uint64]*SpecFuture // ended and not due yet
	due     uint64
}

// newMapping begins the call.
func newMapping(ctx context.Context, c *Client, cfg mapConfig) *mapping {
	m := &mapping{
		cfg:      cfg,
		changedC: make(chan struct{}, 1),
		roomC:    make(chan struct{}, 1),
		fedC:     make(chan struct{}),
		pending:  make(map[uint64]*SpecFuture),
	}
	m.ctx, m.cancel = context.WithCancelCause(ctx)
	opts := []CallOption{ExplicitAck(), sinkTo(m.take)}
	if cfg.name != nil {
		opts = append(opts, Name(*cfg.name))
	}
	m.call = c.NewCall(opts...)
	m.forget = c.interrupts.listen(m.call, func(i *Interrupt) { m.cancel(i) })
	if cfg.begun != nil {
		cfg.begun(m.call)
	}
	return m
}

// sign puts a sign into a channel that has room for one.
func sign(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take receives ended futures. It is the call's sink, and must not call back.
func (m *mapping) take(ended []*SpecFuture) {
	m.mu.Lock()
	m.ready = append(m.ready, ended...)
	m.inFlight -= len(ended)
	m.mu.Unlock()
	sign(m.changedC)
	sign(m.roomC)
}

// feed submits the inputs.
func (m *mapping) feed(inputs iter.Seq[Spec]) {
	defer close(m.fedC)
	var err error
	returned := false
	defer func() { m.fedUp(err, returned, recover()) }()
	if err = m.enterInputs(); err == nil {
		inputs(func(spec Spec) bool {
			m.inInputs.Store(false)
			if err = m.submit(spec); err == nil {
				err = m.enterInputs()
			}
			return err == nil
		})
	}
	returned = true
}

// enterInputs says that the feeder is in the sequence, unless the loop has ended. The order matters: either
// the feeder sees the end here, or close sees the feeder in the sequence and does not wait for it.
func (m *mapping) enterInputs() error {
	m.inInputs.Store(true)
	err := m.ctx.Err()
	if err != nil {
		m.inInputs.Store(false)
		err = context.Cause(m.ctx)
	}
	return err
}

// submit submits one input once there is room.
func (m *mapping) submit(spec Spec) error {
	if m.cfg.name != nil && spec.Retention == 0 {
		spec.Retention = namedRetention
	}
	if m.cfg.name != nil && spec.FailedRetention == 0 {
		spec.FailedRetention = namedRetention
	}
	if err := m.reserve(); err != nil {
		return err
	}
	t := &mapTask{spec: spec}
	t.future.spec = &t.spec
	var err error
	if bad, ok := spec.input.(badInput); ok {
		err = m.call.submitBad(&t.future, bad.err)
	} else {
		err = m.call.submit(m.ctx, &t.future, &t.spec)
	}
	if err != nil {
		m.mu.Lock()
		m.total--
		m.mu.Unlock()
	}
	return err
}

// mapTask is a future and its input in one piece of memory.
type mapTask struct {
	future SpecFuture
	spec   Spec
}

// reserve waits until the next input may be in flight.
func (m *mapping) reserve() error {
	heldMax := max(heldFactor*m.cfg.inFlight, heldMin)
	for {
		m.mu.Lock()
		if m.inFlight < m.cfg.inFlight && m.held < heldMax {
			m.total++ // before the task is submitted: its end may be faster than its submitter
			m.inFlight++
			m.held++
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
		select {
		case <-m.roomC:
		case <-m.ctx.Done():
			return context.Cause(m.ctx)
		case <-m.call.gone:
			return m.call.Err()
		}
	}
}

// deliver gives the results to the loop.
func (m *mapping) deliver(yield func(SpecResult) bool) {
	var ready []*SpecFuture
	for {
		m.mu.Lock()
		ready, m.ready = m.ready, ready[:0]
		end := m.fed && uint64(len(m.pending)+len(ready))+m.due == m.total
		err, broken := m.err, m.broken
		m.mu.Unlock()
		if broken != nil {
			broken.raise()
		}
		if !m.give(ready, yield) {
			return
		}
		clear(ready)
		if end {
			m.done = err == nil
			if err != nil {
				yield(SpecResult{Index: m.due, Err: err})
			}
			return
		}
		select {
		case <-m.changedC:
		case <-m.ctx.Done():
			yield(SpecResult{Index: m.due, Err: context.Cause(m.ctx)})
			return
		}
	}
}

// give gives ended futures to the loop, in order or as they are. It returns false if the loop was broken.
func (m *mapping) give(ready []*SpecFuture, yield func(SpecResult) bool) bool {
	if m.cfg.unordered {
		for _, f := range ready {
			m.due++
			if !m.giveOne(f, yield) {
				return false
			}
		}
		return true
	}
	for _, f := range ready {
		m.pending[f.index] = f
	}
	for f := m.pending[m.due]; f != nil; f = m.pending[m.due] {
		delete(m.pending, m.due)
		m.due++
		if !m.giveOne(f, yield) {
			return false
		}
	}
	return true
}

// giveOne gives one result to the loop and acknowledges it afterwards.
func (m *mapping) giveOne(f *SpecFuture, yield func(SpecResult) bool) bool {
	r := SpecResult{Index: f.index, Spec: *f.spec, TaskID: f.taskID}
	if r.Outcome, r.Err = f.Outcome(); r.Err != nil && m.hitsAll(f.spec, r.Err) {
		yield(SpecResult{Index: f.index, Err: r.Err})
		return false
	}
	if r.Err == nil {
		r.Err = r.Outcome.Err()
	}
	more := yield(r)
	f.Ack()
	m.mu.Lock()
	m.held--
	m.mu.Unlock()
	sign(m.roomC)
	return more
}

// close ends the feeder and the call: at once after a whole map, by cancelling the rest otherwise.
func (m *mapping) close() {
	m.forget()
	m.cancel(nil)
	m.awaitFeeder()
	if !m.done && m.cfg.name == nil {
		ctx, cancel := context.WithTimeout(context.Background(), breakWait)
		defer cancel()
		m.call.Finish()
		m.call.Cancel(0)
		_ = m.call.Flush(ctx) // if the broker is away, the tasks end with the session if they are daemons
	}
	m.call.Close()
}
