// Package cron reads cron lines and says when they are due, in any time zone, over changes of the clocks.
//
// A [Line] is a fixed set of moments: which ones does not depend on when it was made, nor on what ran
// before. So the next one can be found from any moment, and a schedule that stood still can go on where it is
// now without walking through what it missed.
//
// The syntax and the calendar are those of github.com/netresearch/go-cron. That library finds the next time
// by adding hours to an instant, which gives a daily run twice in autumn, and none in spring where clocks
// change by half an hour. So it is only asked in a calendar without such changes, UTC, and what it finds
// there is the time that a clock on the wall shows; this package finds the instants at which it shows that.
package cron
