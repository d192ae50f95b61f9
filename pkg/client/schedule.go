package client

import (
	"context"
	"crypto/rand"
	"iter"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Schedule says when to submit a task. Name, cron line and task have to be set. A run's task has two labels
// more: [task.LabelSchedule] and [task.LabelScheduledAt].
type Schedule struct {
	// Name is its name in the namespace.
	Name string
	// Cron is when: five fields as in crontab(5), or @hourly, @daily, "@every 90s" and the like.
	Cron string
	// TimeZone is where, a name of the IANA database; empty is UTC.
	TimeZone string
	// Task is what to submit. It has no RunAt, is no Daemon, and has at most 62 labels.
	Task Spec
	// CatchUp says what becomes of runs that were missed; by default they are skipped.
	CatchUp weftv1.CatchUpPolicy
	// CatchUpWindow is how late a missed run may be made up; zero is without limit. Not with SKIP.
	CatchUpWindow time.Duration
	// Overlap says whether a run begins while the last one is not over; by default it does.
	Overlap weftv1.OverlapPolicy
	// Paused schedules have no runs but those of RunSchedule.
	Paused bool
}

// proto returns the schedule as a message, without its task if that is not wanted.
func (s *Schedule) proto(task bool) *weftv1.Schedule {
	m := &weftv1.Schedule{
		Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, CatchUp: s.CatchUp, Overlap: s.Overlap, Paused: s.Paused,
	}
	if s.CatchUpWindow != 0 {
		m.CatchUpWindow = durationpb.New(s.CatchUpWindow)
	}
	if task {
		m.Task = s.Task.proto()
	}
	return m
}

// schedules is the generated client on the connection of the moment.
func (c *Client) schedules() weftv1.ScheduleServiceClient {
	return weftv1.NewScheduleServiceClient(c.current())
}

// CreateSchedule makes a schedule; its first run is at its first scheduled time after now. If there is one of
// that name already, it is returned as it is if it is equal, and else the error is SCHEDULE_EXISTS.
func (c *Client) CreateSchedule(ctx context.Context, s Schedule) (created *weftv1.Schedule, err error) {
	request := &weftv1.CreateScheduleRequest{Namespace: c.namespace, Schedule: s.proto(true)}
	err = c.retry(ctx, func() error {
		response, err := c.schedules().CreateSchedule(ctx, request)
		created = response.GetSchedule()
		return err
	})
	return created, err
}

// UpdateSchedule sets fields of a schedule, by their names in the API: cron, time_zone, task, catch_up,
// catch_up_window, overlap, paused; without any of them, all. A field of the task is named as task.queue, and
// changes nothing else of it.
func (c *Client) UpdateSchedule(ctx context.Context, s Schedule, fields ...string) (updated *weftv1.Schedule, err error) {
	request := &weftv1.UpdateScheduleRequest{
		Namespace: c.namespace, Schedule: s.proto(len(fields) == 0 || slices.ContainsFunc(fields, ofTask)),
	}
	if len(fields) > 0 {
		request.UpdateMask = &fieldmaskpb.FieldMask{Paths: fields}
	}
	err = c.retry(ctx, func() error {
		response, err := c.schedules().UpdateSchedule(ctx, request)
		updated = response.GetSchedule()
		return err
	})
	return updated, err
}

// ofTask tells whether a field is the task or one of its own.
func ofTask(field string) bool { return field == "task" || strings.HasPrefix(field, "task.") }

// Schedule returns a schedule as it is now.
func (c *Client) Schedule(ctx context.Context, name string) (s *weftv1.Schedule, err error) {
	err = c.retry(ctx, func() error {
		response, err := c.schedules().GetSchedule(ctx, &weftv1.GetScheduleRequest{Namespace: c.namespace, Name: name})
		s = response.GetSchedule()
		return err
	})
	return s, err
}

// Schedules gives the namespace's schedules by name, without their payloads and commands unless full. An error
// is the last one given.
func (c *Client) Schedules(ctx context.Context, full bool) iter.Seq2[*weftv1.Schedule, error] {
	request := &weftv1.ListSchedulesRequest{Namespace: c.namespace}
	if full {
		request.View = weftv1.View_VIEW_FULL
	}
	return paged(ctx, c, func(token string) ([]*weftv1.Schedule, string, error) {
		request.PageToken = token
		response, err := c.schedules().ListSchedules(ctx, request)
		return response.GetSchedules(), response.GetNextPageToken(), err
	})
}

// PauseSchedule stops a schedule's runs; tasks of earlier ones go on. Doing so again changes nothing.
func (c *Client) PauseSchedule(ctx context.Context, name string) (s *weftv1.Schedule, err error) {
	err = c.retry(ctx, func() error {
		response, err := c.schedules().PauseSchedule(ctx, &weftv1.PauseScheduleRequest{Namespace: c.namespace, Name: name})
		s = response.GetSchedule()
		return err
	})
	return s, err
}

// ResumeSchedule goes on with a paused schedule, at its first scheduled time after now.
func (c *Client) ResumeSchedule(ctx context.Context, name string) (s *weftv1.Schedule, err error) {
	err = c.retry(ctx, func() error {
		response, err := c.schedules().ResumeSchedule(ctx, &weftv1.ResumeScheduleRequest{Namespace: c.namespace, Name: name})
		s = response.GetSchedule()
		return err
	})
	return s, err
}

// DeleteSchedule forgets a schedule; tasks of its runs go on.
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	again := false
	return c.retry(ctx, func() error {
		_, err := c.schedules().DeleteSchedule(ctx, &weftv1.DeleteScheduleRequest{Namespace: c.namespace, Name: name})
		if again && HasReason(fromRPC(err), weftv1.ErrorReason_ERROR_REASON_SCHEDULE_NOT_FOUND) {
			return nil // the first try did it, and its answer was lost
		}
		again = true
		return err
	})
}

// RunSchedule submits a run of a schedule now, beside its scheduled times, and returns its task.
func (c *Client) RunSchedule(ctx context.Context, name string) (taskID string, err error) {
	request := &weftv1.RunScheduleRequest{Namespace: c.namespace, Name: name, RequestId: rand.Text()}
	err = c.retry(ctx, func() error {
		response, err := c.schedules().RunSchedule(ctx, request)
		taskID = response.GetTaskId()
		return err
	})
	return taskID, err
}

// NextScheduleRuns returns a schedule's next n times, at most 100, in UTC.
func (c *Client) NextScheduleRuns(ctx context.Context, name string, n int) (times []time.Time, err error) {
	request := &weftv1.NextScheduleRunsRequest{
		Namespace: c.namespace, Name: name, Count: uint32(max(n, 0)), //nolint:gosec // the broker checks the upper bound
	}
	err = c.retry(ctx, func() error {
		response, err := c.schedules().NextScheduleRuns(ctx, request)
		times = times[:0]
		for _, t := range response.GetTimes() {
			times = append(times, t.AsTime())
		}
		return err
	})
	return times, err
}
