package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Progress is told at once, and then at most ten times a second: the last word at a time.
func TestProgressIsThrottled(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		for n := range int64(950) {
			a.Progress(n, 1000)
			pass(time.Millisecond)
		}
		list := s.news(1)
		if len(list) != 10 {
			t.Errorf("it was told %d times: %s", len(list), words(list))
		}
		for i, m := range list {
			if got := m.GetProgress().GetDone(); got != int64(100*i) && got != int64(100*i-1) {
				t.Errorf("word %d is %d", i, got)
			}
		}
		pass(time.Second) // the last word waits for nothing
		list = s.news(1)
		if m := list[len(list)-1]; m.GetProgress().GetDone() != 949 || m.GetSequence() != 0 {
			t.Errorf("the last word: %s", words(list))
		}
		a.Progress(1000, 1000, "at once")
		synctest.Wait()
		if !strings.HasSuffix(words(s.news(1)), "done:1000/1000:at once") {
			t.Errorf("after a while: %s", words(s.news(1)))
		}
		g.end()
		s.accepted(1)
	})
}

// The last word goes before the report, however soon the end comes.
func TestTheLastProgressGoesBeforeTheReport(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		a.Progress(1, 3)
		wantWords(t, s.news(1), "done:1/3:")
		a.Progress(2, 3)
		a.Progress(3, 3, strings.Repeat("ä", 600))
		g.end()
		list := s.before(1)
		if m := list[len(list)-1].GetProgress(); len(list) != 2 || m.GetDone() != 3 || len(m.GetMessage()) > 1024 {
			t.Errorf("got %q", words(list))
		}
		s.drop(errDropped) // and again with the report, as it is kept in memory only
		s = b.welcome(t)
		s.accepted(1)
		if list := s.before(1); len(list) != 1 || list[0].GetProgress().GetDone() != 3 {
			t.Errorf("on the new stream: %q", words(list))
		}
		pass(time.Second)
		if len(s.news(1)) != 1 {
			t.Error("it is told after the end")
		}
	})
}

// On a new stream it is said again, what came while there was none included.
func TestProgressOverReconnects(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		s.drop(errDropped)
		s = b.welcome(t)
		wantWords(t, s.news(1), "") // nothing was said yet
		a.Progress(1, 0)
		s.news(1)
		s.drop(errDropped)
		s = b.welcome(t)
		wantWords(t, s.news(1), "done:1/0:")
		s.drop(errDropped)
		synctest.Wait()
		a.Progress(2, 0)
		pass(500 * time.Millisecond)
		a.Progress(3, 0)
		s = b.welcome(t)
		pass(time.Second)
		wantWords(t, s.news(1), "done:3/0:")
		g.end()
		s.accepted(1)
	})
}
