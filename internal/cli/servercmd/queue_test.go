package servercmd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/cli"
)

// id runs a command line that prints a task's name.
func (w *weftProgram) id(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 || !strings.HasPrefix(r.stdout, "t") || strings.Count(r.stdout, "\n") != 1 {
		w.t.Fatalf("%v: %+v", args, r)
	}
	return strings.TrimSpace(r.stdout)
}

// has runs a command line and looks for pieces of what it prints.
func (w *weftProgram) has(code int, pieces []string, args ...string) {
	w.t.Helper()
	r := w.run(args...)
	for _, p := range pieces {
		if !strings.Contains(r.stdout+r.stderr, p) {
			w.t.Errorf("weft %s: %q is missing: %+v", strings.Join(args, " "), p, r)
		}
	}
	if r.code != code {
		w.t.Errorf("weft %s: exit code %d, want %d: %+v", strings.Join(args, " "), r.code, code, r)
	}
}

func TestQueueCommands(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders", "--order", "fifo", "--max-size", "2", "--rate", "100", "--retries", "2")
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders", "--order", "fifo", "--max-size", "2", "--rate", "100", "--retries", "2")
	w.has(125, []string{"QUEUE_EXISTS: there is a queue orders with another order, max_size, rate_limit, defaults: update it"}, "queue", "create", "orders")
	w.has(0, []string{"order:", "fifo", "max size:", "100/s, burst 1", "retries:"}, "queue", "show", "orders")
	w.want(run{0, "orders\n", ""}, "queue", "update", "orders", "--burst", "7", "--timeout", "1m")
	w.has(0, []string{"100/s, burst 7", "retries:     2", "timeout:     1m0s"}, "queue", "show", "orders")
	w.has(0, []string{`"max_size":"2"`}, "queue", "show", "orders", "-o", "json")
	w.want(run{0, "orders\n", ""}, "queue", "update", "orders", "--rate", "0")

	w.has(0, nil, "queue", "put", "orders", "tea", "milk")
	w.want(run{124, "", "weft: queue orders is full: its max size is 2\n"}, "queue", "put", "orders", "sugar", "--wait", "10ms")
	w.has(0, []string{"PAYLOAD", "tea", "milk"}, "queue", "peek", "orders")
	w.has(0, []string{"fifo", "open", "size 2"}, "queues")
	w.want(run{0, "orders is paused\n", ""}, "queue", "pause", "orders")
	w.want(run{124, "", "weft: queue orders hands out no task now. Queue orders is paused. Try: weft queue resume orders\n"}, "queue", "get", "orders", "--wait", "0s")
	w.want(run{0, "orders is resumed\n", ""}, "queue", "resume", "orders")
	w.want(run{0, "tea\nmilk\n", ""}, "queue", "get", "orders", "-c", "2")
	w.want(run{0, "", ""}, "queue", "join", "orders", "--wait", "10s")

	w.stdin = "a\nb\nc\n"
	w.want(run{0, "orders\n", ""}, "queue", "update", "orders", "--max-size", "0")
	if r := w.run("queue", "put", "orders", "-"); r.code != 0 || strings.Count(r.stdout, "\n") != 3 {
		t.Errorf("%+v", r)
	}
	w.want(run{124, "", ""}, "queue", "join", "orders", "--wait", "10ms")
	w.want(run{0, "orders is closed\n", ""}, "queue", "close", "orders")
	w.want(run{3, "", "weft: queue orders is closed\n"}, "queue", "put", "orders", "d")
	w.want(run{3, "a\nb\nc\n", "weft: queue orders is closed\n"}, "queue", "get", "orders", "-c", "4")
	w.has(0, []string{"closed"}, "queues")
	w.want(run{0, "orders is open\n", ""}, "queue", "reopen", "orders")
	w.id("queue", "put", "orders", "x")
	w.has(125, []string{"QUEUE_NOT_EMPTY"}, "queue", "delete", "orders")
	w.want(run{0, "1 task purged\n", ""}, "queue", "purge", "orders")
	w.id("queue", "put", "orders", "x")
	w.want(run{0, "orders is closed\n", ""}, "queue", "close", "orders", "--immediate")
	w.want(run{0, "orders is deleted\n", ""}, "queue", "delete", "orders", "--force")
	w.has(125, []string{"QUEUE_NOT_FOUND"}, "queue", "show", "orders")
}

