package broker

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	stdout = weftv1.OutputStream_OUTPUT_STREAM_STDOUT
	stderr = weftv1.OutputStream_OUTPUT_STREAM_STDERR
)

// fakeWatcher follows a task. It holds the output against its offsets.
type fakeWatcher struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[weftv1.WatchTaskResponse]
	cancel context.CancelFunc

	task  *weftv1.Task // as last told
	token uint64       // of the attempt whose output comes
	from  map[weftv1.OutputStream]int64
	text  map[weftv1.OutputStream]string
	ended map[weftv1.OutputStream]bool
	gone  map[weftv1.OutputStream]bool
}

func (h *harness) watch(req *weftv1.WatchTaskRequest) *fakeWatcher {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := h.tasks.WatchTask(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		h.t.Fatal(err)
	}
	w := &fakeWatcher{t: h.t, stream: stream, cancel: cancel}
	w.begin(req.GetToken())
	w.from[stdout], w.from[stderr] = req.GetStdoutOffset(), req.GetStderrOffset()
	return w
}

func (w *fakeWatcher) begin(token uint64) {
	w.token = token
	w.from, w.text = map[weftv1.OutputStream]int64{}, map[weftv1.OutputStream]string{}
	w.ended, w.gone = map[weftv1.OutputStream]bool{}, map[weftv1.OutputStream]bool{}
}

// next takes one piece of news; it returns the stream's end.
func (w *fakeWatcher) next() error {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		return err
	}
	if m.GetTask() != nil {
		w.task = m.GetTask()
		return nil
	}
	c := m.GetOutput()
	if c.GetToken() != w.token {
		w.begin(c.GetToken())
	}
	if want := w.from[c.GetStream()] + int64(len(w.text[c.GetStream()])); c.GetOffset() != want || w.ended[c.GetStream()] || c.GetReader() != 0 {
		w.t.Fatalf("a chunk at %d of %v, not at %d (reader %d)", c.GetOffset(), c.GetStream(), want, c.GetReader())
	}
	w.text[c.GetStream()] += string(c.GetData())
	w.ended[c.GetStream()] = c.GetEnd() || c.GetGone()
	w.gone[c.GetStream()] = c.GetGone()
	return nil
}

func (w *fakeWatcher) until(what string, cond func() bool) {
	w.t.Helper()
	for !cond() {
		if err := w.next(); err != nil {
			w.t.Fatalf("waiting for %s: %v; %v and %q", what, err, w.task, w.text)
		}
	}
}

func (w *fakeWatcher) untilText(want string) {
	w.t.Helper()
	w.until("output", func() bool { return len(w.text[stdout]) >= len(want) })
	if w.text[stdout] != want {
		w.t.Fatalf("got %.100q, want %.100q", w.text[stdout], want)
	}
}

