//go:build unix

package procs

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// foreground starts a line of the shell that says when it is ready.
func foreground(t *testing.T, line string) (*Foreground, *notified) {
	t.Helper()
	out := &notified{wroteC: make(chan struct{}, 100)}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Stdout = out
	cmd.WaitDelay = 10 * time.Second
	f, err := StartForeground(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Stop(0); <-f.Done() })
	return f, out
}

// notified tells of writes.
type notified struct {
	text   bytes.Buffer
	wroteC chan struct{}
}

func (n *notified) Write(p []byte) (int, error) {
	defer func() { n.wroteC <- struct{}{} }()
	return n.text.Write(p)
}

func TestForegroundExitCodes(t *testing.T) {
	for line, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15, "kill -KILL $$": 128 + 9} {
		f, _ := foreground(t, line)
		if code, err := f.ExitCode(); code != want || err != nil {
			t.Errorf("%s: %d, %v", line, code, err)
		}
	}
	if _, err := StartForeground(exec.Command("/no/such/program")); err == nil {
		t.Error("there is such a program")
	}
}

func TestForegroundSignals(t *testing.T) {
	f, out := foreground(t, "trap 'exit 3' USR1; echo ready; while :; do sleep 0.01; done")
	<-out.wroteC
	f.Signal(syscall.SIGUSR1)
	if code, err := f.ExitCode(); code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
}

// Stop ends the whole group: also who is deaf, stands still, or has outlived the leader.
func TestForegroundStop(t *testing.T) {
	for name, line := range map[string]string{
		"in order":           "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done",
		"deaf":               "trap '' TERM; echo ready; while :; do sleep 0.01; done",
		"stands still":       "echo ready; kill -STOP $$; exit 0",
		"a child that stays": "(trap '' TERM; echo ready; while :; do sleep 0.01; done) & wait",
		"a leader that went": "(trap '' TERM; echo ready; while :; do sleep 0.01; done) >&3 3>&- & exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			f, out := foreground(t, "exec 3>&1; "+line)
			<-out.wroteC
			f.Stop(50 * time.Millisecond)
			select {
			case <-f.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("it lives")
			}
			if f.lives() {
				t.Error("its group lives")
			}
		})
	}
}

// The command has a group of its own.
func TestForegroundGroup(t *testing.T) {
	f, out := foreground(t, "ps -o pgid= -p $$; sleep 100")
	<-out.wroteC
	f.Stop(time.Second)
	<-f.Done()
	if group := strings.TrimSpace(out.text.String()); group != strconv.Itoa(f.Pid()) {
		t.Errorf("group %s, want %d", group, f.Pid())
	}
}
