//go:build !unix

package procs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Foreground is a command that runs in this process's place, with its standard streams. There are no process groups here, and no
// signals but the one that kills.
type Foreground struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // read after done
}

// StartForeground starts a command. Its Stdin, Stdout and Stderr are the caller's to set.
func StartForeground(cmd *exec.Cmd) (*Foreground, error) {
	f := &Foreground{cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(f.done)
		f.err = cmd.Wait()
	}()
	return f, nil
}

// PassedOn are signals for [Foreground.Pass].
var PassedOn []os.Signal

// Pass kills the command: it has had the interrupt from its console itself, but for a signal from elsewhere.
func (f *Foreground) Pass(s os.Signal) {
	if s != os.Interrupt {
		_ = f.cmd.Process.Kill() // it may be gone already
	}
}

// Done is closed when the command has ended.
func (f *Foreground) Done() <-chan struct{} { return f.done }

// ExitCode is that of a command that has ended.
func (f *Foreground) ExitCode() (int, error) {
	<-f.done
	var exit *exec.ExitError
	if f.err != nil && !errors.As(f.err, &exit) {
		return 0, fmt.Errorf("procs: %w", f.err)
	}
	return f.cmd.ProcessState.ExitCode(), nil
}

// Stop kills the command.
func (f *Foreground) Stop(time.Duration) {
	_ = f.cmd.Process.Kill() // it may be gone already
	<-f.done
}
