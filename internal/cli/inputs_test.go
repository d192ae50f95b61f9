package cli

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func TestSubstitute(t *testing.T) {
	for _, test := range []struct {
		argv  []string
		input string
		want  []string
	}{
		{[]string{"echo"}, "a", []string{"echo", "a"}},
		{[]string{"echo", "x"}, "a b", []string{"echo", "x", "a b"}},
		{[]string{"mv", "{}", "{}.bak"}, "a", []string{"mv", "a", "a.bak"}},
		{[]string{"echo", "{}{}"}, "a", []string{"echo", "aa"}},
		{[]string{"echo", "{"}, "", []string{"echo", "{", ""}},
		{[]string{"{}", "--version"}, "go", []string{"go", "--version"}},
		{[]string{"echo", "{}"}, "{}", []string{"echo", "{}"}},
	} {
		if got := substitute(test.argv, test.input, true); !slices.Equal(got, test.want) {
			t.Errorf("substitute(%q, %q) = %q, want %q", test.argv, test.input, got, test.want)
		}
	}
}

func TestSplitInputs(t *testing.T) {
	command, inputs, given, err := splitInputs([]string{"echo", "{}", ":::", "a", "b"})
	if err != nil || !given || !slices.Equal(command, []string{"echo", "{}"}) || !slices.Equal(inputs, []string{"a", "b"}) {
		t.Fatal(command, inputs, given, err)
	}
	if _, _, given, err = splitInputs([]string{"echo"}); given || err != nil {
		t.Fatal(given, err)
	}
	if _, inputs, given, err = splitInputs([]string{"echo", ":::"}); !given || err != nil || len(inputs) != 0 {
		t.Fatal("no inputs are inputs too")
	}
	if _, _, _, err = splitInputs([]string{"echo", ":::", "a", ":::", "b"}); ExitCode(err) != ExitUsage {
		t.Fatal(err)
	}
}

func TestReadInputs(t *testing.T) {
	for _, test := range []struct {
		in   string
		nul  bool
		want []string
	}{
		{"a\nb\n", false, []string{"a", "b"}},
		{"a\n\nb", false, []string{"a", "", "b"}},
		{"a\r\nb", false, []string{"a", "b"}},
		{"a\nb\x00c", true, []string{"a\nb", "c"}},
		{"a\x00\x00", true, []string{"a", ""}},
		{"", false, nil},
	} {
		var failed error
		got := slices.Collect(readInputs(strings.NewReader(test.in), test.nul, func(err error) { failed = err }))
		if failed != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, %v, want %q", test.in, got, failed, test.want)
		}
	}
	var failed error
	long := strings.NewReader(strings.Repeat("x", lineBytesMax+1))
	if got := slices.Collect(readInputs(long, false, func(err error) { failed = err })); len(got) != 0 || failed == nil {
		t.Fatalf("%d inputs, %v", len(got), failed)
	}
}

func TestReadStdinLimit(t *testing.T) {
	if data, err := readStdin(bytes.NewReader(make([]byte, task.PayloadBytesMax))); err != nil || len(data) != task.PayloadBytesMax {
		t.Fatal(len(data), err)
	}
	if _, err := readStdin(bytes.NewReader(make([]byte, task.PayloadBytesMax+1))); err == nil || !strings.Contains(err.Error(), "512 KiB") {
		t.Fatal(err)
	}
}

