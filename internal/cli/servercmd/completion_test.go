package servercmd

import (
	"slices"
	"strings"
	"testing"
)

// complete is what the shell proposes for the last word.
func (w *weftProgram) complete(args ...string) []string {
	w.t.Helper()
	r := w.run(append([]string{"__complete"}, args...)...)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if r.code != 0 || !strings.HasPrefix(lines[len(lines)-1], ":") {
		w.t.Fatalf("%+v", r)
	}
	var words []string
	for _, line := range lines[:len(lines)-1] {
		word, _, _ := strings.Cut(line, "\t")
		words = append(words, word)
	}
	return words
}

func TestCompletion(t *testing.T) {
	w := start(t)
	w.run("queue", "create", "orders")
	w.run("queue", "create", "orphans")
	w.run("schedule", "create", "backup", "--paused", "--cron", "@daily", "--", "true")
	first := strings.TrimSpace(w.run("submit", "--delay", "1h", "--", "true").stdout)
	second := strings.TrimSpace(w.run("submit", "--", "true").stdout)
	w.run("wait", second)
	w.run("map", "--name", "nightly", "--", "true", ":::", "a")
	third := strings.TrimSpace(w.run("tasks", "--call", "nightly", "-o", "name").stdout)
	for _, test := range []struct {
		want []string
		args []string
	}{
		{[]string{"default", "orders", "orphans"}, []string{"queue", "show", ""}},
		{[]string{"orders", "orphans"}, []string{"queue", "put", "or"}},
		{nil, []string{"queue", "show", "orders", ""}},
		{[]string{"orphans"}, []string{"submit", "--queue", "orp"}},
		{[]string{"backup"}, []string{"schedule", "run", ""}},
		{[]string{third, second, first}, []string{"task", "show", ""}},
		{[]string{third, first, "nightly"}, []string{"wait", second, ""}},
		{[]string{first, "nightly"}, []string{"cancel", ""}},
		{nil, []string{"retry", ""}},
		{[]string{"nightly"}, []string{"tasks", "--call", ""}},
		{[]string{first}, []string{"submit", "--after", first}},
		{[]string{first + "," + third, first + "," + second}, []string{"submit", "--after", first + ","}},
		{[]string{"failed"}, []string{"tasks", "--state", "f"}},
		{[]string{"failed,cancelling", "failed,cancelled"}, []string{"tasks", "--state", "failed,c"}},
		{[]string{"table", "json", "name"}, []string{"queues", "-o", ""}},
		{[]string{"priority", "fifo", "lifo"}, []string{"queue", "create", "--order", ""}},
		{[]string{"skip", "latest", "all"}, []string{"schedule", "create", "--catch-up", ""}},
		{[]string{"always", "interval"}, []string{"broker", "--durability", ""}},
		{nil, []string{"queues", ""}},
	} {
		if got := w.complete(test.args...); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.args, got, test.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := w.run("completion", shell); r.code != 0 || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("%s: code %d, %d bytes, %s", shell, r.code, len(r.stdout), r.stderr)
		}
	}
}

// There are at most 50 proposals, the latest ones.
func TestCompletionIsBounded(t *testing.T) {
	w := start(t)
	w.run("queue", "create", "orders")
	ids := strings.Fields(w.run(append([]string{"queue", "put", "orders"}, strings.Fields(strings.Repeat("x ", 170))...)...).stdout)
	slices.Reverse(ids)
	if got := w.complete("why", ""); !slices.Equal(got, ids[:50]) {
		t.Errorf("%d proposals: %q", len(got), got)
	}
}

// Without a broker nothing is proposed, and nothing is said.
func TestCompletionWithoutABroker(t *testing.T) {
	w := &weftProgram{t: t, broker: "127.0.0.1:1"}
	r := w.run("__complete", "queue", "show", "")
	if r.code != 0 || !strings.HasPrefix(r.stdout, ":") || strings.Contains(r.stderr, "weft:") {
		t.Errorf("%+v", r)
	}
	if got := w.complete("tasks", "--state", "ru"); !slices.Equal(got, []string{"running"}) {
		t.Errorf("what needs no broker: %q", got)
	}
	w.broker = "http://127.0.0.1:1"
	if r = w.run("__complete", "watch", ""); r.code != 0 || !strings.HasPrefix(r.stdout, ":") {
		t.Errorf("%+v", r)
	}
}
