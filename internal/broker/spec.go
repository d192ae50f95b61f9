package broker

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Payload encodings: how the API spells the bytes.
const (
	encodingNone          = 0
	encodingBytes         = 1
	encodingText          = 2
	encodingJSON          = 3
	encodingCommand       = 4
	encodingCommandResult = 5
)

// commandKind is the kind of tasks that are commands.
const commandKind = "command"

const (
	payloadBytesMax       = 512 << 10
	commandArgsMax        = 4096
	commandEnvMax         = 1024
	commandDirMax         = 4096
	commandOutputMax      = 192 << 10
	labelsMax             = 64
	labelBytesMax         = 1024
	timeoutMax            = 30 * 24 * time.Hour
	graceMax              = time.Hour
	retentionMax          = 90 * 24 * time.Hour
	attemptsMax           = 1000
	initialBackoffMax     = 24 * time.Hour
	backoffMax            = 7 * 24 * time.Hour
	multiplierMax         = 100
	jitterDefault         = 0.2
	errorReasonBytesMax   = 256
	errorMessageBytesMax  = 16 << 10
	errorStackBytesMax    = 32 << 10
	sessionNameBytesMax   = 256
	durationSecondsValid  = 315_576_000_000
	timestampSecondsMin   = -62_135_596_800
	timestampSecondsMax   = 253_402_300_799
	nanosPerSecond        = 1_000_000_000
	wallSecondsRepresents = math.MaxInt64 / nanosPerSecond
)

// newTask checks a spec and turns it into what the shard accepts. Every refusal names the field.
func newTask(spec *weftv1.TaskSpec, index uint64) (queue.NewTask, *pure.Refusal) {
	n := queue.NewTask{Index: index}
	if spec == nil {
		return n, invalid("spec", "is required")
	}
	if !nameOK(spec.GetQueue(), 0) {
		return n, invalid("spec.queue", nameRule)
	}
	if !nameOK(spec.GetKind(), 0) {
		return n, invalid("spec.kind", nameRule)
	}
	n.Queue = spec.GetQueue()
	if n.Queue == "" {
		n.Queue = queue.DefaultQueue
	}
	var err *pure.Refusal
	if n.Spec.Kind, n.Spec.Payload, err = work(spec); err != nil {
		return n, err
	}
	if n.Spec.Options, err = options(spec); err != nil {
		return n, err
	}
	if spec.GetRunAt() != nil {
		if n.Spec.RunAt, err = moment("spec.run_at", spec.GetRunAt()); err != nil {
			return n, err
		}
	}
	if neverRuns(spec) {
		return n, invalid("spec.deadline", "must be after run_at: the task could never run")
	}
	return n, nil
}

// neverRuns tells whether a deadline has passed by the time that a task may begin.
func neverRuns(spec *weftv1.TaskSpec) bool {
	return spec.GetRunAt() != nil && spec.GetDeadline() != nil && !spec.GetDeadline().AsTime().After(spec.GetRunAt().AsTime())
}

func work(spec *weftv1.TaskSpec) (kind string, p queue.Payload, err *pure.Refusal) {
	kind = spec.GetKind()
	if c := spec.GetCommand(); c != nil {
		if kind != "" && kind != commandKind {
			return "", p, invalid("spec.kind", `must be "command" or empty with a command`)
		}
		p, err = commandPayload(c)
		return commandKind, p, err
	}
	switch kind {
	case "":
		return "", p, invalid("spec.kind", "is required with a payload")
	case commandKind:
		return "", p, invalid("spec.command", `is required with kind "command"`)
	}
	p, err = payload("spec.payload", spec.GetPayload())
	return kind, p, err
}

func payload(field string, m *weftv1.Payload) (p queue.Payload, err *pure.Refusal) {
	switch v := m.GetValue().(type) {
	case *weftv1.Payload_Data:
		p = queue.Payload{Encoding: encodingBytes, Data: v.Data}
	case *weftv1.Payload_Text:
		p = queue.Payload{Encoding: encodingText, Data: []byte(v.Text)}
	case *weftv1.Payload_Json:
		data, merr := proto.MarshalOptions{Deterministic: true}.Marshal(v.Json) // an equal payload is equal bytes
		if merr != nil {
			return p, invalid(field+".json", merr.Error())
		}
		p = queue.Payload{Encoding: encodingJSON, Data: data}
	}
	return p, tooLarge(field, len(p.Data))
}

func tooLarge(field string, size int) *pure.Refusal {
	if size <= payloadBytesMax {
		return nil
	}
	return pure.Refuse(pure.PayloadTooLarge,
		fmt.Sprintf("%s: has %d bytes and the limit is %d", field, size, payloadBytesMax),
		"field", field, "limit", payloadBytesMax, "actual", size)
}

func commandPayload(c *weftv1.Command) (queue.Payload, *pure.Refusal) {
	const field = "spec.command"
	switch {
	case len(c.GetArgv()) == 0:
		return queue.Payload{}, invalid(field+".argv", "must have at least 1 item")
	case len(c.GetArgv()) > commandArgsMax:
		return queue.Payload{}, invalid(field+".argv", "must have at most 4096 items")
	case len(c.GetEnv()) > commandEnvMax:
		return queue.Payload{}, invalid(field+".env", "must have at most 1024 pairs")
	case len([]rune(c.GetDir())) > commandDirMax:
		return queue.Payload{}, invalid(field+".dir", "must have at most 4096 characters")
	case c.GetOutputBytesMax() > commandOutputMax:
		return queue.Payload{}, invalid(field+".output_bytes_max", "must be at most 196608")
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return queue.Payload{}, invalid(field, err.Error())
	}
	return queue.Payload{Encoding: encodingCommand, Data: data}, tooLarge(field, len(data))
}

