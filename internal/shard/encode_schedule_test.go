package shard

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

func init() {
	recordGenerators["schedulePut"] = func(t *rapid.T) any { return &schedule.Put{State: drawSchedule(t)} }
	recordGenerators["scheduleFired"] = func(t *rapid.T) any { return &schedule.Fired{ID: drawID(t), Progress: drawProgress(t)} }
	recordGenerators["scheduleDropped"] = func(t *rapid.T) any { return &schedule.Dropped{ID: drawID(t)} }
}

func drawSchedule(t *rapid.T) schedule.State {
	return schedule.State{
		ID: drawID(t), Namespace: drawText(t), Name: drawText(t),
		Definition: schedule.Definition{
			Cron: drawText(t), Zone: drawText(t), CatchUp: schedule.CatchUp(rapid.IntRange(0, 3).Draw(t, "catch up")),
			Window: drawDuration(t), Overlap: schedule.Overlap(rapid.IntRange(0, 2).Draw(t, "overlap")),
			Task: queue.NewTask{Queue: drawText(t), Spec: drawTask(t).Spec},
		},
		Paused: drawBool(t), CreatedAt: drawWall(t), UpdatedAt: drawWall(t), Progress: drawProgress(t),
	}
}

func drawProgress(t *rapid.T) schedule.Progress {
	return schedule.Progress{
		Next: drawWall(t), Through: drawWall(t), LastAt: drawWall(t), LastTask: drawID(t), Behind: drawCount(t),
		Failure: schedule.Failure{At: drawWall(t), Reason: drawText(t), Message: drawText(t)},
		Skipped: schedule.Skipped{At: drawWall(t), Reason: schedule.Skip(rapid.IntRange(0, 2).Draw(t, "skip"))},
	}
}

func TestAScheduleWithoutATaskIsCorruption(t *testing.T) {
	for _, task := range []*journalv1.TaskPut{nil, {State: 99}} {
		e := newEncoder()
		e.message(&journalv1.Record{Change: &journalv1.Record_SchedulePut{SchedulePut: &journalv1.SchedulePut{Id: 1, Task: task}}})
		_, err := entries(NewMachine(Config{}), 1, e.buf)
		wantCorrupt(t, err)
	}
}

func TestStrangersOfSchedules(t *testing.T) {
	for _, rec := range []any{&schedule.Fired{ID: 9}, &schedule.Dropped{ID: 9}} {
		if at, err := entries(NewMachine(Config{}), 5, body(putQueue, rec), body(&floor{5})); err != nil {
			t.Errorf("%T below the floor, at entry %d: %v", rec, at, err)
		}
		at, err := entries(NewMachine(Config{}), 5, body(putQueue), body(&floor{5}), body(rec))
		wantCorrupt(t, err)
		if at != 2 {
			t.Errorf("%T above the floor is noticed at entry %d", rec, at)
		}
	}
}
