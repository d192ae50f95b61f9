package session

import "fmt"

// Check returns the first invariant that does not hold.
func (c *Core) Check() error {
	aged, requests := 0, 0
	base := uint64(0)
	for s := c.ages.Oldest(); s != nil; s = c.ages.Next(s) {
		aged++
		if s.age.Base() < base {
			return fmt.Errorf("session %x: base %d after %d", s.ID, s.age.Base(), base)
		}
		base = s.age.Base()
		if c.sessions[s.ID] != s {
			return fmt.Errorf("session %x is listed by age and does not live", s.ID)
		}
		if s.place == 0 {
			return fmt.Errorf("session %x has no deadline", s.ID)
		}
		if s.RequestID != "" {
			requests++
		}
	}
	if aged != len(c.sessions) || c.deadlines.Len() != len(c.sessions) || requests != len(c.requests) {
		return fmt.Errorf("%d sessions, %d by age, %d deadlines, %d of %d requests",
			len(c.sessions), aged, c.deadlines.Len(), len(c.requests), requests)
	}
	return nil
}
