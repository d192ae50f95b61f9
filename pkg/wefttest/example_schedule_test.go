package wefttest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
	"github.com/weftq/weft/pkg/worker"
)

var report = task.Define[struct{}, struct{}]("report")

// In a program this is TestSchedule.
func testSchedule(t *testing.T) {
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) // a Monday
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		var ran []string
		b.Worker(worker.Config{Slots: 1}, func(w *worker.Worker) {
			worker.Handle(w, report, func(context.Context, struct{}) (struct{}, error) {
				ran = append(ran, time.Now().Format("15:04"))
				return struct{}{}, nil
			})
		})
		spec, err := client.NewSpec(report, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		schedule := client.Schedule{Name: "report", Cron: "30 */6 * * MON-FRI", Task: spec}
		if _, err := b.Client().CreateSchedule(t.Context(), schedule); err != nil {
			t.Fatal(err)
		}
		b.Advance(24 * time.Hour)
		if want := []string{"00:30", "06:30", "12:30", "18:30"}; !slices.Equal(ran, want) {
			t.Errorf("it ran at %v", ran)
		}
	}, wefttest.At(midnight))
}

// A day of a schedule.
func ExampleRun_schedule() {
	var t *testing.T // that of TestSchedule
	testSchedule(t)
}
