//go:build unix

package command

import (
	"errors"
	"os"
	"sync/atomic"
)

var errSpoolFull = errors.New("command: the attempt's spool is full")

// spool is the files of one attempt and their common limit.
type spool struct {
	dir  string
	left atomic.Int64 // bytes that may still be written
}

func newSpool(dir string, bytesMax int64) *spool {
	s := &spool{dir: dir}
	s.left.Store(bytesMax)
	return s
}

// reserve takes up to n bytes from the limit.
func (s *spool) reserve(n int) int {
	for {
		left := s.left.Load()
		n = int(min(int64(n), left))
		if s.left.CompareAndSwap(left, left-int64(n)) {
			return n
		}
	}
}

// create makes a file that begins with data. The file has no name any more when it is returned, so it
// is gone when it is closed, and also when the worker dies by SIGKILL.
func (s *spool) create(data []byte) (*os.File, error) {
	if n := s.reserve(len(data)); n < len(data) {
		s.left.Add(int64(n))
		return nil, errSpoolFull
	}
	file, err := os.CreateTemp(s.dir, "weft-output-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, err
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}
