package lockservice

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/pure"
)

// limited is a core with limits, and what it was before a request.
type limited struct {
	*arena
}

func newLimited(t *testing.T, cfg Config) *limited {
	a := newArena(t)
	cfg.Alive, cfg.SessionName = a.core.cfg.Alive, a.core.cfg.SessionName
	a.core = New(cfg)
	a.core.Serve(1)
	return &limited{arena: a}
}

// refused has a request be refused for a reason, with words that say why, and nothing be changed by it.
func (l *limited) refused(reason pure.Reason, words []string, do func(step *pure.Step) (Decision, error)) {
	l.t.Helper()
	before := l.core.Dump()
	var d Decision
	var err error
	l.do(func(step *pure.Step) { d, err = do(step) })
	refusal, _ := errors.AsType[*pure.Refusal](err)
	if refusal == nil || refusal.Reason != reason || d.Waiter != 0 {
		l.t.Fatalf("not refused as %s: %+v, %v", reason, d, err)
	}
	said := fmt.Sprint(refusal.Error(), refusal.Meta)
	for _, word := range words {
		if !strings.Contains(said, word) {
			l.t.Errorf("%q does not say %s", said, word)
		}
	}
	if after := l.core.Dump(); !slices.Equal(before, after) {
		l.t.Errorf("it was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if err := l.core.Check(); err != nil {
		l.t.Error(err)
	}
}

func (l *limited) request(h uint64, n string) Request {
	return Request{Namespace: "n", Name: n, Holder: who(h)}
}

func TestWaitersMax(t *testing.T) {
	l := newLimited(t, Config{})
	words := []string{"limit", fmt.Sprint(WaitersMax)}
	one := SemaphoreSpec{Permits: 1}
	ask := map[string]func(*pure.Step, uint64) (Decision, error){
		"lock": func(step *pure.Step, h uint64) (Decision, error) {
			return l.core.AcquireLock(step, &AcquireLock{Request: l.request(h, "l"), Mode: Exclusive})
		},
		"semaphore": func(step *pure.Step, h uint64) (Decision, error) {
			return l.core.AcquireSemaphore(step, &AcquireSemaphore{Request: l.request(h, "s"), Spec: one, Permits: 1})
		},
		"barrier": func(step *pure.Step, h uint64) (Decision, error) {
			return l.core.WaitBarrier(step, &WaitBarrier{Request: l.request(h, "b"), Parties: WaitersMax + 10})
		},
		"event": func(step *pure.Step, h uint64) (Decision, error) {
			return l.core.WaitEvent(step, "n", "e", 0, Wait{}, Origin{}, who(h).Session)
		},
		"value": func(step *pure.Step, h uint64) (Decision, error) {
			return l.core.WaitValue(step, "n", "v", Until{Comparison: Newer}, Wait{}, Origin{}, who(h).Session)
		},
	}
	h := uint64(0)
	for what, fn := range ask {
		waiting := 0
		for waiting < WaitersMax {
			l.do(func(step *pure.Step) {
				d, err := fn(step, h)
				if err != nil {
					t.Fatalf("%s: %d wait: %v", what, waiting, err)
				}
				if d.Waiter != 0 {
					waiting++
				}
			})
			h++
		}
		l.refused(pure.StateFull, words, func(step *pure.Step) (Decision, error) { return fn(step, h) })
		h++
	}
}

// A condition has as many waiters, too, and who is too many keeps its lock.
func TestWaitersMaxOfACondition(t *testing.T) {
	l := newLimited(t, Config{})
	for h := range uint64(WaitersMax) {
		l.has(h, "l", Exclusive, forEver)
		l.waitCondition(h, "l", forEver)
		if h > 0 && h%1000 == 0 {
			l.book = newBook() // whoever waits is of no more use to it
		}
	}
	l.has(WaitersMax, "l", Exclusive, forEver)
	l.refused(pure.StateFull, []string{fmt.Sprint(WaitersMax), "l!"}, func(step *pure.Step) (Decision, error) {
		return l.core.WaitCondition(step, l.at(WaitersMax, "l"), Wait{}, Origin{})
	})
}

func TestNamespaceBytes(t *testing.T) {
	l := newLimited(t, Config{NamespaceBytes: 2000})
	words := []string{"limit", "2000", "namespace"}
	l.has(1, "l", Exclusive, forEver)
	l.do(func(step *pure.Step) {
		if _, err := l.core.SetValue(step, &Change{Namespace: "n", Name: "v"}, Data{Type: String, Text: strings.Repeat("x", 1300)}); err != nil {
			t.Fatal(err)
		}
	})
	large := strings.Repeat("y", 400)
	for what, fn := range map[string]func(*pure.Step) (Decision, error){
		"lock": func(step *pure.Step) (Decision, error) {
			return l.core.AcquireLock(step, &AcquireLock{Request: l.request(2, "m"), Mode: Exclusive, Published: large})
		},
		"waiter": func(step *pure.Step) (Decision, error) {
			return l.core.AcquireLock(step, &AcquireLock{Request: l.request(2, "l"), Mode: Exclusive, Published: large})
		},
		"publish": func(step *pure.Step) (Decision, error) {
			at := l.at(1, "l")
			return l.core.PublishLock(step, &PublishLock{Namespace: "n", Name: "l", Session: at.Session, Token: at.Token, Published: large})
		},
		"value": func(step *pure.Step) (Decision, error) {
			return l.core.SetValue(step, &Change{Namespace: "n", Name: "w"}, Data{Type: String, Text: large})
		},
		"growth": func(step *pure.Step) (Decision, error) {
			return l.core.SetValue(step, &Change{Namespace: "n", Name: "v"}, Data{Type: String, Text: strings.Repeat("x", 1700)})
		},
		"barrier": func(step *pure.Step) (Decision, error) {
			return l.core.WaitBarrier(step, &WaitBarrier{Request: l.request(2, "b"), Parties: 2})
		},
		"semaphore": func(step *pure.Step) (Decision, error) {
			r := l.request(2, "s")
			return l.core.AcquireSemaphore(step, &AcquireSemaphore{Request: r, Spec: SemaphoreSpec{Permits: 1}, Permits: 1})
		},
		"wait": func(step *pure.Step) (Decision, error) {
			return l.core.WaitCondition(step, l.at(1, "l"), Wait{}, Origin{})
		},
	} {
		t.Run(what, func(t *testing.T) {
			l.t = t
			l.refused(pure.StateFull, words, fn)
		})
	}
	l.t = t
	l.release(1, "l") // what makes room goes on
}

// The shard's own bound, likewise.
func TestRoomOfTheShard(t *testing.T) {
	full := pure.Refuse(pure.DiskLow, "no room")
	l := newLimited(t, Config{Room: func(int64) *pure.Refusal { return full }})
	l.refused(pure.DiskLow, nil, func(step *pure.Step) (Decision, error) {
		return l.core.AcquireLock(step, &AcquireLock{Request: l.request(1, "l"), Mode: Exclusive})
	})
}

func TestPermits(t *testing.T) {
	l := newLimited(t, Config{})
	three, free := SemaphoreSpec{Permits: 3}, SemaphoreSpec{Permits: 1, Free: true}
	bounded := SemaphoreSpec{Permits: 3, Free: true, Bounded: true}
	take := func(spec SemaphoreSpec, n string, permits int64) func(*pure.Step) (Decision, error) {
		return func(step *pure.Step) (Decision, error) {
			return l.core.AcquireSemaphore(step, &AcquireSemaphore{Request: l.request(1, n), Spec: spec, Permits: permits})
		}
	}
	give := func(spec SemaphoreSpec, n string, permits int64) func(*pure.Step) (Decision, error) {
		return func(step *pure.Step) (Decision, error) {
			return l.core.ReleaseSemaphore(step, &ReleaseSemaphore{Namespace: "n", Name: n, Spec: spec, Permits: permits})
		}
	}
	l.refused(pure.InvalidField, []string{"permits", "at most 3"}, take(three, "s", 4))
	l.refused(pure.SemaphoreFull, []string{"permits", "3"}, give(bounded, "b", 1))
	l.do(func(step *pure.Step) { _, _ = take(bounded, "b", 2)(step) })
	l.refused(pure.SemaphoreFull, []string{"permits", "3"}, give(bounded, "b", 3))
	l.refused(pure.SemaphoreMismatch, []string{"3 permits"}, take(three, "b", 1))
	l.refused(pure.SemaphoreFull, []string{"permits", fmt.Sprint(int64(PermitsMax))}, give(free, "f", PermitsMax))
}

// The search for a deadlock costs a new waiter nothing that grows with those who wait, and a chain of holders what it is long.
func TestWaitersCostNoMoreThanTheyShould(t *testing.T) {
	a := newArena(t)
	a.has(0, "l", Exclusive, forEver)
	looks := 0
	for h := uint64(1); h <= WaitersMax; h++ {
		a.do(func(step *pure.Step) {
			r := Request{Namespace: "n", Name: "l", Holder: who(h)}
			if _, err := a.core.AcquireLock(step, &AcquireLock{Request: r, Mode: Mode(1 + h%2)}); err != nil {
				t.Fatal(err)
			}
			s := search{c: a.core}
			s.cycle(a.core.holders[who(h)].waits)
			looks += len(s.found)
			for _, v := range s.found {
				looks += len(v.on)
			}
		})
	}
	if looks > 5*WaitersMax {
		t.Errorf("%d looks at %d waiters", looks, WaitersMax)
	}

	a = newArena(t)
	const long = 2000
	for h := range uint64(long) {
		a.has(h, fmt.Sprint("l", h), Exclusive, forEver)
	}
	for h := uint64(long - 1); h > 0; h-- { // each new one is before a chain
		s := search{c: a.core}
		d, err := a.core.holders[who(h-1)], error(nil)
		a.do(func(step *pure.Step) {
			r := Request{Namespace: "n", Name: fmt.Sprint("l", h), Holder: who(h - 1)}
			_, err = a.core.AcquireLock(step, &AcquireLock{Request: r, Mode: Exclusive})
		})
		if err != nil {
			t.Fatal(err)
		}
		if h == 1 {
			s.cycle(d.waits)
			if len(s.found) != long-1 {
				t.Errorf("a chain of %d has %d vertices", long, len(s.found))
			}
		}
	}
}

// BenchmarkContendedAcquire is one more waiter at a lock where many wait.
func BenchmarkContendedAcquire(b *testing.B) {
	a := newArena(b)
	step := &pure.Step{Lease: 1, Seq: 1, Sink: a, Counter: &a.counter}
	for h := range uint64(WaitersMax) {
		_, _ = a.core.AcquireLock(step, &AcquireLock{Request: Request{Namespace: "n", Name: "l", Holder: who(h)}, Mode: Exclusive})
	}
	for h := uint64(WaitersMax); b.Loop(); h++ {
		d, err := a.core.AcquireLock(step, &AcquireLock{Request: Request{Namespace: "n", Name: "l", Holder: who(h)}, Mode: Exclusive})
		if err != nil {
			b.Fatal(err)
		}
		a.core.AbandonWaiter(step, d.Waiter)
		a.pending, step.Effects = a.pending[:0], step.Effects[:0]
	}
}
