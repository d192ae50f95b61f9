package servercmd

import (
	"context"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/worker"
)

// A call is followed by its name: while it goes on, and when it is over.
func TestWatchCall(t *testing.T) {
	w := start(t)
	args := []string{"--name", "nightly", "--", "sh", "-c", "test $1 != 2", "sh", ":::", "1", "2", "3"}
	if r := w.run(append([]string{"map"}, args...)...); r.code != 1 {
		t.Fatalf("%+v", r)
	}
	w.want(run{1, "nightly: 2 succeeded, 1 failed\n", ""}, "watch", "nightly")
	w.want(run{1, "", "weft: call nightly: 1 of 3 failed\n"}, "wait", "nightly")
	if r := w.run("wait", "-o", "json", "nightly"); r.code != 1 || !strings.Contains(r.stdout, `"over":true`) {
		t.Errorf("%+v", r)
	}
	w.want(run{0, "b\n", ""}, "map", "--name", "tb", "--", "echo", ":::", "b") // its name could be a task's
	w.want(run{0, "", ""}, "wait", "tb")
	if r := w.run("watch", "nobody"); r.code != 125 || !strings.Contains(r.stderr, "CALL_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"tzz", "t0zz"} {
		w.want(run{125, "", "weft: " + name + ": there is no such task and no such call\n"}, "wait", name)
		w.want(run{125, "", "weft: " + name + ": there is no such task and no such call\n"}, "watch", name)
	}
}

// A call that goes on is told change by change.
func TestWatchCallGoingOn(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders")
	other := &weftProgram{t: t, broker: w.broker}
	other.stderr = &buffer{written: make(chan struct{}, 1)}
	said, ended := other.stderr, make(chan run)
	go func() { ended <- other.run("map", "--name", "slow", "-q", "orders", "--", "echo", ":::", "a", "b") }()
	for !strings.Contains(said.String(), "No worker serves queue orders") {
		<-said.written
	}
	viewer := &weftProgram{t: t, broker: w.broker}
	viewer.stdout = &buffer{written: make(chan struct{}, 1)}
	seen, watched := viewer.stdout, make(chan run)
	go func() { watched <- viewer.run("watch", "slow") }()
	for !strings.Contains(seen.String(), "slow: 2 ready\n") {
		<-seen.written
	}
	got := strings.Fields(w.run("queue", "get", "orders", "--kind", "command", "--lease", "1m").stdout)
	w.want(run{0, "", ""}, "task", "progress", got[0], got[1], "1", "4", "-m", "half of it")
	for !strings.Contains(seen.String(), got[0]+" (a) is running on reservation: 1/4 half of it\n") {
		<-seen.written
	}
	w.want(run{0, got[0] + " is done\n", ""}, "task", "done", got[0], got[1])
	w.want(run{0, "slow: 1 task cancelled\n", ""}, "cancel", "slow")
	if r := <-watched; r.code != 1 || !strings.HasSuffix(r.stdout, "slow: 1 succeeded, 1 cancelled\n") ||
		!strings.Contains(r.stdout, got[0]+" (a) is succeeded\n") || !strings.Contains(r.stdout, " (b) is cancelled: cancelled: the task was cancelled\n") {
		t.Errorf("%+v", r)
	}
	<-ended
}

