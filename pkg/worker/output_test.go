package worker

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// commands is a worker for commands on a welcomed stream.
func commands(t testing.TB, cfg Config, b *fakeBroker) (*running, *fakeStream) {
	t.Helper()
	w := newWorker(t, cfg)
	allowCommands(t, w)
	r := run(t, w)
	return r, b.welcome(t)
}

func (s *fakeStream) read(token uint64, offset, window int64) {
	s.send(&weftv1.WorkResponse{OutputRequests: []*weftv1.OutputRequest{
		{Token: token, Stream: stdout, Offset: offset, BytesMax: window},
	}})
}

// taken waits for chunks and takes them.
func (s *fakeStream) taken() (chunks []*weftv1.OutputChunk) {
	s.t.Helper()
	s.until("output", func() bool {
		chunks, s.chunks = s.chunks, nil
		return len(chunks) > 0
	})
	return chunks
}

// gone waits until the worker says that an output is gone.
func (s *fakeStream) gone(token uint64) bool {
	s.t.Helper()
	s.read(token, 0, 1)
	chunk := s.taken()[0]
	if !chunk.GetEnd() && !chunk.GetGone() {
		s.send(&weftv1.WorkResponse{OutputRequests: []*weftv1.OutputRequest{{Token: token, Stream: stdout, Stop: true}}})
	}
	return chunk.GetGone()
}

func lines(n int) *weftv1.Command {
	return shell("i=0; while [ $i -lt $1 ]; do echo $i; i=$((i+1)); done", strconv.Itoa(n))
}

func TestOutputLive(t *testing.T) {
	b := newFakeBroker(t)
	_, s := commands(t, b.config(), b)
	s.read(1, 0, 100) // before the assignment: there is no such output
	if chunk := s.taken()[0]; !chunk.GetGone() || chunk.GetEnd() {
		t.Errorf("got %v", chunk)
	}
	fifo := t.TempDir() + "/go"
	s.assign(commandTask(1, shell("mkfifo $1; echo one; read x <$1; echo two", fifo)))
	s.read(1, 0, 1<<20)
	text := ""
	for !strings.HasSuffix(text, "one\n") {
		for _, chunk := range s.taken() {
			text += string(chunk.GetData())
			if chunk.GetEnd() {
				t.Fatalf("ended with %v", chunk)
			}
		}
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	for end := false; !end; {
		for _, chunk := range s.taken() {
			if chunk.GetOffset() != int64(len(text)) || chunk.GetToken() != 1 || chunk.GetStream() != stdout {
				t.Errorf("after %q: %v", text, chunk)
			}
			text += string(chunk.GetData())
			end = chunk.GetEnd()
		}
	}
	if text != "one\ntwo\n" {
		t.Errorf("got %q", text)
	}
	s.accepted(1)
}

func TestOutputWindows(t *testing.T) {
	b := newFakeBroker(t)
	_, s := commands(t, b.config(), b)
	cmd := shell("printf 0123456789")
	cmd.OutputBytesMax = 1
	s.assign(commandTask(1, cmd))
	s.accepted(1)
	for _, test := range []struct {
		offset, window int64
		data           string
		end            bool
	}{
		{0, 4, "0123", false},
		{4, 4, "4567", false},
		{8, 2, "89", true},
		{8, 100, "89", true},
		{10, 100, "", true},
		{10, 0, "", true},
		{3, 1, "3", false},
		{0, 100, "0123456789", true},
	} {
		s.read(1, test.offset, test.window)
		chunks := s.taken()
		if c := chunks[0]; len(chunks) != 1 || c.GetOffset() != test.offset || string(c.GetData()) != test.data || c.GetEnd() != test.end {
			t.Errorf("%+v: %v", test, chunks)
		}
	}
	s.send(&weftv1.WorkResponse{ReleasedTokens: []uint64{1}})
	if !s.gone(1) {
		t.Error("it is still there")
	}
}

func TestOutputStops(t *testing.T) {
	b := newFakeBroker(t)
	_, s := commands(t, b.config(), b)
	fifo := t.TempDir() + "/go"
	s.assign(commandTask(1, shell("mkfifo $1; echo one; read x <$1; echo two", fifo)))
	s.read(1, 0, 100)
	s.taken()
	s.send(&weftv1.WorkResponse{OutputRequests: []*weftv1.OutputRequest{{Token: 1, Stream: stdout, Stop: true}}})
	s.sync()
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	s.accepted(1)
	s.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.chunks) != 0 {
		t.Errorf("got %v", s.chunks)
	}
}

