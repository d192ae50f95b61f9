package cron

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/weftq/weft/internal/pure"
)

// remembered bounds what a table keeps: some more than the schedules of a namespace.
const remembered = 20_000

// Table reads lines and zones once. It may be used by many goroutines; the zero Table is ready.
type Table struct {
	mu    sync.Mutex
	lines map[string]*Line
	zones map[string]*time.Location
}

// Next is the first time of a line in a zone after a moment, and false if there is none. A line or a zone that
// cannot be read has none, and neither has one that the library panics at: a shard that asks while it does what
// is due would meet the panic in every term.
func (t *Table) Next(line, zone string, after pure.Wall) (at pure.Wall, ok bool) {
	defer func() {
		if recover() != nil {
			at, ok = 0, false
		}
	}()
	l, err := t.line(line)
	if err != nil {
		return 0, false
	}
	z, err := t.Zone(zone)
	if err != nil {
		return 0, false
	}
	next := l.Next(z, time.Unix(0, int64(after)))
	if next.IsZero() || next.Unix() > math.MaxInt64/int64(time.Second)-1 {
		return 0, false // none, or what nanoseconds in 64 bits cannot say
	}
	return pure.Wall(next.UnixNano()), true
}

// line returns a line that was read before, or reads it.
func (t *Table) line(text string) (*Line, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lines[text]; l != nil {
		return l, nil
	}
	l, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if t.lines == nil || len(t.lines) >= remembered {
		t.lines = map[string]*Line{}
	}
	t.lines[text] = l
	return l, nil
}

// Check returns what is wrong with a line.
func (t *Table) Check(line string) error {
	_, err := t.line(line)
	return err
}

// Zone returns a time zone of the IANA database; empty is UTC.
func (t *Table) Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("the broker's own time zone has no name here: give it by its IANA name")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if z := t.zones[name]; z != nil {
		return z, nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("no such time zone: %q", name)
	}
	if t.zones == nil || len(t.zones) >= remembered {
		t.zones = map[string]*time.Location{}
	}
	t.zones[name] = z
	return z, nil
}
