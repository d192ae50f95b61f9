//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// here runs the same command without Weft.
func here(t *testing.T, stdin string, argv ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out, said strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	_ = cmd.Run() // its exit code says it
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

func TestRunLikeLocal(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh,cat")
	for _, c := range []struct{ stdin, script string }{
		{"", "echo out; echo err >&2; exit 3"},
		{"", "exit 0"},
		{"one\ntwo\n", "cat; cat >&2"},
		{"a\x00b\xff", "cat; exit 255"},
		{strings.Repeat("0123456789abcde\n", 20_000), "cat"},
	} {
		stdout, stderr, code := here(t, c.stdin, "sh", "-c", c.script)
		p := w.weft(b.addr, "run", "--", "sh", "-c", c.script).input(c.stdin)
		if got := p.run(); got != code || p.stdout.String() != stdout || p.stderr.String() != stderr {
			t.Errorf("%s: exit code %d, %d bytes, %.200q; here it is %d, %d bytes, %.200q",
				c.script, got, p.stdout.Len(), p.stderr.String(), code, len(stdout), stderr)
		}
	}
}

func TestRunExitCodes(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh,no-such-program")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{127, "no-such-program", []string{"no-such-program"}},
		{126, "ls", []string{"ls"}},
		{126, "shell", []string{"--shell", "--", "ls"}},
		{124, "timeout", []string{"--timeout", "200ms", "--", "sh", "-c", "exec sleep 1000"}},
		{128 + 9, "", []string{"--", "sh", "-c", "kill -KILL $$"}},
		{128 + 15, "", []string{"--", "sh", "-c", "kill -TERM $$"}},
		{2, "no-such-flag", []string{"--no-such-flag"}},
		{2, "which command", nil},
	} {
		p := w.weft(b.addr, append([]string{"run"}, c.args...)...)
		if code := p.run(); code != c.code || !strings.Contains(p.stderr.String(), c.says) {
			t.Errorf("run %q: exit code %d, want %d; it said %q", c.args, code, c.code, p.stderr.String())
		}
	}
	p := w.weft(w.freePort(), "run", "--", "true")
	if code := p.run(); code != 125 || !strings.Contains(p.stderr.String(), "no broker") {
		t.Errorf("without a broker: exit code %d; it said %q", code, p.stderr.String())
	}
}

// The first bytes are here while the command still runs, and all of them in the end.
func TestRunLiveOutput(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	fifo := w.fifo()
	const script = `seq -w 1000000 | head -c 1048576; read line <"$1"; seq -w 2000000 | head -c 9437184`
	p := w.weft(b.addr, "run", "--", "sh", "-c", script, "sh", fifo).watch().start()
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(p.live, first); err != nil {
		t.Fatalf("the first MiB while the command runs: %v", err)
	}
	openFifo(t, fifo) // the command goes on only now
	rest, err := io.ReadAll(p.live)
	if err != nil {
		t.Fatal(err)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	want, _, _ := here(t, "", "sh", "-c", "seq -w 1000000 | head -c 1048576; seq -w 2000000 | head -c 9437184")
	if got := bytes.Join([][]byte{first, rest}, nil); sha256.Sum256(got) != sha256.Sum256([]byte(want)) {
		t.Errorf("%d bytes of output are not the %d that the command wrote", len(got), len(want))
	}
}
