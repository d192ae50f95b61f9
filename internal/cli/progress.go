package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress is a line that shows how far something is, redrawn in place. Its zero value, and one without a
// writer, shows nothing.
type Progress struct {
	mu     sync.Mutex
	to     io.Writer // nil shows nothing
	what   string
	begun  time.Time
	drawn  time.Time
	shown  bool
	total  int // 0 is unknown
	done   int
	failed int
}

const (
	progressEvery = 100 * time.Millisecond
	progressWidth = 30
	clearLine     = "\r\x1b[K"
)

// NewProgress shows a line on w if that is a terminal.
func NewProgress(w io.Writer, what string) *Progress {
	p := &Progress{what: what, begun: time.Now()}
	if isTerminal(w) {
		p.to = w
	}
	return p
}

// SetTotal says how many there are.
func (p *Progress) SetTotal(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = n
}

// Add counts one that has ended.
func (p *Progress) Add(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if failed {
		p.failed++
	}
	if p.to != nil && time.Since(p.drawn) >= progressEvery {
		p.draw()
	}
}

// Hide clears the line, so that something else can be written; the next Add shows it again.
func (p *Progress) Hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.to, clearLine)
		p.shown = false
		p.drawn = time.Time{}
	}
}

// draw writes the line.
func (p *Progress) draw() {
	p.drawn = time.Now()
	p.shown = true
	fmt.Fprint(p.to, clearLine+p.line(p.drawn.Sub(p.begun)))
}

// line is the text of the line.
func (p *Progress) line(elapsed time.Duration) string {
	var b strings.Builder
	rate := float64(p.done) / max(elapsed.Seconds(), 0.001)
	if p.total > 0 {
		filled := min(progressWidth*p.done/p.total, progressWidth)
		fmt.Fprintf(&b, "[%s%s] %d/%d %s", strings.Repeat("=", filled), strings.Repeat(" ", progressWidth-filled),
			p.done, p.total, p.what)
	} else {
		fmt.Fprintf(&b, "%d %s", p.done, p.what)
	}
	fmt.Fprintf(&b, "  %.0f/s", rate)
	if p.failed > 0 {
		fmt.Fprintf(&b, "  %d failed", p.failed)
	}
	if p.total > p.done && rate > 0 {
		left := time.Duration(float64(p.total-p.done) / rate * float64(time.Second))
		fmt.Fprintf(&b, "  %s left", left.Round(time.Second))
	}
	return b.String()
}
