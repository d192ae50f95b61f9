package cron

import "time"

// changesWithin is more than a clock on the wall ever jumped at once: the day that Samoa left out.
const changesWithin = 26 * time.Hour

// Next returns the first moment of a line that is after a moment, in a time zone; the zero time if there is
// none within 40 years.
func (l *Line) Next(zone *time.Location, after time.Time) time.Time {
	if l.every != 0 {
		return l.nextEvery(after)
	}
	// Near a change of the clocks, what the wall clock shows is not in the order of the instants, so the
	// search begins at the earliest that it may show after that moment.
	shown := onWall(after, min(
		offset(after, zone), offset(after.Add(-changesWithin), zone), offset(after.Add(changesWithin), zone),
	))
	var best time.Time
	for {
		shown = l.spec.Next(shown)
		if shown.IsZero() {
			return best
		}
		first, second, plain := instants(shown, zone)
		for _, at := range l.choose(first, second, plain) {
			if at.After(after) && (best.IsZero() || at.Before(best)) {
				best = at
			}
		}
		if plain && first.After(after) { // whatever the clock shows later is later
			return best
		}
	}
}

// nextEvery counts from 1970: so a period goes on across restarts, and stays where it is.
func (l *Line) nextEvery(after time.Time) time.Time {
	period := int64(l.every / time.Second)
	n := after.Unix() / period
	if after.Unix()%period < 0 {
		n--
	}
	return time.Unix((n+1)*period, 0)
}

// choose returns the instants at which a time on the wall counts. A line of every hour goes by the hours that
// really pass: it has no hour that is left out, and has one that comes twice, twice. Any other line has every
// time on the wall once: one that is left out counts as if the clocks had not been changed yet, one that comes
// twice counts the first time.
func (l *Line) choose(first, second time.Time, plain bool) []time.Time {
	switch {
	case plain, !l.hourly:
		return []time.Time{first}
	case second.IsZero():
		return nil
	default:
		return []time.Time{first, second}
	}
}

// instants returns when a clock on the wall shows a time, which is given as one of UTC. Usually that is at one
// instant, which is plain. Where clocks are put back, some times are shown twice, and there is a second
// instant. Where they are put forward, some are never shown; then first is when it would be so if they had not
// been.
func instants(shown time.Time, zone *time.Location) (first, second time.Time, plain bool) {
	before := at(shown, offset(shown.Add(-changesWithin), zone))
	later := at(shown, offset(shown.Add(changesWithin), zone))
	if before.Equal(later) {
		return before, time.Time{}, true
	}
	showsBefore, showsLater := shows(before, shown, zone), shows(later, shown, zone)
	switch {
	case showsBefore && showsLater:
		if later.Before(before) {
			before, later = later, before
		}
		return before, later, false
	case showsBefore:
		return before, time.Time{}, true
	case showsLater:
		return later, time.Time{}, true
	default:
		return before, time.Time{}, false
	}
}

// offset is how many seconds a zone's clocks are ahead of UTC.
func offset(t time.Time, zone *time.Location) int {
	_, seconds := t.In(zone).Zone()
	return seconds
}

// onWall is what clocks show at an instant, as a time of UTC.
func onWall(t time.Time, offset int) time.Time {
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// at is the instant at which clocks with an offset show a time.
func at(shown time.Time, offset int) time.Time {
	return shown.Add(-time.Duration(offset) * time.Second)
}

// shows tells whether clocks show a time at an instant.
func shows(t, shown time.Time, zone *time.Location) bool {
	return onWall(t, offset(t, zone)).Equal(shown)
}
