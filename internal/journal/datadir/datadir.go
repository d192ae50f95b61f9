package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Dir is a data directory that this process has to itself until Close.
type Dir struct {
	path string
	id   string
	lock *os.File

	made  []string // the directories that Open has created, outermost first
	first bool     // Open has created the lock file
	write writer
}

// writer writes to a file at an offset. Tests have one that fails.
type writer func(f *os.File, data []byte, off int64) error

func writeAt(f *os.File, data []byte, off int64) error {
	_, err := f.WriteAt(data, off)
	return err
}

// Open takes a data directory, creating it if it is not there. Its errors are the types of this package, or
// else name the directory. A directory that it refuses is as it was.
func Open(dir string) (*Dir, error) { return open(dir, writeAt) }

func open(dir string, write writer) (*Dir, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	d := &Dir{path: path, write: write}
	if err := d.take(); err != nil {
		d.undo()
		return nil, explain(path, err)
	}
	return d, nil
}

// Path is the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// ID names the directory for its life, wherever it is moved: 32 hexadecimal digits.
func (d *Dir) ID() string { return d.id }

// Close lets another process have the directory.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	lock := d.lock
	d.lock = nil
	return lock.Close() // and so unlocks it
}

func (d *Dir) take() error {
	if err := d.create(); err != nil {
		return err
	}
	// Before anything is written: somebody's home directory must not gain as much as a lock file.
	if err := d.recognize(); err != nil {
		return err
	}
	if err := d.takeLock(); err != nil {
		return err
	}
	// Again, alone now: it may have been another process's first moment, too.
	if err := d.recognize(); err != nil {
		return err
	}
	return d.identify()
}

// create makes the directory, if need be with those above it.
func (d *Dir) create() error {
	fi, err := os.Stat(d.path)
	if err == nil && !fi.IsDir() {
		return &NotDirError{d.path}
	}
	var missing []string
	for dir := d.path; errors.Is(err, fs.ErrNotExist); dir = filepath.Dir(dir) {
		missing = append(missing, dir)
		_, err = os.Stat(filepath.Dir(dir))
	}
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o700); err == nil {
			d.made = append(d.made, dir)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// undo removes what a failed Open has created. Nobody else has used it: the lock is still held.
func (d *Dir) undo() {
	if d.lock != nil && d.first {
		_ = os.Remove(filepath.Join(d.path, lockFile))
	}
	_ = d.Close()
	for _, dir := range slices.Backward(d.made) {
		_ = os.Remove(dir) // not if it is another's by now: then it is not empty
	}
}

// recognize refuses a directory that holds what a broker has not put there. What a broker leaves when it
// dies before it has written the identity is its own: the lock file and temporary identities.
func (d *Dir) recognize() error {
	id, err := d.readIdentity()
	if !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = id.check(d.path)
		}
		return err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lockFile, isTemporary(name):
		case name == identityFile: // another process has written it since: the lock will tell
		case name == "lost+found": // at the root of a file system of its own
		default:
			return &ForeignError{d.path, name}
		}
	}
	return nil
}

// explain turns the system's errors into those of this package.
func explain(dir string, err error) error {
	var own refusal
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, syscall.ENOTDIR):
		return &NotDirError{dir}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &ReadOnlyError{dir, err}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &FullError{dir, err}
	}
	return fmt.Errorf("data directory %s: %w", dir, err)
}
