package shard

import (
	"fmt"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// scheduleMessage is the message of a schedule's record, nil of any other.
func scheduleMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *schedule.Put:
		return schedulePutMessage(&r.State)
	case *schedule.Fired:
		return &journalv1.Record{Change: &journalv1.Record_ScheduleFired{ScheduleFired: &journalv1.ScheduleFired{
			Id: r.ID, Progress: progressMessage(&r.Progress),
		}}}
	case *schedule.Dropped:
		return &journalv1.Record{Change: &journalv1.Record_ScheduleDropped{ScheduleDropped: &journalv1.ScheduleDropped{Id: r.ID}}}
	}
	return nil
}

func schedulePutMessage(s *schedule.State) *journalv1.Record {
	return &journalv1.Record{Change: &journalv1.Record_SchedulePut{SchedulePut: &journalv1.SchedulePut{
		Id: s.ID, Namespace: s.Namespace, Name: s.Name, Cron: s.Cron, Zone: s.Zone, CatchUp: uint32(s.CatchUp),
		CatchUpWindow: int64(s.Window), Overlap: uint32(s.Overlap), Queue: s.Task.Queue, Task: templateMessage(s.Task.Spec),
		Paused: s.Paused, CreatedAt: int64(s.CreatedAt), UpdatedAt: int64(s.UpdatedAt),
		Progress: progressMessage(&s.Progress),
	}}}
}

// templateMessage writes what tasks are to be as a task that has not come to anything yet: whatever a task can
// have, a schedule's can.
func templateMessage(spec queue.Spec) *journalv1.TaskPut {
	return taskPutMessage(&queue.TaskState{Spec: spec, Extra: queue.NoExtra, State: queue.Ready}).GetTaskPut()
}

func progressMessage(p *schedule.Progress) *journalv1.ScheduleProgress {
	return &journalv1.ScheduleProgress{
		Next: int64(p.Next), Through: int64(p.Through), LastAt: int64(p.LastAt), LastTask: p.LastTask, Behind: p.Behind,
		FailedAt: int64(p.Failure.At), FailureReason: p.Failure.Reason, FailureMessage: p.Failure.Message,
		SkippedAt: int64(p.Skipped.At), SkipReason: uint32(p.Skipped.Reason),
	}
}

// fromScheduleMessage reads a schedule's record, and returns nil for any other.
func fromScheduleMessage(m *journalv1.Record) (any, error) {
	switch c := m.Change.(type) {
	case *journalv1.Record_SchedulePut:
		return schedulePutRecord(c.SchedulePut)
	case *journalv1.Record_ScheduleFired:
		return &schedule.Fired{ID: c.ScheduleFired.Id, Progress: toProgress(c.ScheduleFired.Progress)}, nil
	case *journalv1.Record_ScheduleDropped:
		return &schedule.Dropped{ID: c.ScheduleDropped.Id}, nil
	}
	return nil, nil //nolint:nilnil // no schedule's, which is no error
}

func schedulePutRecord(r *journalv1.SchedulePut) (any, error) {
	if r.Task == nil {
		return nil, fmt.Errorf("schedule %d has no task", r.Id)
	}
	task, err := taskPutRecord(r.Task)
	if err != nil {
		return nil, fmt.Errorf("schedule %d: %w", r.Id, err)
	}
	return &schedule.Put{State: schedule.State{
		ID: r.Id, Namespace: r.Namespace, Name: r.Name,
		Definition: schedule.Definition{
			Cron: r.Cron, Zone: r.Zone, CatchUp: schedule.CatchUp(r.CatchUp), Window: time.Duration(r.CatchUpWindow),
			Overlap: schedule.Overlap(r.Overlap),
			Task:    queue.NewTask{Queue: r.Queue, Spec: task.(*queue.TaskPut).State.Spec},
		},
		Paused: r.Paused, CreatedAt: pure.Wall(r.CreatedAt), UpdatedAt: pure.Wall(r.UpdatedAt),
		Progress: toProgress(r.Progress),
	}}, nil
}

func toProgress(m *journalv1.ScheduleProgress) schedule.Progress {
	return schedule.Progress{
		Next: pure.Wall(m.GetNext()), Through: pure.Wall(m.GetThrough()), LastAt: pure.Wall(m.GetLastAt()),
		LastTask: m.GetLastTask(), Behind: m.GetBehind(),
		Failure: schedule.Failure{
			At: pure.Wall(m.GetFailedAt()), Reason: m.GetFailureReason(), Message: m.GetFailureMessage(),
		},
		Skipped: schedule.Skipped{At: pure.Wall(m.GetSkippedAt()), Reason: schedule.Skip(m.GetSkipReason())},
	}
}
