package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// asNobody runs f with the file rights of a user who owns nothing. Root may write everywhere, so a test that
// runs as root gives up its rights, on one thread.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

func TestOpenWithoutRights(t *testing.T) {
	// The directories of a test are the test's own user's alone; nobody has to get there.
	parent, err := os.MkdirTemp("", "weft-datadir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(parent, 0o700); _ = os.RemoveAll(parent) })
	existing := filepath.Join(parent, "existing")
	d := mustOpen(t, existing)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(existing, "weft.json"), filepath.Join(existing, "LOCK")} {
		if err := os.Chmod(name, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{existing, parent} {
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(existing, 0o700) })
	for _, dir := range []string{existing, filepath.Join(parent, "new"), filepath.Join(parent, "new", "below")} {
		asNobody(t, func() {
			d, err := Open(dir)
			if err == nil {
				t.Errorf("%s opened: %v", dir, d.Close())
			} else if own, ok := errors.AsType[*ReadOnlyError](err); !ok || own.Dir != dir {
				t.Errorf("%s: %T %v", dir, err, err)
			}
		})
	}
	if got := names(t, parent); len(got) != 1 {
		t.Errorf("left behind: %q", got)
	}
}
