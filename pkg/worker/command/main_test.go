package command

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// helperEnv makes the test's binary be another program: what a command needs to be for a test, on any
// system.
const helperEnv = "WEFT_COMMAND_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		helper(name, os.Args[1:])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func helper(name string, args []string) {
	switch name {
	case "escape": // leaves the group, keeps the pipes, tells its number
		_, _ = syscall.Setsid()
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute)
	case "stubborn": // ends by SIGKILL alone
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Minute)
	case "bytes": // a known stream of so many bytes
		n, _ := strconv.ParseInt(args[0], 10, 64)
		_, _ = io.CopyN(os.Stdout, pattern(), n)
	case "runner": // a worker with a command, for others to kill
		helperRunner(args)
	}
}

// pattern is a stream that does not repeat for long: the numbers from 0 on.
func pattern() io.Reader { return &numbers{} }

type numbers struct {
	next int
	rest []byte
}

func (n *numbers) Read(p []byte) (int, error) {
	for len(n.rest) < len(p) {
		n.rest = strconv.AppendInt(n.rest, int64(n.next), 10)
		n.rest = append(n.rest, '\n')
		n.next++
	}
	copy(p, n.rest)
	n.rest = append(n.rest[:0], n.rest[len(p):]...)
	return len(p), nil
}

// helperCommand is a command that runs this test's binary as a helper.
func helperCommand(t testing.TB, name string, args ...string) *weftv1.Command {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &weftv1.Command{
		Argv: append([]string{exe}, args...),
		// The race detector waits a second at exit, for nothing here.
		Env: map[string]string{helperEnv: name, "GOCOVERDIR": t.TempDir(), "GORACE": "atexit_sleep_ms=0"},
	}
}

func shell(line string, args ...string) *weftv1.Command {
	return &weftv1.Command{Argv: append([]string{line}, args...), Shell: true}
}

func anything(cfg Config) Config {
	cfg.Policy = Policy{AllowAny: true, AllowShell: true}
	return cfg
}

func newRunner(t testing.TB, cfg Config) *Runner {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func start(t testing.TB, r *Runner, cmd *weftv1.Command) *Process {
	t.Helper()
	p, err := r.Start(cmd, nil)
	if err != nil {
		t.Fatalf("start %q: %v", cmd.GetArgv(), err)
	}
	return p
}

func await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: did not happen", what)
	}
}

// run runs a command to its end.
func run(t testing.TB, r *Runner, cmd *weftv1.Command) Outcome {
	t.Helper()
	p := start(t, r, cmd)
	await(t, "end of the command", p.Done())
	t.Cleanup(p.Release)
	return p.Outcome()
}

// follower reads an output live, as a stream.
type follower struct {
	out *Output
	off int64
}

func (f *follower) Read(p []byte) (int, error) {
	for {
		changed := f.out.Changed()
		n, err := f.out.ReadAt(p, f.off)
		f.off += int64(n)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			return 0, fmt.Errorf("no news at %d", f.off)
		}
	}
}

// line reads a line of a running command's standard output.
func line(t testing.TB, p *Process) string {
	t.Helper()
	f := &follower{out: p.Output(weftv1.OutputStream_OUTPUT_STREAM_STDOUT)}
	var text strings.Builder
	for buf := make([]byte, 1); ; {
		if _, err := f.Read(buf); err != nil {
			t.Fatalf("after %q: %v", text.String(), err)
		}
		if buf[0] == '\n' {
			return text.String()
		}
		text.Write(buf)
	}
}

func text(c *weftv1.CapturedOutput) string { return c.GetText() + string(c.GetData()) }
