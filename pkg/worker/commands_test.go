package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weftq/weft/pkg/worker/command"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func shell(line string, args ...string) *weftv1.Command {
	return &weftv1.Command{Argv: append([]string{line}, args...), Shell: true}
}

func allowCommands(t testing.TB, w *Worker) {
	t.Helper()
	if err := w.HandleCommands(command.Policy{AllowAny: true, AllowShell: true}); err != nil {
		t.Fatal(err)
	}
}

// checkGroupGone fails the test if somebody of a group still runs. Zombies do not: they wait for the
// first process of the system.
func checkGroupGone(t testing.TB, group int) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(stat), ") ") // NUMBER (NAME) STATE PARENT GROUP …
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "Z" {
			t.Errorf("group %d is still there: %s", group, stat)
		}
	}
	if err := syscall.Kill(-group, 0); len(stats) == 0 && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("group %d: %v", group, err)
	}
}
