//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/weftq/weft/internal/cli/workercmd"
	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// program is one start of `weft` as a person at a terminal has it.
type program struct {
	world  *world
	cmd    *exec.Cmd
	live   io.Reader // standard output, if it was asked for before the start
	stdout bytes.Buffer
	stderr bytes.Buffer
}

// weft prepares a command line; broker is the WEFT_BROKER that it finds.
func (w *world) weft(broker string, args ...string) *program {
	cmd := exec.Command(w.bin, args...)
	cmd.Env = append(append(os.Environ(), w.env...), client.EnvBroker+"="+broker)
	cmd.Dir = w.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stopPatience // whoever has inherited its output is not waited for
	p := &program{world: w, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	return p
}

// watch has standard output read as it comes.
func (p *program) watch() *program {
	p.world.Helper()
	p.cmd.Stdout = nil
	live, err := p.cmd.StdoutPipe()
	if err != nil {
		p.world.Fatal(err)
	}
	p.live = live
	return p
}

// input is its standard input; without, it has none.
func (p *program) input(text string) *program {
	p.cmd.Stdin = strings.NewReader(text)
	return p
}

// start starts it; it is killed if the test ends before.
func (p *program) start() *program {
	p.world.Helper()
	if err := p.cmd.Start(); err != nil {
		p.world.Fatal(err)
	}
	p.world.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.signal(syscall.SIGKILL)
			_ = p.cmd.Wait()
			p.world.Errorf("%v was still there; it said:\n%s", p.cmd.Args, p.stderr.String())
		}
	})
	return p
}

func (p *program) signal(s syscall.Signal) {
	p.world.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.world.Errorf("signal %v: %v", s, err)
	}
}

// end waits for the end and returns the exit code.
func (p *program) end() int {
	p.world.Helper()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = p.cmd.Wait()
	}()
	select {
	case <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.world.Fatalf("%v: %v", p.cmd.Args, err)
		}
	case <-p.world.context().Done():
		p.signal(syscall.SIGKILL)
		<-done
		p.world.Fatalf("%v does not end; it said:\n%s%s", p.cmd.Args, p.stdout.String(), p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// run starts it and waits for its end.
func (p *program) run() int { return p.start().end() }

// worker starts a `weft worker` for commands and waits until the broker has it.
func (w *world) worker(b *brokerProcess, name string, args ...string) *procs.Process {
	w.Helper()
	args = append([]string{"worker", "--json", "--broker", b.addr, "--name", name}, args...)
	p, err := w.process(name, procs.Command{Path: w.bin, Args: args})
	if err != nil {
		w.Fatal(err)
	}
	var ready workercmd.Ready
	if err := p.Ready(w.context(), &ready); err != nil {
		w.Fatal(err)
	}
	return p
}
