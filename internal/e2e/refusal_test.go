//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a broker cannot do it says at once, in words that help.
func TestBrokerRefusals(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	foreign, file := filepath.Join(w.dir, "foreign"), filepath.Join(w.dir, "file")
	for path, dir := range map[string]string{filepath.Join(foreign, "letter.txt"): foreign, file: w.dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("dear"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(w.dir, "fresh")
	for _, c := range []struct {
		name string
		code int
		says string
		args []string
	}{
		{"locked", 125, fmt.Sprint("process ", b.Pid()), []string{"--data", b.dir}},
		{"foreign", 125, "letter.txt", []string{"--data", foreign}},
		{"a file", 125, "not a directory", []string{"--data", file}},
		{"port in use", 125, "--listen ADDRESS", []string{"--data", fresh, "--listen", b.addr}},
		{"HTTP port in use", 125, "--http ADDRESS", []string{"--data", fresh, "--http", b.ready.HTTP}},
		{"unknown flag", 2, "no-such-flag", []string{"--no-such-flag"}},
		{"argument", 2, "argument", []string{"argument"}},
		{"durability", 2, "sometimes", []string{"--data", fresh, "--durability", "sometimes"}},
		{"two directories", 2, "temporary", []string{"--data", fresh, "--temporary"}},
	} {
		args := append([]string{"broker", "--listen", "127.0.0.1:0", "--http", "off"}, c.args...)
		p := w.weft("", args...)
		if code := p.run(); code != c.code || !strings.Contains(p.stderr.String(), c.says) {
			t.Errorf("%s: exit code %d, want %d; it said %q, want %q", c.name, code, c.code, p.stderr.String(), c.says)
		}
		if said := p.stderr.String(); strings.Count(said, "\n") > 2 {
			t.Errorf("%s: many words:\n%s", c.name, said)
		}
	}
	if _, err := os.Stat(fresh); !os.IsNotExist(err) {
		t.Errorf("a broker that was refused has left its directory: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(foreign, "letter.txt")); err != nil || string(text) != "dear" {
		t.Errorf("the foreign directory: %q, %v", text, err)
	}
	entries, err := os.ReadDir(foreign)
	if err != nil || len(entries) != 1 {
		t.Errorf("the foreign directory has %v, %v", entries, err)
	}
}

func TestWorkerRefusals(t *testing.T) {
	w := newWorld(t)
	b := w.broker()
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "which commands", nil},
		{2, "allow", []string{"--allow", "./sh"}},
		{2, "allow", []string{"--allow", "sh", "--allow-any"}},
		{2, "slots", []string{"--allow", "sh", "--slots", "-1"}},
		{2, "queues", []string{"--allow", "sh", "--queues", "no such name!"}},
	} {
		p := w.weft(b.addr, append([]string{"worker"}, c.args...)...)
		if code := p.run(); code != c.code || !strings.Contains(p.stderr.String(), c.says) {
			t.Errorf("worker %q: exit code %d, want %d; it said %q", c.args, code, c.code, p.stderr.String())
		}
	}
}
