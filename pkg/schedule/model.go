package schedule

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// CatchUp says what becomes of runs that were missed. The numbers are those of the API and of the journal.
type CatchUp uint8

// Policies for missed runs.
const (
	CatchUpSkip   CatchUp = 1 // late ones are not made up
	CatchUpLatest CatchUp = 2 // one run for all of them
	CatchUpAll    CatchUp = 3 // each of them, oldest first
)

// Overlap says whether a run begins while the last one is not over. The numbers are those of the API and of
// the journal.
type Overlap uint8

// Policies for runs that overlap.
const (
	OverlapAllow Overlap = 1
	OverlapSkip  Overlap = 2
)

// Skip says why there was no run at a scheduled time. The numbers are those of the API and of the journal.
type Skip uint8

// Reasons for a skipped run.
const (
	SkipMissed  Skip = 1 // it was too late for it, or a later one was due
	SkipOverlap Skip = 2 // the last run was not over
)

// Limits.
const (
	SchedulesMax = 10_000      // of a namespace
	BytesMax     = 64 << 20    // of a namespace's schedules, about as encoded
	BehindMax    = 1000        // runs that CatchUpAll makes up in a row
	LateMax      = time.Minute // that a run of CatchUpSkip may be late
	WindowMax    = 366 * 24 * time.Hour
	LabelsMax    = 62 // of the task: a run's has two more
)

// Labels of a run's task.
const (
	LabelName = "weft.schedule"     // the schedule's name
	LabelAt   = "weft.scheduled_at" // the scheduled time, as in RFC 3339, in UTC
)

// Definition is what a client sets.
type Definition struct {
	Cron    string
	Zone    string
	CatchUp CatchUp
	Window  time.Duration // how late a run may be made up; 0 is without limit. Not with CatchUpSkip
	Overlap Overlap
	Task    queue.NewTask
}

// Failure is why a run was refused.
type Failure struct {
	At      pure.Wall // the scheduled time
	Reason  string
	Message string
}

// Skipped is the last time at which there was no run; of several at once, the first of them.
type Skipped struct {
	At     pure.Wall
	Reason Skip
}

// Progress is how far a schedule has come.
type Progress struct {
	Next     pure.Wall // 0 if there is none
	Through  pure.Wall // scheduled times up to this one are dealt with
	LastAt   pure.Wall // the last run's scheduled time, 0 if there was none
	LastTask uint64    // and its task
	Behind   uint32    // runs made up since the schedule was last on time
	Failure  Failure   // of the last run, if it was refused
	Skipped  Skipped
}

// State is what of a schedule is durable: all of it.
type State struct {
	ID        uint64
	Namespace string
	Name      string
	Definition
	Paused    bool
	CreatedAt pure.Wall
	UpdatedAt pure.Wall
	Progress
}

// Records. They assign; applying one increments nothing.
type (
	// Put is a schedule's whole state.
	Put struct{ State State }

	// Fired says how far a schedule has come, at a scheduled time or by hand.
	Fired struct {
		ID uint64
		Progress
	}

	// Dropped forgets a schedule.
	Dropped struct{ ID uint64 }
)

// Schedule is a schedule that exists.
type Schedule struct {
	State

	place  int32
	weight int64
	age    pure.Age[Schedule]
}