// Of several data those that are refused are named; the others are put.
func TestQueuePutNamesWhatItRefuses(t *testing.T) {
	w := start(t)
	w.want(run{0, "q\n", ""}, "queue", "create", "q", "--max-size", "2")
	held := w.id("queue", "put", "q", "x", "--unique", "u")
	r := w.run("queue", "put", "q", "x", "other", "x", "--unique", "u")
	if r.code != 125 || r.stdout != held+"\n"+held+"\n" || !strings.HasPrefix(r.stderr, "weft: data 2 (other): UNIQUE_MISMATCH: ") ||
		!strings.HasSuffix(r.stderr, "\nweft: 1 of 3 data are not in queue q\n") {
		t.Errorf("%+v", r)
	}
	w.stdin = strings.Repeat("y\n", 13)
	r = w.run("queue", "put", "q", "-", "--wait", "0s")
	if r.code != 124 || strings.Count(r.stdout, "\n") != 1 || !strings.Contains(r.stderr, "weft: data 2 (y): queue q is full: its max size is 2\n") ||
		strings.Count(r.stderr, "data ") > 11 {
		t.Errorf("%+v", r)
	}
}

// What is got with a lease is ended by its token.
func TestQueueGetWithLease(t *testing.T) {
	w := start(t)
	w.want(run{0, "q\n", ""}, "queue", "create", "q")
	var id string
	var token uint64
	get := func(payload string) {
		t.Helper()
		r := w.run("queue", "get", "q", "--lease", "5m", "--wait", "0s")
		var got string
		if _, err := fmt.Sscan(r.stdout, &id, &token, &got); err != nil || got != payload || r.code != 0 {
			t.Fatalf("%v: %+v", err, r)
		}
	}
	w.id("queue", "put", "q", "tea", "--retries", "1")
	get("tea")
	w.want(run{0, id + " is held for 5m0s\n", ""}, "task", "renew", id, fmt.Sprint(token))
	w.want(run{0, id + " is released\n", ""}, "task", "release", id, fmt.Sprint(token))
	w.has(125, []string{"LEASE_LOST"}, "task", "done", id, fmt.Sprint(token))
	get("tea")
	w.want(run{0, id + " is failed\n", ""}, "task", "fail", id, fmt.Sprint(token), "sold out", "--reason", "no_stock", "--permanent")
	w.has(0, []string{"state:", "failed", "attempt 1:", "released", "no_stock: sold out"}, "task", "show", id)
	w.want(run{0, id + "\n", ""}, "tasks", "--state", "failed", "--kind", "data", "--since", "1h", "-o", "name")
	w.want(run{0, "", ""}, "tasks", "--until", "1h", "-o", "name")
	w.want(run{0, "1 task is tried again\n", ""}, "retry", "--queue", "q", "--kind", "data")
	get("tea")
	w.want(run{0, id + " is done\n", ""}, "task", "done", id, fmt.Sprint(token), "all well")
	w.want(run{0, "all well\n", ""}, "wait", id)
	w.has(125, []string{"TASK_NOT_FINAL"}, "retry", id)
	w.has(0, []string{"has ended: it succeeded"}, "why", id)
	w.has(0, []string{`"reason":"final"`}, "why", id, "-o", "json")
}

