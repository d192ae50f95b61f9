package schedule

import (
	"fmt"
	"maps"
	"slices"
)

// Check returns the first invariant that does not hold.
func (c *Core) Check() error {
	aged, bytes, base, due := 0, int64(0), uint64(0), 0
	for s := c.ages.Oldest(); s != nil; s = c.ages.Next(s) {
		aged++
		bytes += weight(&s.State)
		if s.age.Base() < base {
			return fmt.Errorf("schedule %d: base %d after %d", s.ID, s.age.Base(), base)
		}
		base = s.age.Base()
		if c.byID[s.ID] != s || c.byName[name{s.Namespace, s.Name}] != s {
			return fmt.Errorf("schedule %d is listed by age and not known", s.ID)
		}
		switch waits := !s.Paused && s.Next != 0; {
		case waits != (s.place != 0):
			return fmt.Errorf("schedule %d: paused %v, next %d, and its place is %d", s.ID, s.Paused, s.Next, s.place)
		case s.Next != 0 && s.Next <= s.Through:
			return fmt.Errorf("schedule %d: next %d is not after %d, which is dealt with", s.ID, s.Next, s.Through)
		case waits:
			due++
		}
	}
	if aged != len(c.byID) || aged != len(c.byName) || aged != len(c.sorted) || due != c.due.Len() || bytes != c.bytes {
		return fmt.Errorf("%d schedules by age, %d by id, %d by name, %d sorted, %d of %d due, %d of %d bytes",
			aged, len(c.byID), len(c.byName), len(c.sorted), c.due.Len(), due, c.bytes, bytes)
	}
	if !slices.IsSortedFunc(c.sorted, func(a, b *Schedule) int { return compareNames(a, name{b.Namespace, b.Name}) }) {
		return fmt.Errorf("the schedules are not in the order of their names")
	}
	total := space{}
	for _, own := range c.spaces {
		total.schedules += own.schedules
		total.bytes += own.bytes
	}
	if want := (space{aged, bytes}); total != want {
		return fmt.Errorf("the schedules are %+v, by namespace they are %+v", want, total)
	}
	return c.due.Check()
}

// Dump returns the durable state, one line a schedule, by id: what a replay of the journal must give again.
func (c *Core) Dump() []string {
	lines := make([]string, 0, len(c.byID))
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		s := c.byID[id].State
		o := *s.Task.Spec.Options
		s.Task.Spec.Options = nil
		lines = append(lines, fmt.Sprintf("schedule %d: %+v options %+v", id, s, o))
	}
	return lines
}
