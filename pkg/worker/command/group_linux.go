package command

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxrssUnit = 1 << 10 // getrusage counts kilobytes

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit waits until a child has exited and leaves it to be reaped. It returns false if the child
// cannot be waited for in this way.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// hasLiveMember looks for members that are not zombies: where the first process of a container reaps
// nobody, a dead member stays for ever. If it cannot be known, there is one.
func hasLiveMember(group int) bool {
	proc, err := os.Open("/proc")
	if err != nil {
		return true
	}
	names, err := proc.Readdirnames(-1)
	_ = proc.Close()
	if err != nil {
		return true
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && liveMember(pid, group) {
			return true
		}
	}
	return false
}

// liveMember reads /proc/PID/stat: "PID (NAME) STATE PPID PGRP …", where NAME may hold anything.
func liveMember(pid, group int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false // gone meanwhile
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 {
		return false
	}
	dead := fields[0][0] == 'Z' || fields[0][0] == 'X'
	return !dead && string(fields[2]) == strconv.Itoa(group)
}
