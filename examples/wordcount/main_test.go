package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/brokertest"
)

func TestRun(t *testing.T) {
	addr, stop := brokertest.MustStart()
	defer stop()
	dir := t.TempDir()
	var paths []string
	var want strings.Builder
	total := 0
	for i, words := range []int{3, 0, 700_000} { // the last one has checkpoints
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(strings.Repeat("word \n", words)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
		fmt.Fprintf(&want, "%s %d\n", path, words)
		total += words
	}
	fmt.Fprintln(&want, "total", total)
	for round := range 2 { // the second time nothing runs: the files need not be there
		var out strings.Builder
		if err := run(t.Context(), addr, &out, "count", paths); err != nil {
			t.Fatal(err)
		}
		if out.String() != want.String() {
			t.Errorf("round %d: %q, want %q", round, out.String(), want.String())
		}
		for _, path := range paths {
			_ = os.Remove(path)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), addr, &out, "again", paths[:1]); err != nil || !strings.Contains(out.String(), "no such file") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// Without a broker it says so, and waits for none.
func TestNoBroker(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:1", io.Discard, "count", nil); err == nil || !strings.Contains(err.Error(), "no broker at 127.0.0.1:1") {
		t.Error(err)
	}
}

// The same files as they were are the same map; anything else is another one.
func TestNameOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	missing := nameOf([]string{path})
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := nameOf([]string{path})
	if again := nameOf([]string{path}); again != one {
		t.Errorf("%s, then %s", one, again)
	}
	if err := os.WriteFile(path, []byte("one two"), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{missing, one, nameOf([]string{path}), nameOf([]string{path, path}), nameOf(nil)}
	if slices.Sort(names); len(slices.Compact(names)) != 5 {
		t.Errorf("%q", names)
	}
}
