//go:build linux

package e2e

import (
	"io"
	"strings"
	"syscall"
	"testing"
)

func TestDemoLeavesNothing(t *testing.T) {
	w := newWorld(t)
	dir, _ := makeFiles(t, 20)
	p := w.weft("", "demo", dir)
	if code := p.run(); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr.String())
	}
	for _, says := range []string{"40 tasks", "0 failed", "north", "south", "Nothing is left running"} {
		if !strings.Contains(p.stdout.String(), says) {
			t.Errorf("there is no %q in\n%s", says, p.stdout.String())
		}
	}
	w.nothingLeft()
}

func TestDemoInterrupted(t *testing.T) {
	w := newWorld(t)
	p := w.demoAtWork()
	p.signal(syscall.SIGINT)
	_, _ = io.Copy(io.Discard, p.live)
	if code := p.end(); code != 130 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	w.nothingLeft()
}

// Whose parent is killed ends by itself.
func TestDemoKilled(t *testing.T) {
	w := newWorld(t)
	p := w.demoAtWork()
	p.signal(syscall.SIGKILL)
	_, _ = io.Copy(io.Discard, p.live)
	p.end()
	w.until("the demo's children are gone", func() bool { return len(children()) == 0 })
	w.nothingLeft()
}

// demoAtWork returns a demo that has begun to work and has much to do.
func (w *world) demoAtWork() *program {
	dir, _ := makeFiles(w.TB, 400)
	p := w.weft("", "demo", dir).watch().start()
	for {
		line, err := readLine(p.live)
		if err != nil {
			w.Fatalf("the demo ended: %v: %s", err, p.stderr.String())
		}
		if strings.Contains(line, "800 tasks") {
			return p
		}
	}
}

// nothingLeft looks at once for what a program has left.
func (w *world) nothingLeft() {
	w.Helper()
	for _, pid := range children() {
		w.Errorf("process %d is left: %s", pid, commandLine(pid))
	}
	w.noFiles()
}
