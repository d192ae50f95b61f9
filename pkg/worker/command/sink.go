//go:build unix

package command

import (
	"sync"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Sink is the output of work that is no process: what is written to it is read as a command's standard output is.
// Its standard error is empty.
type Sink struct {
	mu     sync.Mutex // of writers
	ended  bool
	stdout *Output
	stderr *Output
}

// NewSink returns a sink whose files are in dir and have at most so many bytes; the defaults are those of [Config].
func NewSink(dir string, bytesMax int64) *Sink {
	if bytesMax == 0 {
		bytesMax = SpoolBytesDefault
	}
	spool := newSpool(dir, bytesMax)
	return &Sink{stdout: &Output{spool: spool}, stderr: &Output{spool: spool, ended: true}}
}

// Write implements io.Writer. What is beyond the limit is counted, not kept; after the end nothing is.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.stdout.append(p)
	}
	return len(p), nil
}

// End says that nothing more comes, and returns how much was written.
func (s *Sink) End() (total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.stdout.end()
	total, _, _ = s.stdout.Size()
	return total
}

// Output returns one of the two streams, nil for one that there is not. It can be read until Release.
func (s *Sink) Output(stream weftv1.OutputStream) *Output {
	switch stream {
	case weftv1.OutputStream_OUTPUT_STREAM_STDOUT:
		return s.stdout
	case weftv1.OutputStream_OUTPUT_STREAM_STDERR:
		return s.stderr
	default:
		return nil
	}
}

// Release forgets the output. Call it once, after End.
func (s *Sink) Release() {
	s.stdout.release()
	s.stderr.release()
}
