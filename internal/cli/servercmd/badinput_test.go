package servercmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/task"
)

// An input that cannot be sent fails alone, by name.
func TestMapBadInputs(t *testing.T) {
	w := start(t)
	w.want(run{1, "hi a\nhi b\n", `weft: task 1 (\xff): argument 2 (\xff) is not UTF-8, and a task carries nothing else` +
		"\nweft: 1 of 3 failed\n"}, "map", "--", "echo", "hi", ":::", "a", "\xff", "b")

	dir := t.TempDir()
	for name, size := range map[string]int{"small": 4, "exact": task.PayloadBytesMax, "large": task.PayloadBytesMax + 1} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const file = "{}"
	t.Chdir(dir)
	const tooLarge = "larger than 512 KiB, which is what a task can carry: put it where the worker can read it\n"
	w.want(run{3, "xxxx", "weft: task 0 (missing): open missing: no such file or directory\n" +
		"weft: task 1 (large): read large: standard input is " + tooLarge +
		"weft: task 2 (exact): the command with its standard input is " + tooLarge + "weft: 3 of 4 failed\n"},
		"map", "--stdin-file", file, "--", "cat", ":::", "missing", "large", "exact", "small")

	long := strings.Repeat("x", 300)
	w.want(run{1, "", "weft: task 0 (" + long[:80] + "…): open " + long[:80] + "…: file name too long\nweft: 1 of 1 failed\n"},
		"map", "--stdin-file", "{}", "--", "cat", ":::", long)

	// The first failure is the last one with --fail-fast, also when nothing was sent before.
	w.want(run{1, "", "weft: task 0 (missing): open missing: no such file or directory\n" +
		"weft: cancelled the rest (--fail-fast)\nweft: 1 of 1 failed\n"},
		"map", "--fail-fast", "--stdin-file", file, "--", "cat", ":::", "missing", "missing", "small")

	// In a map of a name the places of the others depend on it.
	named := []string{"map", "--name", "n", "--stdin-file", file, "--", "cat", ":::", "small", "missing", "small"}
	w.want(run{125, "xxxx", "weft: task 1 (missing): open missing: no such file or directory (mend it and run the same again)\n"}, named...)
	if err := os.WriteFile(filepath.Join(dir, "missing"), []byte("yyyy"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.want(run{0, "xxxxyyyyxxxx", ""}, named...)
}

// What every input would meet is said once.
func TestMapRefused(t *testing.T) {
	w := start(t)
	w.want(run{125, "", "weft: QUEUE_NOT_FOUND: there is no queue nowhere in namespace default (weft queue create nowhere)\n"},
		"map", "-q", "nowhere", "--", "echo", ":::", "a", "b", "c")
}

// The command line is checked before anybody is asked.
func TestUsage(t *testing.T) {
	w := &weftProgram{t: t, broker: "127.0.0.1:1"}
	const notText = `(\xff) is not UTF-8, and a task carries nothing else` + "\n"
	for _, test := range []struct {
		says string
		args []string
	}{
		{"weft: argument 1 " + notText, []string{"run", "--", "echo", "\xff"}},
		{"weft: argument 1 " + notText, []string{"submit", "--", "echo", "\xff"}},
		{"weft: argument 1 " + notText, []string{"map", "--", "echo", "\xff", ":::", "a", "b"}},
		{"weft: --dir " + notText, []string{"run", "--dir", "\xff", "--", "echo"}},
		{"weft: --payload " + notText, []string{"submit", "--kind", "k", "--payload", "\xff"}},
		{`weft: --env (A=\xff) is not UTF-8, and a task carries nothing else` + "\n", []string{"run", "-e", "A=\xff", "--", "echo"}},
		{"weft: map: -j 0: 1 to 100000 are possible\n", []string{"map", "-j", "0", "--", "echo", ":::", "a"}},
		{"weft: map: -j -1: 1 to 100000 are possible\n", []string{"map", "-j", "-1", "--", "echo", ":::", "a"}},
		{"weft: --slots 0: 1 to 100000 are possible\n", []string{"worker", "--allow", "true", "--slots", "0"}},
		{"weft: --slots -1: 1 to 100000 are possible\n", []string{"worker", "--allow", "true", "--slots", "-1"}},
		{"weft: --retries -1: 0 to 999 are possible\n", []string{"run", "--retries", "-1", "--", "true"}},
		{"weft: --deadline 1h: that is not after --at, and the task could never run\n", []string{"run", "--at", "2h", "--deadline", "1h", "--", "true"}},
		{"weft: --deadline 1h: that is not after --delay, and the task could never run\n", []string{"submit", "--delay", "2h", "--deadline", "1h", "--", "true"}},
		{"weft: --backoff needs --retries\n", []string{"run", "--backoff", "2s", "--", "true"}},
		{"weft: --backoff 0s: more than 0s and at most 24h0m0s is possible\n", []string{"run", "--retries", "1", "--backoff", "0s", "--", "true"}},
		{"weft: --backoff-max 169h0m0s: more than 0s and at most 168h0m0s is possible\n", []string{"map", "--retries", "1", "--backoff-max", "169h", "--", "true"}},
		{"weft: --multiplier 0.5: 1 to 100 are possible\n", []string{"submit", "--retries", "1", "--multiplier", "0.5", "--", "true"}},
		{"weft: --jitter 2: 0 to 1 are possible\n", []string{"queue", "put", "q", "x", "--retries", "1", "--jitter", "2"}},
		{"weft: --jitter needs --retries\n", []string{"queue", "create", "q", "--jitter", "1"}},
		{"weft: --timeout 999999h0m0s: 0s to 720h0m0s are possible\n", []string{"map", "--timeout", "999999h", "--", "true"}},
		{"weft: --grace 2h0m0s: 0s to 1h0m0s are possible\n", []string{"run", "--grace", "2h", "--", "true"}},
		{"weft: --priority high: not a whole number from -32768 to 32767\n", []string{"run", "--priority", "high", "--", "true"}},
		{"weft: --priority 40000: -32768 to 32767 are possible\n", []string{"run", "--priority", "40000", "--", "true"}},
		{"weft: --jitter some: not a number from 0 to 1\n", []string{"submit", "--jitter", "some", "--", "true"}},
		{"weft: --jobs x: not a whole number from 1 to 100000\n", []string{"map", "-j", "x", "--", "true"}},
		{"weft: --max-size -: not a whole number\n", []string{"queue", "create", "q", "--max-size", "-"}},
		{"weft: --timeout 5: not a duration such as 500ms, 90s or 2h30m\n", []string{"run", "--timeout", "5", "--", "true"}},
		{"weft: --exclusive=maybe: neither true nor false\n", []string{"run", "--exclusive=maybe", "--", "true"}},
		{"weft: --output yaml: none of table, json, name\n", []string{"tasks", "-o", "yaml"}},
		{"weft: --timeout -1s: 0s or more is possible\n", []string{"wait", "t1", "--timeout", "-1s"}},
		{"weft: --grace -1s: 0s to 1h0m0s are possible\n", []string{"cancel", "t1", "--grace", "-1s"}},
		{"weft: --retention 2161h0m0s: 0s to 2160h0m0s are possible\n", []string{"submit", "--retention", "2161h", "--", "true"}},
		{"weft: --catch-up-window -1s: more than 0s and at most 8784h0m0s is possible\n", []string{"schedule", "create", "s", "--cron", "@daily", "--catch-up", "all", "--catch-up-window", "-1s", "--", "true"}},
		{"weft: --retries 1000: 0 to 999 are possible\n", []string{"run", "--retries", "1000", "--", "true"}},
	} {
		w.want(run{2, "", test.says}, test.args...)
	}
}
