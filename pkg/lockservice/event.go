package lockservice

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// event is there from the first time that it is set until it is deleted: its generation must not be forgotten while
// somebody may ask what happened since.
type event struct {
	EventState
	number uint64
	node   node
}

func (c *Core) applyEvent(st *EventState, seq uint64) {
	n := name{st.Namespace, st.Name}
	e := c.events.byName[n]
	if e == nil {
		e = &event{}
		e.number = c.events.add(n, e)
	}
	e.EventState = *st
	c.touch(&e.node, e, st.Namespace, int64(128+len(st.Namespace)+len(st.Name)), seq)
}

// Event returns an event. One that was never set is not set.
func (c *Core) Event(namespace, eventName string) EventState {
	if e := c.events.byName[name{namespace, eventName}]; e != nil {
		return e.EventState
	}
	return EventState{Namespace: namespace, Name: eventName}
}

// SetEvent sets an event, or clears it. One that is set stays as it is, and nobody new is woken.
func (c *Core) SetEvent(step *pure.Step, namespace, eventName string, set bool, origin Origin) (Decision, error) {
	if d, known, err := c.recall(namespace, &origin); known {
		return d, err
	}
	st := c.Event(namespace, eventName)
	grows := int64(0)
	if st.Generation == 0 && set {
		grows = objectBytes
	}
	if err := c.roomFor(namespace, &origin, grows); err != nil {
		return Decision{}, err
	}
	if st.Set == set {
		return c.keep(step, namespace, &origin, eventAnswer(&st))
	}
	st.Set = set
	if set {
		st.Generation = step.Next() + 1 // never 1, which stands for an event that was never set, see WaitEvent
	}
	c.emit(step, &EventPut{st})
	if set {
		c.wakeWatchers(step, watchedEvent, name{namespace, eventName})
	}
	return c.keep(step, namespace, &origin, eventAnswer(&st))
}

func eventAnswer(st *EventState) Answer {
	return Answer{Outcome: Done, Set: st.Set, Generation: st.Generation}
}

// WaitEvent waits for an event. since is a generation that was seen, 0 for none: the event has been set since then, or
// is set now.
func (c *Core) WaitEvent(step *pure.Step, namespace, eventName string, since uint64, wait Wait, origin Origin, of session.ID) (Decision, error) {
	st := c.Event(namespace, eventName)
	a := eventAnswer(&st)
	if st.Set || since != 0 && st.Generation > since {
		return answered(a)
	}
	a.Outcome = TimedOut
	if wait.Try() {
		return answered(a)
	}
	d, err := c.watch(step, &watcher{kind: watchedEvent, name: name{namespace, eventName}, origin: origin, session: of}, wait)
	d.Since = max(st.Generation, 1)
	return d, err
}

// DeleteEvent forgets an event. Who waits for it goes on waiting.
func (c *Core) DeleteEvent(step *pure.Step, namespace, eventName string) {
	if c.events.byName[name{namespace, eventName}] != nil {
		c.emit(step, &EventDropped{Namespace: namespace, Name: eventName})
	}
}
