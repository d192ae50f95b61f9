//go:build unix

package procs

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the one that controls this process. A command in a group of its own is in the background there: the kernel
// stops it when it reads from the terminal. So the terminal is given to it then, and not before: others of a pipeline may
// need it.
type terminal struct {
	file  *os.File // nil if there is none
	given bool
}

func openTerminal() *terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return &terminal{} // a service, a test
	}
	return &terminal{file: file}
}

// give makes a group the foreground one, if this process's group is that.
func (t *terminal) give(group int) bool {
	if t.file == nil || t.foreground() != syscall.Getpgrp() {
		return false
	}
	t.given = t.set(group)
	return t.given
}

// take makes this process's group the foreground one again; false if it has not given the terminal away.
func (t *terminal) take() bool {
	was := t.given
	if was {
		t.given = false
		t.set(syscall.Getpgrp())
	}
	return was
}

func (t *terminal) foreground() int {
	group, err := unix.IoctlGetInt(int(t.file.Fd()), unix.TIOCGPGRP) //nolint:gosec // a file descriptor is small
	if err != nil {
		return 0
	}
	return group
}

// set is no business of a background process: the kernel would stop it, unless it ignores the signal for that.
func (t *terminal) set(group int) bool {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	return unix.IoctlSetPointerInt(int(t.file.Fd()), unix.TIOCSPGRP, group) == nil //nolint:gosec // as above
}

func (t *terminal) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}
