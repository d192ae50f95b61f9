package worker

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// later is a task of which earlier attempts left so much.
func later(partials, bytes uint32, checkpoint *weftv1.Checkpoint) *weftv1.Assignment {
	asg := payloadTask(1, "gate", "")
	asg.Attempt = 2
	asg.PartialsCount, asg.PartialsBytes, asg.Checkpoint = partials, bytes, checkpoint
	return asg
}

func checkpointOf(text string, partials uint32) *weftv1.Checkpoint {
	return &weftv1.Checkpoint{
		State: &weftv1.Payload{Value: &weftv1.Payload_Text{Text: text}}, PartialsCount: partials,
	}
}

func loaded(t *testing.T, a *attempt) string {
	t.Helper()
	text := "before"
	found, err := a.Load(&text)
	if err != nil {
		t.Error(err)
	}
	if !found && text != "before" {
		t.Errorf("nothing was found, and it is %q", text)
	}
	return text
}

// What the task has from earlier attempts is passed over: from the beginning, or from the checkpoint on.
func TestPartialsOfEarlierAttempts(t *testing.T) {
	for _, test := range []struct {
		name string
		load bool
		emit []string
		want string
	}{
		{"anew", false, []string{"a", "b", "c", "d", "e"}, "emit:3:d,e"},
		{"from the checkpoint", true, []string{"c", "d", "e"}, "emit:3:d,e"},
		{"no more than it has", true, []string{"c"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			attempting(t, later(3, 3, checkpointOf("s", 2)), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
				if test.load && loaded(t, a) != "s" {
					t.Error("another checkpoint")
				}
				s.drop(errDropped) // so that they gather
				synctest.Wait()
				for _, text := range test.emit {
					do(t, a.Emit(text))
				}
				s = b.welcome(t)
				got := words(s.news(1))
				if got = strings.TrimPrefix(got, "#1 "); got != test.want {
					t.Errorf("got %q", got)
				}
				s.answerAll()
				g.end()
				s.accepted(1)
			})
		})
	}
}

// A handler that loads its own checkpoint goes on emitting where it is: only what an earlier attempt brought is passed over.
func TestLoadAfterSave(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		if text := loaded(t, a); text != "before" {
			t.Errorf("it found %q", text)
		}
		s.drop(errDropped)
		synctest.Wait()
		do(t, a.Emit("a"), a.Emit("b"), a.Save("own"), a.Emit("c"))
		if text := loaded(t, a); text != "own" { // nobody has it but this worker
			t.Errorf("it found %q", text)
		}
		do(t, a.Emit("c"), a.Emit("d"))
		s = b.welcome(t)
		wantWords(t, s.news(1), "#1 save:own@2 emit:0:a,b,c,c,d")
		s.answerAll()
		g.end()
		s.accepted(1)
	})
}

// A checkpoint that is empty is one, and one that cannot be read into a type leaves it as it is.
func TestOddCheckpoints(t *testing.T) {
	attempting(t, later(0, 0, &weftv1.Checkpoint{}), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		if text := loaded(t, a); text != "" {
			t.Errorf("it found %q", text)
		}
		do(t, a.Save("no number"))
		n := 7
		if found, err := a.Load(&n); !found || err == nil || n != 7 {
			t.Errorf("%v, %v, %d", found, err, n)
		}
		g.end()
		s.accepted(1)
	})
}

func TestLimitsOfAdvances(t *testing.T) {
	t.Run("count", func(t *testing.T) {
		attempting(t, later(998, 998, nil), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
			for range task.PartialsMax {
				do(t, a.Emit("x"))
			}
			if err := a.Emit("x"); err == nil || !strings.Contains(err.Error(), "the task has 1001 partial results, 1000 are possible") {
				t.Errorf("one more: %v", err)
			}
			list := s.news(1)
			if len(list) == 0 || list[0].GetPartialsOffset() != 998 {
				t.Errorf("got %q", words(list))
			}
			s.answerAll()
			g.end()
			s.accepted(1)
		})
	})
	t.Run("bytes", func(t *testing.T) {
		attempting(t, later(1, task.PartialsBytesMax-10, nil), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
			do(t, a.Emit("the task has it"))
			if err := a.Emit("01234567890"); err == nil || !strings.Contains(err.Error(), "1048577 bytes, 1048576 are possible") {
				t.Errorf("11 bytes: %v", err)
			}
			do(t, a.Emit("0123456789"), a.Emit("")) // the refused one took no place
			s.answerAll()
			g.end()
			s.accepted(1)
			if list := s.before(1); list[0].GetPartialsOffset() != 1 {
				t.Errorf("got %q", words(list))
			}
		})
	})
	t.Run("one", func(t *testing.T) {
		attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
			large := make([]byte, task.PayloadBytesMax+1)
			var limit *task.LimitError
			if err := a.Emit(large); !errors.As(err, &limit) || limit.Limit != task.PayloadBytesMax || err.Error() != "task: the partial result has 524289 bytes, 524288 are possible" {
				t.Errorf("Emit: %v", err)
			}
			if err := a.Save(large); err == nil || err.Error() != "task: the checkpoint has 524289 bytes, 524288 are possible" {
				t.Errorf("Save: %v", err)
			}
			if err := a.Emit(make(chan int)); err == nil {
				t.Error("a channel was emitted")
			}
			wantWords(t, s.news(1), "")
			do(t, a.Emit(large[1:]), a.Save(large[1:]))
			s.answerAll()
			g.end()
			s.accepted(1)
		})
	})
}

// A goroutine that outlives its handler gets errors, and what it says goes nowhere; whatever the moment.
func TestAnAttemptThatGoesOnAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		w := newWorker(t, b.config())
		stop := make(chan struct{})
		var late sync.WaitGroup
		attempts := make(chan *task.Attempt, 1)
		w.handle("hasty", func(ctx context.Context, _ task.Payload) (task.Payload, error) {
			a := task.Current(ctx)
			for range 4 {
				late.Go(func() { goOn(ctx, a, stop) })
			}
			attempts <- a
			pass(time.Millisecond)
			return task.Text("done"), nil
		})
		run(t, w)
		s := b.welcome(t)
		s.answerAll()
		s.assign(payloadTask(1, "hasty", ""))
		a := <-attempts
		s.report(1)
		news := words(s.news(1))
		for _, accepted := range []bool{false, true} {
			if accepted {
				s.accepted(1)
				synctest.Wait()
			}
			for what, err := range map[string]error{"Save": a.Save("late"), "Emit": a.Emit("late"), "Flush": a.Flush(t.Context())} {
				if err == nil || !strings.Contains(err.Error(), "the attempt is over") {
					t.Errorf("%s: %v", what, err)
				}
			}
			a.Progress(100, 100, "late")
			pass(time.Second)
			if got := words(s.news(1)); got != news {
				t.Errorf("after the end: %q", got)
			}
		}
		close(stop)
		late.Wait()
	})
}

// goOn does all that an attempt can, until it is told to stop.
func goOn(ctx context.Context, a *task.Attempt, stop <-chan struct{}) {
	for n := int64(0); ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond / 4):
		}
		a.Progress(n, 0)
		_, _ = a.Save(n), a.Emit("x")
		_ = a.Flush(ctx)
		_, _ = io.WriteString(a.Output(), "x")
		if err := a.Interrupt(ctx, "x"); !errors.Is(err, task.ErrNoSubmitter) {
			panic(err)
		}
	}
}
