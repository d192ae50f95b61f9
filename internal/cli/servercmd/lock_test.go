package servercmd

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/client"
)

// noHolder makes the test nobody's command.
func noHolder(t *testing.T) {
	t.Setenv(client.EnvHolder, "")
	t.Setenv(client.EnvFence, "")
}

func TestLockCommand(t *testing.T) {
	noHolder(t)
	w := start(t)
	w.want(run{7, "in\n", "err\n"}, "lock", "a", "--", "sh", "-c", "echo in; echo err >&2; exit 7")
	w.stdin = "input"
	w.want(run{0, "input", ""}, "lock", "a", "--shared", "--", "cat")
	w.want(run{128 + 9, "", ""}, "lock", "a", "--", "sh", "-c", "kill -9 $$")
	w.want(run{127, "", "weft: there is no program weft-no-such-program\n"}, "lock", "a", "--", "weft-no-such-program")
	w.has(126, []string{"weft: /etc/passwd cannot be run: "}, "lock", "a", "--", "/etc/passwd")
	weft := program(t)
	w.want(run{124, "", "weft: lock a is not free\n"}, "lock", "a", "--", "sh", "-c", "WEFT_HOLDER= "+weft+" lock a --try -- true")
	w.want(run{124, "", "weft: lock a is not free after 20ms\n"}, "lock", "a", "--", "sh", "-c", "WEFT_HOLDER= "+weft+" lock a --wait 20ms -- true")
	w.want(run{0, "", ""}, "lock", "a", "--shared", "--", "sh", "-c", "WEFT_HOLDER= "+weft+" lock a --shared --try -- true")
	w.has(2, []string{"$WEFT_HOLDER is nobody, not SESSION_ID:NUMBER"}, "lock", "a", "--", "sh", "-c", "WEFT_HOLDER=nobody "+weft+" lock a -- true")
	w.has(75, []string{"SESSION_NOT_FOUND"}, "lock", "a", "--", "sh", "-c", "WEFT_HOLDER=0123:1 "+weft+" lock a -- true")
	w.want(run{0, "LOCK  MODE  HOLDERS  SINCE  TOKEN  WAIT  PUBLISHED\n", ""}, "locks")
}

// What is within a lock acts as its holder.
func TestLockNested(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	r := w.run("lock", "a", "--", "sh", "-c", "echo $WEFT_FENCE; "+weft+" lock b -- sh -c 'echo $WEFT_FENCE'; "+
		weft+" lock a --reentrant -- sh -c 'echo $WEFT_FENCE'; "+weft+" locks -o name")
	var a, b, again uint64
	var name string
	if _, err := fmt.Sscan(r.stdout, &a, &b, &again, &name); err != nil || r.code != 0 || b <= a || again != a || name != "a" {
		t.Errorf("%v: %+v", err, r)
	}
	if lines := strings.Count(r.stdout, "\n"); lines != 4 { // b is released before the outer one ends
		t.Errorf("%d lines: %+v", lines, r)
	}
	w.has(125, []string{"DEADLOCK: ", `waits for lock "a"`}, "lock", "a", "--", "sh", "-c", weft+" lock a -- true")

	// A wait at a condition changes the token of the lock of whoever is around it: what that releases is the lock all the same.
	r = w.run("lock", "a", "--", "sh", "-c", weft+" lock b -- sh -c '"+weft+" cond wait b --timeout 1ms --token; exit 9'; echo $?; "+weft+" locks -o name")
	if lines := strings.Fields(r.stdout); len(lines) != 3 || lines[1] != "9" || lines[2] != "a" ||
		r.stderr != "weft: nobody notified condition b within 1ms\n" {
		t.Errorf("%+v", r)
	}
}

