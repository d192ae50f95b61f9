package broker

import (
	"bytes"
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// stateBytesMax is half of the memory that the broker may have: GOMEMLIMIT, else its control group's
// limit, else what the machine has; 0, which is without limit, where nothing tells.
func stateBytesMax() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit / 2
	}
	limit := machineBytes()
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n := readNumber(name); n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit / 2
}

// machineBytes is the machine's memory, 0 where /proc does not tell.
func machineBytes() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if fields := bytes.Fields(line); len(fields) >= 2 && string(fields[0]) == "MemTotal:" {
			kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// readNumber reads a file that has a number, 0 if it has none ("max").
func readNumber(name string) int64 {
	data, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
