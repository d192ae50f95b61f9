//go:build unix

package procs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is a child to start.
type Command struct {
	// Path is the program; empty is this one.
	Path string
	// Args are its arguments, without its name.
	Args []string
	// Env is added to this process's environment.
	Env []string
	// Stderr gets its standard error; nil is nowhere.
	Stderr io.Writer
}

// Process is a child that was started.
type Process struct {
	cmd    *exec.Cmd
	alive  *os.File // the end of the pipe whose closing is the parent's end
	stdout *bufio.Reader
	gone   chan struct{}
	err    error // of the end; read after gone
}

// Start starts a child. It has to be stopped.
func Start(c Command) (*Process, error) {
	path := c.Path
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("procs: which program is this: %w", err)
		}
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("procs: pipe: %w", err)
	}
	defer func() { _ = theirs.Close() }() // the child has its own
	cmd := exec.Command(path, c.Args...)
	cmd.Env = append(append(os.Environ(), c.Env...), envParent+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, output, err := os.Pipe()
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("procs: pipe: %w", err)
	}
	defer func() { _ = output.Close() }()
	cmd.Stdout = output
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		_ = stdout.Close()
		return nil, fmt.Errorf("procs: start: %w", err)
	}
	p := &Process{cmd: cmd, alive: ours, stdout: bufio.NewReader(stdout), gone: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.gone)
	}()
	return p, nil
}

// Pid is the child's process id, and its group's.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ready waits for the child's first line, and reads its JSON into v.
func (p *Process) Ready(ctx context.Context, v any) error {
	lineC := make(chan error, 1)
	var line []byte
	go func() {
		var err error
		line, err = p.stdout.ReadBytes('\n')
		lineC <- err
		_, _ = io.Copy(io.Discard, p.stdout) // the child is never held up by its output
	}()
	select {
	case err := <-lineC:
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("procs: the child ended before it was ready: %w", p.exit(ctx))
		}
		if err != nil {
			return fmt.Errorf("procs: read the child's first line: %w", err)
		}
	case <-ctx.Done():
		return fmt.Errorf("procs: the child is not ready: %w", context.Cause(ctx))
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("procs: the child's first line %q: %w", line, err)
	}
	return nil
}

// exit waits for the child's end and says how it was.
func (p *Process) exit(ctx context.Context) error {
	select {
	case <-p.gone:
		if p.err != nil {
			return p.err
		}
		return errors.New("it exited with 0")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Gone is closed when the child is.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// ExitCode is that of a child that is gone; -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.gone
	return p.cmd.ProcessState.ExitCode()
}

// Kill kills the child's whole group at once, for tests of sudden death.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // it may be gone already
	<-p.gone
	_ = p.alive.Close()
}

// Signal sends a signal to the child alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop lets the child stop by itself: its pipe ends, and after half the grace it gets SIGTERM; after the
// grace its group is killed. It returns the child's own error. It may be repeated.
func (p *Process) Stop(grace time.Duration) error {
	_ = p.alive.Close() // once is enough
	term := time.AfterFunc(grace/2, func() { _ = p.Signal(syscall.SIGTERM) })
	defer term.Stop()
	kill := time.AfterFunc(grace, func() { _ = syscall.Kill(-p.Pid(), syscall.SIGKILL) })
	defer kill.Stop()
	<-p.gone
	return p.err
}

// PrintReady prints a child's first line.
func PrintReady(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("procs: readiness: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
		return fmt.Errorf("procs: readiness: %w", err)
	}
	return nil
}

// CPUTime is what a child took that is gone, with its own children.
func (p *Process) CPUTime() time.Duration {
	select {
	case <-p.gone:
		return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	default:
		return 0
	}
}

// OwnCPUTime is what this process took so far.
func OwnCPUTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