// A lock that is waited for is waited for until an interrupt.
func TestLockInterrupted(t *testing.T) {
	noHolder(t)
	w := start(t)
	waits := &weftProgram{t: t, broker: w.broker, signals: make(chan os.Signal, 1)}
	w.signals = make(chan os.Signal, 1)
	w.stdout = &buffer{written: make(chan struct{}, 1)}
	out := w.stdout
	holds := make(chan run)
	go func() {
		holds <- w.run("lock", "a", "--", "sh", "-c", "trap 'echo stopped; exit 3' INT; echo ready; while :; do sleep 0.01; done")
	}()
	for !strings.Contains(out.String(), "ready") {
		<-out.written
	}
	waited := make(chan run)
	go func() { waited <- waits.run("lock", "a", "--", "echo", "never") }()
	look := &weftProgram{t: t, broker: w.broker}
	for !strings.Contains(look.run("locks", "a").stdout, "waiter") {
		runtime.Gosched()
	}
	look.has(0, []string{`lock "a"`, "none"}, "locks", "--graph")
	waits.signals <- os.Interrupt
	if r := <-waited; r.code != 130 || r.stdout != "" || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	w.signals <- os.Interrupt // goes to the command
	if r := <-holds; r.code != 3 || r.stdout != "ready\nstopped\n" {
		t.Errorf("%+v", r)
	}
}

// Two processes in turn, by a condition.
func TestCondCommands(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	box := t.TempDir() + "/box"
	w.want(run{0, "tea\n", ""}, "lock", "stock", "--", "sh", "-c", "WEFT_HOLDER= "+weft+" lock stock -- sh -c 'echo tea >"+box+"; "+
		weft+" cond notify filled --lock stock' & "+weft+" cond wait filled --lock stock --until 'test -s "+box+"' --timeout 1m && cat "+box+"; wait")
	w.want(run{124, "", "weft: nobody notified condition c within 5ms\n"}, "cond", "wait", "c", "--timeout", "5ms")
	w.want(run{124, "", "weft: false does not hold after 5ms\n"}, "cond", "wait", "c", "--until", "false", "--timeout", "5ms")
	w.want(run{0, "", ""}, "cond", "wait", "c", "--until", "test -n \"$WEFT_FENCE\"")
	w.has(127, []string{"weft: --until weft-no-such-program: exit code 127\n"}, "cond", "wait", "c", "--until", "weft-no-such-program")
	w.want(run{0, "", ""}, "cond", "notify", "c", "--all")
	w.want(run{0, "", ""}, "cond", "notify", "c", "-c", "3")
}

func TestEventCommands(t *testing.T) {
	w := start(t)
	w.want(run{0, "clear\n", ""}, "event", "get", "e")
	w.want(run{124, "", "weft: event e is not set after 5ms\n"}, "event", "wait", "e", "--timeout", "5ms")
	w.want(run{0, "e is set\n", ""}, "event", "set", "e")
	w.want(run{0, "set\n", ""}, "event", "get", "e")
	w.want(run{0, "e\n", ""}, "event", "get", "e", "-o", "name")
	w.want(run{0, "", ""}, "event", "wait", "e")
	w.has(0, []string{"EVENT  STATE  GENERATION", "e      set "}, "events")
	w.want(run{0, "e is clear\n", ""}, "event", "clear", "e")
	w.has(0, []string{`"name":"e"`}, "events", "-o", "json")
	w.want(run{0, "e is deleted\n", ""}, "event", "delete", "e")
	w.want(run{0, "", ""}, "events", "-o", "name")
}

