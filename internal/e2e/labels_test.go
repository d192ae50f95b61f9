//go:build linux

package e2e

import "testing"

// A task with worker labels runs on the worker that has them, and waits for it.
func TestWorkerLabels(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "plain", "--allow", "echo")
	p := w.weft(b.addr, "run", "--worker-label", "gpu=a100", "--", "echo", "here").start()
	w.until("the task is there", func() bool {
		why := w.weft(b.addr, "tasks", "--state", "ready", "-o", "name")
		return why.run() == 0 && why.stdout.Len() > 0
	})
	w.worker(b, "fast", "--allow", "echo", "--label", "gpu=a100,site=north")
	if code := p.end(); code != 0 || p.stdout.String() != "here\n" {
		t.Errorf("exit code %d: %s%s", code, p.stdout.String(), p.stderr.String())
	}
	show := w.weft(b.addr, "run", "--worker-label", "gpu=a100", "--worker-label", "site=north", "--", "echo", "again")
	if code := show.run(); code != 0 || show.stdout.String() != "again\n" {
		t.Errorf("exit code %d: %s%s", code, show.stdout.String(), show.stderr.String())
	}
}
