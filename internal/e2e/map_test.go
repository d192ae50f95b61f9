//go:build linux

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeFiles makes a directory of small files.
func makeFiles(t testing.TB, n int) (dir string, names []string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		name := fmt.Sprintf("file %03d", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, i)), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return dir, names
}

// The same hashes in the same order as here, from 1, 2 and 4 workers.
func TestMapEqualsLocal(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	c := w.client(b.addr)
	dir, names := makeFiles(t, 50)
	want, _, _ := here(t, strings.Join(names, "\n"), "sh", "-c",
		`cd "$1" && while IFS= read -r f || [ -n "$f" ]; do sha256sum "$f"; done`, "sh", dir)
	workers := 0
	for _, n := range []int{1, 2, 4} {
		for ; workers < n; workers++ {
			w.worker(b, fmt.Sprint("worker", workers), "--allow", "sha256sum")
		}
		w.connected(c, n)
		p := w.weft(b.addr, "map", "--dir", dir, "--", "sha256sum", "{}").input(strings.Join(names, "\n"))
		if code := p.run(); code != 0 || p.stdout.String() != want {
			t.Errorf("%d workers: exit code %d\n%s\ngot\n%s\nwant\n%s", n, code, p.stderr.String(), p.stdout.String(), want)
		}
	}
}

// Outputs that are too long for an outcome come complete, task by task.
func TestMapLongOutput(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh")
	w.worker(b, "south", "--allow", "sh")
	const script = `yes "line of $1" | head -c 5242880`
	p := w.weft(b.addr, "map", "--", "sh", "-c", script, "sh", "{}", ":::", "1", "2", "3", "4")
	code := p.run()
	want, _, _ := here(t, "", "sh", "-c", `for i in 1 2 3 4; do yes "line of $i" | head -c 5242880; done`)
	if code != 0 || sha256.Sum256(p.stdout.Bytes()) != sha256.Sum256([]byte(want)) {
		t.Errorf("exit code %d, %d bytes that are not the %d of here: %s", code, p.stdout.Len(), len(want), p.stderr.String())
	}
}

func TestMapFailures(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	w.worker(b, "north", "--allow", "sh", "--slots", "2")
	run := func(want int, args ...string) *program {
		t.Helper()
		p := w.weft(b.addr, append([]string{"map"}, args...)...)
		if code := p.run(); code != want {
			t.Errorf("map %q: exit code %d, want %d: %s", args, code, want, p.stderr.String())
		}
		return p
	}
	p := run(3, "--", "sh", "-c", "echo $1; [ $1 -gt 3 ]", "sh", "{}", ":::", "1", "2", "3", "4", "5")
	if p.stdout.String() != "1\n2\n3\n4\n5\n" {
		t.Errorf("failed tasks keep their output: %q", p.stdout.String())
	}
	run(101, append([]string{"--", "sh", "-c", "exit 1", "sh", "{}", ":::"}, taskNames(150)...)...)

	// It succeeds on the third try: a file counts them.
	tries := filepath.Join(w.dir, "tries")
	p = run(0, "--retries", "2", "--", "sh", "-c", `echo x >>"$1"; [ $(wc -l <"$1") -eq 3 ] && echo done`, "sh", "{}", ":::", tries)
	if p.stdout.String() != "done\n" {
		t.Errorf("the output of the last attempt is %q", p.stdout.String())
	}

	// The first task fails while the second one would last for ever, and the others never begin.
	ran := filepath.Join(w.dir, "ran")
	run(1, "--fail-fast", "--unordered", "-j", "2", "--", "sh", "-c",
		`echo $1 >>`+ran+`; [ $1 = 1 ] && exit 1; exec sleep 1000`, "sh", "{}", ":::", "1", "2", "3", "4")
	text, err := os.ReadFile(ran)
	if err != nil || strings.Count(string(text), "\n") > 3 {
		t.Errorf("with --fail-fast ran %q, %v", text, err)
	}
}
