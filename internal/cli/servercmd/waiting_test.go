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
	w.want(run{130, "", "weft: " + none + "weft: interrupted; what had not ended is being cancelled\n"},
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
	id := ids[len(ids)-1]
	w.want(run{130, "", fmt.Sprintf("weft: %s: The workers that run it are busy: %d slots of 1 workers; 1 tasks of queue default are ready. "+
		"Try: start more workers, or give them more slots\n", id, runtime.NumCPU())}, "wait", id)
	w.signals = nil
	if r := w.run(append([]string{"cancel", "--now"}, ids...)...); r.code != 0 {
		t.Errorf("%+v", r)
	}
}
