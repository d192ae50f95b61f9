package cron

import (
	"slices"
	"testing"
	"time"

	_ "time/tzdata" // the same zones on every machine
)

// layout shows the offset too: an hour that comes twice is two.
const layout = "2006-01-02T15:04:05-07:00"

// fires lists the moments of a line from one to another, both on the wall of a zone.
func fires(t *testing.T, line, zone, from, to string) (out []string) {
	t.Helper()
	l, err := Parse(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	z, err := new(Table).Zone(zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(layout, from)
	if err != nil {
		t.Fatal(err)
	}
	end, err := time.Parse(layout, to)
	if err != nil {
		t.Fatal(err)
	}
	for at = l.Next(z, at); !at.IsZero() && at.Before(end) && len(out) < 50; at = l.Next(z, at) {
		out = append(out, at.In(z).Format(layout))
	}
	return out
}

func TestChangesOfTheClocks(t *testing.T) {
	for name, test := range map[string]struct {
		line, zone, from, to string
		want                 []string
	}{
		// Berlin goes from 02:00 to 03:00 on 31 March 2030 and from 03:00 to 02:00 on 27 October 2030.
		"Berlin, spring, a daily run in the gap": {
			"30 2 * * *", "Europe/Berlin", "2030-03-30T12:00:00+01:00", "2030-04-02T00:00:00+02:00",
			[]string{"2030-03-31T03:30:00+02:00", "2030-04-01T02:30:00+02:00"},
		},
		"Berlin, spring, several runs in the gap": {
			"*/20 2 * * *", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-04-01T00:00:00+02:00",
			[]string{"2030-03-31T03:00:00+02:00", "2030-03-31T03:20:00+02:00", "2030-03-31T03:40:00+02:00"},
		},
		"Berlin, spring, runs in the gap and behind it": {
			"15,30 2,3 * * *", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-04-01T00:00:00+02:00",
			[]string{"2030-03-31T03:15:00+02:00", "2030-03-31T03:30:00+02:00"},
		},
		"Berlin, spring, a run of the gap behind a later one": {
			"45 2 31 3 *", "Europe/Berlin", "2030-03-31T03:10:00+02:00", "2031-01-01T00:00:00+01:00",
			[]string{"2030-03-31T03:45:00+02:00"},
		},
		"Berlin, spring, hourly": {
			"0 * * * *", "Europe/Berlin", "2030-03-31T00:30:00+01:00", "2030-03-31T04:30:00+02:00",
			[]string{"2030-03-31T01:00:00+01:00", "2030-03-31T03:00:00+02:00", "2030-03-31T04:00:00+02:00"},
		},
		"Berlin, spring, every half hour": {
			"*/30 * * * *", "Europe/Berlin", "2030-03-31T01:10:00+01:00", "2030-03-31T03:45:00+02:00",
			[]string{"2030-03-31T01:30:00+01:00", "2030-03-31T03:00:00+02:00", "2030-03-31T03:30:00+02:00"},
		},
		"Berlin, autumn, a daily run in the hour that comes twice": {
			"30 2 * * *", "Europe/Berlin", "2030-10-26T12:00:00+02:00", "2030-10-29T00:00:00+01:00",
			[]string{"2030-10-27T02:30:00+02:00", "2030-10-28T02:30:00+01:00"},
		},
		"Berlin, autumn, a daily run just behind that hour": {
			"0 3 * * *", "Europe/Berlin", "2030-10-27T00:00:00+02:00", "2030-10-28T00:00:00+01:00",
			[]string{"2030-10-27T03:00:00+01:00"},
		},
		"Berlin, autumn, hourly": {
			"0 * * * *", "Europe/Berlin", "2030-10-27T00:30:00+02:00", "2030-10-27T03:30:00+01:00",
			[]string{
				"2030-10-27T01:00:00+02:00", "2030-10-27T02:00:00+02:00", "2030-10-27T02:00:00+01:00", "2030-10-27T03:00:00+01:00",
			},
		},
		"Berlin, autumn, @hourly from within": {
			"@hourly", "Europe/Berlin", "2030-10-27T02:45:00+02:00", "2030-10-27T04:30:00+01:00",
			[]string{"2030-10-27T02:00:00+01:00", "2030-10-27T03:00:00+01:00", "2030-10-27T04:00:00+01:00"},
		},
		"Berlin, autumn, every other hour": {
			"0 */2 * * *", "Europe/Berlin", "2030-10-26T23:30:00+02:00", "2030-10-27T06:00:00+01:00",
			[]string{"2030-10-27T00:00:00+02:00", "2030-10-27T02:00:00+02:00", "2030-10-27T04:00:00+01:00"},
		},
		// New York: 10 March 2030, 02:00 to 03:00, and 3 November 2030, 02:00 to 01:00.
		"New York, spring": {
			"30 2 * * *", "America/New_York", "2030-03-09T12:00:00-05:00", "2030-03-12T00:00:00-04:00",
			[]string{"2030-03-10T03:30:00-04:00", "2030-03-11T02:30:00-04:00"},
		},
		"New York, autumn": {
			"30 1 * * *", "America/New_York", "2030-11-02T12:00:00-04:00", "2030-11-05T00:00:00-05:00",
			[]string{"2030-11-03T01:30:00-04:00", "2030-11-04T01:30:00-05:00"},
		},
		"New York, autumn, hourly": {
			"30 * * * *", "America/New_York", "2030-11-03T00:45:00-04:00", "2030-11-03T03:00:00-05:00",
			[]string{"2030-11-03T01:30:00-04:00", "2030-11-03T01:30:00-05:00", "2030-11-03T02:30:00-05:00"},
		},
		// Lord Howe changes by half an hour: 6 October 2030, 02:00 to 02:30, and 7 April 2030, 02:00 to 01:30.
		"Lord Howe, spring": {
			"15 2 * * *", "Australia/Lord_Howe", "2030-10-05T12:00:00+10:30", "2030-10-08T00:00:00+11:00",
			[]string{"2030-10-06T02:45:00+11:00", "2030-10-07T02:15:00+11:00"},
		},
		"Lord Howe, spring, hourly": {
			"0 * * * *", "Australia/Lord_Howe", "2030-10-06T00:30:00+10:30", "2030-10-06T04:00:00+11:00",
			[]string{"2030-10-06T01:00:00+10:30", "2030-10-06T03:00:00+11:00"},
		},
		"Lord Howe, autumn": {
			"45 1 * * *", "Australia/Lord_Howe", "2030-04-06T12:00:00+11:00", "2030-04-09T00:00:00+10:30",
			[]string{"2030-04-07T01:45:00+11:00", "2030-04-08T01:45:00+10:30"},
		},
		"Lord Howe, autumn, every quarter": {
			"*/15 * * * *", "Australia/Lord_Howe", "2030-04-07T01:20:00+11:00", "2030-04-07T02:20:00+10:30",
			[]string{
				"2030-04-07T01:30:00+11:00", "2030-04-07T01:45:00+11:00", "2030-04-07T01:30:00+10:30",
				"2030-04-07T01:45:00+10:30", "2030-04-07T02:00:00+10:30", "2030-04-07T02:15:00+10:30",
			},
		},
		// Havana puts its clocks forward at midnight, 10 March 2030.
		"Havana, a midnight that is not": {
			"@daily", "America/Havana", "2030-03-09T12:00:00-05:00", "2030-03-12T00:00:00-04:00",
			[]string{"2030-03-10T01:00:00-04:00", "2030-03-11T00:00:00-04:00"},
		},
		// Samoa left out 30 December 2011.
		"Samoa, a day that is not": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-02T00:00:00+14:00",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00", "2012-01-01T12:00:00+14:00"},
		},
		"@every does not see the clocks": {
			"@every 90m", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-03-31T06:00:00+02:00",
			[]string{"2030-03-31T01:00:00+01:00", "2030-03-31T03:30:00+02:00", "2030-03-31T05:00:00+02:00"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fires(t, test.line, test.zone, test.from, test.to); !slices.Equal(got, test.want) {
				t.Errorf("%s\ngot  %q\nwant %q", test.line, got, test.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	const z = "+00:00"
	for line, want := range map[string][]string{
		"@every 90s":        {"2030-01-01T00:01:30", "2030-01-01T00:03:00"},
		"@daily":            {"2030-01-02T00:00:00", "2030-01-03T00:00:00"},
		"@midnight":         {"2030-01-02T00:00:00", "2030-01-03T00:00:00"},
		"@weekly":           {"2030-01-06T00:00:00", "2030-01-13T00:00:00"},
		"@monthly":          {"2030-02-01T00:00:00", "2030-03-01T00:00:00"},
		"@yearly":           {"2031-01-01T00:00:00", "2032-01-01T00:00:00"},
		"0 9 * * MON-FRI":   {"2030-01-01T09:00:00", "2030-01-02T09:00:00"},
		"0 9 * * sat,SUN":   {"2030-01-05T09:00:00", "2030-01-06T09:00:00"},
		"0 0 * * 7":         {"2030-01-06T00:00:00", "2030-01-13T00:00:00"},
		"0 0 1 jan-mar/2 *": {"2030-03-01T00:00:00", "2031-01-01T00:00:00"},
		"5-50/15 10 * * *":  {"2030-01-01T10:05:00", "2030-01-01T10:20:00"},
		"0 22-2/2 * * *":    {"2030-01-01T02:00:00", "2030-01-01T22:00:00"},
		"0 0 29 2 *":        {"2032-02-29T00:00:00", "2036-02-29T00:00:00"},
		"0 0 13 * FRI":      {"2030-01-04T00:00:00", "2030-01-11T00:00:00"}, // either of the two days
		"0 0 31 * *":        {"2030-01-31T00:00:00", "2030-03-31T00:00:00"},
		"0 0 L * *":         {"2030-01-31T00:00:00", "2030-02-28T00:00:00"},
		"0 0 * * FRI#2":     {"2030-01-11T00:00:00", "2030-02-08T00:00:00"},
		"0 0 15W * *":       {"2030-01-15T00:00:00", "2030-02-15T00:00:00"},
	} {
		got := fires(t, line, "", "2030-01-01T00:00:00"+z, "2040-01-01T00:00:00"+z)
		if len(got) < 2 || got[0] != want[0]+z || got[1] != want[1]+z {
			t.Errorf("%s fires at %q, want %q", line, got[:min(2, len(got))], want)
		}
	}
}

// Whatever the line, the moments rise, and do not depend on the moment that one asks from.
func TestTheNextFromAnywhereIsTheSame(t *testing.T) {
	for _, line := range []string{"*/20 1-3 * * *", "*/20 * * * *", "30 2 * * *", "@every 7m", "0 2,3 * * SUN"} {
		l, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"} {
			z, err := new(Table).Zone(zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, month := range []time.Month{time.March, time.April, time.October, time.November} {
				from := time.Date(2030, month, 1, 0, 0, 0, 0, time.UTC)
				prev := l.Next(z, from)
				for asked := from; asked.Before(from.AddDate(0, 1, 0)); asked = asked.Add(17 * time.Minute) {
					for !prev.After(asked) {
						next := l.Next(z, prev)
						if !next.After(prev) {
							t.Fatalf("%s in %s: %v after %v", line, zone, next, prev)
						}
						prev = next
					}
					if got := l.Next(z, asked); !got.Equal(prev) {
						t.Fatalf("%s in %s: after %v comes %v, and by steps %v", line, zone, asked, got.In(z), prev.In(z))
					}
				}
			}
		}
	}
}

func TestRefusedLines(t *testing.T) {
	for _, line := range []string{
		"", " ", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8",
		"0 0 30 2 *", "0 0 31 4,6,9,11 *", "*/0 * * * *", "a * * * *", "0 0 * foo *", "H * * * *", "@never", "@every", "@every x",
		"@every 0s", "@every -1m", "@every 500ms", "@every 1.5s", "@every 10000h", "TZ=UTC 0 0 * * *", "CRON_TZ=UTC @daily",
		"0 0 * * *\x00", "@reboot",
	} {
		if _, err := Parse(line); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestZones(t *testing.T) {
	var table Table
	for _, zone := range []string{"", "UTC", "Europe/Berlin", "Etc/GMT+5"} {
		if _, err := table.Zone(zone); err != nil {
			t.Errorf("%q: %v", zone, err)
		}
	}
	for _, zone := range []string{"Local", "Nowhere", "../etc/passwd", "/etc/localtime", "Europe", "europe\\berlin"} {
		if _, err := table.Zone(zone); err == nil {
			t.Errorf("%q is taken", zone)
		}
	}
	if at, ok := table.Next("@daily", "UTC", 0); !ok || at != 24*3600*1e9 {
		t.Errorf("the next is %d, %v", at, ok)
	}
	for _, bad := range [][2]string{{"nonsense", "UTC"}, {"@daily", "Nowhere"}} {
		if at, ok := table.Next(bad[0], bad[1], 0); ok {
			t.Errorf("%q has a next time, %d", bad, at)
		}
	}
	if at, ok := table.Next("@yearly", "", 9_214_646_400_000_000_000); ok { // 2262
		t.Errorf("beyond the end of time is %d", at)
	}
}

// FuzzParse reads whatever there is: it is refused, or fires, and does not panic.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"*/5 1-4 1,15 JAN-DEC MON", "@every 90s", "0 0 L-3 * *", "0 0 LW * FRI#L", "@weekly", "22-2/3 * ? * 7"} {
		f.Add(line)
	}
	z := time.FixedZone("", 3600)
	f.Fuzz(func(t *testing.T, line string) {
		l, err := Parse(line)
		if err != nil {
			return
		}
		from := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		first := l.Next(z, from)
		if second := l.Next(z, first); !first.After(from) || !second.After(first) {
			t.Errorf("%q fires at %v and %v", line, first, second)
		}
	})
}
