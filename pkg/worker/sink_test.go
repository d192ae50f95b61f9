package worker

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// text is what chunks that stand behind one another say, and how they end.
func text(t *testing.T, chunks []*weftv1.OutputChunk) (all string, end, gone bool) {
	t.Helper()
	for _, c := range chunks {
		if c.GetOffset() != int64(len(all)) {
			t.Errorf("a chunk at %d behind %q", c.GetOffset(), all)
		}
		all += string(c.GetData())
		end, gone = end || c.GetEnd(), gone || c.GetGone()
	}
	return all, end, gone
}

// output is what the stream brought so far.
func (s *fakeStream) output() []*weftv1.OutputChunk {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chunks
}

// A reader that is there before the first write, and another one behind the end, read the same.
func TestOutputOfAHandler(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		s.read(1, 0, 1<<20)
		if chunks := s.output(); len(chunks) != 0 {
			t.Errorf("before the first write: %v", chunks)
		}
		for _, line := range []string{"one\n", "two\n"} {
			if n, err := io.WriteString(a.Output(), line); n != len(line) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if all, end, gone := text(t, s.output()); !strings.HasSuffix(all, line) || end || gone {
				t.Errorf("%q, %v, %v", all, end, gone)
			}
		}
		g.end()
		if all, end, gone := text(t, s.output()); all != "one\ntwo\n" || !end || gone {
			t.Errorf("%q, %v, %v", all, end, gone)
		}
		if r := s.accepted(1); !r.GetSpooled() || r.GetOutput() != nil {
			t.Errorf("got %v", r) // there is more than the report has, and none of it is in the result
		}
		s.mu.Lock()
		s.chunks = nil
		s.mu.Unlock()
		s.read(1, 0, 1<<20)
		if all, end, gone := text(t, s.output()); all != "one\ntwo\n" || !end || gone {
			t.Errorf("after the end: %q, %v, %v", all, end, gone)
		}
		// Its standard error is empty.
		s.mu.Lock()
		s.chunks = nil
		s.mu.Unlock()
		s.send(&weftv1.WorkResponse{OutputRequests: []*weftv1.OutputRequest{{Token: 1, Stream: stderr, BytesMax: 100}}})
		if all, end, gone := text(t, s.output()); all != "" || !end || gone {
			t.Errorf("standard error: %q, %v, %v", all, end, gone)
		}
	})
}

// What was written stays for ten minutes after the report was accepted, or until it is released.
func TestOutputOfAHandlerIsForgotten(t *testing.T) {
	for name, forget := range map[string]func(s *fakeStream){
		"after a while": func(*fakeStream) { pass(10 * time.Minute) },
		"released":      func(s *fakeStream) { s.send(&weftv1.WorkResponse{ReleasedTokens: []uint64{1}}) },
	} {
		t.Run(name, func(t *testing.T) {
			attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
				_, _ = io.WriteString(a.Output(), "x")
				g.end()
				pass(20 * time.Minute) // for an answer
				s.accepted(1)
				pass(10*time.Minute - time.Second)
				if s.gone(1) {
					t.Error("it is gone too soon")
				}
				synctest.Wait()
				forget(s)
				synctest.Wait()
				s.mu.Lock()
				s.chunks = nil
				s.mu.Unlock()
				if !s.gone(1) {
					t.Error("it is still there")
				}
			})
		})
	}
}

// A handler that wrote nothing has no output after its end, also if somebody waited for it.
func TestNoOutputOfAHandler(t *testing.T) {
	for _, read := range []bool{false, true} {
		attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, _ *attempt) {
			if read {
				s.read(1, 0, 100)
				synctest.Wait()
			}
			g.end()
			if r := s.accepted(1); r.GetSpooled() {
				t.Errorf("got %v", r)
			}
			if all, end, gone := text(t, s.output()); all != "" || end != read || gone {
				t.Errorf("%q, %v, %v", all, end, gone)
			}
			s.mu.Lock()
			s.chunks = nil
			s.mu.Unlock()
			if !s.gone(1) {
				t.Error("it has some")
			}
		})
	}
}

// Beyond the limit it is counted and not kept, and the handler does not notice.
func TestOutputOfAHandlerHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1 << 20
		b := newFakeBroker(t)
		cfg := b.config()
		cfg.Output.AttemptBytesMax, cfg.Output.SpoolDir = limit, t.TempDir()
		g, _, s := gated(t, cfg, b, false)
		s.assign(payloadTask(1, "gate", ""))
		a := g.enter(t)
		block := strings.Repeat("x", 64<<10)
		for range 3 * limit / len(block) {
			if n, err := io.WriteString(a.Output(), block); n != len(block) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		g.end()
		s.accepted(1)
		s.read(1, 0, 1<<30)
		if all, end, gone := text(t, s.output()); len(all) < limit || len(all) > 2*limit || end || !gone {
			t.Errorf("%d bytes, %v, %v", len(all), end, gone)
		}
	})
}

// Writes of an attempt that was lost, or has ended, go nowhere.
func TestOutputAfterTheEnd(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		out := a.Output()
		_, _ = io.WriteString(out, "x")
		s.cancel(1, lost, 0)
		synctest.Wait()
		_, _ = io.WriteString(out, "y")
		if !s.gone(1) {
			synctest.Wait()
		}
		g.end()
		_, _ = io.WriteString(out, "z")
		if _, err := io.WriteString(a.Output(), "z"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s.mu.Lock()
		s.chunks = nil
		s.mu.Unlock()
		if !s.gone(1) {
			t.Error("it is still there")
		}
	})
}

// slowSink is one whose end has to wait for a writer at a slow disk.
type slowSink struct {
	sink
	wait <-chan struct{}
}

func (s slowSink) End() int64 {
	<-s.wait
	return s.sink.End()
}

// The end of a handler waits for who is just writing its output, and the worker does not.
func TestTheWorkerDoesNotWaitForAWriter(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, _ *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		_, _ = io.WriteString(a.Output(), "x")
		written := make(chan struct{})
		a.output.sink = slowSink{a.output.sink, written}
		g.leave <- nil
		s.assign(payloadTask(2, "gate", ""))
		g.enter(t)
		g.leave <- nil
		s.accepted(2)
		if a.Output() != io.Writer(a.output.sink) {
			t.Error("there is a second output")
		}
		close(written)
		if r := s.accepted(1); !r.GetSpooled() {
			t.Errorf("%v", r)
		}
	})
}
