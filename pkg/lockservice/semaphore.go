package lockservice

import (
	"fmt"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// semaphore is there from its first request until it is as declared and nobody is at it.
type semaphore struct {
	SemaphoreState
	heldBy
	number uint64
	node   node // without an entity only while a replay has not met its state
}

func (c *Core) semaphoreOf(n name) *semaphore {
	s := c.semaphores.byName[n]
	if s == nil {
		s = &semaphore{SemaphoreState: SemaphoreState{Namespace: n.namespace, Name: n.name}, heldBy: heldBy{queue: newQueue()}}
		s.number = c.semaphores.add(n, s)
	}
	return s
}

func (c *Core) applySemaphore(st *SemaphoreState, seq uint64) {
	s := c.semaphoreOf(name{st.Namespace, st.Name})
	s.SemaphoreState = *st
	c.touch(&s.node, s, st.Namespace, int64(160+len(st.Namespace)+len(st.Name)), seq)
}

// left is how many permits nobody has.
func (s *semaphore) left() int64 {
	if s.Spec.Free {
		return s.Available
	}
	return s.Spec.Permits - s.permits
}

// idle tells whether a semaphore is as if it had never been.
func (s *semaphore) idle() bool {
	return len(s.grants) == 0 && s.queue.Len() == 0 && s.left() == s.Spec.Permits
}

// AcquireSemaphore is a request for permits.
type AcquireSemaphore struct {
	Request
	Spec    SemaphoreSpec
	Permits int64
}

// declared returns the semaphore of a request, made if it is not there, and refuses another declaration.
func (c *Core) declared(step *pure.Step, n name, spec SemaphoreSpec) (*semaphore, error) {
	s := c.semaphores.byName[n]
	if s == nil {
		if err := c.room(n.namespace, objectBytes); err != nil {
			return nil, err
		}
		c.emit(step, &SemaphorePut{SemaphoreState{Namespace: n.namespace, Name: n.name, Spec: spec, Available: spec.Permits}})
		return c.semaphores.byName[n], nil
	}
	if s.Spec != spec {
		return nil, pure.Refuse(pure.SemaphoreMismatch, fmt.Sprintf("the semaphore %s is in use, and has %d permits (free: %t, bounded: %t)",
			n.name, s.Spec.Permits, s.Spec.Free, s.Spec.Bounded), "semaphore", n.name,
			"permits", s.Spec.Permits, "free", s.Spec.Free, "bounded", s.Spec.Bounded)
	}
	return s, nil
}

// AcquireSemaphore acquires permits, or waits for them.
func (c *Core) AcquireSemaphore(step *pure.Step, a *AcquireSemaphore) (Decision, error) {
	if d, known, err := c.recall(a.Namespace, &a.Origin); known {
		return d, err
	}
	if (!a.Spec.Free || a.Spec.Bounded) && a.Permits > a.Spec.Permits {
		return Decision{}, pure.Refuse(pure.InvalidField, fmt.Sprintf("permits must be at most %d: there are no more", a.Spec.Permits),
			"field", "permits", "rule", fmt.Sprintf("must be at most %d", a.Spec.Permits))
	}
	n := name{a.Namespace, a.Name}
	s, err := c.declared(step, n, a.Spec)
	if err != nil {
		return Decision{}, err
	}
	c.bury(step, &s.heldBy)
	if s = c.semaphores.byName[n]; s == nil { // nobody but the dead were there
		if s, err = c.declared(step, n, a.Spec); err != nil {
			return Decision{}, err
		}
	}
	d, err := c.acquirePermits(step, s, a)
	c.tidySemaphore(step, s)
	return d, err
}

func (c *Core) acquirePermits(step *pure.Step, s *semaphore, a *AcquireSemaphore) (Decision, error) {
	if s.queue.Len() > 0 || s.left() < a.Permits {
		return c.wait(step, &WaiterState{
			Kind: KindSemaphore, Namespace: a.Namespace, Name: a.Name, Holder: a.Holder, Label: a.Label, Mode: Exclusive,
			Depth: 1, Permits: a.Permits, Wait: a.Wait, Origin: a.Origin,
		}, s.queue.Len())
	}
	if s.Spec.Free {
		c.setAvailable(step, s, s.Available-a.Permits)
		answer := Answer{Outcome: Done, Permits: a.Permits}
		c.record(step, a.Namespace, &a.Origin, answer, a.Name)
		return answered(answer)
	}
	if err := c.room(a.Namespace, objectBytes); err != nil {
		return Decision{}, err
	}
	token := step.Next()
	c.emit(step, &GrantPut{GrantState{
		Token: token, Kind: KindSemaphore, Namespace: a.Namespace, Name: a.Name, Holder: a.Holder, Label: a.Label,
		Mode: Exclusive, Depth: 1, Permits: a.Permits, Since: step.Wall,
	}})
	return c.keep(step, a.Namespace, &a.Origin, Answer{Outcome: Done, Token: token, Depth: 1})
}

func (c *Core) setAvailable(step *pure.Step, s *semaphore, available int64) {
	st := s.SemaphoreState
	st.Available = available
	c.emit(step, &SemaphorePut{st})
}

// tidySemaphore forgets a semaphore that is as if it had never been.
func (c *Core) tidySemaphore(step *pure.Step, s *semaphore) {
	n := name{s.Namespace, s.Name}
	if c.semaphores.byName[n] == s && s.idle() {
		c.emit(step, &SemaphoreDropped{Namespace: n.namespace, Name: n.name})
	}
}

// wakeSemaphore gives permits to those who wait longest, as far as they go.
func (c *Core) wakeSemaphore(step *pure.Step, s *semaphore) {
	for s != nil {
		w, _, ok := s.queue.Min()
		switch {
		case !ok:
			c.tidySemaphore(step, s)
			return
		case !c.dead(w.Holder) && s.left() < w.Permits:
			c.detect(step, w)
			return
		case c.Full(step):
			c.postpone(errand{KindSemaphore, name{s.Namespace, s.Name}})
			return
		case c.dead(w.Holder):
			c.bereave(step, w)
		case s.Spec.Free:
			c.emit(step, &WaiterEnded{ID: w.ID})
			c.setAvailable(step, s, s.Available-w.Permits)
			c.resolve(step, w, Answer{Outcome: Done, Permits: w.Permits})
		default:
			c.grantWaiter(step, w)
		}
	}
}

// ReleaseSemaphore gives permits back.
type ReleaseSemaphore struct {
	Namespace, Name string
	Spec            SemaphoreSpec
	Session         session.ID
	Token           uint64
	Permits         int64 // of a free one
	Origin          Origin
}

// ReleaseSemaphore gives permits back.
func (c *Core) ReleaseSemaphore(step *pure.Step, r *ReleaseSemaphore) (Decision, error) {
	if d, known, err := c.recall(r.Namespace, &r.Origin); known {
		return d, err
	}
	n := name{r.Namespace, r.Name}
	if !r.Spec.Free {
		g, err := c.owned(KindSemaphore, n, r.Session, r.Token)
		if err != nil {
			return Decision{}, err
		}
		if _, err := c.declared(step, n, r.Spec); err != nil {
			return Decision{}, err
		}
		c.drop(step, g)
		return c.keep(step, r.Namespace, &r.Origin, Answer{Outcome: Done})
	}
	if s := c.semaphores.byName[n]; r.Spec.Bounded && (s == nil || s.Spec == r.Spec && s.Available+r.Permits > s.Spec.Permits) {
		return Decision{}, pure.Refuse(pure.SemaphoreFull, fmt.Sprintf("the semaphore %s would have more than its %d permits", n.name, r.Spec.Permits),
			"semaphore", n.name, "permits", r.Spec.Permits)
	}
	s, err := c.declared(step, n, r.Spec)
	if err != nil {
		return Decision{}, err
	}
	if s.Available+r.Permits > PermitsMax {
		c.tidySemaphore(step, s)
		return Decision{}, pure.Refuse(pure.SemaphoreFull, fmt.Sprintf("a semaphore has at most %d permits", int64(PermitsMax)),
			"semaphore", n.name, "permits", int64(PermitsMax))
	}
	c.setAvailable(step, s, s.Available+r.Permits)
	c.wakeSemaphore(step, s)
	return c.keep(step, r.Namespace, &r.Origin, Answer{Outcome: Done})
}

// PermitsMax bounds the permits of a semaphore.
const PermitsMax = 1_000_000_000
