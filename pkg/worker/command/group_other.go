//go:build unix && !linux

package command

import (
	"runtime"
	"syscall"
)

// maxrssUnit is what getrusage counts in: bytes on macOS, kilobytes on the others.
var maxrssUnit int64 = 1 << 10

func init() {
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		maxrssUnit = 1
	}
}

func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitExit returns false: there is no waiting without reaping here.
func awaitExit(int) bool { return false }

// hasLiveMember takes every member for alive. Zombies among them go when their parent reaps them.
func hasLiveMember(int) bool { return true }
