package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"math"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// ValueType is what a shared value can be. A text and bytes have at most 64 KiB.
type ValueType interface {
	bool | int64 | float64 | string | []byte
}

// Number is what can be added to.
type Number interface{ int64 | float64 }

// Value is a variable that programs share, as Python's multiprocessing.Value. It is durable, keeps its type until it is
// deleted, and has a version, which rises with each change.
type Value[T ValueType] struct {
	client *Client
	name   string
	lock   *Lock
}

// ValueOption changes a value.
type ValueOption func(*valueConfig)

type valueConfig struct{ lock *Lock }

// WithLock gives the value another lock than the re-entrant one of its own name; nil is none.
func WithLock(lock *Lock) ValueOption { return func(c *valueConfig) { c.lock = lock } }

// NewValue is the value of that name. Until it is set it is not there, and reads as the zero of its type.
func NewValue[T ValueType](c *Client, name string, opts ...ValueOption) *Value[T] {
	cfg := valueConfig{lock: c.Lock(name).Reentrant()}
	for _, o := range opts {
		o(&cfg)
	}
	return &Value[T]{client: c, name: name, lock: cfg.lock}
}

// Name is the value's name.
func (v *Value[T]) Name() string { return v.name }

// Lock is the value's lock, Python's get_lock(); nil for one without. Nothing of the value asks for it: it is for what
// takes several steps.
func (v *Value[T]) Lock() *Lock { return v.lock }

func (v *Value[T]) object() string { return "value " + v.name }

// GuardOption is a condition of a change, and of a put.
type GuardOption struct{ lock *Lock }

// Guarded lets a change of a value, or a put into a queue, through only while the holder of its context has the lock, by the
// token of the grant; otherwise it is [ErrTokenStale], or [ErrNotHeld] if that is known here already. So a holder that
// has lost the lock without noticing changes nothing. A put that is guarded does not wait for room: it is [ErrFull] at once.
func Guarded(lock *Lock) GuardOption { return GuardOption{lock} }

func (o GuardOption) applyEnqueue(c *enqueueConfig) { c.guard = append(c.guard, o) }

// guardOf is the guard of a change, nil for none.
func guardOf(ctx context.Context, opts []GuardOption) (*weftv1.Guard, error) {
	if len(opts) == 0 {
		return nil, nil
	}
	lock := opts[len(opts)-1].lock
	token, err := lock.Token(ctx)
	if err != nil {
		return nil, err
	}
	return &weftv1.Guard{Lock: lock.name, Token: token}, nil
}

// Get returns the value and its version. One that is not there has version 0.
func (v *Value[T]) Get(ctx context.Context) (value T, version uint64, err error) {
	c := v.client
	var m *weftv1.Value
	err = c.retry(ctx, func() error {
		response, err := c.locks().GetValue(ctx, &weftv1.GetValueRequest{Namespace: c.namespace, Name: v.name})
		m = response.GetValue()
		return err
	})
	if err != nil {
		return value, 0, err
	}
	return v.read(m)
}

// read takes a value as the broker has it.
func (v *Value[T]) read(m *weftv1.Value) (value T, version uint64, err error) {
	if m.GetVersion() == 0 {
		return value, 0, nil
	}
	value, ok := fromData[T](m.GetData())
	if !ok {
		return value, 0, &Error{
			Code: reasonCode(weftv1.ErrorReason_ERROR_REASON_VALUE_TYPE), Reason: weftv1.ErrorReason_ERROR_REASON_VALUE_TYPE,
			Message: fmt.Sprintf("the value %s is no %T", v.name, value), Metadata: map[string]string{"value": v.name},
		}
	}
	return value, m.GetVersion(), nil
}

// Set sets the value, and returns its version.
func (v *Value[T]) Set(ctx context.Context, value T, opts ...GuardOption) (version uint64, err error) {
	return v.set(ctx, value, nil, opts)
}

