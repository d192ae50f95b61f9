package servercmd

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// interruptOnce interrupts the next run once it says something on standard error.
func (w *weftProgram) interruptOnce() {
	w.signals = make(chan os.Signal, 1)
	w.stderr = &buffer{written: make(chan struct{}, 1)}
	said, signals := w.stderr.written, w.signals
	go func() {
		<-said
		signals <- os.Interrupt
	}()
}

// What waits for a worker that is not there says so, once, and an interrupt claims nothing that did not
// happen.
func TestWaitingForAWorker(t *testing.T) {
	w := start(t)
	w.want(run{0, "orders\n", ""}, "queue", "create", "orders")
	const none = "No worker serves queue orders. Try: weft worker --queues orders … (weft workers shows who is there)\n"
	w.interruptOnce()
	w.want(run{130, "", "weft: " + none +
		"weft: cancelling the task, which no worker has begun; interrupt again to leave it\n" +
		"weft: task: cancelled: the task was cancelled\n"}, "run", "-q", "orders", "--", "true")
	w.interruptOnce()
	w.want(run{130, "", "weft: " + none +
		"weft: cancelling what has not ended; interrupt again to kill what runs\n" +
		"weft: interrupted; what had not ended is cancelled\n"},
		"map", "-q", "orders", "--", "echo", ":::", "a", "b")

	id := strings.TrimSpace(w.run("submit", "-q", "orders", "--", "true").stdout)
	w.interruptOnce()
	w.want(run{130, "", "weft: " + id + ": " + none}, "wait", id)
	later := strings.TrimSpace(w.run("submit", "--delay", "1h", "--", "true").stdout)
	w.interruptOnce()
	if r := w.run("wait", later); r.code != 130 || !strings.HasPrefix(r.stderr, "weft: "+later+": It is to run at 20") {
		t.Errorf("%+v", r)
	}
	other := strings.TrimSpace(w.run("submit", "--kind", "k").stdout)
	w.interruptOnce()
	w.want(run{130, "", "weft: " + other +
		": No worker of queue default handles kind k; the kinds there are command. Try: start a worker that handles kind k, or weft queue get default\n"}, "wait", other)
}

// What waits for a free slot says that.
func TestWaitingForASlot(t *testing.T) {
	w := start(t)
	var ids []string
	for range runtime.NumCPU() + 1 {
		ids = append(ids, strings.TrimSpace(w.run("submit", "--", "sleep", "60").stdout))
	}
	w.interruptOnce()
	id, slots := ids[len(ids)-1], "1 slot"
	if n := runtime.NumCPU(); n > 1 {
		slots = fmt.Sprint(n, " slots")
	}
	w.want(run{130, "", fmt.Sprintf("weft: %s: The workers that run it are busy: %s of 1 worker; 1 task is ready in queue default. "+
		"Try: start more workers, or give them more slots\n", id, slots)}, "wait", id)
	w.signals = nil
	if r := w.run(append([]string{"cancel", "--now"}, ids...)...); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// A get that waits says why nothing is handed out, once, and one that does not wait says it with its end.
func TestWaitingGet(t *testing.T) {
	w := start(t)
	w.want(run{0, "q\n", ""}, "queue", "create", "q", "--max-running", "1")
	waits := func(says string, args ...string) {
		t.Helper()
		w.interruptOnce()
		w.want(run{130, "", "weft: " + says + "\n"}, append([]string{"queue", "get", "q"}, args...)...)
		w.want(run{124, "", "weft: queue q hands out no task now. " + says + "\n"}, append([]string{"queue", "get", "q", "--wait", "0s"}, args...)...)
	}
	waits("Queue q is empty. Try: weft queue put q DATA")
	later := w.id("queue", "put", "q", "later", "--at", "1h")
	w.id("queue", "put", "q", "after", "--after", later)
	waits("No task is ready in queue q: 1 task waits for the time to run, 1 task waits for other tasks. Try: weft tasks --queue q")
	labels := w.id("queue", "put", "q", "gpu", "--worker-label", "gpu=a 1")
	waits("What is ready in queue q is for workers with labels, such as gpu=a 1. Try: weft queue get q --label 'gpu=a 1'")
	waits("No task of kind k is ready in queue q; 1 is of other kinds. Try: weft queue peek q", "--kind", "k")
	w.has(0, []string{labels, "gpu"}, "queue", "get", "q", "--label", "gpu=a 1", "--lease", "1m")
	w.id("queue", "put", "q", "x")
	waits("Queue q runs as many tasks as it may: 1. Try: weft queue update q --max-running N")
	w.has(0, nil, "queue", "update", "q", "--max-running", "0", "--max-running-per-key", "1")
	w.has(0, []string{"x"}, "queue", "get", "q")
	w.id("queue", "put", "q", "first", "--key", "k")
	w.has(0, []string{"first"}, "queue", "get", "q", "--lease", "1h")
	w.id("queue", "put", "q", "x", "--key", "k")
	waits(`Fairness key "k" runs as many tasks as one key may in queue q: 1. Try: weft queue update q --max-running-per-key N`)
	w.has(0, nil, "queue", "update", "q", "--max-running-per-key", "0", "--rate", "0.001")
	w.want(run{0, "x\n", ""}, "queue", "get", "q")
	w.id("queue", "put", "q", "y")
	waits("Queue q begins at most 0.001 tasks per second. Try: weft queue update q --rate N")
	w.want(run{0, "q is paused\n", ""}, "queue", "pause", "q")
	waits("Queue q is paused. Try: weft queue resume q")
}

// A put that waits for room says so, once for all that is put.
func TestWaitingPut(t *testing.T) {
	w := start(t)
	w.want(run{0, "q\n", ""}, "queue", "create", "q", "--max-size", "2")
	w.has(0, nil, "queue", "put", "q", "a", "b")
	const full = "weft: Queue q is full: 2 tasks wait in it, its max size is 2. Try: weft queue update q --max-size N\n"
	w.interruptOnce()
	w.want(run{130, "", full}, "queue", "put", "q", "c")
	w.want(run{0, "q is paused\n", ""}, "queue", "pause", "q")
	w.stdin = "c\nd\n"
	w.interruptOnce()
	w.want(run{130, "", strings.Replace(full, "size is 2.", "size is 2, and it is paused.", 1) + "weft: data 1 (c) and what follows: not confirmed\n"},
		"queue", "put", "q", "-")
}