// A task that is held says how far it has come, and leaves a checkpoint to its next attempt.
func TestTaskProgressAndCheckpoint(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders")
	w.run("queue", "put", "orders", "--retries", "1", "--backoff", "1ms", "tea")
	got := strings.Fields(w.run("queue", "get", "orders", "--lease", "1m").stdout)
	id, token := got[0], got[1]
	w.want(run{0, "", ""}, "task", "checkpoint", id)
	w.want(run{0, "", ""}, "task", "progress", id, token, "3")
	w.want(run{0, "", ""}, "task", "checkpoint", id, token, "page 1")
	w.stdin = "page 2"
	w.want(run{0, "", ""}, "task", "checkpoint", id, token, "-")
	w.want(run{0, "page 2", ""}, "task", "checkpoint", id)
	if r := w.run("task", "show", id); !strings.Contains(r.stdout, "progress:    3\n") || !strings.Contains(r.stdout, "checkpoint:  page 2\n") {
		t.Errorf("%+v", r)
	}
	w.want(run{0, id + " is failed\n", ""}, "task", "fail", id, token)
	if r := w.run("queue", "get", "orders", "--lease", "1m", "-o", "json"); !strings.Contains(r.stdout, `"checkpoint":{"state":{"text":"page 2"}`) {
		t.Errorf("%+v", r)
	}
	if r := w.run("task", "progress", id, token, "4"); r.code != 125 || !strings.Contains(r.stderr, "LEASE_LOST") {
		t.Errorf("of an earlier attempt: %+v", r)
	}
	for _, bad := range []struct {
		want string
		args []string
	}{
		{"DONE x: not a whole number from 0 on", []string{"progress", id, token, "x"}},
		{"TOTAL -1: not a whole number from 0 on", []string{"progress", id, token, "1", "--", "-1"}},
		{"--message: 1025 bytes, at most 1024 are possible", []string{"progress", id, token, "1", "-m", strings.Repeat("x", 1025)}},
		{`"x" is not a token, which is a number, as queue get prints it`, []string{"progress", id, "x", "1"}},
		{"task checkpoint: a TOKEN and DATA, or neither", []string{"checkpoint", id, token}},
		{"DATA: 524289 bytes, at most 524288 are possible", []string{"checkpoint", id, token, strings.Repeat("x", 512<<10+1)}},
	} {
		w.want(run{2, "", "weft: " + bad.want + "\n"}, append([]string{"task"}, bad.args...)...)
	}
}

// A command's progress is told to who watches its task, and its checkpoint is there for its next attempt.
func TestCommandProgress(t *testing.T) {
	w := start(t)
	weft := program(t)
	id := strings.TrimSpace(w.run("submit", "--retries", "1", "--backoff", "1ms", "--", "sh", "-c",
		`task="$WEFT_TASK_ID $WEFT_TASK_TOKEN"; `+weft+` task progress $task $WEFT_ATTEMPT 2 || exit 9; `+
			`test $WEFT_ATTEMPT = 2 || { `+weft+` task checkpoint $task half; exit 1; }; `+weft+` task checkpoint $WEFT_TASK_ID`).stdout)
	if r := w.run("watch", id); r.code != 0 || r.stdout != "half" {
		t.Errorf("%+v", r)
	}
}

// What a handler says of its progress comes on standard error, and its partial results on standard output.
func TestWatchHandler(t *testing.T) {
	w := start(t)
	wk, err := worker.New(worker.Config{Broker: w.broker})
	if err != nil {
		t.Fatal(err)
	}
	goOn := make(chan struct{})
	worker.Handle(wk, task.DefineWith("pages", task.TextCodec(), task.TextCodec()), func(ctx context.Context, _ string) (string, error) {
		a := task.Current(ctx)
		a.Progress(1, 2, "reading")
		if err := a.Emit("page one"); err != nil {
			return "", err
		}
		<-goOn
		return "whole", a.Emit("page two")
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- wk.Run(ctx) }()
	id := strings.TrimSpace(w.run("submit", "--kind", "pages", "--payload", "book").stdout)
	w.stdout, w.stderr = &buffer{written: make(chan struct{}, 1)}, &buffer{written: make(chan struct{}, 1)}
	out, said, watched := w.stdout, w.stderr, make(chan run)
	go func() { watched <- w.run("watch", id) }()
	for !strings.Contains(out.String(), "page one\n") {
		<-out.written
	}
	for !strings.Contains(said.String(), ": 1/2 reading\n") {
		<-said.written
	}
	close(goOn)
	if r := <-watched; r.code != 0 || r.stdout != "page one\npage two\n" || !strings.HasSuffix(r.stderr, id+" is succeeded\n") {
		t.Errorf("%+v", r)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
