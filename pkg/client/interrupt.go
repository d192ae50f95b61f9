package client

import (
	"context"
	"fmt"
	"sync"
)

// Interrupt is the error of a program that one of its tasks has interrupted: the cause of a context of
// [NotifyContext], and what ends a [Map].
type Interrupt struct {
	// TaskID is the broker's name for the task.
	TaskID string
	// Index is its place in its call.
	Index uint64
	// Message says why.
	Message string

	number uint64 // what the broker calls it
}

// Error implements error.
func (e *Interrupt) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("client: interrupted by task %s", e.TaskID)
	}
	return fmt.Sprintf("client: interrupted by task %s: %s", e.TaskID, e.Message)
}

// Unwrap makes an interrupt a cancellation for who does not ask further.
func (e *Interrupt) Unwrap() error { return context.Canceled }

// NotifyContext returns a context that ends when a task of s interrupts its submitter (the attempt's Interrupt, or
// `weft interrupt` within a command), as signal.NotifyContext does for signals; context.Cause is an [*Interrupt]. Of a
// [*Client] it is any task that it has submitted in any call. stop gives it up, and ends the context. An interrupt
// that came before anybody asked waits.
func NotifyContext(ctx context.Context, s Submitter) (notified context.Context, stop context.CancelFunc) {
	notified, cancel := context.WithCancelCause(ctx)
	client, whole := s.(*Client)
	var of *Call // nil is all of the client's
	if !whole {
		of = s.submitter()
		client = of.client
	}
	forget := client.interrupts.listen(of, func(i *Interrupt) { cancel(i) })
	return notified, func() {
		forget()
		cancel(context.Canceled)
	}
}

// interrupts are a client's: who hears of them, and those that nobody has heard yet.
type interrupts struct {
	mu        sync.Mutex
	listeners map[int]listener
	next      int
	waiting   map[*Call]*Interrupt
}

// listener hears of the interrupts of one call, or of all.
type listener struct {
	call *Call
	fn   func(*Interrupt)
}

// listen has interrupts told to a function that must not block, those that wait at once, until forget is called.
func (s *interrupts) listen(call *Call, fn func(*Interrupt)) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = map[int]listener{}
	}
	id := s.next
	s.next++
	s.listeners[id] = listener{call, fn}
	for of, i := range s.waiting {
		if call == nil || call == of {
			delete(s.waiting, of)
			fn(i)
			of.interruptHeard(i)
		}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, id)
	}
}

// tell tells an interrupt of a call; if nobody listens, it waits.
func (s *interrupts) tell(call *Call, i *Interrupt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := false
	for _, l := range s.listeners {
		if l.call == nil || l.call == call {
			l.fn(i)
			heard = true
		}
	}
	if heard {
		call.interruptHeard(i)
		return
	}
	if s.waiting == nil {
		s.waiting = map[*Call]*Interrupt{}
	}
	s.waiting[call] = i
}

// forget drops what waits of a call that has ended.
func (s *interrupts) forget(call *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, call)
}

// interrupted tells an interrupt. One that was heard is told again by a broker that does not know that yet.
func (c *Call) interrupted(i *Interrupt) {
	c.mu.Lock()
	heard := c.interruptHad == i.number
	c.mu.Unlock()
	if heard {
		c.interruptHeard(i)
		return
	}
	c.client.interrupts.tell(c, i)
}

// interruptHeard has the broker know that its interrupt was taken.
func (c *Call) interruptHeard(i *Interrupt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interruptTaken, c.interruptHad = i.number, i.number
	c.wake()
}
