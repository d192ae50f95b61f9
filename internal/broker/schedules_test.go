package broker

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func (h *harness) schedules() weftv1.ScheduleServiceClient {
	return weftv1.NewScheduleServiceClient(h.conn)
}

// yearly is a schedule that is not due while a test runs.
func yearly(name string) *weftv1.Schedule {
	return &weftv1.Schedule{
		Name: name, Cron: "0 0 29 2 *", TimeZone: "Europe/Berlin",
		Task: &weftv1.TaskSpec{Kind: "k", Work: &weftv1.TaskSpec_Payload{Payload: text("x")}},
	}
}

func (h *harness) createSchedule(s *weftv1.Schedule) *weftv1.Schedule {
	h.t.Helper()
	r, err := h.schedules().CreateSchedule(h.ctx(), &weftv1.CreateScheduleRequest{Schedule: s})
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetSchedule()
}

// wantField expects a refusal that names a field.
func wantField(t *testing.T, what string, err error, field string) {
	t.Helper()
	if info := infoOf(err); status.Code(err) != codes.InvalidArgument || info.GetMetadata()["field"] != field ||
		!strings.HasPrefix(status.Convert(err).Message(), field+": ") {
		t.Errorf("%s: %v, want one of the field %s", what, err, field)
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	h := newHarness(t)
	many := map[string]string{}
	for i := range 63 {
		many[fmt.Sprint("l", i)] = "v"
	}
	for name, test := range map[string]struct {
		change func(*weftv1.Schedule)
		field  string
	}{
		"no name":         {func(s *weftv1.Schedule) { s.Name = "" }, "schedule.name"},
		"a bad name":      {func(s *weftv1.Schedule) { s.Name = "a b" }, "schedule.name"},
		"no line":         {func(s *weftv1.Schedule) { s.Cron = "" }, "schedule.cron"},
		"a bad line":      {func(s *weftv1.Schedule) { s.Cron = "61 * * * *" }, "schedule.cron"},
		"too few fields":  {func(s *weftv1.Schedule) { s.Cron = "* * * *" }, "schedule.cron"},
		"a long line":     {func(s *weftv1.Schedule) { s.Cron = strings.Repeat(" ", 250) + "@hourly" }, "schedule.cron"},
		"never":           {func(s *weftv1.Schedule) { s.Cron = "0 0 30 2 *" }, "schedule.cron"},
		"a zone in it":    {func(s *weftv1.Schedule) { s.Cron = "TZ=UTC @daily" }, "schedule.cron"},
		"half a second":   {func(s *weftv1.Schedule) { s.Cron = "@every 500ms" }, "schedule.cron"},
		"a bad zone":      {func(s *weftv1.Schedule) { s.TimeZone = "Europe/Atlantis" }, "schedule.time_zone"},
		"the local zone":  {func(s *weftv1.Schedule) { s.TimeZone = "Local" }, "schedule.time_zone"},
		"a long zone":     {func(s *weftv1.Schedule) { s.TimeZone = strings.Repeat("x", 65) }, "schedule.time_zone"},
		"no task":         {func(s *weftv1.Schedule) { s.Task = nil }, "schedule.task"},
		"no kind":         {func(s *weftv1.Schedule) { s.Task.Kind = "" }, "schedule.task.kind"},
		"a bad queue":     {func(s *weftv1.Schedule) { s.Task.Queue = "?" }, "schedule.task.queue"},
		"run_at":          {func(s *weftv1.Schedule) { s.Task.RunAt = timestamppb.Now() }, "schedule.task.run_at"},
		"daemon":          {func(s *weftv1.Schedule) { s.Task.Daemon = true }, "schedule.task.daemon"},
		"deadline":        {func(s *weftv1.Schedule) { s.Task.Deadline = timestamppb.Now() }, "schedule.task.deadline"},
		"after":           {func(s *weftv1.Schedule) { s.Task.After = []string{"t1"} }, "schedule.task.after"},
		"timeout":         {func(s *weftv1.Schedule) { s.Task.Timeout = durationpb.New(-1) }, "schedule.task.timeout"},
		"jitter":          {func(s *weftv1.Schedule) { s.Task.Retry = &weftv1.RetryPolicy{Jitter: math.NaN()} }, "schedule.task.retry.jitter"},
		"many labels":     {func(s *weftv1.Schedule) { s.Task.Labels = many }, "schedule.task.labels"},
		"a label of ours": {func(s *weftv1.Schedule) { s.Task.Labels = map[string]string{"weft.schedule": "x"} }, "schedule.task.labels"},
		"catch-up":        {func(s *weftv1.Schedule) { s.CatchUp = 9 }, "schedule.catch_up"},
		"overlap":         {func(s *weftv1.Schedule) { s.Overlap = 9 }, "schedule.overlap"},
		"a window": {
			func(s *weftv1.Schedule) { s.CatchUpWindow = durationpb.New(time.Hour) }, "schedule.catch_up_window",
		},
		"no window": {
			func(s *weftv1.Schedule) { s.CatchUp, s.CatchUpWindow = 2, durationpb.New(0) }, "schedule.catch_up_window",
		},
		"a long window": {
			func(s *weftv1.Schedule) { s.CatchUp, s.CatchUpWindow = 2, durationpb.New(367*24*time.Hour) }, "schedule.catch_up_window",
		},
	} {
		s := yearly("s")
		test.change(s)
		_, err := h.schedules().CreateSchedule(h.ctx(), &weftv1.CreateScheduleRequest{Schedule: s})
		wantField(t, name, err, test.field)
	}
	large := yearly("s")
	large.Task.Work = &weftv1.TaskSpec_Payload{Payload: text(strings.Repeat("x", payloadBytesMax+1))}
	_, err := h.schedules().CreateSchedule(h.ctx(), &weftv1.CreateScheduleRequest{Schedule: large})
	if info := infoOf(err); info.GetReason() != "PAYLOAD_TOO_LARGE" || info.GetMetadata()["field"] != "schedule.task.payload" {
		t.Errorf("a large payload: %v", err)
	}
	list, err := h.schedules().ListSchedules(h.ctx(), &weftv1.ListSchedulesRequest{})
	if err != nil || len(list.GetSchedules()) != 0 {
		t.Errorf("there are %v, %v", list, err)
	}
}

func TestScheduleIsTheSameAgain(t *testing.T) {
	h := newHarness(t)
	s := yearly("s")
	fields := map[string]any{}
	for i := range 20 {
		fields[fmt.Sprint(i)] = float64(i)
	}
	v, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	s.Task.Labels, s.Task.WorkerLabels = map[string]string{"a": "1", "b": "2"}, map[string]string{"gpu": "yes"}
	s.Task.Retry, s.Task.Timeout, s.Task.Priority = &weftv1.RetryPolicy{AttemptsMax: 3}, durationpb.New(time.Hour), -5
	s.Task.UniqueKey, s.Task.FairnessKey, s.Task.Retention = "u", "f", durationpb.New(time.Hour)
	s.Task.FailedRetention = durationpb.New(2 * time.Hour)
	s.Task.Work = &weftv1.TaskSpec_Payload{Payload: &weftv1.Payload{Value: &weftv1.Payload_Json{Json: structpb.NewStructValue(v)}}}
	first := h.createSchedule(s)
	if want := time.Date(2028, 2, 28, 23, 0, 0, 0, time.UTC); !first.GetNextRunAt().AsTime().Equal(want) {
		t.Errorf("its first run is at %v", first.GetNextRunAt().AsTime())
	}
	for range 10 {
		if again := h.createSchedule(s); !proto.Equal(again, first) {
			t.Fatalf("got %v\nhad %v", again, first)
		}
	}
	h.restart()
	if again := h.createSchedule(s); !proto.Equal(again, first) {
		t.Errorf("after a restart %v\nhad %v", again, first)
	}
	// What is read can be written: it is equal.
	if again := h.createSchedule(first); !proto.Equal(again, first) {
		t.Errorf("from what was read %v\nhad %v", again, first)
	}
	s.Cron = "0 0 1 1 *"
	_, err = h.schedules().CreateSchedule(h.ctx(), &weftv1.CreateScheduleRequest{Schedule: s})
	if info := infoOf(err); status.Code(err) != codes.AlreadyExists || info.GetReason() != "SCHEDULE_EXISTS" || info.GetMetadata()["schedule"] != "s" {
		t.Errorf("another line: %v", err)
	}
}

func TestScheduleUpdates(t *testing.T) {
	h := newHarness(t)
	svc := h.schedules()
	h.createSchedule(yearly("s"))
	update := func(s *weftv1.Schedule, paths ...string) (*weftv1.Schedule, error) {
		req := &weftv1.UpdateScheduleRequest{Schedule: s}
		if paths != nil {
			req.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
		}
		r, err := svc.UpdateSchedule(h.ctx(), req)
		return r.GetSchedule(), err
	}
	must := func(s *weftv1.Schedule, err error) *weftv1.Schedule {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := must(update(&weftv1.Schedule{Name: "s", Cron: "0 12 1 1 *", TimeZone: "nonsense"}, "cron"))
	if s.GetCron() != "0 12 1 1 *" || s.GetTimeZone() != "Europe/Berlin" || s.GetNextRunAt().AsTime().Hour() != 11 {
		t.Errorf("the line alone: %v", s)
	}
	s = must(update(&weftv1.Schedule{
		Name: "s", CatchUp: weftv1.CatchUpPolicy_CATCH_UP_POLICY_ALL, CatchUpWindow: durationpb.New(time.Hour), Paused: true,
	}, "catch_up", "catch_up_window", "paused", "time_zone"))
	if s.GetTimeZone() != "UTC" || !s.GetPaused() || s.GetNextRunAt() != nil || s.GetCatchUpWindow().GetSeconds() != 3600 {
		t.Errorf("some fields: %v", s)
	}
	_, err := update(&weftv1.Schedule{Name: "s"}, "catch_up")
	wantField(t, "a window without its policy", err, "schedule.catch_up_window")
	_, err = update(&weftv1.Schedule{Name: "s"}, "name")
	wantField(t, "the name", err, "update_mask")
	_, err = update(&weftv1.Schedule{Name: "s", Cron: "@hourly"})
	wantField(t, "all but the task", err, "schedule.task")
	_, err = update(&weftv1.Schedule{Name: "s"}, "task", "cron")
	wantField(t, "no line", err, "schedule.cron")
	s = must(update(yearly("s")))
	if s.GetPaused() || s.GetCatchUp() != weftv1.CatchUpPolicy_CATCH_UP_POLICY_SKIP || s.GetCatchUpWindow() != nil {
		t.Errorf("all fields: %v", s)
	}
	if again := must(update(yearly("s"))); !proto.Equal(again, s) {
		t.Errorf("all fields again: %v\nhad %v", again, s)
	}
}

// A field of a schedule's task is set alone, also when others are set at the same time.
func TestScheduleTaskFields(t *testing.T) {
	h := newHarness(t)
	s := yearly("s")
	s.Task.Retry = &weftv1.RetryPolicy{AttemptsMax: 3, InitialBackoff: durationpb.New(time.Minute)}
	s.Task.Labels = map[string]string{"a": "b"}
	was := h.createSchedule(s)
	update := func(spec *weftv1.TaskSpec, paths ...string) (*weftv1.Schedule, error) {
		r, err := h.schedules().UpdateSchedule(h.ctx(), &weftv1.UpdateScheduleRequest{
			Schedule: &weftv1.Schedule{Name: "s", Task: spec}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
		})
		return r.GetSchedule(), err
	}
	same := proto.CloneOf(was.GetTask())
	if now, err := update(&weftv1.TaskSpec{Grace: same.GetGrace()}, "task.grace"); err != nil || !proto.Equal(now, was) {
		t.Errorf("%v, %v, was %v", now, err, was)
	}
	const rounds = 30
	done := make(chan error)
	for path, spec := range map[string]func(i int) *weftv1.TaskSpec{
		"task.queue":    func(i int) *weftv1.TaskSpec { return &weftv1.TaskSpec{Queue: fmt.Sprint("q", i)} },
		"task.priority": func(i int) *weftv1.TaskSpec { return &weftv1.TaskSpec{Priority: int32(i)} },
		"task.timeout": func(i int) *weftv1.TaskSpec {
			return &weftv1.TaskSpec{Timeout: durationpb.New(time.Duration(i) * time.Second)}
		},
	} {
		go func() {
			var err error
			for i := 1; i <= rounds && err == nil; i++ {
				_, err = update(spec(i), path)
			}
			done <- err
		}()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	same.Queue, same.Priority, same.Timeout = fmt.Sprint("q", rounds), rounds, durationpb.New(rounds*time.Second)
	now, err := update(nil, "task.labels")
	same.Labels = nil
	if err != nil || !proto.Equal(now.GetTask(), same) {
		t.Errorf("%v, %v, want %v", now.GetTask(), err, same)
	}
	command := &weftv1.TaskSpec{Work: &weftv1.TaskSpec_Command{Command: &weftv1.Command{Argv: []string{"true"}}}}
	if now, err = update(command, "task.command", "task.kind"); err != nil || now.GetTask().GetKind() != "command" || now.GetTask().GetPayload() != nil {
		t.Errorf("a command in place of a payload: %v, %v", now, err)
	}
	for path, field := range map[string]string{
		"task.nothing": "update_mask", "task.": "update_mask", "task.retry.jitter": "update_mask", "task.payload": "schedule.task.command",
		"task.run_at": "schedule.task.run_at", "task.daemon": "schedule.task.daemon",
	} {
		_, err := update(&weftv1.TaskSpec{RunAt: timestamppb.Now(), Daemon: true, Work: &weftv1.TaskSpec_Payload{Payload: text("x")}}, path)
		wantField(t, path, err, field)
	}
	if _, err := h.schedules().UpdateSchedule(h.ctx(), &weftv1.UpdateScheduleRequest{
		Schedule: &weftv1.Schedule{Name: "none"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"task.queue"}},
	}); infoOf(err).GetReason() != "SCHEDULE_NOT_FOUND" {
		t.Error(err)
	}
}

func TestSchedulesThatAreNot(t *testing.T) {
	h := newHarness(t)
	svc, ctx := h.schedules(), h.ctx()
	h.createSchedule(yearly("s"))
	for name, ask := range map[string]func() error{
		"get": func() error { _, err := svc.GetSchedule(ctx, &weftv1.GetScheduleRequest{Name: "x"}); return err },
		"namespace": func() error {
			_, err := svc.GetSchedule(ctx, &weftv1.GetScheduleRequest{Namespace: "x", Name: "s"})
			return err
		},
		"update": func() error {
			_, err := svc.UpdateSchedule(ctx, &weftv1.UpdateScheduleRequest{Schedule: yearly("x")})
			return err
		},
		"pause":  func() error { _, err := svc.PauseSchedule(ctx, &weftv1.PauseScheduleRequest{Name: "x"}); return err },
		"resume": func() error { _, err := svc.ResumeSchedule(ctx, &weftv1.ResumeScheduleRequest{Name: "x"}); return err },
		"delete": func() error { _, err := svc.DeleteSchedule(ctx, &weftv1.DeleteScheduleRequest{Name: "x"}); return err },
		"run":    func() error { _, err := svc.RunSchedule(ctx, &weftv1.RunScheduleRequest{Name: "x"}); return err },
		"next": func() error {
			_, err := svc.NextScheduleRuns(ctx, &weftv1.NextScheduleRunsRequest{Name: "x"})
			return err
		},
	} {
		if err := ask(); status.Code(err) != codes.NotFound || infoOf(err).GetReason() != "SCHEDULE_NOT_FOUND" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchedulePages(t *testing.T) {
	h := newHarness(t)
	for i := range 5 {
		s := yearly(fmt.Sprint("s", i))
		s.Task.Work = &weftv1.TaskSpec_Command{Command: &weftv1.Command{Argv: []string{"date"}, Dir: "/"}}
		s.Task.Kind = ""
		h.createSchedule(s)
	}
	var names []string
	req := &weftv1.ListSchedulesRequest{PageSize: 2, View: weftv1.View_VIEW_FULL}
	for {
		page, err := h.schedules().ListSchedules(h.ctx(), req)
		if err != nil || len(page.GetSchedules()) > 2 {
			t.Fatalf("%v, %v", page, err)
		}
		for _, s := range page.GetSchedules() {
			names = append(names, s.GetName())
			if s.GetTask().GetCommand().GetDir() != "/" {
				t.Errorf("%v", s)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "s0 s1 s2 s3 s4" {
		t.Error(got)
	}
	page, err := h.schedules().ListSchedules(h.ctx(), &weftv1.ListSchedulesRequest{})
	if err != nil || page.GetSchedules()[0].GetTask().GetCommand().GetDir() != "" {
		t.Errorf("basic: %v, %v", page, err)
	}
}

// A schedule really runs, and its task knows its time.
func TestScheduleRuns(t *testing.T) {
	h := newHarness(t)
	svc, ctx := h.schedules(), h.ctx()
	s := yearly("s")
	s.Cron = "@every 1s"
	h.createSchedule(s)
	res, err := h.tasks.ReserveTasks(ctx, &weftv1.ReserveTasksRequest{Wait: durationpb.New(time.Minute)})
	if err != nil || len(res.GetTasks()) != 1 {
		t.Fatalf("%v, %v", res, err)
	}
	labels := res.GetTasks()[0].GetLabels()
	at, err := time.Parse(time.RFC3339, labels[task.LabelScheduledAt])
	if err != nil || labels[task.LabelSchedule] != "s" || at.Nanosecond() != 0 || time.Since(at) > patience {
		t.Errorf("labels %v", labels)
	}
	paused, err := svc.PauseSchedule(ctx, &weftv1.PauseScheduleRequest{Name: "s"})
	if err != nil || paused.GetSchedule().GetLastRun().GetTaskId() == "" || paused.GetSchedule().GetLastRun().GetScheduledAt().AsTime().Before(at) {
		t.Errorf("%v, %v", paused, err)
	}
	run, err := svc.RunSchedule(ctx, &weftv1.RunScheduleRequest{Name: "s", RequestId: "r"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := svc.RunSchedule(ctx, &weftv1.RunScheduleRequest{Name: "s", RequestId: "r"})
	if err != nil || again.GetTaskId() != run.GetTaskId() {
		t.Errorf("%v, %v", again, err)
	}
	next, err := svc.NextScheduleRuns(ctx, &weftv1.NextScheduleRunsRequest{Name: "s", Count: 3})
	if err != nil || len(next.GetTimes()) != 3 || next.GetTimes()[2].AsTime().Sub(next.GetTimes()[0].AsTime()) != 2*time.Second {
		t.Errorf("%v, %v", next, err)
	}
	if _, err := svc.DeleteSchedule(ctx, &weftv1.DeleteScheduleRequest{Name: "s"}); err != nil {
		t.Error(err)
	}
	if got, err := h.tasks.GetTask(ctx, &weftv1.GetTaskRequest{TaskId: run.GetTaskId()}); err != nil || got.GetTask().GetSpec().GetLabels()["weft.schedule"] != "s" {
		t.Errorf("its run is %v, %v", got, err)
	}
}

// With everything made up, the runs before and after a restart are one a second, and none is there twice.
func TestScheduleOverARestart(t *testing.T) {
	h := newHarness(t)
	s := yearly("s")
	s.Cron, s.CatchUp = "@every 1s", weftv1.CatchUpPolicy_CATCH_UP_POLICY_ALL
	h.createSchedule(s)
	var seen []time.Time
	take := func(n int) {
		t.Helper()
		for n > 0 {
			res, err := h.tasks.ReserveTasks(h.ctx(), &weftv1.ReserveTasksRequest{
				TasksMax: 10, Wait: durationpb.New(time.Minute), Lease: durationpb.New(time.Hour),
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range res.GetTasks() {
				at, err := time.Parse(time.RFC3339, a.GetLabels()["weft.scheduled_at"])
				if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, at)
				n--
			}
		}
	}
	take(1)
	h.restart()
	take(3)
	for i := 1; i < len(seen); i++ {
		if seen[i].Sub(seen[i-1]) != time.Second {
			t.Errorf("runs at %v", seen)
			break
		}
	}
}

// infoOf is an error's ErrorInfo, an empty one if it has none.
func infoOf(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return &errdetails.ErrorInfo{}
}
