package broker

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// scheduleFields read what a client sets of a schedule, by the names that an update's mask has for them.
var scheduleFields = map[string]func(*scheduleService, *weftv1.Schedule, *schedule.Change) *pure.Refusal{
	"cron":            (*scheduleService).readCron,
	"time_zone":       (*scheduleService).readZone,
	"task":            (*scheduleService).readTask,
	"catch_up":        (*scheduleService).readCatchUp,
	"catch_up_window": (*scheduleService).readWindow,
	"overlap":         (*scheduleService).readOverlap,
	"paused":          (*scheduleService).readPaused,
}

// scheduleOrder is the order in which they are read: the first that is wrong is named.
var scheduleOrder = []string{"cron", "time_zone", "task", "catch_up", "catch_up_window", "overlap", "paused"}

// change checks the fields that a mask names, or all of them without one, and returns what they set.
func (s *scheduleService) change(m *weftv1.Schedule, mask *fieldmaskpb.FieldMask) (*schedule.Change, *pure.Refusal) {
	asked := map[string]bool{}
	for _, path := range mask.GetPaths() {
		if scheduleFields[path] == nil {
			return nil, invalid("update_mask", fmt.Sprintf("has the unknown path %q", path))
		}
		asked[path] = true
	}
	change := &schedule.Change{}
	for _, path := range scheduleOrder {
		if len(asked) > 0 && !asked[path] {
			continue
		}
		if refusal := scheduleFields[path](s, m, change); refusal != nil {
			return nil, refusal
		}
	}
	return change, nil
}

func (s *scheduleService) readCron(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	line := m.GetCron()
	if line == "" {
		return invalid("schedule.cron", "is required")
	}
	if err := s.times.Check(line); err != nil {
		return invalid("schedule.cron", err.Error())
	}
	change.Cron = &line
	return nil
}

func (s *scheduleService) readZone(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	zone := m.GetTimeZone()
	if zone == "" {
		zone = "UTC"
	}
	if _, err := s.times.Zone(zone); err != nil {
		return invalid("schedule.time_zone", err.Error())
	}
	change.Zone = &zone
	return nil
}

func (s *scheduleService) readTask(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	const field = "schedule.task"
	spec := m.GetTask()
	switch {
	case spec == nil:
		return invalid(field, "is required")
	case spec.GetRunAt() != nil:
		return invalid(field+".run_at", "is what the schedule says")
	case spec.GetDaemon():
		return invalid(field+".daemon", "is for tasks of a call")
	case spec.GetDeadline() != nil:
		return invalid(field+".deadline", "is a moment, and there are many runs")
	case len(spec.GetAfter()) > 0:
		return invalid(field+".after", "names tasks, and there are many runs")
	case len(spec.GetLabels()) > schedule.LabelsMax:
		return invalid(field+".labels", fmt.Sprintf("must have at most %d pairs", schedule.LabelsMax))
	}
	for _, label := range []string{schedule.LabelName, schedule.LabelAt} {
		if _, ok := spec.GetLabels()[label]; ok {
			return invalid(field+".labels", label+" is set by the schedule")
		}
	}
	n, refusal := newTask(spec, 0)
	if refusal != nil {
		return inSubmit(refusal, field)
	}
	change.Task = &n
	return nil
}

func (*scheduleService) readCatchUp(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	policy := schedule.CatchUp(m.GetCatchUp())
	if policy == 0 {
		policy = schedule.CatchUpSkip
	}
	change.CatchUp = &policy
	return nil
}

func (*scheduleService) readWindow(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	window := m.GetCatchUpWindow().AsDuration()
	change.Window = &window
	return nil
}

func (*scheduleService) readOverlap(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	policy := schedule.Overlap(m.GetOverlap())
	if policy == 0 {
		policy = schedule.OverlapAllow
	}
	change.Overlap = &policy
	return nil
}

func (*scheduleService) readPaused(m *weftv1.Schedule, change *schedule.Change) *pure.Refusal {
	paused := m.GetPaused()
	change.Paused = &paused
	return nil
}

// scheduleMessage is a schedule for clients.
func scheduleMessage(st *schedule.State, full bool) *weftv1.Schedule {
	m := &weftv1.Schedule{
		Name: st.Name, Cron: st.Cron, TimeZone: st.Zone, Paused: st.Paused,
		Task:    scheduledTask(&st.Task, full),
		CatchUp: weftv1.CatchUpPolicy(st.CatchUp), Overlap: weftv1.OverlapPolicy(st.Overlap),
		CreatedAt: timestamp(st.CreatedAt), UpdatedAt: timestamp(st.UpdatedAt),
	}
	if st.Window > 0 {
		m.CatchUpWindow = durationpb.New(st.Window)
	}
	if !st.Paused {
		m.NextRunAt = timestamp(st.Next)
	}
	if st.LastTask != 0 {
		m.LastRun = &weftv1.ScheduleRun{ScheduledAt: timestamp(st.LastAt), TaskId: queue.FormatID(st.LastTask)}
	}
	if f := st.Failure; f.Reason != "" {
		m.LastError = &weftv1.ScheduleError{
			ScheduledAt: timestamp(f.At), Reason: reasonEnum(pure.Reason(f.Reason)), Message: f.Message,
		}
	}
	if s := st.Skipped; s.Reason != 0 {
		m.LastSkip = &weftv1.ScheduleSkip{ScheduledAt: timestamp(s.At), Reason: weftv1.ScheduleSkipReason(s.Reason)}
	}
	return m
}
