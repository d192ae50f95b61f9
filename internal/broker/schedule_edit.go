package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const taskPath = "task"

// taskEdits parts a mask: whole fields of the schedule, and fields of its task.
func taskEdits(mask *fieldmaskpb.FieldMask) (whole *fieldmaskpb.FieldMask, edits []protoreflect.FieldDescriptor, refusal *pure.Refusal) {
	whole = &fieldmaskpb.FieldMask{}
	fields := (&weftv1.TaskSpec{}).ProtoReflect().Descriptor().Fields()
	for _, path := range mask.GetPaths() {
		field, ok := strings.CutPrefix(path, taskPath+".")
		if !ok {
			whole.Paths = append(whole.Paths, path)
			continue
		}
		f := fields.ByName(protoreflect.Name(field))
		if f == nil {
			return nil, nil, invalid("update_mask", fmt.Sprintf("has the unknown path %q", path))
		}
		edits = append(edits, f)
	}
	if slices.Contains(whole.GetPaths(), taskPath) {
		edits = nil // the task is replaced whole
	}
	return whole, edits, nil
}

// editTask sets fields of a schedule's task, and others beside it. When another request has changed the task
// since it was read, it is read again: each such round is one that somebody else finished.
func (s *scheduleService) editTask(
	ctx context.Context, req *weftv1.UpdateScheduleRequest, mask *fieldmaskpb.FieldMask, edits []protoreflect.FieldDescriptor,
) (*weftv1.Schedule, error) {
	for {
		st, err := do[schedule.State](ctx, s.loop, &shard.GetSchedule{
			Namespace: orDefault(req.GetNamespace()), Name: req.GetSchedule().GetName(),
		})
		if err != nil {
			return nil, err
		}
		m := proto.CloneOf(req.GetSchedule())
		m.Task = scheduledTask(&st.Task, true)
		copyFields(m.GetTask(), req.GetSchedule().GetTask(), edits)
		change, refusal := s.change(m, &fieldmaskpb.FieldMask{Paths: append(slices.Clip(mask.GetPaths()), taskPath)})
		if refusal != nil {
			return nil, statusError(refusal)
		}
		change.Was = &st.Task
		updated, err := s.update(ctx, req.GetNamespace(), req.GetSchedule().GetName(), change)
		if status.Code(err) != codes.Aborted || ctx.Err() != nil {
			return updated, err
		}
	}
}

// scheduledTask is a schedule's task for clients.
func scheduledTask(n *queue.NewTask, full bool) *weftv1.TaskSpec {
	return specMessage(&queue.Snapshot{TaskState: queue.TaskState{Spec: n.Spec, Extra: queue.NoExtra}, QueueName: n.Queue}, full)
}

// copyFields sets fields of a task as another has them, also those that it does not have.
func copyFields(to, from *weftv1.TaskSpec, fields []protoreflect.FieldDescriptor) {
	for _, f := range fields {
		to.ProtoReflect().Clear(f)
	}
	for _, f := range fields { // last, as a task has a payload or a command
		if from.ProtoReflect().Has(f) {
			to.ProtoReflect().Set(f, from.ProtoReflect().Get(f))
		}
	}
}
