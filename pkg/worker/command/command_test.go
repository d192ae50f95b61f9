package command

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestOutcomes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEFT_TEST_A", "worker")
	t.Setenv("WEFT_TEST_B", "worker")
	tests := []struct {
		name           string
		cmd            *weftv1.Command
		code           int32
		signal, reason string
		message        string
		stdout, stderr string
	}{
		{name: "succeeds", cmd: shell("echo out; echo err >&2"), stdout: "out\n", stderr: "err\n"},
		{name: "exits", cmd: shell("echo x; exit 3"), code: 3, reason: "exit", message: "exit status 3", stdout: "x\n"},
		{name: "is killed", cmd: shell("kill -KILL $$"), code: -1, signal: "SIGKILL", reason: "signal", message: "ended by SIGKILL"},
		{name: "is killed by another", cmd: shell("kill -USR1 $$"), code: -1, signal: "SIGUSR1", reason: "signal", message: "ended by SIGUSR1"},
		{name: "arguments as they are", cmd: &weftv1.Command{Argv: []string{"printf", "%s|", "a b", "$HOME", "*", ""}}, stdout: "a b|$HOME|*||"},
		{name: "shell arguments", cmd: shell(`printf '%s|' "$0" "$@"`, "a b", "$HOME"), stdout: "sh|a b|$HOME|"},
		{name: "a shell line like an option", cmd: shell("-c; echo no"), code: 0, stdout: "no\n", stderr: "?"},
		{name: "input", cmd: &weftv1.Command{Argv: []string{"cat"}, Stdin: []byte("in\x00put")}, stdout: "in\x00put"},
		{name: "no input", cmd: &weftv1.Command{Argv: []string{"cat"}}},
		{name: "input that nobody reads", cmd: &weftv1.Command{Argv: []string{"true"}, Stdin: make([]byte, 1<<20)}},
		{
			name:   "environment",
			cmd:    &weftv1.Command{Argv: []string{"echo $WEFT_TEST_A $WEFT_TEST_B $C"}, Shell: true, Env: map[string]string{"WEFT_TEST_B": "command", "C": "c=d"}},
			stdout: "worker command c=d\n",
		},
		{name: "directory", cmd: &weftv1.Command{Argv: []string{"pwd; echo $PWD"}, Shell: true, Dir: dir}, stdout: dir + "\n" + dir + "\n"},
	}
	r := newRunner(t, anything(Config{}))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := run(t, r, test.cmd)
			res := out.Result
			if res.GetExitCode() != test.code || res.GetSignal() != test.signal {
				t.Errorf("exit code %d, signal %q; want %d, %q", res.GetExitCode(), res.GetSignal(), test.code, test.signal)
			}
			var reason, message string
			if out.Err != nil {
				reason, message = out.Err.Reason, out.Err.Message
			}
			if reason != test.reason || message != test.message {
				t.Errorf("error %q: %q; want %q: %q", reason, message, test.reason, test.message)
			}
			if got := text(res.GetStdout()); got != test.stdout {
				t.Errorf("stdout %q, want %q", got, test.stdout)
			}
			if got := text(res.GetStderr()); got != test.stderr && test.stderr != "?" {
				t.Errorf("stderr %q, want %q", got, test.stderr)
			}
			if res.GetMemoryBytesMax() <= 0 {
				t.Error("no memory was measured")
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	writeFile(t, plain, "echo hi\n", 0o644)
	orphan := filepath.Join(t.TempDir(), "orphan")
	writeFile(t, orphan, "#!/no/such/interpreter\n", 0o755)
	tests := []struct {
		name, reason string
		cmd          *weftv1.Command
	}{
		{"no such name", task.ReasonNotFound, &weftv1.Command{Argv: []string{"weft-no-such-program"}}},
		{"no such path", task.ReasonNotFound, &weftv1.Command{Argv: []string{"/no/such/program"}}},
		{"no interpreter", task.ReasonNotFound, &weftv1.Command{Argv: []string{orphan}}},
		{"not executable", task.ReasonRefused, &weftv1.Command{Argv: []string{plain}}},
		{"no program", task.ReasonRefused, &weftv1.Command{}},
		{"an empty program", task.ReasonRefused, &weftv1.Command{Argv: []string{""}}},
		{"no such directory", task.ReasonError, &weftv1.Command{Argv: []string{"true"}, Dir: "/no/such/directory"}},
		{"a zero byte", task.ReasonError, &weftv1.Command{Argv: []string{"echo", "a\x00b"}}},
		{"a bad variable", task.ReasonError, &weftv1.Command{Argv: []string{"true"}, Env: map[string]string{"A=B": "c"}}},
	}
	r := newRunner(t, anything(Config{}))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := r.Start(test.cmd, nil)
			var te *task.Error
			if !errors.As(err, &te) || te.Reason != test.reason {
				t.Fatalf("got %v, want reason %q", err, test.reason)
			}
		})
	}
}

