package shard

import (
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
)

// CheckLock tells whether a token is of a live grant.
type CheckLock struct {
	Namespace string
	Guard     lockservice.Guard
}

func (c *CheckLock) run(m *Machine, _ *pure.Step) (any, error) {
	return nil, m.locks.CheckLock(c.Namespace, c.Guard)
}

// GetLock returns a lock (lockservice.LockView).
type GetLock struct{ Namespace, Name string }

func (c *GetLock) run(m *Machine, _ *pure.Step) (any, error) {
	return m.locks.Lock(c.Namespace, c.Name), nil
}

// GetValue returns a value (lockservice.ValueState).
type GetValue struct{ Namespace, Name string }

func (c *GetValue) run(m *Machine, _ *pure.Step) (any, error) {
	return m.locks.Value(c.Namespace, c.Name), nil
}

// DeleteEvent forgets an event.
type DeleteEvent struct{ Namespace, Name string }

func (c *DeleteEvent) run(m *Machine, step *pure.Step) (any, error) {
	m.locks.DeleteEvent(step, c.Namespace, c.Name)
	return nil, nil
}

// ListObjects returns a page of the lock service's objects of one kind: an [ObjectPage] of what T is.
type ListObjects struct {
	Namespace string
	Kind      ObjectKind
	After     uint64
	Max       int
}

// ObjectKind is what is listed.
type ObjectKind uint8

// Kinds of objects.
const (
	Locks ObjectKind = iota
	Semaphores
	Events
	Barriers
	Values
)

// ObjectPage is a page of objects and the number to go on from, 0 at the end.
type ObjectPage[T any] struct {
	Objects []T
	Next    uint64
}

func page[T any](objects []T, next uint64) ObjectPage[T] { return ObjectPage[T]{objects, next} }

func (c *ListObjects) run(m *Machine, _ *pure.Step) (any, error) {
	switch c.Kind {
	case Semaphores:
		return page(m.locks.Semaphores(c.Namespace, c.After, c.Max)), nil
	case Events:
		return page(m.locks.Events(c.Namespace, c.After, c.Max)), nil
	case Barriers:
		return page(m.locks.Barriers(c.Namespace, c.After, c.Max)), nil
	case Values:
		return page(m.locks.Values(c.Namespace, c.After, c.Max)), nil
	}
	return page(m.locks.Locks(c.Namespace, c.After, c.Max)), nil
}

// GetWaitGraph returns who waits for whom ([WaitGraph]).
type GetWaitGraph struct {
	Namespace string
	Max       int
}

// WaitGraph is the wait-for graph of a namespace.
type WaitGraph struct {
	Edges     []lockservice.Edge
	Truncated bool
}

func (c *GetWaitGraph) run(m *Machine, _ *pure.Step) (any, error) {
	edges, more := m.locks.Graph(c.Namespace, c.Max)
	return WaitGraph{edges, more}, nil
}

// watchKey is a lock or a value that streams follow.
type watchKey struct {
	lock            bool
	namespace, name string
}

// WatchObject has a stream told who has a lock ([LockNow]) or what a value is ([ValueNow]), now and at each change. It
// must be undone by [UnwatchObject].
type WatchObject struct {
	Lock            bool
	Namespace, Name string
	Stream          *Outbox `json:"-"`
}

// LockNow is who has a lock exclusively.
type LockNow struct {
	Holder lockservice.HolderView
	Held   bool
}

// ValueNow is a value.
type ValueNow struct{ State lockservice.ValueState }

func (c *WatchObject) run(m *Machine, _ *pure.Step) (any, error) {
	key := watchKey{c.Lock, c.Namespace, c.Name}
	m.objectWatchers[key] = append(m.objectWatchers[key], c.Stream)
	m.locks.Follow(c.Lock, c.Namespace, c.Name, true)
	m.deliver(c.Stream, m.objectNow(key))
	return nil, nil
}

func (m *Machine) objectNow(key watchKey) any {
	if key.lock {
		holder, held := m.locks.LockHolder(key.namespace, key.name)
		return &LockNow{holder, held}
	}
	return &ValueNow{m.locks.Value(key.namespace, key.name)}
}

// UnwatchObject undoes a [WatchObject].
type UnwatchObject WatchObject

func (c *UnwatchObject) run(m *Machine, _ *pure.Step) (any, error) {
	key := watchKey{c.Lock, c.Namespace, c.Name}
	list := m.objectWatchers[key]
	at := slices.Index(list, c.Stream)
	if at < 0 {
		return nil, nil
	}
	if list = slices.Delete(list, at, at+1); len(list) == 0 {
		delete(m.objectWatchers, key)
	} else {
		m.objectWatchers[key] = list
	}
	m.locks.Follow(c.Lock, c.Namespace, c.Name, false)
	return nil, nil
}

// tellObjects tells the streams that follow what a step has changed.
func (m *Machine) tellObjects() {
	m.locks.Changed(func(changed any) {
		var key watchKey
		switch e := changed.(type) {
		case lockservice.LockChanged:
			key = watchKey{true, e.Namespace, e.Name}
		case lockservice.ValueChanged:
			key = watchKey{false, e.Namespace, e.Name}
		}
		for _, o := range m.objectWatchers[key] {
			m.deliver(o, m.objectNow(key))
		}
	})
}
