package servercmd

import (
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
	const none = `waiting for a worker: no worker on queue "orders" runs commands (weft workers)` + "\n"
	w.interruptOnce()
	w.want(run{130, "", "weft: " + none +
		"weft: cancelling the task, which no worker has begun; interrupt again to leave it\n" +
		"weft: task: cancelled: the task was cancelled\n"}, "run", "-q", "orders", "--", "true")
	w.interruptOnce()
	w.want(run{130, "", "weft: " + none + "weft: interrupted; what had not ended is being cancelled\n"},
		"map", "-q", "orders", "--", "echo", ":::", "a", "b")

	id := strings.TrimSpace(w.run("submit", "-q", "orders", "--", "true").stdout)
	w.interruptOnce()
	w.want(run{130, "", "weft: " + id + ": " + none}, "wait", id)
	later := strings.TrimSpace(w.run("submit", "--delay", "1h", "--", "true").stdout)
	w.interruptOnce()
	if r := w.run("wait", later); r.code != 130 || !strings.HasPrefix(r.stderr, "weft: "+later+" waits until 20") {
		t.Errorf("%+v", r)
	}
	other := strings.TrimSpace(w.run("submit", "--kind", "k").stdout)
	w.interruptOnce()
	w.want(run{130, "", "weft: " + other + `: waiting for a worker: no worker on queue "default" runs tasks of kind "k" (weft workers)` + "\n"}, "wait", other)
}

// What waits for a free slot says that.
func TestWaitingForASlot(t *testing.T) {
	w := start(t)
	var ids []string
	for range runtime.NumCPU() + 1 {
		ids = append(ids, strings.TrimSpace(w.run("submit", "--", "sleep", "60").stdout))
	}
	w.interruptOnce()
	id := ids[len(ids)-1]
	w.want(run{130, "", "weft: " + id + `: waiting for a slot: every worker on queue "default" that runs commands is busy (weft workers)` + "\n"}, "wait", id)
	w.signals = nil
	if r := w.run(append([]string{"cancel", "--now"}, ids...)...); r.code != 0 {
		t.Errorf("%+v", r)
	}
}
