//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
)

// patience bounds every wait for something that has to happen: it tells a hang from a busy machine, and
// is no measurement.
const patience = time.Minute

// stopPatience is what a process may take to stop in order.
const stopPatience = 20 * time.Second

// world is where a test's processes live. At the test's end none of them is left, nor any of theirs, nor a
// file where they put temporary ones, nor a goroutine.
type world struct {
	testing.TB
	dir string // of the test; everything is in it
	tmp string // for temporary files of all processes
	bin string
	env []string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	bin, err := weft()
	if err != nil {
		t.Fatal(err)
	}
	running := goleak.IgnoreCurrent()
	w := &world{TB: t, dir: t.TempDir(), bin: bin}
	w.tmp = filepath.Join(w.dir, "tmp")
	if err := os.Mkdir(w.tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = []string{
		"TMPDIR=" + w.tmp, "XDG_STATE_HOME=" + filepath.Join(w.dir, "state"),
		client.EnvBroker + "=", client.EnvNamespace + "=", client.EnvKey + "=",
	}
	t.Cleanup(func() { // the last of all
		w.noChildren()
		w.noFiles()
		goleak.VerifyNone(t, running)
	})
	return w
}

// context ends when the test's patience does.
func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	return ctx
}

// noChildren waits for the orphans that are this process's now. Nobody else waits for children any more.
func (w *world) noChildren() {
	deadline := time.Now().Add(stopPatience)
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			return
		case err != nil && !errors.Is(err, syscall.EINTR):
			w.Errorf("wait for orphans: %v", err)
			return
		case pid > 0 || err != nil:
			continue // one less
		}
		if time.Now().After(deadline) {
			w.Errorf("processes are left:\n%s", strings.Join(killChildren(), "\n"))
			return
		}
		time.Sleep(5 * time.Millisecond) // the next look; the kernel tells Go's runtime of no orphan's end
	}
}

// killChildren kills what is left and says what it was.
func killChildren() (left []string) {
	for _, pid := range children() {
		left = append(left, fmt.Sprintf("%d: %s", pid, commandLine(pid)))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return left
}

// noFiles looks for temporary files.
func (w *world) noFiles() {
	err := filepath.WalkDir(w.tmp, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != w.tmp {
			w.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		w.Error(err)
	}
}

// freePort finds a port for a broker that is to come back to it: below those that the kernel gives to
// anybody who asks for any.
func (w *world) freePort() string {
	w.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	w.Fatal("no free port")
	return ""
}

// process starts a process of the world, whose standard error is shown if the test fails.
func (w *world) process(name string, c procs.Command) (*procs.Process, error) {
	said, err := os.CreateTemp(w.dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer said.Close() // the process has its own
	c.Env = append(append([]string(nil), w.env...), c.Env...)
	c.Stderr = said
	p, err := procs.Start(c)
	if err != nil {
		return nil, err
	}
	w.Cleanup(func() {
		_ = p.Signal(syscall.SIGCONT) // it may be one that was stopped, and is gone else
		_ = p.Stop(stopPatience)
		if text, err := os.ReadFile(said.Name()); err == nil && len(text) > 0 && w.Failed() {
			w.Logf("%s (process %d) said:\n%s", name, p.Pid(), text)
		}
	})
	return p, nil
}

// until waits for something that nobody tells of.
func (w *world) until(what string, holds func() bool) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			w.Fatalf("it never came to this: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // the next look
	}
}
