// Package schedule has the rules of schedules: the pure core of what runs by the clock.
//
// A schedule has a cron line, a time zone and a task. At each scheduled time it has a run: a task like any
// other, submitted in the same step as the record that says so. So a run happens once, whatever dies when.
//
//	          Next ≤ now
//	waiting ─────────────▶ due ──▶ run      Fired, and the task
//	   ▲                    ├────▶ skipped  Fired: missed, or the last run is not over
//	   │                    └────▶ refused  Fired, with the error
//	   └── Next = the first time after the one that was dealt with
//
// The core knows no calendar. It is given a function that says which time follows one ([Config.Next]), asks it
// while it decides, and writes the answer into its records, so that a replay asks nothing. The times of a
// line are a fixed set: which one comes next does not depend on when one asks. Times up to [State.Through]
// are dealt with, and never looked at again, wherever the clock jumps.
package schedule
