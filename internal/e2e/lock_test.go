//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weftq/weft/pkg/client"
)

// file is a file in the world's directory, where its commands run.
func (w *world) file(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil && !os.IsNotExist(err) {
		w.Fatal(err)
	}
	return string(text)
}

// script is a line of the shell in which "weft" is the program.
func (w *world) script(b *brokerProcess, line string) *program {
	p := w.weft(b.addr, "x")
	p.cmd.Path, p.cmd.Args = "/bin/sh", []string{"sh", "-c", "weft() { " + w.bin + ` "$@"; }; ` + line}
	p.cmd.Env = append(p.cmd.Env, "PATH="+filepath.Dir(w.bin)+":"+os.Getenv("PATH"), client.EnvHolder+"=")
	return p
}

// ends waits for the ends of programs.
func (w *world) ends(code int, programs ...*program) {
	w.Helper()
	for _, p := range programs {
		if got := p.end(); got != code {
			w.Errorf("%v: exit code %d, want %d: %s%s", p.cmd.Args, got, code, p.stdout.String(), p.stderr.String())
		}
	}
}

// Processes that take turns by a lock lose no step of what they share.
func TestLockProcesses(t *testing.T) {
	const each = 5
	w := newWorld(t)
	b := w.broker()
	step := "weft lock counter -- sh -c 'n=$(cat n); echo $((n + 1)) >n' || exit; "
	var all []*program
	if code := w.script(b, "echo 0 >n").run(); code != 0 {
		t.Fatal(code)
	}
	for range 4 {
		all = append(all, w.script(b, strings.Repeat(step, each)).start())
	}
	w.ends(0, all...)
	if got := w.file("n"); got != fmt.Sprintln(4*each) {
		t.Errorf("it is %q, want %d", got, 4*each)
	}
}

// A lock outlives its broker, and the death of its holder frees it: at once if it ends in order, with its session else. The
// command dies with the program.
func TestLockHolderKilled(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	hold := func() (*program, int) {
		t.Helper()
		p := w.weft(b.addr, "lock", "a", "--ttl", "2s", "--", "sh", "-c", "echo $$; exec sleep 1000").watch().start()
		line, err := bufio.NewReader(p.live).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		return p, pid
	}
	first, command := hold()
	if err := b.restart(); err != nil {
		t.Fatal(err)
	}
	w.ends(124, w.weft(b.addr, "lock", "a", "--try", "--", "true").start())
	first.signal(syscall.SIGTERM) // it is passed on
	w.ends(128+int(syscall.SIGTERM), first)
	w.ends(0, w.weft(b.addr, "lock", "a", "--try", "--", "true").start())

	second, command := hold()
	second.signal(syscall.SIGKILL)
	w.ends(-1, second)
	w.until("the command is gone", func() bool { _, lives := readStat(command); return !lives })
	w.ends(0, w.weft(b.addr, "lock", "a", "--wait", "50s", "--", "true").start())
}

// A program that stands still for longer than its lease has lost the lock, and stops the command's whole group before it says so.
func TestLockLost(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	const deaf = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
	p := w.weft(b.addr, "lock", "a", "--ttl", "1s", "--grace", "200ms", "--", "sh", "-c", "("+deaf+") & echo $$; wait; exec sleep 1000").watch().start()
	lines := bufio.NewScanner(p.live)
	group := 0
	for ready := 0; ready < 2 && lines.Scan(); ready++ {
		if n, err := strconv.Atoi(lines.Text()); err == nil {
			group = n
		}
	}
	if !groupLives(group) {
		t.Fatalf("there is no group %d", group)
	}
	p.signal(syscall.SIGSTOP)
	w.ends(0, w.weft(b.addr, "lock", "a", "--", "true").start()) // with the end of the lease
	if !groupLives(group) {
		t.Error("the group is gone: it does not stand for a command that goes on")
	}
	p.signal(syscall.SIGCONT)
	w.ends(75, p)
	if groupLives(group) {
		t.Errorf("the group %d lives", group)
	}
	if said := p.stderr.String(); !strings.Contains(said, "lock a is lost, and the command was stopped: ") {
		t.Errorf("it says %q", said)
	}
}