// end follows the task to its end.
func (w *fakeWatcher) end() error {
	w.t.Helper()
	for {
		if err := w.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// command submits a command with a spec and returns its id.
func (h *harness) command(spec *weftv1.TaskSpec) string {
	h.t.Helper()
	spec.Work = &weftv1.TaskSpec_Command{Command: &weftv1.Command{Argv: []string{"true"}}}
	r, err := h.tasks.SubmitTask(h.ctx(), &weftv1.SubmitTaskRequest{Task: spec})
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetTaskId()
}

// request waits for the nth request for an output (1 is the first) of a stream.
func (w *fakeWorker) request(stream weftv1.OutputStream, n int) (out *weftv1.OutputRequest) {
	w.t.Helper()
	w.until("request for output", func(r *weftv1.WorkResponse) bool {
		seen := 0
		for _, o := range r.GetOutputRequests() {
			if o.GetStream() == stream && !o.GetStop() {
				if seen++; seen == n {
					out = o
					return true
				}
			}
		}
		return false
	})
	return out
}

func (w *fakeWorker) chunk(r *weftv1.OutputRequest, offset int64, data string, end bool) {
	w.t.Helper()
	w.send(&weftv1.WorkRequest{Output: many(1, &weftv1.OutputChunk{
		Token: r.GetToken(), Stream: r.GetStream(), Offset: offset, Data: []byte(data), End: end, Reader: r.GetReader(),
	})})
}

// exited is the report of a command that succeeded; truncated if total is more than text has.
func exited(a *weftv1.Assignment, text string, total int) *weftv1.WorkRequest {
	return &weftv1.WorkRequest{Reports: many(1, &weftv1.AttemptReport{
		TaskId: a.GetTaskId(), Token: a.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED,
		Output: &weftv1.AttemptReport_Command{Command: &weftv1.CommandResult{
			Stdout: &weftv1.CapturedOutput{Value: &weftv1.CapturedOutput_Text{Text: text}, BytesTotal: int64(total), Truncated: total > len(text)},
			Stderr: &weftv1.CapturedOutput{},
		}},
	})}
}

func (h *harness) ended(w *fakeWatcher) {
	h.t.Helper()
	if err := w.end(); err != nil {
		h.t.Fatal(err)
	}
	if w.task.GetOutcome().GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED || w.task.GetOutcome().GetCommand() == nil {
		h.t.Fatalf("%v", w.task)
	}
}

func TestOutputLiveAndAtOffsets(t *testing.T) {
	h := newHarness(t)
	early := h.watch(&weftv1.WatchTaskRequest{TaskId: h.command(&weftv1.TaskSpec{}), Output: true})
	early.until("state", func() bool { return early.task != nil })
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	a := w.assigned(1)
	r := w.request(stdout, 1)
	if r.GetOffset() != 0 || r.GetToken() != a.GetToken() || r.GetBytesMax() != outputWindow {
		t.Fatalf("%v", r)
	}
	w.chunk(r, 0, "one ", false)
	early.untilText("one ")
	late := h.watch(&weftv1.WatchTaskRequest{TaskId: a.GetTaskId(), Output: true, Token: a.GetToken(), StdoutOffset: 2})
	r2 := w.request(stdout, 2)
	if r2.GetOffset() != 2 || r2.GetReader() == r.GetReader() {
		t.Fatalf("%v after %v", r2, r)
	}
	w.chunk(r2, 2, "e ", false)
	w.chunk(r, 4, "two", false)
	w.chunk(r, 3, "old", false) // does not follow: it ends this reader's output
	w.chunk(r2, 4, "two", false)
	early.until("gap", func() bool { return early.gone[stdout] })
	late.untilText("e two")
	other := h.watch(&weftv1.WatchTaskRequest{TaskId: a.GetTaskId(), Output: true, Token: 1, StdoutOffset: 3}) // of no attempt of now
	other.begin(a.GetToken())
	r3 := w.request(stdout, 3)
	if r3.GetOffset() != 0 {
		t.Fatalf("%v", r3)
	}
	quiet := h.watch(&weftv1.WatchTaskRequest{TaskId: a.GetTaskId()})
	w.send(exited(a, "one two", 7))
	late.until("end", func() bool { return late.ended[stdout] && late.ended[stderr] })
	other.untilText("one two") // of the outcome
	h.ended(early)
	h.ended(late)
	h.ended(other)
	h.ended(quiet)
	if late.text[stdout] != "e two" || quiet.token != 0 {
		t.Errorf("%q, %v", late.text, quiet)
	}
	w.beat(1)
	w.until("stops", func(m *weftv1.WorkResponse) bool {
		stops := 0
		for _, o := range m.GetOutputRequests() {
			if o.GetStop() {
				stops++
			}
		}
		return stops == 6-1 // every reader but the one that ended
	})
}

func TestOutputOfAnEndedTask(t *testing.T) {
	h := newHarness(t)
	id := h.command(&weftv1.TaskSpec{})
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	w.send(exited(w.assigned(1), strings.Repeat("x", 100_000), 100_000))
	w.until("acceptance", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 1 })
	w.cancel()
	for _, offset := range []int64{0, 1, 99_999, 100_000} {
		token := w.seen.GetAcceptedTokens()[0]
		late := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true, Token: token, StdoutOffset: offset})
		h.ended(late)
		if int64(len(late.text[stdout])) != 100_000-offset || !late.ended[stdout] || !late.ended[stderr] {
			t.Errorf("from %d: %d bytes", offset, len(late.text[stdout]))
		}
	}
	if len(w.seen.GetOutputRequests()) != 0 {
		t.Errorf("the worker was asked: %v", w.seen.GetOutputRequests())
	}
}

// requests is how many windows of stdout were asked for.
func (w *fakeWorker) requests() (n int) {
	for _, o := range w.seen.GetOutputRequests() {
		if o.GetStream() == stdout && !o.GetStop() {
			n++
		}
	}
	return n
}

