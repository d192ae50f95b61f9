package command

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/task"
)

// never is a grace that no test outlives.
const never = time.Hour

func checkGroupGone(t *testing.T, p *Process) {
	t.Helper()
	if GroupAlive(p.ladder.group) {
		t.Errorf("group %d is still there", p.ladder.group)
	}
}

func TestTimeoutEndsTheGroup(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, shell("echo up; sleep 1000 & sleep 1000"))
	line(t, p)
	p.Stop(task.ErrTimeout, never)
	await(t, "end of the command", p.Done())
	defer p.Release()
	checkGroupGone(t, p)
	out := p.Outcome()
	if out.Err == nil || out.Err.Reason != task.ReasonTimeout || !errors.Is(out.Cause, task.ErrTimeout) {
		t.Errorf("got %+v", out)
	}
	if out.Result.GetSignal() != "SIGTERM" {
		t.Errorf("signal %q", out.Result.GetSignal())
	}
}

func TestTimeoutStaysATimeoutWhateverTheExit(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"))
	line(t, p)
	p.Stop(task.ErrTimeout, never)
	await(t, "end of the command", p.Done())
	defer p.Release()
	if out := p.Outcome(); out.Err == nil || out.Err.Reason != task.ReasonTimeout || out.Result.GetExitCode() != 0 {
		t.Errorf("got %+v", out)
	}
}

func TestGraceEndsByKill(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, helperCommand(t, "stubborn"))
	line(t, p)
	begun := time.Now()
	p.Stop(task.ErrCancelled, 200*time.Millisecond)
	await(t, "end of the command", p.Done())
	defer p.Release()
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("killed after %v", took)
	}
	if out := p.Outcome(); out.Result.GetSignal() != "SIGKILL" || !errors.Is(out.Cause, task.ErrCancelled) {
		t.Errorf("got %+v", out)
	}
}

func TestShorterGraceTakesOver(t *testing.T) {
	for _, second := range []time.Duration{0, 50 * time.Millisecond} {
		r := newRunner(t, anything(Config{}))
		p := start(t, r, helperCommand(t, "stubborn"))
		line(t, p)
		p.Stop(task.ErrCancelled, never)
		p.Stop(task.ErrTimeout, 2*never)
		p.Stop(task.ErrTimeout, second)
		p.Stop(task.ErrTimeout, never)
		await(t, "end of the command", p.Done())
		if out := p.Outcome(); out.Result.GetSignal() != "SIGKILL" || !errors.Is(out.Cause, task.ErrCancelled) {
			t.Errorf("second grace %v: %+v", second, out)
		}
		p.Release()
	}
}

func TestAStoppedCommandHeedsSIGTERM(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, shell("echo up; kill -STOP $$; sleep 1000"))
	line(t, p)
	p.Stop(task.ErrCancelled, never)
	await(t, "end of the command", p.Done())
	p.Release()
}

func TestChildrenLeftBehindAreEnded(t *testing.T) {
	r := newRunner(t, anything(Config{LeftoverGrace: 50 * time.Millisecond}))
	for name, line := range map[string]string{
		"heeds SIGTERM":     "sleep 1000 & echo up",
		"ignores SIGTERM":   "trap '' TERM; sleep 1000 & echo up",
		"holds no pipe":     "trap '' TERM; sleep 1000 >/dev/null 2>&1 & echo up",
		"a few generations": "(sleep 1000 & (sleep 1000 & sleep 1000 &) & ) & sleep 0.01; echo up",
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, r, shell(line))
			await(t, "end of the command", p.Done())
			defer p.Release()
			checkGroupGone(t, p)
			if out := p.Outcome(); out.Err != nil || out.Left || out.Escaped || text(out.Result.GetStdout()) != "up\n" {
				t.Errorf("got %+v", out)
			}
		})
	}
}

func TestStopHurriesTheChildrenLeftBehind(t *testing.T) {
	r := newRunner(t, anything(Config{LeftoverGrace: never}))
	p := start(t, r, shell("trap '' TERM; sleep 1000 & echo up"))
	line(t, p)
	p.Stop(nil, 0) // whenever it comes, before or after the leader's exit
	await(t, "end of the command", p.Done())
	defer p.Release()
	checkGroupGone(t, p)
}

func TestAnEscapedProcessDoesNotHoldTheAttempt(t *testing.T) {
	r := newRunner(t, anything(Config{PipeDelay: 50 * time.Millisecond}))
	cmd := helperCommand(t, "escape")
	cmd.Argv = []string{`exec 3<&0; "$1" <&3 & wait`, cmd.Argv[0]}
	cmd.Shell = true
	cmd.Stdin = make([]byte, 1<<20) // the escaped one holds this pipe too, and reads nothing
	p := start(t, r, cmd)
	pid, err := strconv.Atoi(line(t, p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	p.Stop(task.ErrCancelled, 0)
	await(t, "end of the command", p.Done())
	defer p.Release()
	if out := p.Outcome(); !out.Escaped || text(out.Result.GetStdout()) != strconv.Itoa(pid)+"\n" {
		t.Errorf("got %+v", out)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("it was not to be killed: %v", err)
	}
}

func TestStopAfterTheEnd(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, shell("exit 0"))
	await(t, "end of the command", p.Done())
	p.Stop(task.ErrCancelled, 0)
	if out := p.Outcome(); out.Err != nil || out.Cause != nil {
		t.Errorf("got %+v", out)
	}
	p.Release()
}

func TestStopRacesTheEnd(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	for range 50 {
		p := start(t, r, shell("exit 0"))
		go p.Stop(task.ErrCancelled, 0)
		await(t, "end of the command", p.Done())
		out := p.Outcome()
		if ok := out.Err == nil && out.Result.GetExitCode() == 0; !ok && (out.Cause == nil || out.Result.GetSignal() != "SIGKILL") {
			t.Errorf("got %+v", out)
		}
		p.Release()
	}
}

func TestTheCommandHasItsOwnGroup(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	p := start(t, r, shell("echo up; sleep 1000"))
	line(t, p)
	if group, err := syscall.Getpgid(p.leader.Pid); err != nil || group != p.leader.Pid || group == syscall.Getpgrp() {
		t.Errorf("group %d of process %d, worker %d: %v", group, p.leader.Pid, os.Getpid(), err)
	}
	p.Stop(nil, 0)
	await(t, "end of the command", p.Done())
	p.Release()
}
