//go:build unix

package command

import (
	"errors"
	"io"
	"os"
	"sync"
)

var (
	// ErrNotKept is returned for bytes that were written but are beyond what the attempt may keep
	// (Config.SpoolBytesMax), or that the disk did not take.
	ErrNotKept = errors.New("command: this output was counted, not kept")
	// ErrReleased is returned for output after Release.
	ErrReleased = errors.New("command: the output was released")
)

const (
	// memoryBytesMax is how much of a stream stays in memory; a stream that grows larger moves to a
	// file as a whole. It covers the largest head.
	memoryBytesMax = 256 << 10

	readBytesMin = 4 << 10
	readBytesMax = 64 << 10
)

// Output is what a command wrote to one of its streams: written by one goroutine, read by any number
// of others at any offset, while the command runs and until it is released.
type Output struct {
	spool   *spool
	headMax int
	full    bool // nothing more is kept; capture's goroutine alone knows

	mu       sync.Mutex
	mem      []byte   // all that is kept, while file is nil
	file     *os.File // all that is kept, once mem is nil
	head     []byte   // the first headMax bytes of file
	kept     int64    // readable bytes
	total    int64    // written bytes
	ended    bool
	released bool
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

// ReadAt copies output from offset off on, as much as there is and fits into p. It never waits:
//
//	n > 0, nil       some bytes
//	0, nil           nothing there yet; wait for Changed
//	0, io.EOF        the stream ended at off, or before it
//	0, ErrNotKept    there were bytes at off, and they are not kept
//	0, ErrReleased   after Release
func (o *Output) ReadAt(p []byte, off int64) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.released:
		return 0, ErrReleased
	case off < 0:
		return 0, os.ErrInvalid
	case off < o.kept:
		p = p[:min(int64(len(p)), o.kept-off)]
		if o.file == nil {
			return copy(p, o.mem[off:]), nil
		}
		return o.file.ReadAt(p, off)
	case off < o.total:
		return 0, ErrNotKept
	case o.ended:
		return 0, io.EOF
	default:
		return 0, nil
	}
}

// Changed returns a channel that is closed when there is more output, or its end, or when it is
// released. Take the channel first and read then: what comes in between closes it.
func (o *Output) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
		if o.released || o.ended {
			close(o.changed)
		}
	}
	return o.changed
}

// Size returns how many bytes were written so far, how many of them can be read, and whether the
// stream has ended.
func (o *Output) Size() (total, kept int64, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total, o.kept, o.ended
}

// capture reads r to its end, or until its read deadline.
func (o *Output) capture(r *os.File) {
	buf := make([]byte, readBytesMin)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			o.append(buf[:n])
		}
		if err != nil {
			break
		}
		if n == len(buf) && n < readBytesMax {
			buf = make([]byte, 2*n) // a talkative one: fewer reads
		}
	}
	_ = r.Close() // whoever still holds the other end gets EPIPE
	o.end()
}

// end says that nothing more comes.
func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wake()
}

// append counts p and keeps of it what may be kept.
func (o *Output) append(p []byte) {
	if !o.full && o.file == nil && len(o.mem)+len(p) > memoryBytesMax {
		o.spill()
	}
	stored := 0
	if !o.full && o.file != nil {
		// Without the lock: nobody else writes, and readers do not look beyond o.kept.
		stored, _ = o.file.WriteAt(p[:o.spool.reserve(len(p))], o.kept)
		o.full = stored < len(p)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.full && o.file == nil && !o.released {
		o.mem = append(o.mem, p...)
		stored = len(p)
	}
	o.kept += int64(stored)
	o.total += int64(len(p))
	o.wake()
}

// spill moves the stream from memory to a file. If it cannot, what is in memory is all that is kept.
func (o *Output) spill() {
	file, err := o.spool.create(o.mem)
	if err != nil {
		o.full = true
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.released {
		_ = file.Close()
		o.full = true
		return
	}
	o.head = append([]byte(nil), o.mem[:min(o.headMax, len(o.mem))]...)
	o.file, o.mem = file, nil
}

// start returns the first headMax bytes and how many were written in all.
func (o *Output) start() (head []byte, total int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return o.mem[:min(o.headMax, len(o.mem))], o.total
	}
	return o.head, o.total
}

// release forgets everything that was kept.
func (o *Output) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.released = true
	o.mem, o.head = nil, nil
	if o.file != nil {
		_ = o.file.Close() // it has no name any more: closed is gone
	}
	o.wake()
}

func (o *Output) wake() {
	if o.changed == nil {
		return
	}
	if !o.ended && !o.released {
		close(o.changed)
		o.changed = nil
		return
	}
	select {
	case <-o.changed: // closed for good
	default:
		close(o.changed)
	}
}
