package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

func mustOpen(t *testing.T, dir string) *Dir {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestOpenCreatesAndReturns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	d := mustOpen(t, dir)
	if d.Path() != dir || len(d.ID()) != 32 {
		t.Fatalf("path %s, id %s", d.Path(), d.ID())
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", fi.Mode(), err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What the broker keeps there does not disturb, and a relative path is the same directory.
	writeFile(t, filepath.Join(dir, "journal"), "data")
	t.Chdir(filepath.Dir(dir))
	again := mustOpen(t, "b")
	if again.ID() != d.ID() || again.Path() != dir {
		t.Fatalf("came back as %s at %s", again.ID(), again.Path())
	}
	other := mustOpen(t, filepath.Join(t.TempDir(), "other"))
	if other.ID() == d.ID() {
		t.Fatal("two directories with one id")
	}
}

// What a crash can leave before the identity is there, at any moment, opens.
func TestOpenAfterCrash(t *testing.T) {
	for name, leave := range map[string]func(dir string){
		"empty directory":    func(string) {},
		"empty lock file":    func(dir string) { writeFile(t, filepath.Join(dir, "LOCK"), "") },
		"lock file":          func(dir string) { writeFile(t, filepath.Join(dir, "LOCK"), "      12345\n") },
		"temporary identity": func(dir string) { writeFile(t, filepath.Join(dir, "weft.json.123.tmp"), `{"form`) },
		"all of it": func(dir string) {
			writeFile(t, filepath.Join(dir, "LOCK"), "")
			writeFile(t, filepath.Join(dir, "weft.json.1.tmp"), "")
			writeFile(t, filepath.Join(dir, "weft.json.2.tmp"), "{}")
			if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			leave(dir)
			d := mustOpen(t, dir)
			for _, name := range names(t, dir) {
				if isTemporary(name) {
					t.Errorf("%s is still there", name)
				}
			}
			id := d.ID()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if again := mustOpen(t, dir); again.ID() != id {
				t.Fatal("another identity the second time")
			}
		})
	}
}

const goodID = "00112233445566778899aabbccddeeff"

// A directory that is refused is left as it was, and the error says what it is about.
func TestOpenRefuses(t *testing.T) {
	identity := func(text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, "weft.json"), text)
			writeFile(t, filepath.Join(dir, "journal"), "data")
		}
	}
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		want error
		says string
	}{
		{"a file of somebody", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "thesis.tex"), "x") }, &ForeignError{}, `"thesis.tex"`},
		{"a directory of somebody", func(t *testing.T, dir string) { mkdir(t, filepath.Join(dir, ".git")) }, &ForeignError{}, `".git"`},
		{"ours without identity", func(t *testing.T, dir string) { mkdir(t, filepath.Join(dir, "journal")) }, &ForeignError{}, "no weft.json"},
		{"empty identity", identity(""), &IdentityError{}, "backup"},
		{"no JSON", identity("hello"), &IdentityError{}, "backup"},
		{"cut JSON", identity(`{"format":1,"engine":"embed`), &IdentityError{}, "backup"},
		{"more than JSON", identity(`{"format":1,"engine":"embedded","id":"` + goodID + `"} x`), &IdentityError{}, "backup"},
		{"another type", identity(`{"format":1,"engine":7,"id":"` + goodID + `"}`), &IdentityError{}, "backup"},
		{"no format", identity(`{"engine":"embedded","id":"` + goodID + `"}`), &IdentityError{}, "format 0"},
		{"no engine", identity(`{"format":1,"id":"` + goodID + `"}`), &IdentityError{}, "no engine"},
		{"no id", identity(`{"format":1,"engine":"embedded"}`), &IdentityError{}, `id ""`},
		{"short id", identity(`{"format":1,"engine":"embedded","id":"0011"}`), &IdentityError{}, `"0011"`},
		{"huge", identity(strings.Repeat(" ", identityMax+1)), &IdentityError{}, "too many"},
		{"newer", identity(`{"format":2,"engine":["what","ever"]}`), &FormatError{}, "format 2"},
		{"external", identity(`{"format":1,"engine":"external","id":"` + goodID + `"}`), &EngineError{}, `"external"`},
		{"identity is a directory", func(t *testing.T, dir string) { mkdir(t, filepath.Join(dir, "weft.json")) }, &IdentityError{}, "regular"},
		{"lock is a symbolic link", func(t *testing.T, dir string) {
			if err := os.Symlink("/dev/null", filepath.Join(dir, "LOCK")); err != nil {
				t.Fatal(err)
			}
		}, nil, "LOCK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			mustRefuse(t, dir, test.want, test.says)
		})
	}
}

func mustRefuse(t *testing.T, dir string, want error, says string) {
	t.Helper()
	before := snapshot(t, dir)
	d, err := Open(dir)
	if err == nil {
		t.Fatalf("it opened: %v", d.Close())
	}
	if want != nil && fmt.Sprintf("%T", err) != fmt.Sprintf("%T", want) {
		t.Errorf("got a %T: %v; want a %T", err, err, want)
	}
	for _, part := range []string{dir, says} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %s", err, part)
		}
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("it was changed\nfrom:\n%s\nto:\n%s", before, after)
	}
}

func TestOpenRefusesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "x")
	mustRefuse(t, file, &NotDirError{}, "not a directory")
	mustRefuse(t, filepath.Join(file, "below"), &NotDirError{}, "not a directory")
}

func TestOpenRefusesLocked(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, dir)
	mustRefuse(t, dir, &LockedError{}, fmt.Sprintf("is in use by process %d", os.Getpid()))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

// A full disk is named as such, and nothing of the attempt remains.
func TestOpenOnFullDisk(t *testing.T) {
	for _, file := range []string{lockFile, identityFile} {
		for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			full := func(f *os.File, data []byte, off int64) error {
				if !strings.HasPrefix(filepath.Base(f.Name()), file) {
					return writeAt(f, data, off)
				}
				return errors.Join(writeAt(f, data[:5], off), &os.PathError{Op: "write", Path: f.Name(), Err: errno})
			}
			parent := t.TempDir()
			for _, dir := range []string{filepath.Join(parent, "x", "y"), parent} {
				before := snapshot(t, parent)
				var want *FullError
				if _, err := open(dir, full); !errors.As(err, &want) || want.Dir != dir || !errors.Is(err, errno) {
					t.Fatalf("%s: %v", file, err)
				}
				if after := snapshot(t, parent); after != before {
					t.Errorf("%s: left behind\nbefore:\n%s\nafter:\n%s", file, before, after)
				}
			}
			mustOpen(t, parent)
		}
	}
}

// Many at once: one gets the directory, new or not, and the others hear who it is.
func TestOpenAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	for range 20 {
		var won atomic.Int32
		var wg sync.WaitGroup
		release := make(chan struct{})
		var tried sync.WaitGroup
		for i := range 16 {
			tried.Add(1)
			wg.Go(func() {
				write := writeAt
				if i%2 == 0 { // half of them fail, and take away what they have made
					write = func(*os.File, []byte, int64) error { return syscall.ENOSPC }
				}
				d, err := open(dir, write)
				tried.Done()
				var locked *LockedError
				var full *FullError
				switch {
				case err == nil:
					won.Add(1)
					<-release
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				case !errors.As(err, &locked) && !errors.As(err, &full) && !errors.Is(err, os.ErrNotExist):
					t.Error(err)
				}
			})
		}
		tried.Wait()
		if n := won.Load(); n > 1 {
			t.Fatalf("%d have the directory", n)
		}
		close(release)
		wg.Wait()
		d := mustOpen(t, dir)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