func TestTimesAreMeasured(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	res := run(t, r, shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")).Result
	if res.GetUserTime().AsDuration() <= 0 {
		t.Errorf("user time %v", res.GetUserTime().AsDuration())
	}
}

func TestOutcomeKeepsTheStart(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	tests := []struct {
		name      string
		line      string
		max       uint32
		want      string
		total     int64
		data      bool
		truncated bool
	}{
		{name: "whole", line: "printf abc", max: 3, want: "abc", total: 3},
		{name: "cut", line: "printf abcd", max: 3, want: "abc", total: 4, truncated: true},
		{name: "cut before a rune", line: `printf 'ab\303\244'`, max: 3, want: "ab", total: 4, truncated: true},
		{name: "bytes", line: `printf 'a\377b'`, want: "a\xffb", total: 3, data: true},
		{name: "cut bytes", line: `printf 'a\377bcd'`, max: 3, want: "a\xffb", total: 5, data: true, truncated: true},
		{name: "half a rune that is the end", line: `printf 'ab\303'`, max: 3, want: "ab\xc3", total: 3, data: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cmd := shell(test.line)
			cmd.OutputBytesMax = test.max
			out := run(t, r, cmd).Result.GetStdout()
			_, data := out.GetValue().(*weftv1.CapturedOutput_Data)
			if text(out) != test.want || out.GetBytesTotal() != test.total || data != test.data || out.GetTruncated() != test.truncated {
				t.Errorf("got %v", out)
			}
		})
	}
}

func TestOutcomeSizes(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	for asked, want := range map[uint32]int{0: OutputBytesDefault, 1000: 1000, OutputBytesMax: OutputBytesMax, 1 << 30: OutputBytesMax} {
		cmd := helperCommand(t, "bytes", strconv.Itoa(1<<20))
		cmd.OutputBytesMax = asked
		out := run(t, r, cmd).Result.GetStdout()
		if len(text(out)) != want || out.GetBytesTotal() != 1<<20 || !out.GetTruncated() {
			t.Errorf("asked for %d: %d bytes of %d", asked, len(text(out)), out.GetBytesTotal())
		}
		if !strings.HasPrefix(text(out), "0\n1\n2\n") {
			t.Errorf("asked for %d: it begins with %q", asked, text(out)[:6])
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	r := newRunner(t, anything(Config{}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 10 {
				n := strconv.Itoa(i)
				p, err := r.Start(shell("echo $1; exit $1", n), nil)
				if err != nil {
					t.Error(err)
					return
				}
				<-p.Done()
				if res := p.Outcome().Result; text(res.GetStdout()) != n+"\n" || res.GetExitCode() != int32(i) {
					t.Errorf("%d: %v", i, res)
				}
				p.Release()
			}
		})
	}
	all.Wait()
}

func TestCloseKills(t *testing.T) {
	r, err := New(anything(Config{}))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, r, helperCommand(t, "stubborn"))
	line(t, p)
	r.Close()
	await(t, "end of the command", p.Done())
	if out := p.Outcome(); out.Result.GetSignal() != "SIGKILL" || !errors.Is(out.Cause, ErrClosed) {
		t.Errorf("got %+v", out)
	}
	if _, err := r.Start(shell("true"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("start after close: %v", err)
	}
	r.Close()
}
