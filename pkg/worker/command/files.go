//go:build unix

package command

import (
	"os"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// files are both ends of a command's standard streams.
type files struct {
	child  [3]*os.File
	stdin  *os.File // nil if there is nothing to feed
	stdout *os.File
	stderr *os.File
}

func openFiles(cmd *weftv1.Command) (f *files, err error) {
	f = &files{}
	defer func() {
		if err != nil {
			f.closeChild()
			f.closeParent()
		}
	}()
	if len(cmd.GetStdin()) == 0 {
		f.child[0], err = os.Open(os.DevNull)
	} else {
		f.child[0], f.stdin, err = os.Pipe()
	}
	if err != nil {
		return nil, err
	}
	if f.stdout, f.child[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	f.stderr, f.child[2], err = os.Pipe()
	return f, err
}

func (f *files) closeChild() { closeAll(f.child[:]...) }

func (f *files) closeParent() { closeAll(f.stdin, f.stdout, f.stderr) }

func closeAll(files ...*os.File) {
	for _, file := range files {
		if file != nil {
			_ = file.Close()
		}
	}
}