// CompareAndSet sets the value if it still has a version, 0 if it still is not there, and returns its new one. If
// somebody else was faster it is [ErrValueChanged].
func (v *Value[T]) CompareAndSet(ctx context.Context, version uint64, value T, opts ...GuardOption) (uint64, error) {
	return v.set(ctx, value, &version, opts)
}

func (v *Value[T]) set(ctx context.Context, value T, ifVersion *uint64, opts []GuardOption) (uint64, error) {
	data, err := toData(value)
	if err != nil {
		return 0, err
	}
	guard, err := guardOf(ctx, opts)
	if err != nil {
		return 0, err
	}
	answer, err := v.client.ownCommand(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_SetValue{
			SetValue: &weftv1.SetValueRequest{Name: v.name, Data: data, IfVersion: ifVersion, Guard: guard},
		}},
		object: v.object(),
	})
	return answer.GetSetValue().GetValue().GetVersion(), err
}

// Update changes the value by a function, as often as others are faster: fn is called with the value as it is, and
// again if that has changed. It returns what the value is then.
func (v *Value[T]) Update(ctx context.Context, fn func(T) T, opts ...GuardOption) (value T, err error) {
	for {
		before, version, err := v.Get(ctx)
		if err != nil {
			return value, err
		}
		value = fn(before)
		if _, err = v.CompareAndSet(ctx, version, value, opts...); !errors.Is(err, ErrValueChanged) {
			return value, err
		}
	}
}

// Add adds to a number, in one step, and returns the sum. One that is not there counts as 0. A sum that does not fit is
// [ErrValueRange].
func Add[T Number](ctx context.Context, v *Value[T], delta T, opts ...GuardOption) (sum T, err error) {
	guard, err := guardOf(ctx, opts)
	if err != nil {
		return sum, err
	}
	m := &weftv1.AddValueRequest{Name: v.name, Guard: guard}
	switch d := any(delta).(type) {
	case int64:
		m.Delta = &weftv1.AddValueRequest_Int64Delta{Int64Delta: d}
	case float64:
		if math.IsNaN(d) {
			return sum, invalid("delta", "must be a number")
		}
		m.Delta = &weftv1.AddValueRequest_DoubleDelta{DoubleDelta: d}
	}
	answer, err := v.client.ownCommand(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_AddValue{AddValue: m}}, object: v.object(),
	})
	if err != nil {
		return sum, err
	}
	sum, _, err = v.read(answer.GetAddValue().GetValue())
	return sum, err
}

// Delete forgets the value: it may have another type afterwards. One that is not there is no error.
func (v *Value[T]) Delete(ctx context.Context, opts ...GuardOption) error {
	guard, err := guardOf(ctx, opts)
	if err != nil {
		return err
	}
	c := v.client
	request := &weftv1.DeleteValueRequest{Namespace: c.namespace, Name: v.name, Guard: guard, RequestId: rand.Text()}
	return c.retry(ctx, func() error {
		_, err := c.locks().DeleteValue(ctx, request)
		return err
	})
}

// Watch gives the value now and after each change; changes that follow each other closely may be given as one, and one
// that is not there is the zero of the type. It goes on until ctx ends; an error is the last thing given.
func (v *Value[T]) Watch(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		w := &valueWatching[T]{value: v, yield: yield}
		if err := v.client.overStreams(ctx, &w.backoff, w.stream); err != nil {
			var none T
			yield(none, err)
		}
	}
}

// valueWatching is one run of Watch.
type valueWatching[T ValueType] struct {
	value   *Value[T]
	yield   func(T, error) bool
	backoff backoff
	begun   bool
	version uint64 // of what was given
}

func (w *valueWatching[T]) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := w.value.client
	stream, err := c.locks().WatchValue(ctx, &weftv1.WatchValueRequest{Namespace: c.namespace, Name: w.value.name})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		w.backoff.reset()
		value, version, err := w.value.read(m.GetValue())
		switch {
		case err != nil:
			return err
		case w.begun && version == w.version:
			continue // after a cut
		}
		w.begun, w.version = true, version
		if !w.yield(value, nil) {
			return errStopped
		}
	}
}
