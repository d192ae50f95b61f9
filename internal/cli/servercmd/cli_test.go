package servercmd

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/weftq/weft/internal/broker"
	"github.com/weftq/weft/internal/cli"
)

// asProgram makes the test binary the program, for commands that call it.
const asProgram = "WEFT_TEST_AS_PROGRAM"

// The tests run the commands of cmd/weft in this process against a broker and a worker of their own. The
// test binary is also the program that demo and bench start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Getenv("WEFT_PARENT_FD") != "" || os.Getenv(asProgram) != "") {
		app := cli.NewApp("weft")
		os.Exit(app.Main(weft(app), os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// weft is the root of cmd/weft.
func weft(app *cli.App) *cobra.Command {
	root := app.Root("")
	Add(app, root)
	app.AddClient(root)
	return root
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	// written is told of every write; nil is nobody.
	written chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.b.Write(p)
	if b.written != nil {
		select {
		case b.written <- struct{}{}:
		default:
		}
	}
	return n, err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run is one run of the program.
type run struct {
	code           int
	stdout, stderr string
}

// weftProgram runs the program with an environment's broker.
type weftProgram struct {
	t       *testing.T
	broker  string
	stdin   string
	signals chan os.Signal
	stdout  *buffer
	stderr  *buffer
}

// start starts a broker and a worker for a test.
func start(t *testing.T) *weftProgram {
	t.Helper()
	app := &cli.App{Name: "weft"}
	i, err := startInstance(app, broker.Config{HTTP: "off", Durability: "interval"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.stop()
		if err := i.ended(); err != nil {
			t.Error(err)
		}
	})
	return &weftProgram{t: t, broker: i.addresses.GRPC}
}

// run runs a command line.
func (w *weftProgram) run(args ...string) run {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if w.stdout == nil {
		w.stdout = &buffer{}
	}
	if w.stderr == nil {
		w.stderr = &buffer{}
	}
	app := &cli.App{Name: "weft", In: strings.NewReader(w.stdin), Out: w.stdout, Err: w.stderr, Signal: w.signals}
	code := app.Execute(ctx, weft(app), append([]string{"--broker", w.broker}, args...))
	r := run{code, w.stdout.String(), w.stderr.String()}
	w.stdout, w.stderr = nil, nil
	return r
}

// want runs a command line and compares everything.
func (w *weftProgram) want(want run, args ...string) {
	w.t.Helper()
	if got := w.run(args...); got != want {
		w.t.Errorf("weft %s:\ngot  %+v\nwant %+v", strings.Join(args, " "), got, want)
	}
}

func TestRun(t *testing.T) {
	w := start(t)
	w.want(run{0, "hello\n", ""}, "run", "--", "echo", "hello")
	w.want(run{3, "out\n", "err\n"}, "run", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
	w.want(run{137, "", "weft: task: signal: ended by SIGKILL\n"}, "run", "--", "sh", "-c", "kill -9 $$")
	w.want(run{0, "2\n", ""}, "run", "--shell", "--", `echo "$#"`, "a", "b")
	w.want(run{0, "x y\n", ""}, "run", "-e", "A=x", "--env", "B=y", "--", "sh", "-c", "echo $A $B")
	w.want(run{0, "/\n", ""}, "run", "--dir", "/", "--", "pwd")
	if r := w.run("run", "--", "no-such-program"); r.code != 127 || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	if r := w.run("run", "--timeout", "100ms", "--", "sleep", "60"); r.code != 124 {
		t.Errorf("%+v", r)
	}
	if r := w.run("run"); r.code != 2 || !strings.Contains(r.stderr, "which command") {
		t.Errorf("%+v", r)
	}
	if r := w.run("run", "--no-such-flag", "--", "true"); r.code != 2 {
		t.Errorf("%+v", r)
	}
	if r := w.run("run", "-e", "=x", "--", "true"); r.code != 2 {
		t.Errorf("%+v", r)
	}
	if r := w.run("run", "-q", "nowhere", "--", "true"); r.code != 125 || !strings.Contains(r.stderr, "QUEUE_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
	w.stdin = "from here\n"
	w.want(run{0, "from here\n", ""}, "run", "--", "cat")
	w.want(run{0, "", ""}, "run", "--no-stdin", "--", "cat")
}

// Output far beyond what an outcome keeps comes whole and in order.
func TestRunLongOutput(t *testing.T) {
	w := start(t)
	r := w.run("run", "--", "sh", "-c", "seq 1 200000; seq 1 50000 >&2")
	var stdout, stderr strings.Builder
	for i := range 200_000 {
		fmt.Fprintln(&stdout, i+1)
		if i < 50_000 {
			fmt.Fprintln(&stderr, i+1)
		}
	}
	if r.code != 0 || r.stdout != stdout.String() || r.stderr != stderr.String() {
		t.Fatalf("code %d, %d bytes of stdout, %d bytes of stderr: %.200s", r.code, len(r.stdout), len(r.stderr), r.stderr)
	}
}

// The first interrupt asks, the second kills.
func TestRunInterrupted(t *testing.T) {
	w := start(t)
	interruptAfter := func(words ...string) { // once for each word of output
		w.signals = make(chan os.Signal, len(words))
		w.stdout = &buffer{written: make(chan struct{}, 1)}
		out, signals := w.stdout, w.signals
		go func() {
			for _, word := range words {
				for !strings.Contains(out.String(), word) {
					<-out.written
				}
				signals <- os.Interrupt
			}
		}()
	}
	interruptAfter("ready")
	r := w.run("run", "--", "sh", "-c", "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	if r.code != 0 || r.stdout != "ready\nstopped\n" || !strings.Contains(r.stderr, "interrupt again to kill") {
		t.Errorf("it stops in order: %+v", r)
	}
	interruptAfter("ready")
	if r = w.run("run", "--", "sh", "-c", "echo ready; exec sleep 60"); r.code != 130 {
		t.Errorf("it is stopped: %+v", r)
	}
	interruptAfter("ready", "deaf")
	if r = w.run("run", "--", "sh", "-c", "trap 'echo deaf' TERM; echo ready; while :; do sleep 0.01; done"); r.code != 130 ||
		!strings.Contains(r.stderr, "killing") {
		t.Errorf("it is killed: %+v", r)
	}
}

func TestMap(t *testing.T) {
	w := start(t)
	w.want(run{0, "hi a\nhi b c\n", ""}, "map", "--", "echo", "hi", ":::", "a", "b c")
	w.want(run{0, "a-a\n", ""}, "map", "--", "echo", "{}-{}", ":::", "a")
	w.want(run{0, "", ""}, "map", "--", "echo", ":::")
	w.want(run{2, "2\n", "weft: task 0 (1): exit code 1\nweft: task 2 (3): exit code 3\nweft: 2 of 3 failed\n"},
		"map", "--", "sh", "-c", "test $1 = 2 && echo 2 || exit $1", "sh", ":::", "1", "2", "3")
	if r := w.run(append([]string{"map", "--", "false", ":::"}, strings.Fields(strings.Repeat("x ", 150))...)...); r.code != 101 ||
		r.stdout != "" || !strings.HasSuffix(r.stderr, "weft: task 149 (x): exit code 1\nweft: 150 of 150 failed\n") {
		t.Errorf("%+v", r)
	}
	w.want(run{0, "a\tx\nb\tx\nb\ty\n", ""}, "map", "--tag", "--shell", "--", "test {} = a && printf x || printf 'x\\ny'", ":::", "a", "b")
	w.stdin = "one\ntwo\nthree\n"
	w.want(run{0, "one\tin one\ntwo\tin two\nthree\tin three\n", ""}, "map", "--tag", "-j", "2", "--", "echo", "in")
	w.stdin = "a\nb\x00c\x00"
	w.want(run{0, "a\nb.\nc.\n", ""}, "map", "-0", "--", "echo", "{}.")
	if r := w.run("map", "--", "no-such-program", ":::", "a"); r.code != 1 || !strings.Contains(r.stderr, "task 0 (a)") {
		t.Errorf("%+v", r)
	}
	if r := w.run("map", "--fail-fast", "-j", "1", "--", "sh", "-c", "exit 1", "sh", ":::", "a", "b", "c"); r.code != 1 ||
		!strings.Contains(r.stderr, "cancelled the rest") {
		t.Errorf("%+v", r)
	}
	if r := w.run("map", "--", ":::", "a"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

// Each task's output is whole and by itself, however long.
func TestMapLongOutput(t *testing.T) {
	w := start(t)
	r := w.run("map", "--", "seq", "1", ":::", "40000", "3", "50000")
	var want strings.Builder
	for _, n := range []int{40_000, 3, 50_000} {
		for i := range n {
			fmt.Fprintln(&want, i+1)
		}
	}
	if r.code != 0 || r.stderr != "" || r.stdout != want.String() {
		t.Fatalf("code %d, %d bytes, want %d; %s", r.code, len(r.stdout), want.Len(), r.stderr)
	}
}

func TestMapStdinFile(t *testing.T) {
	w := start(t)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content of "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.want(run{0, "content of a\ncontent of b\n", ""},
		"map", "--stdin-file", filepath.Join(dir, "{}"), "--", "sh", "-c", "cat", ":::", "a", "b")
}

// A map of a name that is run again gives the same without doing it again.
func TestMapNamed(t *testing.T) {
	w := start(t)
	log := filepath.Join(t.TempDir(), "log")
	args := []string{"map", "--name", "nightly", "--", "sh", "-c", "echo $1 >> " + log + "; echo did $1", "sh", ":::", "a", "b"}
	for range 2 {
		w.want(run{0, "did a\ndid b\n", ""}, args...)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(data), "\n"); lines != 2 {
		t.Fatalf("%d runs: %s", lines, data)
	}
	args[len(args)-1] = "other"
	if r := w.run(args...); r.code != 1 || !strings.Contains(r.stderr, "REQUEST_MISMATCH") ||
		!strings.Contains(r.stderr, "the call nightly has another task at index 1") {
		t.Fatalf("other inputs under the same name: %+v", r)
	}
}

func TestSubmitWaitWatch(t *testing.T) {
	w := start(t)
	r := w.run("submit", "-l", "a=b", "--", "sh", "-c", "echo out; echo err >&2; exit 4")
	id := strings.TrimSpace(r.stdout)
	if r.code != 0 || !strings.HasPrefix(id, "t") {
		t.Fatalf("%+v", r)
	}
	w.want(run{4, "", ""}, "wait", id)
	if r = w.run("watch", id); r.code != 4 || r.stdout != "out\n" || !strings.Contains(r.stderr, "err\n") ||
		!strings.Contains(r.stderr, id+" is failed") {
		t.Errorf("%+v", r)
	}
	if r = w.run("task", "show", id); r.code != 0 || !strings.Contains(r.stdout, "sh -c 'echo out; echo err >&2; exit 4'") ||
		!strings.Contains(r.stdout, "exit code:  4") {
		t.Errorf("%+v", r)
	}
	if r = w.run("tasks", "-s", "failed", "-o", "name"); r.code != 0 || r.stdout != id+"\n" {
		t.Errorf("%+v", r)
	}
	w.want(run{0, id + "\n", ""}, "tasks", "-s", "TASK_STATE_FAILED,ready", "-o", "name")
	w.want(run{2, "", "weft: --state nonsense: none of scheduled, blocked, ready, running, cancelling, succeeded, failed, cancelled, expired\n"},
		"tasks", "-s", "nonsense")
	if r = w.run("tasks"); r.code != 0 || !strings.HasSuffix(r.stdout, "  sh -c 'echo out; echo err >&2; exit 4'\n") {
		t.Errorf("%+v", r)
	}
	if r = w.run("tasks", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"echo out; echo err >&2; exit 4"`) {
		t.Errorf("%+v", r)
	}
	w.want(run{2, "", `weft: "no sense" is not the name of a task, which is a t and what follows it, as submit prints it ` +
		"(the tasks of a call are listed by: weft tasks --call CALL -o name)\n"}, "task", "show", "no sense")
	for _, command := range [][]string{{"wait", id}, {"watch"}} {
		w.want(run{2, "", `weft: "no sense" is the name of neither a task nor a call: it is 1 to 256 bytes of [A-Za-z0-9._/-]` + "\n"},
			append(command, "no sense")...)
	}
	w.want(run{125, "", "weft: tzzz: there is no such task and no such call\n"}, "wait", "tzzz")
}

func TestCancel(t *testing.T) {
	w := start(t)
	id := strings.TrimSpace(w.run("submit", "--delay", "1h", "--", "true").stdout)
	w.want(run{0, id + " is cancelled\n", ""}, "cancel", id)
	if r := w.run("wait", id); r.code != 130 {
		t.Errorf("%+v", r)
	}
	other := strings.TrimSpace(w.run("submit", "--delay", "1h", "--", "true").stdout)
	w.want(run{125, other + " is cancelled\n", "weft: none: there is no such task and no such call\nweft: tzzz: there is no such task and no such call\n"},
		"cancel", "none", other, "tzzz")
	w.want(run{2, "", `weft: "no sense" is the name of neither a task nor a call: it is 1 to 256 bytes of [A-Za-z0-9._/-]` + "\n"},
		"cancel", id, "no sense")
	deaf := strings.TrimSpace(w.run("submit", "--grace", "1h", "--", "sh", "-c", "trap '' TERM; echo; while :; do sleep 0.01; done").stdout)
	w.run("cancel", deaf)
	w.run("cancel", "--grace", "0s", deaf)
	if r := w.run("wait", deaf); r.code != 130 {
		t.Errorf("it is killed: %+v", r)
	}
	if r := w.run("cancel", "--now", "no-such-call"); r.code != 125 || !strings.Contains(r.stderr, "no such task and no such call") {
		t.Errorf("%+v", r)
	}
}

// Whatever has a name prints it alone with -o name, for scripts, and the API's words with -o json.
func TestFormats(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "-o", "name", "orders")
	id := func(args ...string) string {
		t.Helper()
		r := w.run(append(args, "-o", "name")...)
		name := strings.TrimSuffix(r.stdout, "\n")
		if r.code != 0 || !strings.HasPrefix(name, "t") || strings.ContainsAny(name, " \n") {
			t.Errorf("%q: %+v", args, r)
		}
		return name
	}
	task := id("queue", "put", "orders", "tea")
	w.want(run{0, task + "\n", ""}, "queue", "peek", "orders", "-o", "name")
	w.want(run{0, task + "\n", ""}, "queue", "get", "orders", "-o", "name")
	w.run("schedule", "create", "backup", "--paused", "--cron", "@daily", "--", "true")
	id("schedule", "run", "backup")
	r := w.run("submit", "-o", "name", "--", "true")
	w.want(run{0, r.stdout, ""}, "wait", "-o", "name", strings.TrimSpace(r.stdout))
	w.want(run{0, "orders\n", ""}, "queue", "update", "orders", "--max-size", "2", "-o", "name")
	for _, verb := range []string{"pause", "resume", "close", "reopen"} {
		w.want(run{0, "orders\n", ""}, "queue", verb, "orders", "-o", "name")
	}
	for _, args := range [][]string{
		{"submit", "-o", "json", "--", "true"},
		{"queue", "put", "orders", "tea", "-o", "json"},
		{"schedule", "run", "backup", "-o", "json"},
		{"queue", "create", "more", "-o", "json"},
		{"queue", "pause", "more", "-o", "json"},
		{"submit", "--wait", "-o", "json", "--", "true"},
	} {
		if r := w.run(args...); r.code != 0 || !strings.HasPrefix(r.stdout, "{") || strings.Count(r.stdout, "\n") != 1 {
			t.Errorf("%q: %+v", args, r)
		}
	}
	w.want(run{2, "", "weft: submit: --wait prints the result; -o name is without it\n"}, "submit", "--wait", "-o", "name", "--", "true")
}

func TestLists(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders")
	w.want(run{0, "default\norders\n", ""}, "queues", "-o", "name")
	if r := w.run("workers"); r.code != 0 || !strings.Contains(r.stdout, "local") || !strings.Contains(r.stdout, "command") {
		t.Errorf("%+v", r)
	}
	if r := w.run("workers", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"slots"`) {
		t.Errorf("%+v", r)
	}
	if r := w.run("queues", "-o", "yaml"); r.code != 2 {
		t.Errorf("%+v", r)
	}
}

func TestLocal(t *testing.T) {
	w := &weftProgram{t: t, broker: "127.0.0.1:1"} // nobody is there
	w.want(run{5, "here\n", ""}, "run", "--local", "--", "sh", "-c", "echo here; exit 5")
	w.want(run{0, "a\nb\n", ""}, "map", "--local", "--", "echo", ":::", "a", "b")
	if r := w.run("submit", "--local", "--", "true"); r.code != 2 { // a task that outlives its command needs a broker that does
		t.Errorf("%+v", r)
	}
}

// Without a broker everything that needs one fails at once and in one short line. Nobody is told to wait:
// the five seconds that a silent address gets are not used up.
func TestNoBroker(t *testing.T) {
	w := &weftProgram{t: t, broker: "127.0.0.1:1"}
	const none = "weft: no broker at 127.0.0.1:1: connection refused (start one: weft dev, or weft broker; or name another: --broker)\n"
	begun := time.Now()
	for _, args := range [][]string{
		{"workers"},
		{"run", "--", "true"},
		{"map", "--", "echo", ":::", "a"},
		{"submit", "--", "true"},
		{"bench", "tasks"},
	} {
		w.want(run{125, "", none}, args...)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("that took %v", took)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	w.broker = web.Listener.Addr().String()
	w.want(run{125, "", "weft: no broker at " + w.broker + ": it speaks HTTP, not gRPC (a broker's address is that of gRPC, " +
		"127.0.0.1:9338 by default; its health checks are on port 9339)\n"}, "workers")
	w.broker = "http://127.0.0.1:9339"
	for _, args := range [][]string{{"workers"}, {"worker", "--allow", "true"}} {
		w.want(run{2, "", "weft: --broker http://127.0.0.1:9339: an address is HOST:PORT, without http://, such as 127.0.0.1:9338\n"}, args...)
	}
	w.want(run{2, "", "weft: run: which command?\n"}, "run")
}

// A worker without an allow list does nothing and says what to type.
func TestWorkerWantsAnAllowList(t *testing.T) {
	w := &weftProgram{t: t}
	if r := w.run("worker"); r.code != 2 || !strings.Contains(r.stderr, "weft worker --allow-any --allow-shell") {
		t.Errorf("%+v", r)
	}
}

// A worker on a queue that there is not ends with one clear word.
func TestWorkerOnAnUnknownQueue(t *testing.T) {
	w := start(t)
	w.want(run{125, "", "weft: worker for " + w.broker + "; allowed: true\n" +
		"weft: the broker refuses this worker: QUEUE_NOT_FOUND: there is no queue nowhere in namespace default (weft queue create nowhere)\n"},
		"worker", "--allow", "true", "-q", "nowhere")
}

// Defaults that say nothing are not in the help.
func TestHelp(t *testing.T) {
	w := &weftProgram{t: t}
	for _, command := range []string{"run", "map", "submit", "wait", "tasks", "worker", "broker", "bench tasks"} {
		r := w.run(append(strings.Fields(command), "--help")...)
		if r.code != 0 || strings.Contains(r.stdout, "(default [])") || strings.Contains(r.stdout, "(default true)") {
			t.Errorf("%s: %+v", command, r)
		}
	}
}

func TestBench(t *testing.T) {
	w := &weftProgram{t: t}
	r := w.run("bench", "tasks", "--duration", "300ms", "--warmup", "100ms", "--durability", "interval", "-o", "json")
	if r.code != 0 || !strings.Contains(r.stdout, `"ops_per_s":`) || !strings.Contains(r.stdout, `"errors":0`) {
		t.Fatalf("%+v", r)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond} {
		if got := h.quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	for _, v := range []uint64{0, 1, 63, 64, 65, 127, 128, 1 << 20, 1<<63 + 12345} {
		b := bucket(v)
		if low := value(b); low > v || v-low > v>>subBits {
			t.Errorf("%d is in bucket %d from %d", v, b, low)
		}
	}
}
