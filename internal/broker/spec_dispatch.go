package broker

import (
	"fmt"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const (
	keyBytesMax         = 256
	workerLabelsMax     = 16
	workerLabelBytesMax = 256
)

// dispatchOptions tells whether a spec says anything about when, where or beside what its task runs.
func dispatchOptions(spec *weftv1.TaskSpec) bool {
	return spec.GetPriority() != 0 || spec.GetDeadline() != nil || len(spec.GetAfter()) > 0 || spec.GetOnDependencyFailure() != 0 ||
		spec.GetUniqueKey() != "" || spec.GetFairnessKey() != "" || len(spec.GetWorkerLabels()) > 0 || spec.GetExclusive()
}

func readDispatchOptions(o *queue.Options, spec *weftv1.TaskSpec) (err *pure.Refusal) {
	if p := spec.GetPriority(); p < queue.PriorityMin || p > queue.PriorityMax {
		return invalid("spec.priority", "must be from -32768 to 32767")
	}
	o.Priority = int16(spec.GetPriority())
	if spec.GetDeadline() != nil {
		if o.Deadline, err = moment("spec.deadline", spec.GetDeadline()); err != nil {
			return err
		}
		o.Deadline = max(o.Deadline, 1) // 0 is none, and 1970 is long over
	}
	if o.After, err = taskIDs("spec.after", spec.GetAfter(), queue.DependenciesMax); err != nil {
		return err
	}
	switch spec.GetOnDependencyFailure() {
	case weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_UNSPECIFIED, weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_CANCEL:
	case weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN:
		o.RunOnFailure = true
	default:
		return invalid("spec.on_dependency_failure", "must be one of the defined enum values")
	}
	if len(spec.GetUniqueKey()) > keyBytesMax {
		return invalid("spec.unique_key", "must be at most 256 bytes")
	}
	if len(spec.GetFairnessKey()) > keyBytesMax {
		return invalid("spec.fairness_key", "must be at most 256 bytes")
	}
	o.UniqueKey, o.FairnessKey, o.Exclusive = spec.GetUniqueKey(), spec.GetFairnessKey(), spec.GetExclusive()
	o.WorkerLabels, err = labels("spec.worker_labels", spec.GetWorkerLabels(), workerLabelsMax, workerLabelBytesMax)
	return err
}

// taskIDs reads names of tasks.
func taskIDs(field string, list []string, most int) ([]uint64, *pure.Refusal) {
	if len(list) > most {
		return nil, invalid(field, fmt.Sprintf("must have at most %d items", most))
	}
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]uint64, len(list))
	for i, s := range list {
		if !taskIDForm(s) {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), "is no task's id")
		}
		out[i], _ = queue.ParseID(s) // one beyond 64 bits is 0, and no task's
	}
	return out, nil
}

// taskIDForm tells whether a text looks like a task's id; whether there is such a task is another question.
func taskIDForm(s string) bool {
	if len(s) < 2 || len(s) > 14 || s[0] != 't' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