func TestSemCommands(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	w.want(run{5, "in\n", ""}, "sem", "s", "--permits", "2", "--count", "2", "--", "sh", "-c", "echo in; exit 5")
	w.want(run{124, "", "weft: semaphore s is not free\n"},
		"sem", "s", "-p", "2", "-c", "2", "--", "sh", "-c", "WEFT_HOLDER= "+weft+" sem s -p 2 --try -- true")
	w.want(run{0, "", ""}, "sem", "s", "-p", "2", "--", "sh", "-c", weft+" sem s -p 2 --try -- true")
	w.has(125, []string{"SEMAPHORE_MISMATCH"}, "sem", "s", "-p", "2", "--", "sh", "-c", weft+" sem s -p 3 -- true")
	w.want(run{0, "SEMAPHORE  SORT  PERMITS  LEFT  HOLDERS  WAIT\n", ""}, "sems") // the inner permits too

	w.want(run{0, "", ""}, "sem", "acquire", "f", "-p", "1", "--free")
	w.want(run{124, "", "weft: semaphore f is not free after 5ms\n"}, "sem", "acquire", "f", "-p", "1", "--free", "--wait", "5ms")
	w.has(0, []string{"f          free  1        0     -        0"}, "sems")
	w.want(run{0, "", ""}, "sem", "release", "f", "-p", "1", "--free")
	w.want(run{4, "f          bounded  1        0     -        0\n", ""}, "sem", "f", "-p", "1", "--free", "--bounded", "--", "sh", "-c", weft+" sems | tail -n 1; exit 4")
	w.has(1, []string{"SEMAPHORE_FULL"}, "sem", "release", "f", "-p", "1", "--free", "--bounded")
}

func TestBarrierCommands(t *testing.T) {
	noHolder(t)
	w := start(t)
	w.want(run{0, "act\n0\n", ""}, "barrier", "wait", "b", "--parties", "1", "--action", "echo act")
	w.has(124, []string{"BARRIER_BROKEN"}, "barrier", "wait", "b", "-p", "2", "--timeout", "5ms")
	w.has(1, []string{"BARRIER_BROKEN"}, "barrier", "wait", "b", "-p", "2")
	w.has(0, []string{"b        broken"}, "barriers")
	w.want(run{0, "b is reset\n", ""}, "barrier", "reset", "b")
	w.has(1, []string{"--action 'exit 3': exit code 3"}, "barrier", "wait", "b", "-p", "1", "--action", "exit 3")
	w.want(run{0, "b is reset\n", ""}, "barrier", "reset", "b")
	w.want(run{0, "b is broken\n", ""}, "barrier", "abort", "b")
	w.want(run{0, "b\n", ""}, "barriers", "-o", "name")
}

func TestElectCommands(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	w.want(run{1, "", "weft: nobody leads e\n"}, "leader", "e")
	w.want(run{0, "10.0.0.7\n", ""}, "elect", "e", "--publish", "10.0.0.7", "--", "sh", "-c", weft+" leader e -o name")
	r := w.run("elect", "e", "--publish", "x", "--", "sh", "-c", weft+" leader e -o json; "+weft+" locks")
	first, _, _ := strings.Cut(r.stdout, "\n")
	var m struct{ Name, Published, Token string }
	if err := json.Unmarshal([]byte(first), &m); err != nil || m.Published != "x" || m.Token == "" || !strings.HasSuffix(m.Name, "/sh") {
		t.Errorf("%v: %+v", err, r)
	}
	if !strings.HasSuffix(r.stdout, " x\n") {
		t.Errorf("%+v", r)
	}
}