// Two that lock in different orders: one of them is told.
func TestLockRing(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	both := func(one, other string) *program {
		return w.script(b, "weft lock "+one+" -- sh -c 'weft barrier wait both --parties 2 && weft lock "+other+" -- echo got it'").start()
	}
	programs := []*program{both("a", "b"), both("b", "a")}
	codes := []int{programs[0].end(), programs[1].end()}
	said := programs[0].stderr.String() + programs[1].stderr.String()
	if slices.Sort(codes); !slices.Equal(codes, []int{0, 125}) || strings.Count(said, "DEADLOCK") != 1 ||
		!strings.Contains(said, `"a"`) || !strings.Contains(said, `"b"`) {
		t.Errorf("exit codes %v: %s", codes, said)
	}
}

// Producers and consumers by a condition: each item is taken once.
func TestCondProcesses(t *testing.T) {
	const each, pairs = 3, 2
	w := newWorld(t)
	b := w.broker()
	take := "weft lock box -- sh -c 'weft cond wait filled --lock box --until \"test -s items\" && head -n 1 items >>taken && sed -i 1d items' || exit; "
	var all []*program
	for range pairs {
		all = append(all, w.script(b, strings.Repeat(take, each)).start())
	}
	var want []string
	for i := range pairs {
		line := ""
		for k := range each {
			item := fmt.Sprintf("item-%d-%d", i, k)
			want = append(want, item)
			line += "weft lock box -- sh -c 'echo " + item + " >>items; weft cond notify filled --lock box' || exit; "
		}
		all = append(all, w.script(b, line).start())
	}
	w.ends(0, all...)
	got := strings.Fields(w.file("taken"))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("taken: %v, want %v", got, want)
	}
}

// No more than there are permits run at a time.
func TestSemProcesses(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	if err := os.Mkdir(filepath.Join(w.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	var all []*program
	for range 6 {
		all = append(all, w.weft(b.addr, "sem", "s", "--permits", "2", "--", "sh", "-c", "touch run/$$; ls run | wc -l >>counts; rm run/$$").start())
	}
	w.ends(0, all...)
	counts := strings.Fields(w.file("counts"))
	if len(counts) != 6 || slices.ContainsFunc(counts, func(n string) bool { return n != "1" && n != "2" }) {
		t.Errorf("so many ran at a time: %v", counts)
	}
}

// Three meet, one acts; and one that dies breaks the barrier for the others.
func TestBarrierProcesses(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	var all []*program
	for range 3 {
		all = append(all, w.weft(b.addr, "barrier", "wait", "meet", "--parties", "3", "--action", "echo acted >>acted").start())
	}
	w.ends(0, all...)
	var places []string
	for _, p := range all {
		places = append(places, strings.TrimSpace(p.stdout.String()))
	}
	if slices.Sort(places); !slices.Equal(places, []string{"0", "1", "2"}) || w.file("acted") != "acted\n" {
		t.Errorf("places %v; %q", places, w.file("acted"))
	}

	waits := w.weft(b.addr, "barrier", "wait", "meet", "--parties", "3").start()
	leaves := w.weft(b.addr, "barrier", "wait", "meet", "--parties", "3").start()
	w.until("both wait", func() bool {
		list := w.weft(b.addr, "barriers")
		return list.run() == 0 && strings.HasSuffix(strings.TrimSpace(list.stdout.String()), " 2")
	})
	leaves.signal(syscall.SIGINT)
	w.ends(130, leaves)
	w.ends(1, waits)
}

// Adding loses nothing, and of those that compare and set one is the first.
func TestValueProcesses(t *testing.T) {
	const each = 5
	w := newWorld(t)
	b := w.broker()
	var all, firsts []*program
	for i := range 4 {
		all = append(all, w.script(b, strings.Repeat("weft value add n 2 || exit; ", each)).start())
		firsts = append(firsts, w.weft(b.addr, "value", "cas", "first", "0", fmt.Sprint("process", i)).start())
	}
	w.ends(0, all...)
	won := 0
	for _, p := range firsts {
		switch code := p.end(); code {
		case 0:
			won++
		case 1:
		default:
			t.Errorf("exit code %d: %s", code, p.stderr.String())
		}
	}
	sum := w.weft(b.addr, "value", "get", "n")
	if code := sum.run(); code != 0 || sum.stdout.String() != fmt.Sprintln(4*each*2) || won != 1 {
		t.Errorf("the sum is %q, %d have won", sum.stdout.String(), won)
	}
}
