package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

type photo struct {
	Name  string
	Steps int
}

type size struct{ Width, Height int }

// Kinds of the tests.
var (
	thumb  = task.Define[photo, size]("thumb")
	square = task.Define[int, int]("square")
	wait   = task.Define[string, string]("wait")
	count  = task.Define[int, int]("steps")
	alarm  = task.Define[string, bool]("alarm")
	loud   = task.Define[int, bool]("loud")
)

// typed is a broker and a worker with handlers of those kinds, and a client.
func typed(t *testing.T) (context.Context, *client.Client) {
	t.Helper()
	addr, stop := brokertest.MustStart()
	t.Cleanup(stop)
	w, err := worker.New(worker.Config{Broker: addr, Slots: 8})
	if err != nil {
		t.Fatal(err)
	}
	handlers(w)
	if err := w.HandleCommands(command.Policy{Allow: []string{"sh"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	runC := make(chan error, 1)
	running, leave := context.WithCancel(context.Background())
	go func() { runC <- w.Run(running) }()
	t.Cleanup(func() {
		leave()
		if err := <-runC; err != nil {
			t.Error(err)
		}
	})
	c, err := client.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Close()
	})
	return ctx, c
}

func handlers(w *worker.Worker) {
	worker.Handle(w, thumb, func(_ context.Context, p photo) (size, error) {
		if p.Name == "" {
			return size{}, task.Permanent(&task.Error{Reason: "no_name", Message: "the photo has no name"})
		}
		return size{Width: p.Steps, Height: len(p.Name)}, nil
	})
	worker.Handle(w, square, func(_ context.Context, n int) (int, error) { return n * n, nil })
	worker.Handle(w, wait, func(ctx context.Context, _ string) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	})
	// It fails after three steps of each attempt, and goes on from there.
	worker.Handle(w, count, func(ctx context.Context, steps int) (int, error) {
		a, step := task.Current(ctx), 0
		if _, err := a.Load(&step); err != nil {
			return 0, err
		}
		for begun := step; step < steps; step++ {
			if step-begun == 3 {
				return 0, errors.New("tired")
			}
			a.Progress(int64(step+1), int64(steps))
			if err := a.Emit(fmt.Sprintf("step %d", step)); err != nil {
				return 0, err
			}
			if err := a.Save(step + 1); err != nil {
				return 0, err
			}
		}
		return step, a.Flush(ctx)
	})
	worker.Handle(w, alarm, func(ctx context.Context, why string) (bool, error) {
		if err := task.Current(ctx).Interrupt(ctx, why); err != nil {
			return false, err
		}
		<-ctx.Done()
		return true, nil
	})
	worker.Handle(w, loud, func(ctx context.Context, lines int) (bool, error) {
		for i := range lines {
			fmt.Fprintln(task.Current(ctx).Output(), "line", i)
		}
		return true, nil
	})
}

func TestTypedResult(t *testing.T) {
	ctx, c := typed(t)
	f, err := client.Submit(ctx, c, thumb, photo{"cat", 7})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := f.Wait(ctx); err != nil || out != (size{7, 3}) {
		t.Errorf("%v, %v", out, err)
	}
	if f, err = client.Submit(ctx, c, thumb, photo{}); err != nil {
		t.Fatal(err)
	}
	_, err = f.Wait(ctx)
	var te *task.Error
	if !errors.As(err, &te) || te.Reason != "no_name" || f.Err() == nil {
		t.Errorf("%v", err)
	}
	// Another program's idea of the kind is told, and not tried again.
	other := task.Define[[]string, size]("thumb")
	g, err := client.Submit(ctx, c, other, []string{"cat"}, client.With(client.Spec{Retry: client.Retry{Attempts: 5}}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = g.Wait(ctx); !errors.As(err, &te) || te.Reason != task.ReasonPayload || !strings.Contains(te.Message, "photo") {
		t.Errorf("%v", err)
	}
	if o, _ := g.Outcome(); o.Attempts != 1 {
		t.Errorf("%d attempts", o.Attempts)
	}
}

func TestTypedMap(t *testing.T) {
	ctx, c := typed(t)
	numbers := []int{3, 1, 2}
	var got []int
	for r := range client.Map(ctx, c, square, slices.Values(numbers)) {
		if r.Err != nil || r.In != numbers[r.Index] {
			t.Fatalf("%+v", r)
		}
		got = append(got, r.Out)
	}
	if !slices.Equal(got, []int{9, 1, 4}) {
		t.Errorf("%v", got)
	}
}

// An input that cannot be encoded fails alone.
func TestMapOfBadInputs(t *testing.T) {
	ctx, c := typed(t)
	measure := task.Define[float64, int]("square")
	zero := 0.0
	var failed []uint64
	for r := range client.Map(ctx, c, measure, slices.Values([]float64{1, 1 / zero, 2})) {
		if r.Err != nil {
			failed = append(failed, r.Index)
		}
		if r.Index == 1 && (r.In <= 2 || r.TaskID != "") {
			t.Errorf("%+v", r)
		}
	}
	if !slices.Equal(failed, []uint64{1}) {
		t.Errorf("failed: %v", failed)
	}
}

// An attempt goes on from the last one's checkpoint; each partial result arrives once, before the end.
func TestCheckpointsAndPartials(t *testing.T) {
	ctx, c := typed(t)
	retry := client.With(client.Spec{Retry: client.Retry{Attempts: 10, Backoff: time.Millisecond}})
	f, err := client.Submit(ctx, c, count, 10, retry)
	if err != nil {
		t.Fatal(err)
	}
	var partials []string
	for p, err := range client.Partials[string](ctx, f) {
		if err != nil {
			t.Fatal(err)
		}
		partials = append(partials, p)
	}
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("step %d", i))
	}
	if !slices.Equal(partials, want) {
		t.Errorf("partial results %q", partials)
	}
	if n, err := f.Wait(ctx); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	o, _ := f.Outcome()
	if o.Attempts != 4 {
		t.Errorf("%d attempts", o.Attempts)
	}
	last := client.Progress{}
	for p, err := range f.Progress(ctx) {
		if err != nil || p.Done < last.Done {
			t.Errorf("%+v after %+v, %v", p, last, err)
		}
		last = p
	}
	if last != (client.Progress{Done: 10, Total: 10, Attempt: o.Token}) {
		t.Errorf("at the end %+v", last)
	}
}

