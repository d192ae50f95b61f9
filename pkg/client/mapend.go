package client

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// newMapConfig reads the options.
func newMapConfig(opts []MapOption) mapConfig {
	cfg := mapConfig{inFlight: inFlightDefault}
	for _, o := range opts {
		o.applyMap(&cfg)
	}
	return cfg
}

// templated reports whether the options say anything of the tasks.
func (c *mapConfig) templated() bool { return !c.template.empty() }

// check finds options that make no sense.
func (c *mapConfig) check() error {
	switch {
	case c.inFlight < 1:
		return fmt.Errorf("client: InFlight(%d): at least 1", c.inFlight)
	case c.template.hasWork():
		return errTypedSpec
	case c.name != nil:
		return checkCallName(*c.name)
	}
	return nil
}

// hitsAll reports whether what ended a future is the end of the whole map: it ended the call, or is a refusal that every
// other task would meet with.
func (m *mapping) hitsAll(spec *Spec, err error) bool {
	if ended := m.call.Err(); ended != nil && errors.Is(err, ended) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Reason {
	case weftv1.ErrorReason_ERROR_REASON_STATE_FULL:
		return e.Metadata["field"] == "" // else this task alone does not fit
	case weftv1.ErrorReason_ERROR_REASON_DISK_LOW, weftv1.ErrorReason_ERROR_REASON_CALL_FINISHED,
		weftv1.ErrorReason_ERROR_REASON_CALL_SPARSE:
		return true
	case weftv1.ErrorReason_ERROR_REASON_QUEUE_NOT_FOUND, weftv1.ErrorReason_ERROR_REASON_QUEUE_CLOSED:
		return m.cfg.typed || m.cfg.template.Queue != "" && m.cfg.template.Queue == spec.Queue
	case weftv1.ErrorReason_ERROR_REASON_INVALID_FIELD:
		return m.cfg.typed && !strings.HasPrefix(e.Metadata["field"], "spec.payload")
	default:
		return false
	}
}

// InputsPanic is what the loop over a [Map] or a [MapSpecs] panics with when its sequence of inputs has panicked, which
// is read by another goroutine.
type InputsPanic struct {
	// Value is what the sequence panicked with.
	Value any
	// Stack is where, as debug.Stack has it.
	Stack []byte
}

// Error implements error.
func (p *InputsPanic) Error() string {
	return fmt.Sprintf("client: the inputs of a map panicked: %v\n\n%s", p.Value, p.Stack)
}

// Unwrap gives the value, if it is an error.
func (p *InputsPanic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// brokenInputs is a sequence that did not return.
type brokenInputs struct{ panicked *InputsPanic } // nil is runtime.Goexit

// raise does in this goroutine what the sequence has done in its own, as iter.Pull does.
func (b *brokenInputs) raise() {
	if b.panicked == nil {
		runtime.Goexit()
	}
	panic(b.panicked)
}

// fedUp is the end of the feeder, deferred, so that the stack is still that of a panic.
func (m *mapping) fedUp(err error, returned bool, panicked any) {
	m.inInputs.Store(false)
	var broken *brokenInputs
	switch {
	case panicked != nil:
		broken = &brokenInputs{&InputsPanic{panicked, debug.Stack()}}
	case !returned:
		broken = &brokenInputs{}
	}
	m.mu.Lock()
	m.fed, m.err, m.broken = true, err, broken
	left := m.left
	m.mu.Unlock()
	sign(m.changedC)
	if left && panicked != nil {
		panic(broken.panicked) // nobody else is there to hear of it
	}
}

// awaitFeeder waits for the feeder, unless it is in the sequence, which nothing can reach.
func (m *mapping) awaitFeeder() {
	m.mu.Lock()
	m.left = m.inInputs.Load()
	left := m.left
	m.mu.Unlock()
	if !left {
		<-m.fedC
	}
}
