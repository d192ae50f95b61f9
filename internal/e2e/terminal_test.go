//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal starts a program as the leader of a session at a terminal of its own, and returns the other end.
func (p *program) terminal() (keyboard *os.File, screen *bufio.Reader) {
	w := p.world
	w.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = end.Close() })
	fd := int(end.Fd()) //nolint:gosec // small
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		w.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		w.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer tty.Close() // the program has its own
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.start()
	return end, bufio.NewReader(end)
}

// line reads the screen until a line ends with that.
func (p *program) line(screen *bufio.Reader, want string) {
	p.world.Helper()
	for {
		line, err := screen.ReadString('\n')
		if strings.HasSuffix(strings.TrimSpace(line), want) { // the keyboard is echoed
			return
		}
		if err != nil {
			p.world.Fatalf("%q does not come: %q, %v", want, line, err)
		}
	}
}

// A command under a lock has the terminal when it asks for it, and Ctrl-C is the command's, before and after.
func TestLockTerminal(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	p := w.weft(b.addr, "lock", "a", "--", "sh", "-c", "trap 'echo interrupted; exit 4' INT; echo ready; while :; do sleep 0.01; done")
	keyboard, screen := p.terminal()
	p.line(screen, "ready")
	fmt.Fprint(keyboard, "\x03")
	p.line(screen, "interrupted")
	w.ends(4, p)

	p = w.weft(b.addr, "lock", "a", "--", "sh", "-c", "read x; echo got $x; read x; echo never")
	keyboard, screen = p.terminal()
	fmt.Fprint(keyboard, "tea\n")
	p.line(screen, "got tea")
	fmt.Fprint(keyboard, "\x03")
	w.ends(128+int(syscall.SIGINT), p)

	// The one around it has the terminal again.
	p = w.script(b, "weft lock a -- sh -c 'read x; echo got $x'; read y; echo then $y")
	keyboard, screen = p.terminal()
	fmt.Fprint(keyboard, "tea\n")
	p.line(screen, "got tea")
	fmt.Fprint(keyboard, "milk\n")
	p.line(screen, "then milk")
	w.ends(0, p)
}

// Ctrl-Z stops the command and the program, which go on together.
func TestLockSuspended(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	p := w.weft(b.addr, "lock", "a", "--", "sh", "-c", "read x; echo got $x; read x; echo got $x")
	keyboard, screen := p.terminal()
	suspend := func() {
		t.Helper()
		fmt.Fprint(keyboard, "\x1a")
		w.until("the program stands still", func() bool {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
			return err == nil && strings.Contains(string(text), ") T ")
		})
		p.signal(syscall.SIGCONT)
	}
	fmt.Fprint(keyboard, "tea\n")
	p.line(screen, "got tea")
	suspend()
	fmt.Fprint(keyboard, "milk\n")
	p.line(screen, "got milk")
	w.ends(0, p)

	p = w.weft(b.addr, "lock", "a", "--", "sh", "-c", "echo ready; while ! test -e go; do sleep 0.01; done; echo went")
	keyboard, screen = p.terminal()
	p.line(screen, "ready")
	suspend() // without the terminal
	if err := os.WriteFile(w.dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.line(screen, "went")
	w.ends(0, p)
}
