//go:build linux

package e2e

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A worker that gets SIGUSR1 takes no more tasks; what it runs goes on, and so does the worker, until it is told to end.
func TestQuietWorker(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	quiet := w.worker(b, "quiet", "--allow", "sh,echo", "--slots", "5")
	c := w.client(b.addr)
	gate := w.dir + "/gate"
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	first := w.weft(b.addr, "run", "--", "sh", "-c", "echo begun; read line <"+gate+"; echo $line").watch().start()
	if line, err := readLine(first.live); err != nil || line != "begun" {
		t.Fatalf("%q, %v", line, err)
	}
	send(t, quiet, syscall.SIGUSR1)
	w.draining(c, "quiet")
	send(t, quiet, syscall.SIGUSR1) // again changes nothing

	second := w.weft(b.addr, "submit", "--", "echo", "elsewhere")
	if code := second.run(); code != 0 {
		t.Fatalf("exit code %d: %s", code, second.stderr.String())
	}
	id := strings.TrimSpace(second.stdout.String())
	why := w.weft(b.addr, "why", id)
	if code := why.run(); code != 0 || !strings.Contains(why.stdout.String(), "drain") {
		t.Errorf("why it waits: exit code %d: %s%s", code, why.stdout.String(), why.stderr.String())
	}
	if gone := w.weft(b.addr, "workers", "-o", "name"); gone.run() != 0 || gone.stdout.String() != "quiet\n" {
		t.Errorf("the workers: %s", gone.stdout.String())
	}
	w.worker(b, "other", "--allow", "echo")
	if wait := w.weft(b.addr, "wait", id); wait.run() != 0 {
		t.Errorf("the other task: %s", wait.stderr.String())
	}
	if err := os.WriteFile(gate, []byte("on\n"), 0); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(first.live)
	if code := first.end(); code != 0 || string(rest) != "on\n" {
		t.Errorf("exit code %d, %q: %s", code, rest, first.stderr.String())
	}
	send(t, quiet, syscall.SIGTERM)
	w.exits(quiet, 0)
}
