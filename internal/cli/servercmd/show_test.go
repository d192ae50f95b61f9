package servercmd

import (
	"strings"
	"testing"
)

// A task that never ran shows nothing of a run, and one that did all its attempts.
func TestTaskShowsItsAttempts(t *testing.T) {
	w := start(t)
	id := w.id("submit", "--kind", "k", "--delay", "1h")
	w.has(0, nil, "cancel", id)
	r := w.run("task", "show", id)
	for _, piece := range []string{"unspecified", "bytes", "started", "attempt 1", "payload", "result"} {
		if strings.Contains(r.stdout, piece) {
			t.Errorf("%q in %+v", piece, r)
		}
	}
	id = w.id("submit", "--retries", "2", "--backoff", "1ms", "--jitter", "0", "--", "sh", "-c", "exit 3")
	w.has(3, nil, "wait", id)
	r = w.run("task", "show", id)
	for _, piece := range []string{"attempt 1:", "attempt 2:", "attempt 3:"} {
		if _, line, _ := strings.Cut(r.stdout, piece); !strings.HasPrefix(strings.TrimSpace(line), "error on ") {
			t.Errorf("%s in %+v", piece, r)
		}
	}
	if strings.Contains(r.stdout, "attempt 4") || strings.Contains(r.stdout, "attempt 0") {
		t.Errorf("%+v", r)
	}
	id = w.id("submit", "--kind", "k", "--payload", "x")
	w.has(0, nil, "queue", "get", "default", "--kind", "k", "--lease", "1m")
	w.has(0, []string{"attempt 1:", "running on "}, "task", "show", id)
}

// A queue that there is not is no empty list.
func TestTasksOfNoQueue(t *testing.T) {
	w := start(t)
	w.want(run{125, "", "weft: QUEUE_NOT_FOUND: there is no queue nope in namespace default (weft queue create nope)\n"}, "tasks", "--queue", "nope")
	w.want(run{0, "", ""}, "tasks", "--queue", "default", "-o", "name")
	w.want(run{0, "q\n", ""}, "queue", "create", "q")
	w.want(run{0, "", ""}, "tasks", "--queue", "q", "-o", "name")
}
