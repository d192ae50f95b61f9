package servercmd

import (
	"strings"
	"testing"
)

// json runs a command line that prints JSON and looks for a piece of it. The spaces behind commas are at random.
func (w *weftProgram) json(piece string, args ...string) {
	w.t.Helper()
	r := w.run(append(args, "-o", "json")...)
	if r.code != 0 || !strings.Contains(strings.ReplaceAll(r.stdout, ", ", ","), piece) {
		w.t.Errorf("weft %s: %s is missing: %+v", strings.Join(args, " "), piece, r)
	}
}

// What is asked for about tries arrives, whatever makes the task.
func TestBackoffFlags(t *testing.T) {
	w := start(t)
	flags := []string{"--retries", "3", "--backoff", "90s", "--backoff-max", "10m", "--multiplier", "1.5", "--jitter", "0"}
	const policy = `"retry":{"attempts_max":4,"initial_backoff":"90s","multiplier":1.5,"backoff_max":"600s","jitter":0.0005}`
	with := func(args ...string) []string { return append(args, flags...) }
	id := w.id(append(with("submit", "--delay", "1h"), "--", "true")...)
	w.json(policy, "task", "show", id)
	w.has(0, []string{"retries:", "backoff:", "1m30s", "backoff max:", "10m0s", "multiplier:", "1.5"}, "task", "show", id)
	id = w.id(with("queue", "put", "default", "x")...)
	w.json(policy, "task", "show", id)
	w.has(0, nil, append(with("schedule", "create", "s", "--cron", "@yearly"), "--", "true")...)
	w.json(policy, "schedule", "show", "s")
	w.has(0, []string{"retries:", "backoff:"}, "schedule", "show", "s")

	// A queue's are changed one by one.
	w.want(run{0, "q\n", ""}, with("queue", "create", "q")...)
	w.want(run{0, "q\n", ""}, "queue", "update", "q", "--retries", "5")
	w.json(`"attempts_max":6,"initial_backoff":"90s"`, "queue", "show", "q")
	w.want(run{0, "q\n", ""}, "queue", "update", "q", "--backoff", "2s")
	w.has(0, []string{"retries:      5", "backoff:      2s", "multiplier:   1.5"}, "queue", "show", "q")
	w.want(run{0, "q\n", ""}, "queue", "update", "q", "--retries", "0")
	w.want(run{2, "", "weft: --backoff needs --retries\n"}, "queue", "update", "q", "--backoff", "2s")
}

// A chain whose first task failed is tried again whole: by its queue, or with what was cancelled because of it.
func TestRetryOfAChain(t *testing.T) {
	w := start(t)
	for _, q := range []string{"a", "b"} {
		w.want(run{0, q + "\n", ""}, "queue", "create", q)
	}
	state := func(id, want string) {
		t.Helper()
		w.has(0, []string{"state:", want}, "task", "show", id)
	}
	// get takes the next task of a queue, and completes it or fails it.
	get := func(queue, want, end string) {
		t.Helper()
		r := w.run("queue", "get", queue, "--lease", "1m", "--wait", "30s")
		f := strings.Fields(r.stdout)
		if r.code != 0 || len(f) != 3 || f[2] != want {
			t.Fatalf("%+v, want %s", r, want)
		}
		w.has(0, nil, "task", end, f[0], f[1])
	}
	root := w.id("queue", "put", "a", "root")
	other := w.id("queue", "put", "a", "other")
	same := w.id("queue", "put", "a", "same", "--after", root)
	far := w.id("queue", "put", "b", "far", "--after", same)
	both := w.id("queue", "put", "b", "both", "--after", root, "--after", other)
	get("a", "root", "fail")
	get("a", "other", "fail")
	for _, id := range []string{same, far, both} {
		state(id, "cancelled")
	}
	w.want(run{0, "3 tasks are tried again\n", ""}, "retry", root, "--dependents")
	state(both, "cancelled") // the other one has failed, and stays so
	get("a", "root", "done")
	get("a", "same", "fail")
	state(far, "cancelled")

	w.want(run{0, "0 tasks are tried again\n", ""}, "retry", "--queue", "b")
	w.want(run{0, "2 tasks are tried again\n", ""}, "retry", "--queue", "a")
	w.want(run{0, "2 tasks are tried again\n", ""}, "retry", "--queue", "b")
	for _, id := range []string{far, both} {
		state(id, "blocked")
	}
	get("a", "other", "done")
	get("b", "both", "done")
	get("a", "same", "done")
	get("b", "far", "done")
	w.has(2, []string{"--dependents is for tasks by their names"}, "retry", "--queue", "b", "--dependents")
}

// submit --wait ends as wait does.
func TestSubmitAndWait(t *testing.T) {
	w := start(t)
	r := w.run("submit", "--wait", "--", "sh", "-c", "exit 3")
	id, _, found := strings.Cut(strings.TrimPrefix(r.stderr, "weft: "), " is submitted\n")
	if r.code != 3 || r.stdout != "" || !found {
		t.Fatalf("%+v", r)
	}
	w.has(0, []string{"exit code:", "3"}, "task", "show", id)
	done := make(chan run, 1)
	submit := *w
	go func() { done <- submit.run("submit", "--wait", "--kind", "k", "--payload", "p") }()
	f := strings.Fields(w.run("queue", "get", "default", "--kind", "k", "--lease", "1m").stdout)
	if len(f) != 3 {
		t.Fatal(f)
	}
	w.has(0, nil, "task", "done", f[0], f[1], "the result")
	if r := <-done; r.code != 0 || r.stdout != "the result\n" || !strings.HasPrefix(r.stderr, "weft: "+f[0]+" is submitted\n") {
		t.Errorf("%+v", r)
	}
}
