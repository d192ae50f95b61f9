package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// news lists the advances of an attempt that the stream brought so far, once nothing more is to come.
func (s *fakeStream) news(token uint64) (list []*weftv1.AttemptAdvance) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range s.frames {
		for _, m := range frame.GetAdvances() {
			if m.GetToken() == token {
				list = append(list, m)
			}
		}
	}
	return list
}

// answer answers an advance.
func (s *fakeStream) answer(token, sequence uint64, reason weftv1.ErrorReason) {
	s.send(&weftv1.WorkResponse{Advances: []*weftv1.AdvanceAnswer{{Token: token, Sequence: sequence, Reason: reason}}})
	synctest.Wait()
}

const (
	durable      = weftv1.ErrorReason_ERROR_REASON_UNSPECIFIED
	leaseLost    = weftv1.ErrorReason_ERROR_REASON_LEASE_LOST
	partialsFull = weftv1.ErrorReason_ERROR_REASON_PARTIALS_FULL
)

// words is what advances say, one word each: "#1 save:b@2 emit:0:x,y done:3/4:text".
func words(list []*weftv1.AttemptAdvance) string {
	var all []string
	for _, m := range list {
		var parts []string
		if m.GetSequence() != 0 {
			parts = append(parts, fmt.Sprintf("#%d", m.GetSequence()))
		}
		if c := m.GetCheckpoint(); c != nil {
			parts = append(parts, fmt.Sprintf("save:%s@%d", c.GetState().GetText(), c.GetPartialsCount()))
		}
		if len(m.GetPartials()) > 0 {
			var texts []string
			for _, p := range m.GetPartials() {
				texts = append(texts, p.GetText())
			}
			parts = append(parts, fmt.Sprintf("emit:%d:%s", m.GetPartialsOffset(), strings.Join(texts, ",")))
		}
		if p := m.GetProgress(); p != nil {
			parts = append(parts, fmt.Sprintf("done:%d/%d:%s", p.GetDone(), p.GetTotal(), p.GetMessage()))
		}
		all = append(all, strings.Join(parts, " "))
	}
	return strings.Join(all, "; ")
}

func wantWords(t *testing.T, list []*weftv1.AttemptAdvance, want string) {
	t.Helper()
	if got := words(list); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// do fails the test at the first error.
func do(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

// attempting runs a test with an attempt whose handler has begun, and does what the test says.
func attempting(t *testing.T, asg *weftv1.Assignment, test func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		g, _, s := gated(t, b.config(), b, false)
		s.assign(asg)
		test(t, b, g, s, g.enter(t))
	})
}

// end has the handler return, and waits for the report.
func (g *gate) end() {
	g.leave <- nil
	synctest.Wait()
}

func TestCheckpointsCoalesce(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Save("a"))
		wantWords(t, s.news(1), "#1 save:a@0")
		do(t, a.Save("b"), a.Save("c"))
		wantWords(t, s.news(1), "#1 save:a@0") // one at a time
		s.answer(1, 1, durable)
		wantWords(t, s.news(1), "#1 save:a@0; #2 save:c@0")
		s.answer(1, 1, durable) // a repeated answer is none
		do(t, a.Save("d"))
		wantWords(t, s.news(1), "#1 save:a@0; #2 save:c@0")
		s.answer(1, 2, durable)
		s.answer(1, 3, durable)
		wantWords(t, s.news(1), "#1 save:a@0; #2 save:c@0; #3 save:d@0")
		g.end()
		s.accepted(1)
		wantWords(t, s.news(1), "#1 save:a@0; #2 save:c@0; #3 save:d@0") // nothing is said twice
	})
}

func TestPartialsKeepTheirPlacesOverReconnects(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Emit("a"))
		wantWords(t, s.news(1), "#1 emit:0:a")
		do(t, a.Emit("b"), a.Emit("c"))
		s.drop(errDropped) // unanswered: it may have arrived, or not
		do(t, a.Emit("d"))
		s = b.welcome(t)
		wantWords(t, s.news(1), "#2 emit:0:a,b,c,d")
		do(t, a.Emit("e"))
		s.answer(1, 2, durable)
		wantWords(t, s.news(1), "#2 emit:0:a,b,c,d; #3 emit:4:e")
		s.answer(1, 3, durable)
		s.drop(errDropped)
		s = b.welcome(t)
		wantWords(t, s.news(1), "") // all of it was answered
		do(t, a.Emit("f"))
		wantWords(t, s.news(1), "#4 emit:5:f")
		s.answerAll()
		g.end()
		s.accepted(1)
	})
}

