package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// snapshot describes all that is in a directory: names, modes, times of change and contents of files.
func snapshot(t *testing.T, dir string) (all string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || name == dir && e.IsDir() {
			return nil // the path may be no directory at all
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		all += fmt.Sprintln(name, fi.Mode(), fi.ModTime())
		if fi.Mode().IsRegular() {
			text, err := os.ReadFile(name)
			all += fmt.Sprintf("\t%q\n", text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
