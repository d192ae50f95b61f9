//go:build unix

package procs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/weftq/weft/pkg/worker/command"
)

// Foreground is a command that runs in this process's place: it has the standard streams, the terminal when it asks for
// it, and the signals, by [Foreground.Pass]. It is the leader of a process group of its own, which [Foreground.Stop] ends
// whole. On Linux the kernel kills the leader when this process is gone, however it went.
type Foreground struct {
	cmd  *exec.Cmd
	term *terminal
	done chan struct{}

	status syscall.WaitStatus // read after done, as err is
	err    error

	mu     sync.Mutex
	reaped bool
	empty  bool // the group's number may be another's
}

// StartForeground starts a command. Its Stdin, Stdout and Stderr are the caller's to set, its SysProcAttr is not.
func StartForeground(cmd *exec.Cmd) (*Foreground, error) {
	f := &Foreground{cmd: cmd, term: openTerminal(), done: make(chan struct{})}
	startC := make(chan error, 1)
	go f.run(startC)
	if err := <-startC; err != nil {
		return nil, err
	}
	return f, nil
}

// run starts the command and waits for it on one thread: the kernel takes the thread that forked for the parent, at whose
// end it kills the command.
func (f *Foreground) run(startC chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer f.term.close()
	f.cmd.SysProcAttr = groupOfItsOwn()
	if err := f.cmd.Start(); err != nil {
		startC <- err
		return
	}
	startC <- nil
	f.status, f.err = f.wait()
	f.term.take()
	f.mu.Lock() // a signal before this reaches nobody else: the kernel gives numbers in turn
	f.reaped = true
	f.empty = !f.lives()
	f.mu.Unlock()
	_ = f.cmd.Wait() // nothing is left to reap, but its output may be copied still
	close(f.done)
}

// wait waits for the end, and tells stopped of each stop before it.
func (f *Foreground) wait() (status syscall.WaitStatus, err error) {
	for {
		_, err := syscall.Wait4(f.Pid(), &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return status, fmt.Errorf("procs: wait: %w", err)
		case status.Stopped():
			f.stopped(status.StopSignal())
		default:
			return status, nil
		}
	}
}

// stopped is told when the command is stopped, by the terminal or by somebody.
func (f *Foreground) stopped(by syscall.Signal) {
	switch by {
	case syscall.SIGTTIN, syscall.SIGTTOU: // it wants the terminal
		for !f.term.give(f.Pid()) {
			if f.term.file == nil {
				return
			}
			suspend() // this process is in the background itself
		}
		f.Signal(syscall.SIGCONT)
	case syscall.SIGTSTP:
		if !f.term.take() { // it is this process that the terminal told, and that has passed it on
			return
		}
		suspend()
		f.term.give(f.Pid()) // else it asks for it when it needs it
		f.Signal(syscall.SIGCONT)
	}
}

// PassedOn are signals for [Foreground.Pass], beside os.Interrupt and SIGTERM.
var PassedOn = []os.Signal{
	syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP,
}

// Pass passes a signal on to the command's group.
func (f *Foreground) Pass(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok {
		f.Signal(n)
	}
	if s == syscall.SIGTSTP { // together they stand still, and together they go on
		suspend()
		f.Signal(syscall.SIGCONT)
	}
}

// suspend stops this process, as the terminal has asked, until somebody has it go on.
func suspend() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // this thread may run on for a moment
	<-goesOn
}

// Pid is the command's process id, and its group's.
func (f *Foreground) Pid() int { return f.cmd.Process.Pid }

// Done is closed when the command has ended; others of its group may live on.
func (f *Foreground) Done() <-chan struct{} { return f.done }

// ExitCode is that of a command that has ended, as a shell has it: 128 and the number of the signal that ended it.
func (f *Foreground) ExitCode() (int, error) {
	<-f.done
	if f.status.Signaled() {
		return 128 + int(f.status.Signal()), f.err
	}
	return f.status.ExitStatus(), f.err
}

// Signal sends a signal to the command's group.
func (f *Foreground) Signal(s syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.signal(s)
}

// signal signals the group while its number is the group's. The caller holds f.mu.
func (f *Foreground) signal(s syscall.Signal) {
	if f.reaped {
		f.empty = f.empty || !f.lives()
	}
	if !f.empty {
		_ = syscall.Kill(-f.Pid(), s) // it may be gone already
	}
}

// lives reports whether somebody of the group runs. The leader has been reaped.
func (f *Foreground) lives() bool { return command.GroupAlive(f.Pid()) }

const (
	killPatience = 2 * time.Second       // what a killed group may take to vanish
	groupLook    = 10 * time.Millisecond // nobody tells of the end of a process that is not ours
)

// Stop ends the group: SIGTERM, and SIGKILL after the grace. It returns when nobody of it is left.
func (f *Foreground) Stop(grace time.Duration) {
	f.Signal(syscall.SIGTERM)
	f.Signal(syscall.SIGCONT) // a stopped process cannot act on SIGTERM
	if f.vanishes(grace) {
		return
	}
	f.Signal(syscall.SIGKILL)
	f.vanishes(killPatience)
}

// vanishes waits for the end of the group, for so long at most.
func (f *Foreground) vanishes(within time.Duration) bool {
	over := time.NewTimer(within)
	defer over.Stop()
	select {
	case <-f.done:
	case <-over.C:
		return false
	}
	look := time.NewTicker(groupLook)
	defer look.Stop()
	for {
		f.Signal(0)
		f.mu.Lock()
		empty := f.empty
		f.mu.Unlock()
		if empty {
			return true
		}
		select {
		case <-look.C:
		case <-over.C:
			return false
		}
	}
}