func TestAttach(t *testing.T) {
	ctx, c := typed(t)
	id, err := c.Enqueue(ctx, client.Spec{
		Kind: "steps", Payload: task.Text("4"), Retry: client.Retry{Attempts: 3, Backoff: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := client.Attach(ctx, c, count, id)
	if n, err := f.Wait(ctx); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	partials := 0
	for _, err := range client.Partials[string](ctx, client.Attach(ctx, c, count, id)) {
		if err != nil {
			t.Fatal(err)
		}
		partials++
	}
	if partials != 4 {
		t.Errorf("%d partial results", partials)
	}
	if _, err := client.Attach(ctx, c, count, "t9zzz").Wait(ctx); !errors.Is(err, client.ErrTaskNotFound) {
		t.Errorf("%v", err)
	}
}

// The futures of another program's call, by its name; and its tasks' names, by its futures.
func TestAttachCall(t *testing.T) {
	ctx, c := typed(t)
	other, err := client.Dial(c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	call := c.NewCall(client.Name("squares"), client.ExplicitAck())
	defer call.Close()
	const n = 100
	own := make([]*client.Future[int], n)
	for i := range own {
		own[i] = submit(t, call, square, i)
	}
	last, err := own[n-1].ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for f, err := range client.AttachCall(ctx, other, square, "squares") {
		if err != nil {
			t.Fatal(err)
		}
		if out, err := f.Wait(ctx); err != nil || out != i*i {
			t.Errorf("task %d: %d, %v", i, out, err)
		}
		if i++; i == n && f.TaskID() != last {
			t.Errorf("the last one is %s, not %s", last, f.TaskID())
		}
	}
	if i != n {
		t.Errorf("%d futures", i)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, c := typed(t)
	f, err := client.Submit(ctx, c, alarm, "the house is on fire")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Terminate()
	notified, stop := client.NotifyContext(ctx, c)
	defer stop()
	select {
	case <-notified.Done():
	case <-ctx.Done():
		t.Fatal("no interrupt")
	}
	var i *client.Interrupt
	if !errors.As(context.Cause(notified), &i) || i.Message != "the house is on fire" || i.TaskID == "" {
		t.Errorf("%v", context.Cause(notified))
	}
	// A map is interrupted as a whole.
	var last error
	for r := range client.Map(ctx, c, alarm, slices.Values([]string{"again", "and again"})) {
		last = r.Err
	}
	if !errors.As(last, &i) || !strings.Contains(i.Message, "again") {
		t.Errorf("%v", last)
	}
	// A task of its own has nobody to interrupt.
	id, err := c.Enqueue(ctx, client.Spec{Kind: "alarm", Payload: task.Text(`"?"`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Attach(ctx, c, alarm, id).Wait(ctx); err == nil || !strings.Contains(err.Error(), "nobody to interrupt") {
		t.Errorf("%v", err)
	}
}

func TestOutputOfAHandler(t *testing.T) {
	ctx, c := typed(t)
	call := c.NewCall(client.ExplicitAck())
	defer call.Close()
	const lines = 20_000
	f, err := client.Submit(ctx, call, loud, lines)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for chunk, err := range f.Output(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		out.Write(chunk.Data)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, "line", i)
	}
	if out.String() != want.String() {
		t.Errorf("%d bytes of output, want %d", out.Len(), want.Len())
	}
	f.Ack()
}

func TestCommandFuture(t *testing.T) {
	ctx, c := typed(t)
	f, err := client.SubmitCommand(ctx, c, &weftv1.Command{Argv: []string{"sh", "-c", "echo hi; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for chunk, err := range f.Output(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		out.Write(chunk.Data)
	}
	r, err := f.Wait(ctx)
	var te *task.Error
	if r.GetExitCode() != 3 || !errors.As(err, &te) || te.Reason != task.ReasonExit || out.String() != "hi\n" {
		t.Errorf("%v, %v, %q", r, err, out.String())
	}
}