// However often the stream breaks, wherever: what was answered comes no more, and the rest comes in its place.
func TestPartialsOverManyReconnects(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		const n = 200
		var got []string
		seen := 0 // advances of this stream
		take := func() (last uint64) {
			list := s.news(1)
			for _, m := range list[seen:] {
				for i, p := range m.GetPartials() {
					switch place := int(m.GetPartialsOffset()) + i; {
					case place == len(got):
						got = append(got, p.GetText())
					case place > len(got) || got[place] != p.GetText():
						t.Fatalf("place %d has %q after %q", place, p.GetText(), got)
					}
				}
				last = m.GetSequence()
			}
			seen = len(list)
			return last
		}
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
			do(t, a.Emit(fmt.Sprint(i)))
			if last := take(); last > 0 && i%3 != 0 {
				s.answer(1, last, durable)
			}
			if i%7 == 0 {
				s.drop(errDropped)
				s, seen = b.welcome(t), 0
			}
		}
		s.drop(errDropped)
		s, seen = b.welcome(t), 0
		for last := take(); last > 0; last = take() {
			s.answer(1, last, durable)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		do(t, a.Flush(t.Context()))
		g.end()
		s.accepted(1)
	})
}

// before splits what a stream brought at the report of an attempt: the advances of the report's frame stand before it.
func (s *fakeStream) before(token uint64) (list []*weftv1.AttemptAdvance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, frame := range s.frames {
		for _, m := range frame.GetAdvances() {
			if m.GetToken() == token {
				list = append(list, m)
			}
		}
		if slices.ContainsFunc(frame.GetReports(), func(r *weftv1.AttemptReport) bool { return r.GetToken() == token }) {
			return list
		}
	}
	return nil
}

// The end waits for no answer to a checkpoint: what there is goes before the report, and again with the report on a new
// stream.
func TestWhatIsPendingGoesBeforeTheReport(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Save("s"))
		first := words(s.news(1))
		do(t, a.Save("t"), a.Save("u"))
		g.end()
		if got := words(s.before(1)); !strings.HasPrefix(got, first) || !strings.HasSuffix(got, "save:u@0") {
			t.Errorf("got %q", got)
		}
		s.drop(errDropped)
		s = b.welcome(t)
		s.report(1)
		if got := words(s.before(1)); !strings.HasSuffix(got, "save:u@0") {
			t.Errorf("on the new stream: %q", got)
		}
		s.accepted(1)
		wantWords(t, s.news(1), words(s.before(1)))
	})
}

// A success waits until its partial results are durable, whatever happens to the streams, and even if it is told to stop.
func TestASuccessWaitsForItsPartials(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Emit("a"))
		s.cancel(1, killed, time.Hour)
		g.end()
		if list := s.before(1); list != nil {
			t.Errorf("it ended before the answer to %q", words(list))
		}
		s.drop(errDropped)
		s = b.welcome(t)
		wantWords(t, s.news(1), "#2 emit:0:a")
		s.answer(1, 2, durable)
		if r := s.accepted(1); r.GetEnd() != succeeded {
			t.Errorf("%v", r)
		}
	})
}

// A partial result that is refused at the very end fails the attempt: its success would hide that it is missing.
func TestARefusedLastPartialFailsTheAttempt(t *testing.T) {
	for name, refuse := range map[string]func(g *gate, answer func()){
		"before the end": func(g *gate, answer func()) { answer(); g.end() },
		"after the end":  func(g *gate, answer func()) { g.end(); answer() },
	} {
		t.Run(name, func(t *testing.T) {
			attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
				do(t, a.Emit("a"))
				s.news(1)
				refuse(g, func() {
					s.send(&weftv1.WorkResponse{Advances: []*weftv1.AdvanceAnswer{
						{Token: 1, Sequence: 1, Reason: partialsFull, Message: "there are 1000"},
					}})
					synctest.Wait()
				})
				r := s.accepted(1)
				const want = "the broker refused a checkpoint or partial results: PARTIALS_FULL: there are 1000"
				if e := r.GetError(); r.GetEnd() != failed || e.GetReason() != task.ReasonPayload || e.GetMessage() != want || !e.GetPermanent() {
					t.Errorf("%v", r)
				}
			})
		})
	}
}

// A worker that is to end at once does not wait for answers that do not come.
func TestStopDoesNotWaitForPartials(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Emit("a"))
		s.news(1)
		g.end()
		a.worker.Stop()
		if r := s.accepted(1); r.GetEnd() != succeeded {
			t.Errorf("%v", r)
		}
	})
}

// A frame of news has limits; nothing of it is left behind.
func TestLargeNewsAreSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBroker(t)
		cfg := b.config()
		cfg.Slots = 10
		g, _, s := gated(t, cfg, b, false)
		for i := range 10 {
			s.assign(payloadTask(uint64(1+i), "gate", ""))
		}
		s.drop(errDropped) // so that everything gathers
		synctest.Wait()
		large := strings.Repeat("x", task.PayloadBytesMax)
		for range 10 {
			do(t, g.enter(t).Save(large))
		}
		s = b.welcome(t)
		for i := range 10 {
			if list := s.news(uint64(1 + i)); len(list) != 1 || len(list[0].GetCheckpoint().GetState().GetText()) != len(large) {
				t.Errorf("attempt %d: %d advances", 1+i, len(list))
			}
		}
		s.mu.Lock()
		for _, frame := range s.frames {
			if n := len(frame.GetAdvances()); n > 4 {
				t.Errorf("a frame has %d advances", n)
			}
		}
		s.mu.Unlock()
		for range 10 {
			g.leave <- nil
		}
		synctest.Wait()
		s.acceptAll()
	})
}

