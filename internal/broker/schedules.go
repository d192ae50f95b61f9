package broker

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weftq/weft/internal/cron"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// scheduleService implements ScheduleService.
type scheduleService struct {
	weftv1.UnimplementedScheduleServiceServer
	loop  *shard.Loop
	times *cron.Table
}

// CreateSchedule implements ScheduleService.
func (s *scheduleService) CreateSchedule(ctx context.Context, req *weftv1.CreateScheduleRequest) (*weftv1.CreateScheduleResponse, error) {
	change, refusal := s.change(req.GetSchedule(), nil)
	if refusal != nil {
		return nil, statusError(refusal)
	}
	st, err := do[schedule.State](ctx, s.loop, &shard.CreateSchedule{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetSchedule().GetName(),
		Definition: change.Definition(), Paused: req.GetSchedule().GetPaused(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.CreateScheduleResponse{Schedule: scheduleMessage(&st, true)}, nil
}

// GetSchedule implements ScheduleService.
func (s *scheduleService) GetSchedule(ctx context.Context, req *weftv1.GetScheduleRequest) (*weftv1.GetScheduleResponse, error) {
	st, err := do[schedule.State](ctx, s.loop, &shard.GetSchedule{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetScheduleResponse{Schedule: scheduleMessage(&st, true)}, nil
}

// ListSchedules implements ScheduleService.
func (s *scheduleService) ListSchedules(ctx context.Context, req *weftv1.ListSchedulesRequest) (*weftv1.ListSchedulesResponse, error) {
	page, err := do[shard.SchedulePage](ctx, s.loop, &shard.ListSchedules{
		Namespace: orDefault(req.GetNamespace()), After: req.GetPageToken(), Max: pageSize(req.GetPageSize()),
	})
	if err != nil {
		return nil, err
	}
	resp, bytes := &weftv1.ListSchedulesResponse{}, 0
	for i := range page.Schedules {
		m := scheduleMessage(&page.Schedules[i], req.GetView() == weftv1.View_VIEW_FULL)
		if bytes += proto.Size(m); bytes > pageBytes && i > 0 {
			page.Schedules, page.More = page.Schedules[:i], true
			break
		}
		resp.Schedules = append(resp.Schedules, m)
	}
	if page.More {
		resp.NextPageToken = page.Schedules[len(page.Schedules)-1].Name
	}
	return resp, nil
}

// UpdateSchedule implements ScheduleService.
func (s *scheduleService) UpdateSchedule(ctx context.Context, req *weftv1.UpdateScheduleRequest) (*weftv1.UpdateScheduleResponse, error) {
	mask, edits, refusal := taskEdits(req.GetUpdateMask())
	if refusal != nil {
		return nil, statusError(refusal)
	}
	var st *weftv1.Schedule
	var err error
	if len(edits) > 0 {
		st, err = s.editTask(ctx, req, mask, edits)
	} else {
		st, err = s.updateWhole(ctx, req, mask)
	}
	if err != nil {
		return nil, err
	}
	return &weftv1.UpdateScheduleResponse{Schedule: st}, nil
}

// updateWhole sets whole fields of a schedule.
func (s *scheduleService) updateWhole(ctx context.Context, req *weftv1.UpdateScheduleRequest, mask *fieldmaskpb.FieldMask) (*weftv1.Schedule, error) {
	change, refusal := s.change(req.GetSchedule(), mask)
	if refusal != nil {
		return nil, statusError(refusal)
	}
	return s.update(ctx, req.GetNamespace(), req.GetSchedule().GetName(), change)
}

func (s *scheduleService) update(ctx context.Context, namespace, name string, change *schedule.Change) (*weftv1.Schedule, error) {
	st, err := do[schedule.State](ctx, s.loop, &shard.UpdateSchedule{
		Namespace: orDefault(namespace), Name: name, Change: *change,
	})
	if err != nil {
		return nil, err
	}
	return scheduleMessage(&st, true), nil
}

// PauseSchedule implements ScheduleService.
func (s *scheduleService) PauseSchedule(ctx context.Context, req *weftv1.PauseScheduleRequest) (*weftv1.PauseScheduleResponse, error) {
	paused := true
	st, err := s.update(ctx, req.GetNamespace(), req.GetName(), &schedule.Change{Paused: &paused})
	if err != nil {
		return nil, err
	}
	return &weftv1.PauseScheduleResponse{Schedule: st}, nil
}

// ResumeSchedule implements ScheduleService.
func (s *scheduleService) ResumeSchedule(ctx context.Context, req *weftv1.ResumeScheduleRequest) (*weftv1.ResumeScheduleResponse, error) {
	paused := false
	st, err := s.update(ctx, req.GetNamespace(), req.GetName(), &schedule.Change{Paused: &paused})
	if err != nil {
		return nil, err
	}
	return &weftv1.ResumeScheduleResponse{Schedule: st}, nil
}

// DeleteSchedule implements ScheduleService.
func (s *scheduleService) DeleteSchedule(ctx context.Context, req *weftv1.DeleteScheduleRequest) (*weftv1.DeleteScheduleResponse, error) {
	cmd := &shard.DropSchedule{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()}
	if _, err := s.loop.Do(ctx, cmd); err != nil {
		return nil, statusError(err)
	}
	return &weftv1.DeleteScheduleResponse{}, nil
}

// RunSchedule implements ScheduleService.
func (s *scheduleService) RunSchedule(ctx context.Context, req *weftv1.RunScheduleRequest) (*weftv1.RunScheduleResponse, error) {
	id, err := do[uint64](ctx, s.loop, &shard.RunSchedule{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(), RequestID: req.GetRequestId(),
	})
	if err != nil {
		return nil, err
	}
	return &weftv1.RunScheduleResponse{TaskId: queue.FormatID(id)}, nil
}

const nextRunsDefault = 5

// NextScheduleRuns implements ScheduleService. The times are found here: a hundred of them are too many for the
// shard's loop.
func (s *scheduleService) NextScheduleRuns(ctx context.Context, req *weftv1.NextScheduleRunsRequest) (*weftv1.NextScheduleRunsResponse, error) {
	st, err := do[schedule.State](ctx, s.loop, &shard.GetSchedule{
		Namespace: orDefault(req.GetNamespace()), Name: req.GetName(),
	})
	if err != nil {
		return nil, err
	}
	count := int(req.GetCount())
	if count == 0 {
		count = nextRunsDefault
	}
	resp, at := &weftv1.NextScheduleRunsResponse{}, st.Through
	if st.Paused {
		at = max(at, pure.Wall(time.Now().UnixNano()))
	}
	for range count {
		next, ok := s.times.Next(st.Cron, st.Zone, at)
		if !ok {
			break
		}
		resp.Times = append(resp.Times, timestamp(next))
		at = next
	}
	return resp, nil
}