// Large output, read in windows and across reconnects, arrives with every byte.
func TestLargeOutput(t *testing.T) {
	const size = 50 << 20
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Output.SpoolDir = t.TempDir()
	_, s := commands(t, cfg, b)
	s.assign(commandTask(1, shell("yes 'a line of output' | head -c $1", strconv.Itoa(size))))
	got := sha256.New()
	offset, streams := int64(0), 1
	const window = 3<<20 + 1234
	for end := false; !end; {
		if offset/(12<<20) >= int64(streams) { // every 12 MiB
			s.drop(errDropped)
			s = b.welcome(t)
			streams++
		}
		s.read(1, offset, window)
		for stop := offset + window; offset < stop && !end; {
			for _, chunk := range s.taken() {
				if chunk.GetOffset() != offset {
					t.Fatalf("a chunk at %d, not at %d", chunk.GetOffset(), offset)
				}
				if len(chunk.GetData()) > chunkBytesMax {
					t.Fatalf("a chunk of %d bytes", len(chunk.GetData()))
				}
				got.Write(chunk.GetData())
				offset += int64(len(chunk.GetData()))
				end = chunk.GetEnd()
			}
		}
	}
	want := sha256.New()
	_, _ = io.WriteString(want, strings.Repeat("a line of output\n", size/17+1)[:size])
	if offset != size || string(got.Sum(nil)) != string(want.Sum(nil)) || streams < 4 {
		t.Errorf("%d bytes of %d on %d streams, or other ones", offset, size, streams)
	}
	r := s.accepted(1)
	if out := r.GetCommand().GetStdout(); out.GetBytesTotal() != size || !out.GetTruncated() {
		t.Errorf("the report says %d", out.GetBytesTotal())
	}
	s.send(&weftv1.WorkResponse{ReleasedTokens: []uint64{1}})
	if !s.gone(1) {
		t.Error("it is still there")
	}
}

func TestOutputBeyondTheLimitIsGone(t *testing.T) {
	const size, limit = 3 << 20, 1 << 20
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Output.AttemptBytesMax = limit
	_, s := commands(t, cfg, b)
	s.assign(commandTask(1, shell("head -c $1 /dev/zero", strconv.Itoa(size))))
	s.read(1, 0, 1<<30)
	offset := int64(0)
	for gone := false; !gone; {
		for _, chunk := range s.taken() {
			if chunk.GetOffset() != offset || chunk.GetEnd() {
				t.Fatalf("at %d: %v", offset, chunk)
			}
			offset += int64(len(chunk.GetData()))
			gone = chunk.GetGone()
		}
	}
	if offset != limit {
		t.Errorf("gone at %d", offset)
	}
	s.accepted(1)
}

func TestWholeOutputIsForgottenWithTheReport(t *testing.T) {
	b := newFakeBroker(t)
	_, s := commands(t, b.config(), b)
	s.assign(commandTask(1, shell("echo hi")))
	s.report(1)
	if s.gone(1) {
		t.Error("it is gone before the report was accepted")
	}
	s.sync() // the reader has left
	s.accepted(1)
	if !s.gone(1) {
		t.Error("it is still there")
	}
}

func TestOutputOfARefusedReportIsForgotten(t *testing.T) {
	b := newFakeBroker(t)
	_, s := commands(t, b.config(), b)
	cmd := shell("echo hi")
	cmd.OutputBytesMax = 1
	s.assign(commandTask(1, cmd))
	s.report(1)
	s.send(&weftv1.WorkResponse{RefusedTokens: []uint64{1}})
	if !s.gone(1) {
		t.Error("it is still there")
	}
}

func TestPartialOutputExpires(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Output.KeepFor = time.Millisecond
	_, s := commands(t, cfg, b)
	cmd := shell("echo hi")
	cmd.OutputBytesMax = 1
	s.assign(commandTask(1, cmd))
	s.accepted(1)
	for begun := time.Now(); !s.gone(1); {
		if time.Since(begun) > patience {
			t.Fatal("it is still there")
		}
	}
}

func TestOldestOutputsGoFirst(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Output.TotalBytesMax = 25
	_, s := commands(t, cfg, b)
	for token := range uint64(3) {
		cmd := shell("printf 0123456789")
		cmd.OutputBytesMax = 1
		s.assign(commandTask(1+token, cmd))
		s.accepted(1 + token)
	}
	for token, want := range map[uint64]bool{1: true, 2: false, 3: false} {
		if got := s.gone(token); got != want {
			t.Errorf("attempt %d: gone is %v", token, got)
		}
	}
}

func TestReportsDoNotWaitForOutput(t *testing.T) {
	b := newFakeBroker(t)
	cfg := b.config()
	cfg.Output.AttemptBytesMax = 256 << 20
	w := newWorker(t, cfg)
	w.handle("upper", upper)
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(commandTask(1, shell("yes")))
	s.read(1, 0, 1<<40)
	s.taken()
	for token := uint64(2); token < 50; token++ {
		s.assign(payloadTask(token, "upper", "x"))
		s.accepted(token)
		s.mu.Lock()
		s.chunks = nil
		s.mu.Unlock()
	}
	s.cancel(1, killed, 0)
	s.accepted(1)
}

func TestOutputsAreForgottenAtTheEnd(t *testing.T) {
	b := newFakeBroker(t)
	r, s := commands(t, b.config(), b)
	cmd := lines(100_000) // in a file
	s.assign(commandTask(1, cmd))
	s.accepted(1)
	out := r.outputs.kept[1].source.Output(stdout)
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if _, err := out.ReadAt(make([]byte, 1), 0); !errors.Is(err, command.ErrReleased) {
		t.Errorf("got %v", err)
	}
}
