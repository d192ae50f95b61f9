//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// envRole makes the test binary a process of the system under test.
const envRole = "WEFT_E2E_ROLE"

// binDir has the program under test; made when the first test asks for it.
var binDir string

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case roleWorker:
		os.Exit(workerMain())
	case roleQueue:
		os.Exit(queueMain())
	case roleMap:
		os.Exit(mapMain())
	case roleLocker:
		os.Exit(lockerMain())
	}
	// Whatever loses its parent becomes this process's child: so no descendant can hide.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if binDir != "" {
			_ = os.RemoveAll(binDir)
		}
		os.Exit(code)
	}))
}

// weft builds the program once and returns its path.
var weft = sync.OnceValues(func() (string, error) {
	var err error
	if binDir, err = os.MkdirTemp("", "weft-e2e-*"); err != nil {
		return "", err
	}
	path := filepath.Join(binDir, "weft")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/weftq/weft/cmd/weft").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weft: %w\n%s", err, out)
	}
	return path, nil
})
