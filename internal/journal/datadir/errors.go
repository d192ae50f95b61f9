package datadir

import "fmt"

// refusal is what the errors of this package have in common: each names the directory and says what to do.
type refusal interface {
	error
	refusal()
}

func (*LockedError) refusal()   {}
func (*ForeignError) refusal()  {}
func (*NotDirError) refusal()   {}
func (*IdentityError) refusal() {}
func (*FormatError) refusal()   {}
func (*EngineError) refusal()   {}
func (*ReadOnlyError) refusal() {}
func (*FullError) refusal()     {}

// LockedError says that another process uses the directory.
type LockedError struct {
	Dir string
	PID int // 0 if it did not say
}

// Error implements error.
func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop that, or choose another directory", e.Dir, who)
}

// ForeignError says that the directory holds something, and no sign that it is a broker's.
type ForeignError struct {
	Dir   string
	Found string // the name of one thing in it
}

// Error implements error.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is not a Weft data directory: it holds %q and no %s: choose an empty or a new directory", e.Dir, e.Found, identityFile)
}

// NotDirError says that the path is a file or the like.
type NotDirError struct{ Dir string }

// Error implements error.
func (e *NotDirError) Error() string {
	return fmt.Sprintf("data directory %s is not a directory: choose another path", e.Dir)
}

// IdentityError says that the directory's identity cannot be understood.
type IdentityError struct {
	Dir    string
	Reason string
}

// Error implements error.
func (e *IdentityError) Error() string {
	return fmt.Sprintf("data directory %s has a damaged %s: %s: restore that file from a backup", e.Dir, identityFile, e.Reason)
}

// FormatError says that a newer version has written the directory.
type FormatError struct {
	Dir    string
	Format int
}

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("data directory %s has format %d, and this version knows up to %d: use the version that wrote it, or a newer one", e.Dir, e.Format, Format)
}

// EngineError says that the directory belongs to another kind of store.
type EngineError struct {
	Dir    string
	Engine string
}

// Error implements error.
func (e *EngineError) Error() string {
	return fmt.Sprintf("data directory %s belongs to the engine %q, and this broker runs %q: choose another directory, or run the broker as it was", e.Dir, e.Engine, Engine)
}

// ReadOnlyError says that the directory cannot be written.
type ReadOnlyError struct {
	Dir string
	Err error
}

// Error implements error.
func (e *ReadOnlyError) Error() string {
	return fmt.Sprintf("data directory %s cannot be written: %v: give this user the right to, or choose another directory", e.Dir, e.Err)
}

// Unwrap returns the system's error.
func (e *ReadOnlyError) Unwrap() error { return e.Err }

// FullError says that the disk has no room.
type FullError struct {
	Dir string
	Err error
}

// Error implements error.
func (e *FullError) Error() string {
	return fmt.Sprintf("data directory %s is on a full disk: %v: free some space, or choose another directory", e.Dir, e.Err)
}

// Unwrap returns the system's error.
func (e *FullError) Unwrap() error { return e.Err }