// The worker is asked for a window when the one before is on its way to the reader: what the broker holds
// for one that does not read is bounded.
func TestOutputWindows(t *testing.T) {
	h := newHarness(t)
	id := h.command(&weftv1.TaskSpec{})
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	a := w.assigned(1)
	reader := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	w.request(stdout, 1)
	chunk, sent := strings.Repeat("x", outputChunkBytes), int64(0)
	fill := func(window int) {
		r := w.request(stdout, window)
		if r.GetOffset() != sent {
			t.Fatalf("window %d: %v", window, r)
		}
		for range outputWindow / outputChunkBytes {
			w.chunk(r, sent, chunk, false)
			sent += int64(len(chunk))
		}
	}
	asked := 1
	for beat := range uint64(200) {
		if asked <= w.requests() {
			fill(asked)
			asked++
		}
		w.beat(beat + 1)
	}
	if asked > 3 { // gRPC takes less than a window, so the second is at most half on its way
		t.Fatalf("%d windows were asked for", asked-1)
	}
	for ; asked <= 20; asked++ {
		reader.until("output", func() bool { return int64(len(reader.text[stdout])) == sent })
		fill(asked)
	}
	reader.until("output", func() bool { return int64(len(reader.text[stdout])) == sent })
	r := w.request(stdout, 21)
	w.chunk(r, sent, strings.Repeat("x", outputChunkBytes+1), false) // above a chunk's size
	reader.until("end", func() bool { return reader.gone[stdout] })
	w.send(exited(a, "", 0))
	h.ended(reader)
}

func TestOutputAcrossReconnects(t *testing.T) {
	h := newHarness(t)
	id := h.command(&weftv1.TaskSpec{})
	w := h.worker(&weftv1.WorkHello{Credits: 1, SessionTtl: durationpb.New(time.Minute)})
	a := w.assigned(1)
	held := many(1, &weftv1.HeldAttempt{TaskId: id, Token: a.GetToken()})
	reader := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	w.chunk(w.request(stdout, 1), 0, "one ", false)
	reader.untilText("one ")
	w.cancel()
	w = h.worker(&weftv1.WorkHello{SessionId: w.session(), Attempts: held})
	r := w.request(stdout, 1)
	if r.GetOffset() != 4 {
		t.Fatalf("%v", r)
	}
	w.chunk(r, 4, "two ", false)
	reader.untilText("one two ")
	w.send(exited(a, "one", 100)) // truncated: the rest is at the worker, which is away when it is wanted
	w.until("acceptance", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 1 })
	w.cancel()
	w = h.worker(&weftv1.WorkHello{SessionId: w.session(), Attempts: held})
	r = w.request(stdout, 1)
	if r.GetOffset() != 8 {
		t.Fatalf("%v", r)
	}
	w.chunk(r, 8, "three", true)
	h.ended(reader)
	if reader.text[stdout] != "one two three" {
		t.Errorf("%q", reader.text)
	}
}

func TestOutputOfARetryBeginsAnew(t *testing.T) {
	h := newHarness(t)
	id := h.command(&weftv1.TaskSpec{Retry: &weftv1.RetryPolicy{AttemptsMax: 2, InitialBackoff: durationpb.New(1)}})
	w := h.worker(&weftv1.WorkHello{Credits: 2})
	first := w.assigned(1)
	reader := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	w.chunk(w.request(stdout, 1), 0, "first", false)
	reader.untilText("first")
	w.send(&weftv1.WorkRequest{Reports: many(1, &weftv1.AttemptReport{
		TaskId: id, Token: first.GetToken(), End: weftv1.AttemptEnd_ATTEMPT_END_ERROR, Error: &weftv1.TaskError{Reason: "exit"},
	})})
	second := w.assigned(2)
	r := w.request(stdout, 2)
	if r.GetOffset() != 0 || r.GetToken() != second.GetToken() {
		t.Fatalf("%v", r)
	}
	w.chunk(r, 0, "second", false)
	reader.untilText("second")
	w.send(exited(second, "second", 6))
	h.ended(reader)
	if reader.token != second.GetToken() {
		t.Errorf("%v", reader)
	}
}

func TestOutputOfATruncatedOutcome(t *testing.T) {
	h := newHarness(t)
	id := h.command(&weftv1.TaskSpec{})
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	w.send(exited(w.assigned(1), "one", 100))
	w.until("acceptance", func(r *weftv1.WorkResponse) bool { return len(r.GetAcceptedTokens()) == 1 })
	reader := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	r := w.request(stdout, 1)
	w.chunk(r, 0, "one two", true)
	h.ended(reader)
	if reader.text[stdout] != "one two" || !reader.ended[stderr] {
		t.Errorf("%q", reader.text)
	}

	lost := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	r = w.request(stdout, 2)
	w.send(&weftv1.WorkRequest{Output: many(1, &weftv1.OutputChunk{Token: r.GetToken(), Stream: stdout, Reader: r.GetReader(), Gone: true, End: true})})
	h.ended(lost)
	if !lost.gone[stdout] {
		t.Errorf("%v", lost)
	}

	silent := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	w.request(stdout, 3) // and no answer
	wantRefusal(t, silent.end(), pure.OutputGone, "task_id", id)
	w.cancel()
	away := h.watch(&weftv1.WatchTaskRequest{TaskId: id, Output: true})
	begun := time.Now()
	wantRefusal(t, away.end(), pure.OutputGone, "task_id", id)
	if took := time.Since(begun); took < outputPatience {
		t.Errorf("given up after %v", took)
	}
}

