package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	succeeded = weftv1.AttemptEnd_ATTEMPT_END_SUCCEEDED
	failed    = weftv1.AttemptEnd_ATTEMPT_END_ERROR
	timedOut  = weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT
	lost      = weftv1.AttemptEnd_ATTEMPT_END_WORKER_LOST
	released  = weftv1.AttemptEnd_ATTEMPT_END_RELEASED
	killed    = weftv1.AttemptEnd_ATTEMPT_END_KILLED
)

func upper(_ context.Context, in task.Payload) (task.Payload, error) {
	return task.Text(strings.ToUpper(in.String())), nil
}

func TestHandlers(t *testing.T) {
	handlers := map[string]Handler{
		"upper": upper,
		"empty": func(context.Context, task.Payload) (task.Payload, error) { return task.Payload{}, nil },
		"large": func(context.Context, task.Payload) (task.Payload, error) {
			return task.Bytes(make([]byte, task.PayloadBytesMax+1)), nil
		},
		"error": func(context.Context, task.Payload) (task.Payload, error) {
			return task.Text("not to be seen"), errors.New("no luck \xff")
		},
		"permanent": func(context.Context, task.Payload) (task.Payload, error) {
			return task.Payload{}, task.Permanent(errors.New("never"))
		},
		"typed": func(context.Context, task.Payload) (task.Payload, error) {
			return task.Payload{}, fmt.Errorf("outer: %w", &task.Error{Reason: "quota", Message: "inner"})
		},
		"panic": func(context.Context, task.Payload) (task.Payload, error) { panic("boom") },
		"goexit": func(context.Context, task.Payload) (task.Payload, error) {
			runtime.Goexit()
			return task.Payload{}, nil
		},
	}
	tests := []struct {
		kind   string
		end    weftv1.AttemptEnd
		reason string
		text   string // of the error or the result
		perm   bool
	}{
		{kind: "upper", end: succeeded, text: "HI"},
		{kind: "empty", end: succeeded},
		{kind: "large", end: failed, reason: "payload", text: "the result has 524289 bytes, 524288 are possible", perm: true},
		{kind: "error", end: failed, reason: "error", text: "no luck \uFFFD"},
		{kind: "permanent", end: failed, reason: "error", text: "never", perm: true},
		{kind: "typed", end: failed, reason: "quota", text: "outer: inner"},
		{kind: "panic", end: failed, reason: "panic", text: "boom"},
		{kind: "goexit", end: failed, reason: "panic", text: "the handler ended its goroutine (runtime.Goexit)"},
		{kind: "none", end: failed, reason: "refused", text: `the worker has no handler for kind "none"`, perm: true},
		{kind: "command", end: failed, reason: "refused", text: `the worker has no handler for kind "command"`, perm: true},
	}
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	for kind, handler := range handlers {
		w.handle(kind, handler)
	}
	run(t, w)
	s := b.welcome(t)
	for round := range uint64(3) { // the worker lives on
		for i, test := range tests {
			token := 1 + 100*round + uint64(i)
			s.assign(payloadTask(token, test.kind, "hi"))
			r := s.accepted(token)
			text := r.GetResult().GetText()
			if e := r.GetError(); e != nil {
				text = e.GetMessage()
			}
			if r.GetEnd() != test.end || r.GetError().GetReason() != test.reason || text != test.text || r.GetError().GetPermanent() != test.perm {
				t.Errorf("%s: got %v", test.kind, r)
			}
			if test.kind == "panic" && !strings.Contains(r.GetError().GetStack(), "handler_test.go") {
				t.Errorf("the stack does not lead to the handler:\n%s", r.GetError().GetStack())
			}
		}
	}
}

func TestAttemptsFields(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	seen := make(chan *task.Attempt, 1)
	w.handle("look", func(ctx context.Context, in task.Payload) (task.Payload, error) {
		seen <- task.Current(ctx)
		return in, nil
	})
	run(t, w)
	s := b.welcome(t)
	asg := payloadTask(7, "look", "")
	asg.Work = &weftv1.Assignment_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Json{
		Json: structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1)}}),
	}}}
	asg.Attempt, asg.Labels = 3, map[string]string{"a": "b"}
	s.assign(asg)
	if r := s.accepted(7); r.GetResult().GetText() != "[1]" {
		t.Errorf("got %v", r)
	}
	a := <-seen
	if a.TaskID != "t7" || a.Token != 7 || a.Queue != "default" || a.Kind != "look" || a.Number != 3 || a.Labels["a"] != "b" {
		t.Errorf("got %+v", a)
	}
}

func TestUnreadablePayload(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	w.handle("upper", upper)
	run(t, w)
	s := b.welcome(t)
	asg := payloadTask(1, "upper", "")
	asg.Work = &weftv1.Assignment_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Json{Json: &structpb.Value{}}}}
	s.assign(asg)
	if r := s.accepted(1); r.GetEnd() != failed || !r.GetError().GetPermanent() {
		t.Errorf("got %v", r)
	}
}

func TestCommandsThroughTheStream(t *testing.T) {
	b := newFakeBroker(t)
	w := newWorker(t, b.config())
	allowCommands(t, w)
	run(t, w)
	s := b.welcome(t)
	s.assign(
		commandTask(1, shell("echo out; echo err >&2")),
		commandTask(2, shell("echo out; exit 3")),
		commandTask(3, &weftv1.Command{Argv: []string{"weft-no-such-program"}}),
	)
	if r := s.accepted(1); r.GetEnd() != succeeded || r.GetCommand().GetStdout().GetText() != "out\n" || r.GetCommand().GetStderr().GetText() != "err\n" {
		t.Errorf("got %v", r)
	}
	if r := s.accepted(2); r.GetEnd() != failed || r.GetError().GetReason() != "exit" || r.GetCommand().GetExitCode() != 3 || r.GetCommand().GetStdout().GetText() != "out\n" {
		t.Errorf("got %v", r)
	}
	if r := s.accepted(3); r.GetEnd() != failed || r.GetError().GetReason() != "not_found" {
		t.Errorf("got %v", r)
	}
	s.assign(payloadTask(4, task.CommandKind, "not a command"))
	if r := s.accepted(4); r.GetEnd() != failed || r.GetError().GetReason() != "refused" {
		t.Errorf("got %v", r)
	}
}

func TestMisuse(t *testing.T) {
	b := newFakeBroker(t)
	for name, cfg := range map[string]Config{
		"negative slots": {Broker: "x", Slots: -1},
		"too many slots": {Broker: "x", Slots: slotsMax + 1},
		"a short TTL":    {Broker: "x", SessionTTL: 1},
		"a long TTL":     {Broker: "x", SessionTTL: 1 << 60},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	w := newWorker(t, b.config())
	if err := w.Run(t.Context()); err == nil {
		t.Error("a worker without handlers runs")
	}
	w.handle("a", upper)
	mustPanic(t, "a second handler", func() { w.handle("a", upper) })
	mustPanic(t, "no handler", func() { Handle[task.Payload, task.Payload](w, task.Raw("b"), nil) })
	mustPanic(t, "no kind", func() {
		Handle(w, task.Kind[int, int]{}, func(context.Context, int) (int, error) { return 0, nil })
	})
	r := run(t, w)
	b.welcome(t)
	mustPanic(t, "a handler after Run", func() { w.handle("c", upper) })
	if err := w.Run(t.Context()); err == nil {
		t.Error("Run runs twice")
	}
	r.Stop()
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s was taken", what)
		}
	}()
	f()
}