// Tasks that wait for others, for a worker's labels, for their time, and those that join.
func TestTaskFlags(t *testing.T) {
	w := start(t)
	first := w.id("submit", "--at", "1h", "--", "true")
	second := w.id("submit", "--after", first, "--priority", "-5", "--key", "tenant", "--exclusive", "--deadline", "2h", "--", "true")
	w.want(run{0, "It waits for task " + first + ", which is scheduled.\nTry: weft why " + first + "\n", ""}, "why", second)
	w.has(0, []string{"priority:", "-5", "waits for:", "fairness key:  tenant", "exclusive:", "deadline:"}, "task", "show", second)
	w.want(run{0, first + " is cancelled\n", ""}, "cancel", first)
	w.has(130, []string{"dependency_failed"}, "wait", second)
	w.want(run{0, "1 task is tried again\n", ""}, "retry", first)
	w.want(run{0, "", ""}, "wait", first)
	w.want(run{0, "after\n", ""}, "run", "--after", first, "--", "echo", "after")
	w.want(run{0, "x\n", ""}, "map", "--after", second, "--after-failure", "--", "echo", ":::", "x")

	labelled := w.id("submit", "--worker-label", "gpu=a", "-l", "who=me", "--", "true")
	w.has(0, []string{"has the labels gpu=a"}, "why", labelled)
	w.want(run{0, labelled + "\n", ""}, "tasks", "-l", "who=me", "-o", "name")
	unique := w.id("submit", "--kind", "k", "--payload", "x", "--unique", "u")
	if again := w.id("submit", "--kind", "k", "--payload", "x", "--unique", "u"); again != unique {
		t.Errorf("%s joined %s", again, unique)
	}
	w.has(125, []string{"UNIQUE_MISMATCH"}, "submit", "--kind", "k", "--payload", "y", "--unique", "u")
}

// A map whose queue is full says so, once.
func TestWaitingForRoom(t *testing.T) {
	w := start(t)
	w.want(run{0, "small\n", ""}, "queue", "create", "small", "--max-size", "1")
	w.id("queue", "put", "small", "x", "--kind", "other")
	w.interruptOnce()
	w.want(run{130, "", "weft: Queue small is full: 1 task waits in it, its max size is 1. Try: weft queue update small --max-size N\n" +
		"weft: cancelling the task, which no worker has begun; interrupt again to leave it\n" +
		"weft: task: cancelled: the task was cancelled\n"}, "run", "-q", "small", "--", "true")
}