// A worker cannot fill the broker with chunks that are small, empty, or for nobody.
func TestOutputThatNobodyAskedFor(t *testing.T) {
	o := newOutputs()
	l := o.connect([16]byte{1}, shard.NewOutbox())
	r := o.open(l.session, 7, stdout, 0, make(chan struct{}, 1))
	for r.window > 0 {
		data := make([]byte, 64)
		o.deliver(l, &weftv1.OutputChunk{Token: 7, Stream: stdout, Reader: r.name, Offset: r.next, Data: data})
		o.deliver(l, &weftv1.OutputChunk{Token: 7, Stream: stdout, Reader: r.name, Offset: r.next})
		o.deliver(l, &weftv1.OutputChunk{Token: 8, Stream: stdout, Reader: r.name, Offset: r.next, Data: data})
		o.deliver(l, &weftv1.OutputChunk{Token: 7, Stream: stderr, Reader: r.name, Offset: r.next, Data: data})
		o.deliver(l, &weftv1.OutputChunk{Token: 7, Stream: stdout, Reader: r.name + 1, Offset: r.next, Data: data})
	}
	if n := len(r.chunks); n != outputWindow/outputChunkBytes || r.next != outputWindow || r.window != 0 || r.done {
		t.Errorf("%d chunks wait, next %d, window %d, done %v", n, r.next, r.window, r.done)
	}
	o.deliver(l, &weftv1.OutputChunk{Token: 7, Stream: stdout, Reader: r.name, Offset: r.next, Data: []byte("x")})
	if chunks, done := r.take(); !done || !chunks[len(chunks)-1].GetGone() || r.next != outputWindow {
		t.Errorf("beyond the window: done %v", done)
	}
	r.close()
	o.disconnect(l)
	if len(o.links)+len(o.readers) != 0 {
		t.Errorf("%v, %v", o.links, o.readers)
	}
}

// A stream that was taken over before its worker's output was connected does not take it back.
func TestOutputOfATakenOverStream(t *testing.T) {
	o := newOutputs()
	old, young := shard.NewOutbox(), shard.NewOutbox()
	old.Close(nil)
	l := o.connect([16]byte{1}, young)
	r := o.open(l.session, 7, stdout, 0, make(chan struct{}, 1))
	stale := o.connect([16]byte{1}, old)
	o.disconnect(stale)
	if r.link != l || o.links[l.session] != l {
		t.Error("the reader has lost its worker")
	}
}

func TestWaitTask(t *testing.T) {
	h := newHarness(t)
	id := h.submit("k")
	r, err := h.tasks.WaitTask(h.ctx(), &weftv1.WaitTaskRequest{TaskId: id, Wait: durationpb.New(10 * time.Millisecond)})
	if err != nil || r.GetTask().GetState() != weftv1.TaskState_TASK_STATE_READY {
		t.Errorf("%v, %v", r, err)
	}
	brief, cancel := context.WithTimeout(h.ctx(), 10*time.Millisecond)
	defer cancel()
	if _, err = h.tasks.WaitTask(brief, &weftv1.WaitTaskRequest{TaskId: id}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	w := h.worker(&weftv1.WorkHello{Credits: 1})
	w.send(&weftv1.WorkRequest{Reports: many(1, success(w.assigned(1), "y"))})
	r, err = h.tasks.WaitTask(h.ctx(), &weftv1.WaitTaskRequest{TaskId: id})
	if err != nil || r.GetTask().GetOutcome().GetPayload().GetText() != "y" {
		t.Errorf("%v, %v", r, err)
	}
}

// The news and the end may come with one wake.
func TestTheEndBehindTheNewsIsSeen(t *testing.T) {
	o := shard.NewOutbox()
	o.Push(&queue.Changed{Task: queue.Snapshot{TaskState: queue.TaskState{Extra: queue.NoExtra, State: queue.Running}}})
	o.Close(shard.NotReady())
	<-o.Wake()
	known, err := latest(o, queue.Snapshot{})
	wantRefusal(t, err, pure.NotReady)
	if known.State != queue.Running {
		t.Errorf("%v", known.State)
	}
}
