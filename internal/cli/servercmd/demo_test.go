package servercmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
)

// The demo does real work in processes of its own, and leaves nothing.
func TestDemo(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("file", i/2)), bytes.Repeat([]byte("weft"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", tmp)
	w := &weftProgram{t: t}
	r := w.run("demo", dir)
	if r.code != 0 || !strings.Contains(r.stdout, "20 tasks in") || !strings.Contains(r.stdout, "0 failed") ||
		!strings.Contains(r.stdout, "10 of 10 files have the same content") {
		t.Fatalf("%+v", r)
	}
	wantEmpty(t, tmp)
}

// Whatever ends the demo ends its children, who clean up.
func TestDemoInterrupted(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("weft"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		var said buffer
		p, err := procs.Start(procs.Command{Args: []string{"demo", dir}, Env: []string{"TMPDIR=" + tmp}, Stderr: &said})
		if err != nil {
			t.Fatal(err)
		}
		var none struct{}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_ = p.Ready(ctx, &none) // its first line: it starts its children now
		if err := p.Signal(signal); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Gone():
		case <-ctx.Done():
			t.Error("the signal does not end it")
		}
		cancel()
		if err := p.Stop(time.Minute); err == nil || !strings.Contains(err.Error(), "130") {
			t.Errorf("%v: it ended with %v: %s", signal, err, said.String())
		}
		wantEmpty(t, tmp)
	}
}

// A demo that is killed leaves nothing either: its children see its end.
func TestDemoKilled(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("weft"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := procs.Start(procs.Command{Args: []string{"demo", dir}, Env: []string{"TMPDIR=" + tmp}})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return entries(t, tmp) > 0 }) // the broker's data
	p.Kill()
	waitFor(t, func() bool { return entries(t, tmp) == 0 })
}

// entries counts what is in a directory.
func entries(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// waitFor waits for what other processes do, which nothing tells.
func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// wantEmpty wants nothing left behind.
func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}