// Every bad input names its flag and its limit, before anybody is asked.
func TestQueueUsage(t *testing.T) {
	w := &weftProgram{t: t, broker: "127.0.0.1:1"}
	long := strings.Repeat("x", 257)
	for says, args := range map[string][]string{
		"--order up: none of fifo, lifo, priority":                        {"queue", "create", "q", "--order", "up"},
		"--max-size -1: 0 to 9223372036854775807 are possible":            {"queue", "create", "q", "--max-size", "-1"},
		"--max-running 4294967296: 0 to 4294967295 are possible":          {"queue", "update", "q", "--max-running", "4294967296"},
		"--max-running-per-key -1: 0 to 4294967295 are possible":          {"queue", "update", "q", "--max-running-per-key", "-1"},
		"--rate -1: 0 to 1000000 are possible":                            {"queue", "create", "q", "--rate", "-1"},
		"--rate NaN: 0 to 1000000 are possible":                           {"queue", "create", "q", "--rate", "NaN"},
		"--burst 0: 1 to 1000000 are possible":                            {"queue", "create", "q", "--rate", "1", "--burst", "0"},
		"--burst needs --rate":                                            {"queue", "create", "q", "--burst", "2"},
		"--retries 1000: 0 to 999 are possible":                           {"queue", "create", "q", "--retries", "1000"},
		"--timeout 721h0m0s: 0s to 720h0m0s are possible":                 {"queue", "create", "q", "--timeout", "721h"},
		"--retention -1s: 0s to 2160h0m0s are possible":                   {"queue", "put", "q", "x", "--retention", "-1s"},
		"queue update: which setting? See: weft queue update --help":      {"queue", "update", "q"},
		"queue a b: a name is 1 to 256 bytes of [A-Za-z0-9._/-]":          {"queue", "pause", "a b"},
		"queue put: which data? Lines of standard input are: -":           {"queue", "put", "q"},
		"queue put: data, or - for standard input: one of them":           {"queue", "put", "q", "a", "-"},
		"--wait -1s: 0s or more is possible":                              {"queue", "get", "q", "--wait", "-1s"},
		"--lease 1ms: 1s to 24h0m0s are possible":                         {"queue", "get", "q", "--lease", "1ms"},
		"--count 0: 1 or more is possible":                                {"queue", "get", "q", "--count", "0"},
		"--count 101: 1 to 100 are possible":                              {"queue", "peek", "q", "-c", "101"},
		"--kind a b: a name is 1 to 256 bytes of [A-Za-z0-9._/-]":         {"queue", "get", "q", "--kind", "a b"},
		"--state running: what runs is not purged; see: weft cancel":      {"queue", "purge", "q", "-s", "running"},
		"--priority 32768: -32768 to 32767 are possible":                  {"run", "--priority", "32768", "--", "true"},
		"--unique: 257 bytes, at most 256 are possible":                   {"submit", "--unique", long, "--", "true"},
		"--key: 257 bytes, at most 256 are possible":                      {"map", "--key", long, "--", "true"},
		"--after x: not the name of a task":                               {"run", "--after", "x", "--", "true"},
		"--after-failure needs --after":                                   {"run", "--after-failure", "--", "true"},
		"--worker-label \"gpu\": not NAME=VALUE":                          {"run", "--worker-label", "gpu", "--", "true"},
		"--deadline 2001-02-03: that is over":                             {"run", "--deadline", "2001-02-03", "--", "true"},
		"--at -1h: a duration must not be negative":                       {"run", "--at", "-1h", "--", "true"},
		"--delay and --at: one of them":                                   {"submit", "--at", "1h", "--delay", "1h", "--", "true"},
		"--queue a b: a name is 1 to 256 bytes of [A-Za-z0-9._/-]":        {"run", "-q", "a b", "--", "true"},
		"\"x\" is not a token, which is a number, as queue get prints it": {"task", "done", "t1", "x"},
		"--reason: 1 to 256 bytes are possible":                           {"task", "fail", "t1", "1", "--reason", ""},
		"retry: --kind needs --queue":                                     {"retry", "t1", "--kind", "k"},
		"--at soon: neither a time such as 2006-01-02T15:04:05Z nor a duration such as 90m": {
			"run", "--at", "soon", "--", "true",
		},
		"--since soon: neither a time such as 2006-01-02T15:04:05Z nor a duration such as 90m": {"tasks", "--since", "soon"},
		"retry: tasks by their names, or those of a --queue: one of them":                      {"retry", "t1", "-q", "q"},
	} {
		w.want(run{2, "", "weft: " + says + "\n"}, args...)
	}
}

func TestBenchQueue(t *testing.T) {
	w := &weftProgram{t: t}
	r := w.run("bench", "queue", "--duration", "300ms", "--warmup", "100ms", "--durability", "interval", "-o", "json")
	if r.code != 0 || !strings.Contains(r.stdout, `"ops_per_s":`) || !strings.Contains(r.stdout, `"errors":0`) {
		t.Fatalf("%+v", r)
	}
	for says, args := range map[string][]string{
		"--clients 0: 1 to 10000 are possible":       {"--clients", "0"},
		"--payload 524289: 0 to 524288 are possible": {"--payload", "524289"},
		"--output yaml: none of table, json":         {"-o", "yaml"},
	} {
		w.want(run{2, "", "weft: " + says + "\n"}, append([]string{"bench", "queue"}, args...)...)
	}
}

// nobody takes no output.
type nobody struct{}

func (nobody) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

// What cannot be written is not done: it goes back. An interrupt ends a get that waits.
func TestQueueGetWithoutAReader(t *testing.T) {
	w := start(t)
	w.want(run{0, "q\n", ""}, "queue", "create", "q")
	w.id("queue", "put", "q", "precious")
	said := &buffer{}
	app := &cli.App{Name: "weft", Out: nobody{}, Err: said}
	if code := app.Execute(t.Context(), weft(app), []string{"--broker", w.broker, "queue", "get", "q"}); code != 125 ||
		said.String() != "weft: write the payload: nobody reads\n" {
		t.Errorf("exit code %d: %s", code, said.String())
	}
	w.want(run{0, "precious\n", ""}, "queue", "get", "q", "--wait", "10s")
	w.signals = make(chan os.Signal, 1)
	w.signals <- os.Interrupt
	w.want(run{130, "", ""}, "queue", "get", "q")
}
