package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// A quiet worker takes no more: what is on its way goes back, what runs goes on, and it works until it is told to end.
func TestQuiet(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		synctest.Wait()
		s.mu.Lock()
		s.credits = 0
		s.mu.Unlock()
		a.worker.Quiet()
		a.worker.Quiet() // again changes nothing
		s.until("the word", func() bool { return s.draining })
		s.assign(payloadTask(2, "gate", ""))
		if r := s.accepted(2); r.GetEnd() != released {
			t.Errorf("got %v", r)
		}
		pass(2 * time.Minute) // no drain timeout ends what runs
		if a.ctx.Err() != nil {
			t.Error("the attempt was stopped")
		}
		s.drop(errDropped)
		s = b.welcome(t)
		if s.hello.GetCredits() != 0 || !s.held()[1] {
			t.Errorf("the hello is %v", s.hello)
		}
		s.until("the word, again", func() bool { return s.draining })
		do(t, a.Save("s"))
		wantWords(t, s.news(1), "#1 save:s@0")
		g.end()
		if r := s.accepted(1); r.GetEnd() != succeeded {
			t.Errorf("got %v", r)
		}
		pass(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.credits != 0 || s.goodbye {
			t.Errorf("%d credits, goodbye %v", s.credits, s.goodbye)
		}
	})
}

// A worker may be quiet before it runs.
func TestQuietBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		w := newWorker(t, b.config())
		w.handle("upper", upper)
		w.Quiet()
		r := run(t, w)
		s := b.welcome(t)
		if s.hello.GetCredits() != 0 {
			t.Errorf("the hello is %v", s.hello)
		}
		s.until("the word", func() bool { return s.draining })
		if err := r.wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestWeightsInTheHello(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Queues, cfg.QueueWeights = []string{"a", "b", "c"}, map[string]int{"a": 3, "c": 100}
	w := newWorker(t, cfg)
	w.handle("upper", upper)
	run(t, w)
	if h := b.welcome(t).hello; !maps.Equal(h.GetQueueWeights(), map[string]uint32{"a": 3, "c": 100}) {
		t.Errorf("got %v", h)
	}
	for _, test := range []struct {
		weights map[string]int
		want    string
	}{
		{map[string]int{"x": 1}, `worker: a weight for queue "x", which is not among the queues to serve`},
		{map[string]int{"a": 0}, `worker: the weight 0 of queue "a"; 1 to 100 are possible`},
		{map[string]int{"a": -1}, `worker: the weight -1 of queue "a"; 1 to 100 are possible`},
		{map[string]int{"a": 101}, `worker: the weight 101 of queue "a"; 1 to 100 are possible`},
	} {
		cfg.QueueWeights = test.weights
		if _, err := New(cfg); err == nil || err.Error() != test.want {
			t.Errorf("%v: %v", test.weights, err)
		}
	}
}

// The first middleware is the outermost, also around handlers that were there before, and commands pass through none.
func TestMiddlewareOrder(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	var trace []string
	around := func(name string) Middleware {
		return func(next Handler) Handler {
			return func(ctx context.Context, in task.Payload) (task.Payload, error) {
				trace = append(trace, name+" "+task.Current(ctx).Kind)
				out, err := next(ctx, task.Text(in.String()+name))
				trace = append(trace, "/"+name)
				if err != nil {
					err = errors.New(name + " " + err.Error())
				}
				return out, err
			}
		}
	}
	w.handle("upper", upper)
	w.Use(around("a"), around("b"))
	w.handle("no", func(context.Context, task.Payload) (task.Payload, error) { return task.Payload{}, errors.New("no") })
	w.Use(around("c"))
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(payloadTask(1, "upper", "in"))
	if r := s.accepted(1); r.GetResult().GetText() != "INABC" {
		t.Errorf("got %v", r)
	}
	s.assign(payloadTask(2, "no", ""))
	if r := s.accepted(2); r.GetError().GetMessage() != "a b c no" {
		t.Errorf("got %v", r)
	}
	s.assign(commandTask(3, shell("true")))
	s.accepted(3)
	want := strings.Fields("a.upper b.upper c.upper /c /b /a a.no b.no c.no /c /b /a")
	for i, word := range want {
		want[i] = strings.ReplaceAll(word, ".", " ")
	}
	if !slices.Equal(trace, want) {
		t.Errorf("got %q", trace)
	}
	mustPanic(t, "middleware after Run", func() { w.Use(around("d")) })
}