// Names are proposed where one is wanted.
func TestLockCompletion(t *testing.T) {
	noHolder(t)
	w := start(t)
	weft := program(t)
	w.run("event", "set", "ready")
	w.run("value", "set", "count", "1")
	w.run("barrier", "abort", "meet")
	w.run("sem", "acquire", "slots", "-p", "1", "--free")
	for want, line := range map[string]string{
		"ready": "event wait", "count": "value get", "meet": "barrier reset", "slots": "sem release", "int64\ndouble\nbool\nstring\nbytes": "value set --type",
	} {
		if got := strings.Join(w.complete(append(strings.Fields(line), "")...), "\n"); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	r := w.run("lock", "stock", "--", "sh", "-c", weft+" __complete lock ''; "+weft+" __complete value set x 1 --guard s")
	if strings.Count(r.stdout, "stock\t") != 2 {
		t.Errorf("%+v", r)
	}
}

// The command line is checked before anybody is asked.
func TestLockUsage(t *testing.T) {
	noHolder(t)
	w := &weftProgram{t: t, broker: "127.0.0.1:1"}
	const name = ": a name is 1 to 256 bytes of [A-Za-z0-9._/-]\n"
	for _, test := range []struct{ says, line string }{
		{"lock: which name? weft lock NAME -- COMMAND\n", "lock"},
		{"lock: which command? weft lock a -- COMMAND\n", "lock a"},
		{"lock: which command? weft lock a -- COMMAND\n", "lock a --"},
		{"lock: which command? It comes behind --: weft lock a -- make all\n", "lock a make all"},
		{"lock: which name? weft lock NAME -- COMMAND\n", "lock -- make"},
		{"lock: a b: one name before --\n", "lock a b -- make"},
		{"a:b" + name, "lock a:b -- make"},
		{"--try and --wait: one of them at most\n", "lock a --try --wait 1s -- make"},
		{"--wait -1s: 0s to 24h0m0s are possible\n", "lock a --wait -1s -- make"},
		{"--wait 25h0m0s: 0s to 24h0m0s are possible\n", "sem s -p 1 --wait 25h -- make"},
		{"--ttl 999ms: 1s to 1h0m0s are possible\n", "lock a --ttl 999ms -- make"},
		{"--grace -1s: 0s to 1h0m0s are possible\n", "elect a --grace -1s -- make"},
		{"--dot: the form of --graph\n", "locks --dot"},
		{"--graph: of all locks, without a name\n", "locks a --graph"},
		{"--dot and --output: one of them at most\n", "locks --graph --dot -o json"},
		{"--timeout -1s: 0s to 24h0m0s are possible\n", "cond wait c --timeout -1s"},
		{"--lock a:b" + name, "cond notify c --lock a:b"},
		{"--count 0: 1 to 1000000 are possible\n", "cond notify c -c 0"},
		{"--count x: not a whole number from 1 to 1000000\n", "cond notify c -c x"},
		{"--all and --count: one of them at most\n", "cond notify c -c 2 --all"},
		{"--timeout 25h0m0s: 0s to 24h0m0s are possible\n", "event wait e --timeout 25h"},
		{"--permits: how many are there?\n", "sem s -- make"},
		{"--permits -1: 0 to 1000000000 are possible\n", "sem s -p -1 -- make"},
		{"--count 0: 1 to 1000000000 are possible\n", "sem s -p 1 -c 0 -- make"},
		{"--count 2: more than --permits 1\n", "sem s -p 1 -c 2 -- make"},
		{"--bounded: of a --free semaphore; others never have more than --permits\n", "sem s -p 1 --bounded -- make"},
		{"sem release: of a --free semaphore; permits of others are held while a command runs: sem NAME --permits N -- COMMAND\n", "sem release s -p 1"},
		{"--parties: how many meet?\n", "barrier wait b"},
		{"--parties 0: 1 to 10000 are possible\n", "barrier wait b -p 0"},
		{"--parties 10001: 1 to 10000 are possible\n", "barrier wait b -p 10001"},
		{"VERSION x: not a whole number from 0 on\n", "value cas v x 1"},
		{"--guard a: by which token? It is in $WEFT_FENCE within weft lock; else --guard a:TOKEN\n", "value set v 1 --guard a"},
		{"--guard a: 0 is not a token, which is a number from 1 on\n", "value add v 1 --guard a:0"},
		{"--guard a: nothing is not a token, which is a number from 1 on\n", "value delete v --guard a:"},
		{"--type float: none of int64, double, bool, string, bytes\n", "value set v 1 --type float"},
		{"value wait: for what? --equals, --at-least, --at-most or --newer-than says it\n", "value wait v"},
		{"--equals and --at-least: one of them at most\n", "value wait v --equals 1 --at-least 1"},
		{"--shared and --conditions: one of them at most\n", "bench locks --shared --conditions"},
		{"--clients 0: 1 to 1000 are possible\n", "bench locks --clients 0"},
	} {
		w.want(run{2, "", "weft: " + test.says}, strings.Fields(test.line)...)
	}
}
