package servercmd

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/task"
)

// interruptAfter sends an interrupt once for each word of output.
func (w *weftProgram) interruptAfter(words ...string) {
	w.signals = make(chan os.Signal, len(words))
	w.stdout, w.stderr = &buffer{written: make(chan struct{}, 1)}, &buffer{written: make(chan struct{}, 1)}
	out, said, signals := w.stdout, w.stderr, w.signals
	go func() {
		for _, word := range words {
			for !strings.Contains(out.String(), word) && !strings.Contains(said.String(), word) {
				select {
				case <-out.written:
				case <-said.written:
				}
			}
			signals <- os.Interrupt
		}
	}()
}

// program is the line of a command that runs this program.
func program(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return asProgram + "=1 " + path
}

// A command interrupts the run that it belongs to.
func TestInterruptRun(t *testing.T) {
	w := start(t)
	r := w.run("run", "--", "sh", "-c", program(t)+" interrupt 'no more'; exec sleep 60")
	task, ok := strings.CutSuffix(r.stderr, ": no more\n")
	if r.code != 130 || r.stdout != "" || !ok || !strings.HasPrefix(task, "weft: interrupted by task t") {
		t.Errorf("%+v", r)
	}
	r = w.run("run", "--", "sh", "-c", program(t)+" interrupt; exit 7")
	if r.code != 130 || !strings.HasPrefix(r.stderr, "weft: interrupted by task t") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("whatever the command's own end: %+v", r)
	}
}

// A command interrupts the map that it belongs to, and what had not ended is cancelled.
func TestInterruptMap(t *testing.T) {
	w := start(t)
	r := w.run("map", "--unordered", "--", "sh", "-c",
		"test $1 = 1 && echo one && "+program(t)+" interrupt 'it is 1'; exec sleep 60", "sh", ":::", "1", "2", "3", "4")
	if r.code != 130 || !strings.HasPrefix(r.stderr, "weft: interrupted by task t") ||
		!strings.HasSuffix(r.stderr, ": it is 1\n") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	if r = w.run("tasks", "--state", "ready,running", "-o", "name"); r.stdout != "" {
		t.Errorf("left is %+v", r)
	}
}

// What a command is told of its attempt; its own environment is stronger, and the worker's key is not for it.
func TestCommandEnvironment(t *testing.T) {
	w := start(t)
	t.Setenv("WEFT_KEY", "secret")
	r := w.run("run", "-e", task.EnvAttempt+"=mine", "--", "sh", "-c",
		"echo $WEFT_TASK_ID $WEFT_TASK_TOKEN $WEFT_ATTEMPT $WEFT_BROKER key=$WEFT_KEY")
	words := strings.Fields(r.stdout)
	if len(words) != 5 || words[2] != "mine" || words[3] != w.broker || words[4] != "key=" {
		t.Fatalf("%+v", r)
	}
	if token, err := strconv.ParseUint(words[1], 10, 64); err != nil || token == 0 || !strings.HasPrefix(words[0], "t") {
		t.Errorf("%q", words)
	}
	w.want(run{0, "1\n", ""}, "run", "--", "sh", "-c", "echo $WEFT_ATTEMPT")
}

func TestInterruptUsage(t *testing.T) {
	w := start(t)
	w.want(run{2, "", "weft: interrupt: whose submitter? This is not a command that a worker runs: name the task with --task and --token\n"}, "interrupt")
	w.want(run{2, "", "weft: \"x\" is not a token, which is a number, as queue get prints it\n"}, "interrupt", "--task", "t1", "--token", "x")
	w.want(run{2, "", "weft: MESSAGE: 1025 bytes, at most 1024 are possible\n"}, "interrupt", "--task", "t1", "--token", "1", strings.Repeat("x", 1025))
	if r := w.run("interrupt", "--task", "t1", "--token", "1"); r.code != 125 || !strings.Contains(r.stderr, "TASK_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders")
	w.run("queue", "put", "orders", "tea")
	held := strings.Fields(w.run("queue", "get", "orders", "--lease", "1m").stdout)
	if r := w.run("interrupt", "--task", held[0], "--token", held[1]); r.code != 125 || !strings.Contains(r.stderr, "NO_SUBMITTER") {
		t.Errorf("nobody waits for it: %+v", r)
	}
}

// The first interrupt of a map asks what runs to stop, the second kills it.
func TestMapLadder(t *testing.T) {
	w := start(t)
	w.stdin = "a\nb\nc\nd\ne\n"
	w.interruptAfter("1")
	r := w.run("map", "-j", "1", "--", "sh", "-c", "test $1 = b || { echo 1; exit 0; }; trap 'echo stopped; exit 0' TERM; while :; do sleep 0.01; done", "sh")
	if r.code != 130 || !strings.HasPrefix(r.stdout, "1\n") || strings.Count(r.stdout, "1\n") > 2 || // c may have been on its way
		!strings.Contains(r.stderr, "interrupt again to kill what runs") ||
		!strings.HasSuffix(r.stderr, "weft: interrupted; what had not ended is cancelled\n") {
		t.Errorf("it stops in order: %+v", r)
	}
	w.interruptAfter("did a", "interrupt again to kill what runs")
	r = w.run("map", "--", "sh", "-c", "test $1 = a && echo did a && exit; trap '' TERM; while :; do sleep 0.01; done", "sh", ":::", "a", "b")
	if r.code != 130 || r.stdout != "did a\n" || !strings.Contains(r.stderr, "killing what runs") ||
		!strings.HasSuffix(r.stderr, "weft: interrupted; what had not ended is cancelled\n") {
		t.Errorf("it is killed: %+v", r)
	}
	w.interruptAfter("did a", "interrupt again to kill what runs", "killing what runs")
	r = w.run("map", "--", "sh", "-c", "test $1 = a && echo did a && exit; trap '' TERM; while :; do sleep 0.01; done", "sh", ":::", "a", "b")
	if r.code != 130 || r.stdout != "did a\n" {
		t.Errorf("it is left: %+v", r)
	}
}
