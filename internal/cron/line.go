package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	cronlib "github.com/netresearch/go-cron"
)

// Limits.
const (
	EveryMin = time.Second
	EveryMax = 366 * 24 * time.Hour

	// searchYears is how far a line looks ahead. The rarest lines that fire at all, 29 February on one day of
	// the week, do so every 40 years where a century has no leap day.
	searchYears = 41
)

// parser takes five fields or a descriptor. As in crontab(5), a day matches if the day of the month or the
// day of the week does, when both are restricted.
var parser = cronlib.MustNewParser(
	cronlib.Minute | cronlib.Hour | cronlib.Dom | cronlib.Month | cronlib.Dow | cronlib.Descriptor |
		cronlib.Extended | cronlib.DowOrDom,
).WithMinEveryInterval(EveryMin).WithMaxSearchYears(searchYears)

// Line is a cron line that was read.
type Line struct {
	every  time.Duration         // of @every, else 0
	spec   *cronlib.SpecSchedule // else; in UTC
	hourly bool                  // every hour of the day
}

// Parse reads a cron line. One that never fires is an error.
func Parse(text string) (*Line, error) {
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return nil, errors.New("a time zone has a field of its own and is not part of the line")
	}
	s, err := parser.Parse(text)
	if err != nil {
		return nil, explain(err)
	}
	switch s := s.(type) {
	case cronlib.ConstantDelaySchedule:
		return everyLine(text, s.Delay)
	case *cronlib.SpecSchedule:
		const allHours = 24
		s.Location = time.UTC
		l := &Line{spec: s, hourly: bits.OnesCount64(s.Hour&(1<<allHours-1)) == allHours}
		if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
			return nil, errors.New("it never fires: no such day exists")
		}
		return l, nil
	}
	return nil, fmt.Errorf("a line of the unknown kind %T", s)
}

// everyLine is @every with what is more than whole seconds refused, where the library rounds.
func everyLine(text string, delay time.Duration) (*Line, error) {
	asked, err := time.ParseDuration(strings.TrimPrefix(text, "@every "))
	if err != nil || asked != delay {
		return nil, errors.New("@every takes whole seconds")
	}
	if delay > EveryMax {
		return nil, fmt.Errorf("@every takes at most %d days", EveryMax/(24*time.Hour))
	}
	return &Line{every: delay}, nil
}

// explain shortens what the library says.
func explain(err error) error {
	if text := err.Error(); strings.HasPrefix(text, "h expressions") {
		return errors.New("unknown word: H")
	}
	return err
}
