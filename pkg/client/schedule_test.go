package client_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weftq/weft/internal/brokertest"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// A task every working day, by the clocks of Berlin.
func ExampleClient_CreateSchedule() {
	addr, stop := start()
	defer stop()
	ctx := context.Background()
	c, err := client.Dial(addr)
	if err != nil {
		panic(err)
	}
	defer c.Close()

	s, err := c.CreateSchedule(ctx, client.Schedule{
		Name: "report", Cron: "30 7 * * MON-FRI", TimeZone: "Europe/Berlin",
		Task:    client.Spec{Kind: "upper", Payload: task.Text("report")},
		CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_LATEST, // one run for all that were missed
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.GetName(), s.GetNextRunAt().AsTime().Minute())

	taskID, err := c.RunSchedule(ctx, "report") // now, beside its times
	if err != nil {
		panic(err)
	}
	t, err := c.WaitTask(ctx, taskID)
	if err != nil {
		panic(err)
	}
	fmt.Println(t.GetOutcome().GetPayload().GetText(), t.GetSpec().GetLabels()[task.LabelSchedule])
	// Output:
	// report 30
	// REPORT report
}

func TestScheduleMethods(t *testing.T) {
	addr, stop, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(addr, client.WithNamespace("n"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"b", "a"} {
		if _, err := c.CreateSchedule(ctx, client.Schedule{
			Name: name, Cron: "@yearly", Task: client.Spec{Kind: "k"}, CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_ALL, CatchUpWindow: time.Hour,
		}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for s, err := range c.Schedules(ctx, true) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.GetName())
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("schedules %q", names)
	}
	if s, err := c.UpdateSchedule(ctx, client.Schedule{Name: "a", Cron: "@monthly"}, "cron"); err != nil || s.GetCron() != "@monthly" || s.GetTask().GetKind() != "k" {
		t.Errorf("update: %v, %v", s, err)
	}
	if s, err := c.UpdateSchedule(ctx, client.Schedule{Name: "a", Cron: "@daily", Task: client.Spec{Kind: "l"}}); err != nil || s.GetTask().GetKind() != "l" || s.GetCatchUpWindow() != nil {
		t.Errorf("update of all: %v, %v", s, err)
	}
	if s, err := c.PauseSchedule(ctx, "a"); err != nil || !s.GetPaused() {
		t.Errorf("pause: %v, %v", s, err)
	}
	if s, err := c.ResumeSchedule(ctx, "a"); err != nil || s.GetPaused() {
		t.Errorf("resume: %v, %v", s, err)
	}
	times, err := c.NextScheduleRuns(ctx, "a", 3)
	if s, err2 := c.Schedule(ctx, "a"); err != nil || err2 != nil || len(times) != 3 || !times[0].Equal(s.GetNextRunAt().AsTime()) {
		t.Errorf("next: %v, %v, %v", times, err, err2)
	}
	if err := c.DeleteSchedule(ctx, "a"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteSchedule(ctx, "a"); !client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_SCHEDULE_NOT_FOUND) {
		t.Errorf("delete again: %v", err)
	}
}

// forgetful deletes a schedule and loses the answer.
type forgetful struct {
	weftv1.UnimplementedScheduleServiceServer
	asked int
}

func (f *forgetful) DeleteSchedule(context.Context, *weftv1.DeleteScheduleRequest) (*weftv1.DeleteScheduleResponse, error) {
	if f.asked++; f.asked == 1 {
		return nil, status.Error(codes.Unavailable, "away")
	}
	st, err := status.New(codes.NotFound, "gone").WithDetails(&errdetails.ErrorInfo{Reason: "SCHEDULE_NOT_FOUND", Domain: "weft"})
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

func TestDeleteScheduleWhoseAnswerWasLost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	weftv1.RegisterScheduleServiceServer(server, &forgetful{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	c, err := client.Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.DeleteSchedule(t.Context(), "s"); err != nil {
		t.Error(err)
	}
}
