//go:build linux

package e2e

import (
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A command whose worker is killed is killed with it, and runs again from its beginning; the person is told.
func TestRunWorkerKilled(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	workers := make(map[int]*procs.Process)
	for _, name := range []string{"north", "south"} {
		p := w.worker(b, name, "--allow", "sh")
		workers[p.Pid()] = p
	}
	w.connected(w.client(b.addr), 2)
	fifo := w.fifo()
	p := w.weft(b.addr, "run", "--", "sh", "-c", `echo $$; echo $PPID; read line <"$1"; echo done`, "sh", fifo).watch().start()
	group, first := readNumber(t, p), readNumber(t, p)
	if workers[first] == nil {
		t.Fatalf("the command's parent %d is no worker", first)
	}
	workers[first].Kill()
	_, second := readNumber(t, p), readNumber(t, p)
	if second == first || workers[second] == nil {
		t.Errorf("the command runs again under %d; first it was %d", second, first)
	}
	if groupLives(group) {
		t.Error("the first run has outlived its worker")
	}
	openFifo(t, fifo)
	rest, _ := io.ReadAll(p.live)
	if code := p.end(); code != 0 || string(rest) != "done\n" || !strings.Contains(p.stderr.String(), "runs again") {
		t.Errorf("exit code %d, %q, %q", code, rest, p.stderr.String())
	}
}

// A command ends with who asked for it, also if that was killed and could tell nobody.
func TestRunClientKilled(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	p := w.weft(b.addr, "run", "--", "sh", "-c", `echo $$; exec sleep 1000`).watch().start()
	group := readNumber(t, p)
	p.signal(syscall.SIGKILL)
	p.end()
	w.until("the command is gone", func() bool { return !groupLives(group) })
	c := w.client(b.addr)
	w.until("its task is cancelled", func() bool {
		for left, err := range c.List(w.context(), client.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if left.GetState() != weftv1.TaskState_TASK_STATE_CANCELLED {
				return false
			}
		}
		return true
	})
}

// The output of a command goes on where it was, although the broker was killed meanwhile.
func TestRunOverBrokerKill(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	fifo := w.fifo()
	const script = `echo $$; seq 1 100000; read line <"$1"; seq 100001 500000`
	p := w.weft(b.addr, "run", "--", "sh", "-c", script, "sh", fifo).watch().start()
	first := readNumber(t, p)
	half := make([]byte, 300_000) // half of what is there to be read
	if _, err := io.ReadFull(p.live, half); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	openFifo(t, fifo)
	rest, err := io.ReadAll(p.live)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	want, _, _ := here(t, "", "seq", "1", "500000")
	got := string(half) + string(rest)
	if strings.Contains(p.stderr.String(), "runs again") { // the broker took longer than a young attempt may wait
		t.Logf("group %d was given up", first)
		_, got, _ = strings.Cut(got[len(half):], "\n1\n")
		got = "1\n" + got
	}
	if got != want {
		t.Errorf("%d bytes of output are not the %d of here: %s", len(got), len(want), p.stderr.String())
	}
}

// fifo makes one.
func (w *world) fifo() string {
	w.Helper()
	path := filepath.Join(w.dir, "go-on")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}
