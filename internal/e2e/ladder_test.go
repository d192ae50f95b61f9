//go:build linux

package e2e

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
)

// A command that heeds no SIGTERM, and its children, are gone after the timeout and the grace.
func TestTimeoutKillsGroup(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	p := w.weft(b.addr, "run", "--timeout", "1s", "--grace", "300ms", "--",
		"sh", "-c", `trap "" TERM; sleep 1000 & sleep 1000 & echo $$; wait; sleep 1000`).watch().start()
	group := readNumber(t, p)
	if !groupLives(group) {
		t.Errorf("there is no process group %d", group)
	}
	_, _ = io.Copy(io.Discard, p.live)
	if code := p.end(); code != 124 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if groupLives(group) {
		t.Errorf("processes of group %d are left", group)
	}
}

// ladderScript ends in order when it is asked to.
const ladderScript = `trap "echo bye; exit 7" TERM; echo $$; while :; do sleep 0.1; done`

func TestCancelLadderFirst(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := w.weft(b.addr, "run", "--", "sh", "-c", ladderScript).watch().start()
		group := readNumber(t, p)
		p.signal(s)
		rest, _ := io.ReadAll(p.live)
		if string(rest) != "bye\n" {
			t.Errorf("%v: its handler wrote %q", s, rest)
		}
		if code := p.end(); code != 130 {
			t.Errorf("%v: exit code %d: %s", s, code, p.stderr.String())
		}
		if groupLives(group) {
			t.Errorf("%v: processes of group %d are left", s, group)
		}
	}
}

// The second interrupt does not wait for the grace, which is longer than the test's patience here.
func TestCancelLadderSecond(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	p := w.weft(b.addr, "run", "--grace", "1h", "--",
		"sh", "-c", `trap "echo no" TERM; echo $$; while :; do sleep 0.1; done`).watch().start()
	group := readNumber(t, p)
	p.signal(syscall.SIGINT)
	line := make([]byte, len("no\n"))
	if _, err := io.ReadFull(p.live, line); err != nil || string(line) != "no\n" {
		t.Fatalf("the command was not asked to stop: %q, %v", line, err)
	}
	p.signal(syscall.SIGINT)
	_, _ = io.Copy(io.Discard, p.live)
	if code := p.end(); code != 130 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if groupLives(group) {
		t.Errorf("processes of group %d are left", group)
	}
}

// readNumber reads a number from the first line of a program's live output, byte by byte: what follows is
// somebody else's.
func readNumber(t *testing.T, p *program) (n int) {
	t.Helper()
	line, err := readLine(p.live)
	if err == nil {
		_, err = fmt.Sscan(line, &n)
	}
	if err != nil {
		t.Fatalf("the first line %q: %v; %s", line, err, p.stderr.String())
	}
	return n
}

func readLine(r io.Reader) (string, error) {
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
}

// openFifo lets two readers of a fifo go on, if one is followed by another.
func openFifo(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0) // it does not wait for the reader
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString("go\ngo\n"); err != nil {
		t.Fatal(err)
	}
}
