package procs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// ResidentBytes is how much memory a process has, 0 where the system does not tell (it does on Linux).
func ResidentBytes(pid int) uint64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
