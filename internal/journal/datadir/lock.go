package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const lockFile = "LOCK"

// takeLock takes the lock file, which stays when the lock is given up. The process id in it is for people;
// the system's lock ends with its process, however that ends.
func (d *Dir) takeLock() error {
	name := filepath.Join(d.path, lockFile)
	for {
		f, first, err := openLock(name)
		if err != nil {
			return err
		}
		if err := flock(f); err != nil {
			if errors.Is(err, syscall.EWOULDBLOCK) {
				err = &LockedError{d.path, readPID(f)}
			}
			return errors.Join(err, f.Close())
		}
		same, err := stillThere(f, name)
		if err != nil {
			return errors.Join(err, f.Close())
		}
		if !same {
			// A failed Open removed its lock file between our opening and locking it. What we hold is
			// nobody's lock.
			if err := f.Close(); err != nil {
				return err
			}
			continue
		}
		d.lock, d.first = f, first
		return d.write(f, fmt.Appendf(nil, "%*d\n", pidSize-1, os.Getpid()), 0)
	}
}

func openLock(name string) (f *os.File, first bool, err error) {
	f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return f, true, err
	}
	f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	return f, false, err
}

func stillThere(f *os.File, name string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// pidSize is what the line of a process id takes. It is always written whole, with spaces before the number:
// whoever reads it meanwhile sees the old one or the new one.
const pidSize = 12

func readPID(f *os.File) int {
	line := make([]byte, pidSize)
	n, err := f.ReadAt(line, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line[:n])))
	if err != nil {
		return 0
	}
	return pid
}
