//go:build unix

package command

import "syscall"

// groupExists reports whether a process group has members, zombies among them.
func groupExists(group int) bool {
	reapAdopted(group)
	return syscall.Kill(-group, 0) != syscall.ESRCH
}

// GroupAlive reports whether somebody in a process group still runs, whose leader has ended and is reaped. It reaps those
// of the group that have become this process's children.
func GroupAlive(group int) bool {
	return groupExists(group) && hasLiveMember(group)
}

// reapAdopted reaps members that became this process's children when their parent died: it does if it
// is the first process of a container, or a subreaper. Nobody else's children are touched: the group
// is the command's, whose leader is reaped elsewhere, before.
func reapAdopted(group int) {
	for {
		pid, err := syscall.Wait4(-group, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
