//go:build unix

package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Process is a command that was started.
type Process struct {
	runner *Runner
	leader *os.Process
	stdout *Output
	stderr *Output
	pipes  [2]*os.File // our ends of stdout and stderr
	done   chan struct{}

	mu      sync.Mutex
	ladder  ladder
	outcome Outcome // set before done is closed
}

func (r *Runner) newProcess(cmd *weftv1.Command) *Process {
	headMax := OutputBytesDefault
	if asked := int(cmd.GetOutputBytesMax()); asked > 0 {
		headMax = min(asked, OutputBytesMax)
	}
	spool := newSpool(r.cfg.SpoolDir, r.cfg.SpoolBytesMax)
	return &Process{
		runner: r,
		stdout: &Output{spool: spool, headMax: headMax},
		stderr: &Output{spool: spool, headMax: headMax},
		done:   make(chan struct{}),
	}
}

// Done is closed when the process group is gone and the outcome is there.
func (p *Process) Done() <-chan struct{} { return p.done }

// Outcome returns how the command ended. Call it after Done.
func (p *Process) Outcome() Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outcome
}

// Output returns one of the command's output streams, nil for a stream that there is not. It can be
// read until Release.
func (p *Process) Output(stream weftv1.OutputStream) *Output {
	switch stream {
	case weftv1.OutputStream_OUTPUT_STREAM_STDOUT:
		return p.stdout
	case weftv1.OutputStream_OUTPUT_STREAM_STDERR:
		return p.stderr
	default:
		return nil
	}
}

// Release forgets the output. Call it after Done, once for each started process.
func (p *Process) Release() {
	p.stdout.release()
	p.stderr.release()
	p.runner.remove(p)
}

// start starts the command and the goroutines that attend to it. Its error is for the report.
func (p *Process) start(path string, args, env []string, cmd *weftv1.Command) error {
	files, err := openFiles(cmd)
	if err != nil {
		return startError(path, err)
	}
	attr := &os.ProcAttr{Dir: cmd.GetDir(), Env: env, Files: files.child[:], Sys: sysProcAttr()}
	err = p.runner.spawner.do(func() (err error) {
		p.leader, err = os.StartProcess(path, args, attr)
		return err
	})
	files.closeChild()
	if err != nil {
		files.closeParent()
		if dirErr := checkDir(cmd.GetDir()); dirErr != nil {
			return dirErr
		}
		return startError(path, err)
	}
	p.pipes = [2]*os.File{files.stdout, files.stderr}
	p.ladder.group = p.leader.Pid
	if files.stdin != nil {
		go feed(files.stdin, cmd.GetStdin())
	}
	var captures sync.WaitGroup
	captures.Go(func() { p.stdout.capture(files.stdout) })
	captures.Go(func() { p.stderr.capture(files.stderr) })
	go p.attend(files.stdin, &captures)
	return nil
}

// attend sees the command to its end.
func (p *Process) attend(stdin *os.File, captures *sync.WaitGroup) {
	state, err := p.reap()
	left := p.clearGroup()
	if stdin != nil {
		_ = stdin.Close() // an escaped reader must not keep feed waiting
	}
	escaped := p.readOut(captures)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.ladder.end()
	p.outcome = p.result(state, err)
	p.outcome.Left, p.outcome.Escaped = left, escaped
	close(p.done)
}

// reap takes the leader's status. Until then its number, and so the group's, is nobody else's; once it
// is reaped that holds only while somebody else is left in the group. So nothing may be signalled
// between the reaping and the look that follows it.
func (p *Process) reap() (*os.ProcessState, error) {
	if awaitExit(p.leader.Pid) {
		p.mu.Lock()
		defer p.mu.Unlock()
		state, err := p.leader.Wait()
		p.ladder.reaped()
		return state, err
	}
	state, err := p.leader.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ladder.reaped()
	return state, err
}

// readOut waits for the end of the pipes, and closes those that somebody outside of the group holds.
func (p *Process) readOut(captures *sync.WaitGroup) (escaped bool) {
	ended := make(chan struct{})
	go func() {
		captures.Wait()
		close(ended)
	}()
	timer := time.NewTimer(p.runner.cfg.PipeDelay)
	defer timer.Stop()
	select {
	case <-ended:
		return false
	case <-timer.C:
	}
	for _, pipe := range p.pipes {
		_ = pipe.SetReadDeadline(time.Now()) // fails on the one that has ended
	}
	<-ended
	return true
}

// feed writes the command's standard input. A command that does not read it all is no error.
func feed(stdin *os.File, data []byte) {
	_, _ = stdin.Write(data)
	_ = stdin.Close()
}

// checkDir tells whether it is the directory that is missing: the kernel says the same of a program.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		err = &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	case err == nil:
		return nil
	}
	return &task.Error{Reason: task.ReasonError, Message: fmt.Sprintf("working directory: %v", err)}
}

// startError tells apart what a user can mend from what the machine lacks.
func startError(path string, err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return notFound(fmt.Sprintf("the worker has no program %q, or not its interpreter", path))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOEXEC):
		return refusal(fmt.Sprintf("%q is not executable", path))
	default:
		return &task.Error{Reason: task.ReasonError, Message: fmt.Sprintf("start %q: %v", path, err)}
	}
}
