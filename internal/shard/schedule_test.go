package shard

import (
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
)

// Schedules are copied forward, and what is below the floor is purged: a journal of nothing but runs that are
// refused stays small, and a replay of its rest gives all of them.
func TestSchedulesAreCopiedForward(t *testing.T) {
	s := newScript(t, Config{CompactAfter: 1000, PurgeStep: 500})
	for _, name := range []string{"often", "seldom"} {
		line := map[string]string{"often": "@every 10s", "seldom": "@yearly"}[name]
		s.decide(&CreateSchedule{Namespace: scriptNamespace, Name: name, Definition: schedule.Definition{
			Cron: line, CatchUp: schedule.CatchUpSkip, Overlap: schedule.OverlapAllow,
			Task: queue.NewTask{Queue: "nowhere", Spec: queue.Spec{Kind: "k"}},
		}}, func(_ any, err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	for range 500 {
		s.wall = s.wall.Add(10 * time.Second)
		s.m.Tick(s.wall, 0)
		s.settle()
		if err := s.m.Check(); err != nil {
			t.Fatal(err)
		}
	}
	size := 0
	for _, e := range s.entries {
		size += len(e)
	}
	if s.first < 400 || size > 5000 {
		t.Errorf("the journal begins at %d and has %d bytes", s.first, size)
	}
	want := s.m.Dump()
	s.start()
	if got := s.m.Dump(); strings.Join(got, "\n") != strings.Join(want, "\n") || len(got) != 3 {
		t.Errorf("a replay gives\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A request for a run is answered with the same task again, whether it began that task or joined it.
func TestRunOfAScheduleIsIdempotent(t *testing.T) {
	s := newScript(t, Config{})
	var reply any
	do := func(cmd Command) any {
		t.Helper()
		s.decide(cmd, func(v any, err error) {
			if reply = v; err != nil {
				t.Errorf("%T: %v", cmd, err)
			}
		})
		return reply
	}
	o := *queue.DefaultOptions
	o.UniqueKey = "u"
	n := queue.NewTask{Queue: "default", Spec: queue.Spec{Kind: "k", Options: &o}}
	leader := do(&SubmitTask{Namespace: scriptNamespace, Task: n}).(queue.Submitted)
	do(&CreateSchedule{Namespace: scriptNamespace, Name: "s", Definition: schedule.Definition{
		Cron: "@yearly", CatchUp: schedule.CatchUpSkip, Overlap: schedule.OverlapAllow, Task: n,
	}})
	for range 2 {
		if id := do(&RunSchedule{Namespace: scriptNamespace, Name: "s", RequestID: "r"}); id != leader.ID {
			t.Errorf("the run is task %v, not %d", id, leader.ID)
		}
	}
	do(&CancelTask{Namespace: scriptNamespace, ID: leader.ID, Grace: -1})
	own := do(&RunSchedule{Namespace: scriptNamespace, Name: "s", RequestID: "another"})
	if again := do(&RunSchedule{Namespace: scriptNamespace, Name: "s", RequestID: "another"}); own == leader.ID || again != own {
		t.Errorf("the run is task %v, then %v", own, again)
	}
	do(&SubmitTask{Namespace: scriptNamespace, Task: queue.NewTask{Queue: "default", Spec: queue.Spec{Kind: "k"}}, RequestID: "theirs"})
	s.decide(&RunSchedule{Namespace: scriptNamespace, Name: "s", RequestID: "theirs"}, func(_ any, err error) {
		wantReason(t, err, pure.RequestMismatch)
	})
}

// A schedule that is there needs no room.
func TestCreateScheduleAgainWithoutRoom(t *testing.T) {
	create := func(name string) *CreateSchedule {
		return &CreateSchedule{Namespace: scriptNamespace, Name: name, Definition: schedule.Definition{
			Cron: "@yearly", CatchUp: schedule.CatchUpSkip, Overlap: schedule.OverlapAllow,
			Task: queue.NewTask{Queue: "default", Spec: queue.Spec{Kind: "k"}},
		}}
	}
	for name, without := range map[string]func(*Machine){
		"low disk":   func(m *Machine) { m.SetDiskLow(true) },
		"full state": func(m *Machine) { m.cfg.Limits.Bytes = 1 },
	} {
		s := newScript(t, Config{})
		ok := func(_ any, err error) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.decide(create("s"), ok)
		without(s.m)
		s.decide(create("s"), ok)
		s.decide(create("another"), func(_ any, err error) {
			if err == nil {
				t.Errorf("%s: there is room", name)
			}
		})
	}
}