func TestFlush(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Flush(t.Context())) // there is nothing to wait for
		do(t, a.Emit("a"), a.Save("s"))
		flushed := make(chan error, 1)
		go func() { flushed <- a.Flush(t.Context()) }()
		for range 3 { // through answers, and a stream that breaks
			list := s.news(1)
			select {
			case err := <-flushed:
				t.Fatalf("it returned too early: %v", err)
			default:
			}
			if len(list) == 0 {
				break
			}
			s.drop(errDropped)
			s = b.welcome(t)
		}
		list := s.news(1)
		s.answer(1, list[len(list)-1].GetSequence(), durable)
		do(t, <-flushed)

		do(t, a.Save("u"))
		short, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no time"))
		defer cancel()
		if err := a.Flush(short); err == nil || err.Error() != "no time" {
			t.Errorf("got %v", err)
		}
		g.end()
		s.accepted(1)
	})
}

func TestFlushOfAnAttemptThatIsLost(t *testing.T) {
	for name, lose := range map[string]func(s *fakeStream){
		"cancelled":  func(s *fakeStream) { s.cancel(1, lost, 0) },
		"refused":    func(s *fakeStream) { s.answer(1, 1, leaseLost) },
		"superseded": func(s *fakeStream) { s.drop(errDropped) },
	} {
		t.Run(name, func(t *testing.T) {
			attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
				do(t, a.Save("s"))
				s.news(1)
				flushed := make(chan error, 1)
				go func() { flushed <- a.Flush(t.Context()) }()
				synctest.Wait()
				lose(s)
				if name == "superseded" {
					b.welcome(t, 1)
				}
				if err := <-flushed; !errors.Is(err, task.ErrLeaseLost) {
					t.Errorf("Flush: %v", err)
				}
				if err := a.Save("u"); !errors.Is(err, task.ErrLeaseLost) {
					t.Errorf("Save: %v", err)
				}
				if err := a.Emit("u"); !errors.Is(err, task.ErrLeaseLost) {
					t.Errorf("Emit: %v", err)
				}
				g.end()
			})
		})
	}
}

// An attempt that is told to stop can still leave something to the next one, while it has its lease.
func TestFlushOfAnAttemptThatIsStopped(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Save("s"))
		s.news(1)
		s.cancel(1, killed, time.Hour)
		synctest.Wait()
		flushed := make(chan error, 1)
		go func() { flushed <- a.Flush(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Errorf("it returned before the answer: %v", err)
		default:
		}
		s.answer(1, 1, durable)
		do(t, <-flushed)
		if err := a.Err(); !errors.Is(err, task.ErrCancelled) {
			t.Errorf("Err: %v", err)
		}

		do(t, a.Save("u"))
		if err := a.Flush(&a.ctx); !errors.Is(err, task.ErrCancelled) {
			t.Errorf("Flush with the context that is done: %v", err)
		}
		g.leave <- context.Canceled
		if r := s.accepted(1); r.GetEnd() != killed {
			t.Errorf("got %v", r)
		}
		wantWords(t, s.before(1), "#1 save:s@0; #2 save:u@0")
	})
}

// Once the lease is over nothing can be acknowledged, also if the attempt was told to stop for another reason before.
func TestFlushBeyondTheLease(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Save("s"))
		s.news(1)
		s.cancel(1, killed, time.Hour)
		synctest.Wait()
		s.mute()
		flushed := make(chan error, 1)
		go func() { flushed <- a.Flush(t.Context()) }()
		if err := <-flushed; !errors.Is(err, task.ErrLeaseLost) {
			t.Errorf("Flush: %v", err)
		}
		g.end()
	})
}

// A refusal is told to the handler, which may go on, and nothing more is sent but its progress and its end.
func TestRefusedAdvances(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		do(t, a.Emit("a"))
		s.news(1)
		s.answer(1, 1, partialsFull)
		for _, err := range []error{a.Emit("b"), a.Save("s"), a.Flush(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), "PARTIALS_FULL") {
				t.Errorf("got %v", err)
			}
		}
		a.Progress(1, 2)
		wantWords(t, s.news(1), "#1 emit:0:a; done:1/2:")
		s.drop(errDropped)
		s = b.welcome(t)
		g.end()
		if r := s.accepted(1); r.GetEnd() != failed {
			t.Errorf("got %v", r)
		}
		wantWords(t, s.news(1), "done:1/2:")
	})
}

// An answer for an attempt that is not here changes nothing.
func TestAnswersOfNothing(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		s.answer(2, 1, leaseLost)
		s.answer(1, 7, durable)
		do(t, a.Save("s"))
		wantWords(t, s.news(1), "#1 save:s@0")
		s.answer(1, 0, durable)
		g.end()
		s.accepted(1)
		s.answer(1, 1, leaseLost) // after the end
		s.sync()
	})
}
