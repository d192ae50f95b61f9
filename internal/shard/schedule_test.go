package shard

import (
	"strings"
	"testing"
	"time"

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