func TestOutcomeExit(t *testing.T) {
	failed := func(end weftv1.AttemptEnd, reason string, r *weftv1.CommandResult) *client.Outcome {
		return &client.Outcome{State: weftv1.TaskState_TASK_STATE_FAILED, End: end, Error: &task.Error{Reason: reason}, Command: r}
	}
	const end = weftv1.AttemptEnd_ATTEMPT_END_ERROR
	for name, test := range map[string]struct {
		outcome *client.Outcome
		want    int
	}{
		"success":    {&client.Outcome{State: weftv1.TaskState_TASK_STATE_SUCCEEDED}, 0},
		"exit":       {failed(end, task.ReasonExit, &weftv1.CommandResult{ExitCode: 3}), 3},
		"SIGKILL":    {failed(end, task.ReasonSignal, &weftv1.CommandResult{ExitCode: -1, Signal: "SIGKILL"}), 137},
		"SIGTERM":    {failed(end, task.ReasonSignal, &weftv1.CommandResult{ExitCode: -1, Signal: "SIGTERM"}), 143},
		"SIGSEGV":    {failed(end, task.ReasonSignal, &weftv1.CommandResult{ExitCode: -1, Signal: "SIGSEGV"}), 139},
		"unknown":    {failed(end, task.ReasonSignal, &weftv1.CommandResult{ExitCode: -1, Signal: "SIGWHAT"}), 125},
		"refused":    {failed(end, task.ReasonRefused, nil), 126},
		"not found":  {failed(end, task.ReasonNotFound, nil), 127},
		"timeout":    {failed(weftv1.AttemptEnd_ATTEMPT_END_TIMEOUT, task.ReasonTimeout, &weftv1.CommandResult{Signal: "SIGTERM"}), 124},
		"lost":       {failed(weftv1.AttemptEnd_ATTEMPT_END_WORKER_LOST, task.ReasonWorkerLost, nil), 125},
		"handler":    {failed(end, "whatever", nil), 125},
		"cancelled":  {&client.Outcome{State: weftv1.TaskState_TASK_STATE_CANCELLED}, 130},
		"it trapped": {&client.Outcome{State: weftv1.TaskState_TASK_STATE_CANCELLED, Command: &weftv1.CommandResult{ExitCode: 7}}, 130},
	} {
		if got := outcomeExit(test.outcome); got != test.want {
			t.Errorf("%s: exit code %d, want %d", name, got, test.want)
		}
	}
	if ExitCode(errors.New("anything")) != 125 || ExitCode(nil) != 0 || ExitCode(exit(0)) != 0 {
		t.Error("exit codes of errors")
	}
}

func TestTagger(t *testing.T) {
	var out bytes.Buffer
	w := &tagger{to: &out, tag: "in\t"}
	for _, piece := range []string{"a\nb", "c\n", "", "\n", "d"} {
		if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
	}
	if want := "in\ta\nin\tbc\nin\t\nin\td"; out.String() != want {
		t.Fatalf("%q, want %q", out.String(), want)
	}
}

// Output from a watch and from the outcome add up to each byte once.
func TestOutputOnce(t *testing.T) {
	const out, errs = weftv1.OutputStream_OUTPUT_STREAM_STDOUT, weftv1.OutputStream_OUTPUT_STREAM_STDERR
	var stdout, stderr bytes.Buffer
	restarts := 0
	o := newOutput(&stdout, &stderr)
	o.restarted = func() { restarts++ }
	chunk := func(token uint64, s weftv1.OutputStream, offset int64, data string) {
		if err := o.chunk(&weftv1.OutputChunk{Token: token, Stream: s, Offset: offset, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	chunk(1, out, 0, "first ")
	chunk(2, out, 0, "sec")
	chunk(2, out, 1, "econd")
	chunk(2, errs, 0, "E")
	result := &weftv1.CommandResult{
		Stdout: &weftv1.CapturedOutput{Value: &weftv1.CapturedOutput_Text{Text: "second half"}, BytesTotal: 11},
		Stderr: &weftv1.CapturedOutput{Value: &weftv1.CapturedOutput_Data{Data: []byte("E")}, BytesTotal: 1},
	}
	if o.complete(2, result) {
		t.Fatal("complete before it is")
	}
	if err := o.captured(2, result); err != nil || !o.complete(2, result) {
		t.Fatal(err)
	}
	if stdout.String() != "first second half" || stderr.String() != "E" || restarts != 1 {
		t.Fatalf("%q, %q, %d restarts", stdout.String(), stderr.String(), restarts)
	}
}

func TestQuoteArgs(t *testing.T) {
	if got, want := quoteArgs([]string{"sh", "-c", "echo 'x' $y", ""}), `sh -c 'echo '\''x'\'' $y' ''`; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

func TestSubstituteStandardInput(t *testing.T) {
	if got := substitute([]string{"sha256sum", "-"}, "in", false); !slices.Equal(got, []string{"sha256sum", "-"}) {
		t.Errorf("an input that goes as standard input became an argument: %q", got)
	}
	if got := substitute([]string{"tag", "{}"}, "in", false); !slices.Equal(got, []string{"tag", "in"}) {
		t.Errorf("%q", got)
	}
}

func TestQuoteArg(t *testing.T) {
	for _, text := range []string{"", "a", "a b", "a'b", "; echo INJECTED", "$(x)`y`\\", "new\nline", "''"} {
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+quoteArg(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q became %q, %v", text, out, err)
		}
	}
}
