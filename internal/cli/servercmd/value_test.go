package servercmd

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestValueCommands(t *testing.T) {
	noHolder(t)
	w := start(t)
	version := func(args ...string) (n uint64) {
		t.Helper()
		r := w.run(append([]string{"value"}, args...)...)
		if _, err := fmt.Sscan(r.stdout, &n); err != nil || r.code != 0 {
			t.Fatalf("%v: %v: %+v", args, err, r)
		}
		return n
	}
	w.want(run{1, "", "weft: value n is not there\n"}, "value", "get", "n")
	first := version("cas", "n", "0", "5")
	w.has(1, []string{"VALUE_CHANGED"}, "value", "cas", "n", "0", "6")
	w.want(run{0, "8\n", ""}, "value", "add", "n", "3")
	w.want(run{0, "6\n", ""}, "value", "add", "n", "--", "-2")
	if second := version("set", "n", "7"); second <= first {
		t.Errorf("version %d after %d", second, first)
	}
	w.want(run{2, "", "weft: DATA x: not a whole number of 64 bits, and the type is int64\n"}, "value", "set", "n", "x")
	w.has(125, []string{"VALUE_TYPE"}, "value", "set", "n", "x", "--type", "string")
	w.has(125, []string{"VALUE_RANGE"}, "value", "add", "n", "9223372036854775807")
	w.want(run{0, "7\n", ""}, "value", "wait", "n", "--at-least", "7")
	w.want(run{0, "7\n", ""}, "value", "wait", "n", "--at-most", "7")
	w.want(run{0, "7\n", ""}, "value", "wait", "n", "--equals", "7")
	w.want(run{0, "7\n", ""}, "value", "wait", "n", "--newer-than", "1")
	w.want(run{124, "", "weft: value n is not as wanted after 5ms\n"}, "value", "wait", "n", "--at-least", "8", "--timeout", "5ms")
	w.want(run{2, "", "weft: --at-least x: not a whole number of 64 bits, and the type is int64\n"}, "value", "wait", "n", "--at-least", "x")
	w.has(0, []string{`"int64_value":"7"`}, "value", "get", "n", "-o", "json")

	// What it looks like is what it becomes.
	for _, test := range [][3]string{
		{"d", "1.5", "double"}, {"e", "1e3", "double"}, {"b", "true", "bool"}, {"s", "0x10", "string"}, {"t", "nan", "string"}, {"y", "a\xff", "bytes"},
	} {
		version("set", test[0], test[1])
		w.has(0, []string{fmt.Sprintf("%-7s%-8s", test[0], test[2])}, "values")
	}
	w.want(run{0, "a\xff", ""}, "value", "get", "y")
	w.want(run{0, "2.75\n", ""}, "value", "add", "d", "1.25")
	w.want(run{0, "3.75\n", ""}, "value", "add", "d", "1") // the type is the value's
	w.want(run{2, "", "weft: DELTA 1: the value is of the type bool, and only int64 and double can be added to\n"}, "value", "add", "b", "1")
	w.stdin = "line\n"
	version("set", "in", "-", "--type", "string")
	w.want(run{0, "line\n\n", ""}, "value", "get", "in")
	w.stdin = strings.Repeat("x", 64<<10+1)
	w.has(2, []string{"standard input: more than 65536 bytes"}, "value", "set", "in", "-")

	w.has(1, []string{"VALUE_CHANGED"}, "value", "delete", "n", "--version", "1")
	w.want(run{0, "n is deleted\n", ""}, "value", "delete", "n")
	version("set", "n", "now a text")
}

// A change with a guard goes through while the lock is held by the token.
func TestValueGuard(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	w.want(run{0, "3\n", ""}, "lock", "a", "--", "sh", "-c", weft+" value add n 3 --guard a")
	r := w.run("lock", "a", "--", "sh", "-c", "echo $WEFT_FENCE; "+weft+" cond wait a --timeout 1ms 2>&-; "+weft+" value add n 3 --guard a")
	if r.code != 125 || !strings.Contains(r.stderr, "TOKEN_STALE") { // the wait has given the lock another token
		t.Errorf("%+v", r)
	}
	stale := strings.TrimSpace(r.stdout)
	w.has(125, []string{"TOKEN_STALE"}, "value", "set", "n", "1", "--guard", "a:"+stale)
	w.has(125, []string{"TOKEN_STALE"}, "value", "delete", "n", "--guard", "a:"+stale)
	w.want(run{0, "6\n", ""}, "lock", "a", "--", "sh", "-c", "WEFT_FENCE=$("+weft+" cond wait a --timeout 1ms --token 2>&-); export WEFT_FENCE; "+weft+" value add n 3 --guard a")
}

func TestValueWatch(t *testing.T) {
	w := start(t)
	w.signals = make(chan os.Signal, 1)
	w.stdout, w.stderr = &buffer{written: make(chan struct{}, 1)}, &buffer{written: make(chan struct{}, 1)}
	out, said := w.stdout, w.stderr
	watched := make(chan run)
	go func() { watched <- w.run("value", "watch", "n") }()
	for !strings.Contains(said.String(), "weft: value n is not there\n") {
		<-said.written
	}
	other := &weftProgram{t: t, broker: w.broker}
	for _, text := range []string{"1", "2"} {
		other.has(0, nil, "value", "set", "n", text)
		for !strings.HasSuffix(out.String(), text+"\n") {
			<-out.written
		}
	}
	w.signals <- os.Interrupt
	if r := <-watched; r.code != 130 || r.stdout != "1\n2\n" {
		t.Errorf("%+v", r)
	}
}
