//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// stat is what the kernel says of a process.
type stat struct{ parent, group int }

// readStat reads it; a dead process that nobody has waited for is none.
func readStat(pid int) (s stat, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return s, false
	}
	_, rest, _ := strings.Cut(string(text), ") ") // no name of a program here has a parenthesis
	var state string
	_, err = fmt.Sscan(rest, &state, &s.parent, &s.group)
	return s, err == nil && state != "Z" && state != "X"
}

// processes are those that match.
func processes(match func(stat) bool) (pids []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(pid); ok && match(s) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// children are this process's children, orphans among them.
func children() []int {
	self := os.Getpid()
	return processes(func(s stat) bool { return s.parent == self })
}

// groupLives tells whether a process group has processes.
func groupLives(group int) bool {
	return len(processes(func(s stat) bool { return s.group == group })) > 0
}

func commandLine(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(text), "\x00", " ")
}
