package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

// trace is what happened, in lines. The last ones are kept for the report of a failure, and all of them go
// into a hash, by which two runs of a seed are compared.
type trace struct {
	out  io.Writer // nil is nobody
	tail [tailLines]string
	n    int
	hash interface {
		io.Writer
		Sum64() uint64
	}
}

const tailLines = 150

func newTrace(out io.Writer) *trace { return &trace{out: out, hash: fnv.New64a()} }

func (t *trace) add(now time.Duration, format string, args ...any) {
	line := fmt.Sprintf("%10.3f ", now.Seconds()) + fmt.Sprintf(format, args...)
	_, _ = io.WriteString(t.hash, line)
	t.tail[t.n%tailLines] = line
	t.n++
	if t.out != nil {
		fmt.Fprintln(t.out, line)
	}
}

// last returns the end of the trace.
func (t *trace) last() []string {
	var out []string
	for i := max(0, t.n-tailLines); i < t.n; i++ {
		out = append(out, t.tail[i%tailLines])
	}
	return out
}
