package task

// Labels of a task that is a run of a schedule; a handler reads them in its attempt's labels.
const (
	// LabelSchedule has the schedule's name.
	LabelSchedule = "weft.schedule"
	// LabelScheduledAt has the scheduled time in UTC, as time.RFC3339 writes it.
	LabelScheduledAt = "weft.scheduled_at"
)