// options returns the shared default when the spec asks for nothing.
func options(spec *weftv1.TaskSpec) (*queue.Options, *pure.Refusal) {
	if spec.GetTimeout() == nil && spec.GetGrace() == nil && spec.GetRetry() == nil && !spec.GetDaemon() &&
		len(spec.GetLabels()) == 0 && spec.GetRetention() == nil && spec.GetFailedRetention() == nil && spec.GetOnWorkerLost() == 0 && !dispatchOptions(spec) {
		return queue.DefaultOptions, nil
	}
	o := *queue.DefaultOptions
	var err *pure.Refusal
	if spec.GetTimeout() != nil {
		if o.Timeout, err = duration("spec.timeout", spec.GetTimeout(), 1, timeoutMax); err != nil {
			return nil, err
		}
	}
	if spec.GetGrace() != nil {
		if o.Grace, err = duration("spec.grace", spec.GetGrace(), 0, graceMax); err != nil {
			return nil, err
		}
	}
	if spec.GetRetention() != nil {
		if o.Retention, err = duration("spec.retention", spec.GetRetention(), 0, retentionMax); err != nil {
			return nil, err
		}
	}
	if spec.GetFailedRetention() != nil {
		if o.FailedRetention, err = duration("spec.failed_retention", spec.GetFailedRetention(), 0, retentionMax); err != nil {
			return nil, err
		}
	}
	if spec.GetRetry() != nil {
		if err = retry(&o, spec.GetRetry()); err != nil {
			return nil, err
		}
	}
	switch spec.GetOnWorkerLost() {
	case weftv1.OnWorkerLost_ON_WORKER_LOST_UNSPECIFIED, weftv1.OnWorkerLost_ON_WORKER_LOST_RETRY:
	case weftv1.OnWorkerLost_ON_WORKER_LOST_FAIL:
		o.FailOnWorkerLost = true
	default:
		return nil, invalid("spec.on_worker_lost", "must be one of the defined enum values")
	}
	o.Daemon = spec.GetDaemon()
	if o.Labels, err = labels("spec.labels", spec.GetLabels(), labelsMax, labelBytesMax); err != nil {
		return nil, err
	}
	if err = readDispatchOptions(&o, spec); err != nil {
		return nil, err
	}
	return &o, nil
}

func retry(o *queue.Options, r *weftv1.RetryPolicy) (err *pure.Refusal) {
	if r.GetAttemptsMax() > attemptsMax {
		return invalid("spec.retry.attempts_max", "must be at most 1000")
	}
	o.AttemptsMax, o.Jitter = r.GetAttemptsMax(), jitterDefault
	if r.GetInitialBackoff() != nil {
		if o.InitialBackoff, err = duration("spec.retry.initial_backoff", r.GetInitialBackoff(), 0, initialBackoffMax); err != nil {
			return err
		}
	}
	if r.GetBackoffMax() != nil {
		if o.BackoffMax, err = duration("spec.retry.backoff_max", r.GetBackoffMax(), 0, backoffMax); err != nil {
			return err
		}
	}
	if m := r.GetMultiplier(); !(m >= 0 && m <= multiplierMax) {
		return invalid("spec.retry.multiplier", "must be from 0 to 100")
	}
	if j := r.GetJitter(); !(j >= 0 && j <= 1) {
		return invalid("spec.retry.jitter", "must be from 0 to 1")
	}
	o.Multiplier = r.GetMultiplier()
	if r.GetJitter() != 0 {
		o.Jitter = r.GetJitter()
	}
	return nil
}

// labels returns keys and values in turn, by key.
func labels(field string, m map[string]string, most, bytes int) ([]string, *pure.Refusal) {
	if len(m) > most {
		return nil, invalid(field, fmt.Sprintf("must have at most %d pairs", most))
	}
	if len(m) == 0 {
		return nil, nil
	}
	keys := make([]string, 0, len(m))
	for k, v := range m {
		if !nameOK(k, 1) {
			return nil, invalid(field, "a key "+nameRule)
		}
		if len(v) > bytes {
			return nil, invalid(field, fmt.Sprintf("a value must have at most %d bytes", bytes))
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]string, 0, 2*len(keys))
	for _, k := range keys {
		out = append(out, k, m[k])
	}
	return out, nil
}

func duration(field string, d *durationpb.Duration, least, most time.Duration) (time.Duration, *pure.Refusal) {
	s, n := d.GetSeconds(), int64(d.GetNanos())
	if s < -durationSecondsValid || s > durationSecondsValid || n <= -nanosPerSecond || n >= nanosPerSecond ||
		s > 0 && n < 0 || s < 0 && n > 0 {
		return 0, invalid(field, "is no valid duration")
	}
	v := d.AsDuration()
	if v < least || v > most {
		if least > 0 && v >= 0 && v <= most {
			return 0, invalid(field, "must be more than 0s")
		}
		return 0, invalid(field, fmt.Sprintf("must be from %v to %v", max(least, 0), most))
	}
	return v, nil
}

func moment(field string, t *timestamppb.Timestamp) (pure.Wall, *pure.Refusal) {
	s, n := t.GetSeconds(), int64(t.GetNanos())
	if s < timestampSecondsMin || s > timestampSecondsMax || n < 0 || n >= nanosPerSecond {
		return 0, invalid(field, "is no valid timestamp")
	}
	switch { // 1970 and before is at once; what 64 bits of nanoseconds cannot say is the year 2262
	case s < 0 || s == 0 && n == 0:
		return 0, nil
	case s >= wallSecondsRepresents:
		return math.MaxInt64, nil
	}
	return pure.Wall(s*nanosPerSecond + n), nil
}
