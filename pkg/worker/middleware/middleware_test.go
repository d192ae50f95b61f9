package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
	"github.com/weftq/weft/pkg/worker/middleware"
)

// attempt is a context as handlers have it.
func attempt(t *testing.T) context.Context {
	return task.NewContext(t.Context(), &task.Attempt{TaskID: "t1", Kind: "thumb", Queue: "pictures", Number: 2, Token: 9})
}

var errNo = errors.New("no")

func fails(context.Context, task.Payload) (task.Payload, error) { return task.Payload{}, errNo }
func echo(_ context.Context, in task.Payload) (task.Payload, error) {
	return in, nil
}
func panics(context.Context, task.Payload) (task.Payload, error) { panic("boom") }

func TestRecover(t *testing.T) {
	var told any
	handler := middleware.Recover(func(_ context.Context, p any, stack []byte) {
		told = p
		if !strings.Contains(string(stack), "panics") {
			t.Errorf("the stack does not lead to the handler:\n%s", stack)
		}
	})
	_, err := handler(panics)(attempt(t), task.Payload{})
	var te *task.Error
	if !errors.As(err, &te) || te.Reason != task.ReasonPanic || te.Message != "boom" || te.Stack == "" || told != "boom" {
		t.Errorf("%v, told %v", err, told)
	}
	if out, err := handler(echo)(attempt(t), task.Text("hi")); out.String() != "hi" || err != nil {
		t.Errorf("%v, %v", out, err)
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ task.Payload) (task.Payload, error) {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), task.ErrTimeout) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return task.Payload{}, ctx.Err()
		}
		_, err := middleware.Timeout(time.Minute)(slow)(attempt(t), task.Payload{})
		var te *task.Error
		if !errors.As(err, &te) || te.Reason != task.ReasonTimeout {
			t.Errorf("%v", err)
		}
		if _, err := middleware.Timeout(time.Minute)(fails)(attempt(t), task.Payload{}); !errors.Is(err, errNo) {
			t.Errorf("%v", err)
		}
	})
}

func TestLog(t *testing.T) {
	for _, test := range []struct {
		handler worker.Handler
		want    []string
	}{
		{echo, []string{"level=INFO msg=done", "task=t1", "kind=thumb", "queue=pictures", "attempt=2", "token=9", "took="}},
		{fails, []string{"level=WARN msg=failed", "reason=error", "error=no"}},
		{middleware.Recover(func(context.Context, any, []byte) {})(panics), []string{"level=WARN msg=failed", "reason=panic", "boom"}},
	} {
		var out bytes.Buffer
		_, _ = middleware.Log(slog.New(slog.NewTextHandler(&out, nil)))(test.handler)(attempt(t), task.Text("secret"))
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "secret") {
				t.Errorf("%q in %s", want, out.String())
			}
		}
	}
}

func TestTrace(t *testing.T) {
	type key struct{}
	var ends []error
	trace := middleware.Trace(func(ctx context.Context, a *task.Attempt) (context.Context, func(error)) {
		if a.TaskID != "t1" {
			t.Errorf("%+v", a)
		}
		return context.WithValue(ctx, key{}, "span"), func(err error) { ends = append(ends, err) }
	})
	look := func(ctx context.Context, in task.Payload) (task.Payload, error) {
		if ctx.Value(key{}) != "span" {
			t.Error("the handler does not have the span's context")
		}
		return in, nil
	}
	_, _ = trace(look)(attempt(t), task.Payload{})
	_, _ = trace(fails)(attempt(t), task.Payload{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic ended at the trace")
			}
		}()
		_, _ = trace(panics)(attempt(t), task.Payload{})
	}()
	if len(ends) != 3 || ends[0] != nil || !errors.Is(ends[1], errNo) || ends[2] == nil {
		t.Errorf("ends %v", ends)
	}
}

// A panic is logged on its way, once, and its stack still leads to the handler.
func TestLogOfAPanic(t *testing.T) {
	var out bytes.Buffer
	log := middleware.Log(slog.New(slog.NewTextHandler(&out, nil)))
	stack := ""
	outer := middleware.Recover(func(_ context.Context, _ any, s []byte) { stack = string(s) })
	_, err := outer(log(panics))(attempt(t), task.Payload{})
	var te *task.Error
	if !errors.As(err, &te) || te.Reason != task.ReasonPanic || te.Message != "boom" || !strings.Contains(stack, "middleware_test.panics") {
		t.Errorf("%v, with the stack\n%s", err, stack)
	}
	for _, want := range []string{"level=WARN msg=failed", "task=t1", "took=", "reason=panic", "boom"} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q in %s", want, out.String())
		}
	}

	out.Reset()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = log(func(context.Context, task.Payload) (task.Payload, error) {
			runtime.Goexit()
			return task.Payload{}, nil
		})(attempt(t), task.Payload{})
	}()
	<-ended
	if !strings.Contains(out.String(), "reason=panic") || !strings.Contains(out.String(), "Goexit") {
		t.Error(out.String())
	}
}
