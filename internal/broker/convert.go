package broker

import (
	"encoding/hex"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

func formatSession(id session.ID) string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// parseSession reads a session's id; what is none is no session's id.
func parseSession(s string) (id session.ID) {
	if len(s) != 2*len(id) {
		return session.ID{}
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return session.ID{}
	}
	return id
}

func timestamp(w pure.Wall) *timestamppb.Timestamp {
	if w == 0 {
		return nil
	}
	return &timestamppb.Timestamp{Seconds: int64(w) / nanosPerSecond, Nanos: int32(int64(w) % nanosPerSecond)}
}

func durationMessage(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func payloadMessage(p queue.Payload) *weftv1.Payload {
	switch p.Encoding {
	case encodingBytes:
		return &weftv1.Payload{Value: &weftv1.Payload_Data{Data: p.Data}}
	case encodingText:
		return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: string(p.Data)}}
	case encodingJSON:
		v := &structpb.Value{}
		if err := proto.Unmarshal(p.Data, v); err != nil {
			return &weftv1.Payload{Value: &weftv1.Payload_Data{Data: p.Data}}
		}
		return &weftv1.Payload{Value: &weftv1.Payload_Json{Json: v}}
	}
	return nil
}

func commandMessage(p queue.Payload) *weftv1.Command {
	c := &weftv1.Command{}
	if err := proto.Unmarshal(p.Data, c); err != nil {
		return nil // it was marshalled by this broker, and the journal's checksum held
	}
	return c
}

// commandHeadBytes is how much of a command's arguments a list shows.
const commandHeadBytes = 256

// commandHead is how an encoded command begins, for lists: the rest is not even decoded.
func commandHead(data []byte) *weftv1.Command {
	const argv, shell protowire.Number = 1, 2
	c := &weftv1.Command{}
	room, more := commandHeadBytes, false
	for len(data) > 0 {
		f, rest, err := wire.Next(data)
		switch {
		case err != nil:
			return c // cannot be, as above
		case f.Is(shell, protowire.VarintType):
			c.Shell = f.Value != 0
		case f.Is(argv, protowire.BytesType) && room > 0:
			more = len(f.Data) > room
			c.Argv = append(c.Argv, strings.ToValidUTF8(string(f.Data[:min(len(f.Data), room)]), ""))
			room -= len(f.Data)
		case f.Is(argv, protowire.BytesType):
			more = true
		}
		data = rest
	}
	if more {
		c.Argv[len(c.Argv)-1] += "…"
	}
	return c
}

func commandResultMessage(p queue.Payload) *weftv1.CommandResult {
	r := &weftv1.CommandResult{}
	if err := proto.Unmarshal(p.Data, r); err != nil {
		return nil
	}
	return r
}

func errorMessage(e *queue.Error) *weftv1.TaskError {
	if e == nil {
		return nil
	}
	return &weftv1.TaskError{Reason: e.Reason, Message: e.Message, Stack: e.Stack, Permanent: e.Permanent}
}

func labelMap(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

func assignmentMessage(a *queue.Assignment) *weftv1.Assignment {
	m := &weftv1.Assignment{
		TaskId: queue.FormatID(a.ID), Token: a.Token, Queue: a.Queue, Kind: a.Kind,
		Timeout: durationMessage(a.Options.Timeout), Attempt: a.Attempt, Labels: labelMap(a.Options.Labels),
		Checkpoint: checkpointMessage(a.Checkpoint), Called: a.Called,
		PartialsCount: a.Partials, PartialsBytes: a.PartialsBytes,
	}
	if a.Options.Grace != queue.GraceDefault {
		m.Grace = durationpb.New(a.Options.Grace)
	}
	if a.Payload.Encoding == encodingCommand {
		m.Work = &weftv1.Assignment_Command{Command: commandMessage(a.Payload)}
	} else if p := payloadMessage(a.Payload); p != nil {
		m.Work = &weftv1.Assignment_Payload{Payload: p}
	}
	return m
}

func outcomeMessage(o *queue.Outcome) *weftv1.Outcome {
	m := &weftv1.Outcome{
		State: weftv1.TaskState(o.State), End: weftv1.AttemptEnd(o.End), Error: errorMessage(o.Error),
		Attempts: o.Attempts, Worker: o.Worker, Token: o.Token,
		StartedAt: timestamp(o.StartedAt), FinishedAt: timestamp(o.FinishedAt),
	}
	if o.Result.Encoding == encodingCommandResult {
		m.Result = &weftv1.Outcome_Command{Command: commandResultMessage(o.Result)}
	} else if p := payloadMessage(o.Result); p != nil {
		m.Result = &weftv1.Outcome_Payload{Payload: p}
	}
	return m
}

func taskMessage(s *queue.Snapshot, full bool) *weftv1.Task {
	m := &weftv1.Task{
		Id: queue.FormatID(s.ID), Namespace: s.Namespace, Spec: specMessage(s, full),
		State: weftv1.TaskState(s.State), CreatedAt: timestamp(s.CreatedAt), ScheduledAt: timestamp(s.Next),
		Attempts: s.Attempts, WorkersLost: s.Losses + uint32(len(s.Suspects)),
		CallId: s.CallName, CallIndex: s.Index,
	}
	if s.Joined != 0 {
		m.JoinedTaskId = queue.FormatID(s.Joined)
	}
	for _, id := range s.Waits {
		m.WaitsFor = append(m.WaitsFor, queue.FormatID(id))
	}
	m.Progress, m.PartialsCount = progressMessage(s.Progress), uint32(len(s.Partials))
	if full {
		m.EarlierAttempts = attemptMessages(s.History)
		m.Checkpoint, m.Partials = checkpointMessage(s.Checkpoint), payloadMessages(s.Partials)
	}
	if s.State.Held() {
		m.Attempt = &weftv1.Attempt{Token: s.Token, Worker: s.Worker, StartedAt: timestamp(s.StartedAt)}
	}
	if s.Outcome == nil {
		m.LastError = errorMessage(s.LastError)
		return m
	}
	m.Outcome = outcomeMessage(s.Outcome)
	if !full {
		m.Outcome.Result = nil
	}
	return m
}

func attemptMessages(list []queue.Attempt) (out []*weftv1.Attempt) {
	for i := range list {
		a := &list[i]
		out = append(out, &weftv1.Attempt{
			Token: a.Token, Worker: a.Worker, StartedAt: timestamp(a.StartedAt), EndedAt: timestamp(a.EndedAt),
			End: weftv1.AttemptEnd(a.End), Error: errorMessage(a.Error),
		})
	}
	return out
}

func specMessage(s *queue.Snapshot, full bool) *weftv1.TaskSpec {
	o := s.Options
	m := &weftv1.TaskSpec{
		Queue: s.QueueName, Kind: s.Kind, RunAt: timestamp(s.RunAt), Timeout: durationMessage(o.Timeout),
		Grace: durationpb.New(o.Grace), Daemon: o.Daemon, Labels: labelMap(o.Labels),
	}
	m.Retry = retryMessage(o)
	if o.Retention >= 0 {
		m.Retention = durationpb.New(o.Retention)
	}
	if o.FailedRetention >= 0 {
		m.FailedRetention = durationpb.New(o.FailedRetention)
	}
	if o.FailOnWorkerLost {
		m.OnWorkerLost = weftv1.OnWorkerLost_ON_WORKER_LOST_FAIL
	}
	m.Priority, m.Deadline, m.Exclusive = int32(o.Priority), timestamp(o.Deadline), o.Exclusive
	m.UniqueKey, m.FairnessKey, m.WorkerLabels = o.UniqueKey, o.FairnessKey, labelMap(o.WorkerLabels)
	for _, id := range o.After {
		m.After = append(m.After, queue.FormatID(id))
	}
	if o.RunOnFailure {
		m.OnDependencyFailure = weftv1.OnDependencyFailure_ON_DEPENDENCY_FAILURE_RUN
	}
	switch isCommand := s.Payload.Encoding == encodingCommand; {
	case !full && isCommand:
		m.Work = &weftv1.TaskSpec_Command{Command: commandHead(s.Payload.Data)}
	case !full:
	case isCommand:
		m.Work = &weftv1.TaskSpec_Command{Command: commandMessage(s.Payload)}
	default:
		if p := payloadMessage(s.Payload); p != nil {
			m.Work = &weftv1.TaskSpec_Payload{Payload: p}
		}
	}
	return m
}

func retryMessage(o *queue.Options) *weftv1.RetryPolicy {
	if o.AttemptsMax == 0 && o.InitialBackoff == 0 && o.Multiplier == 0 && o.BackoffMax == 0 && o.Jitter == 0 {
		return nil
	}
	return &weftv1.RetryPolicy{
		AttemptsMax: o.AttemptsMax, InitialBackoff: durationMessage(o.InitialBackoff),
		Multiplier: o.Multiplier, BackoffMax: durationMessage(o.BackoffMax), Jitter: o.Jitter,
	}
}

// rangesOf reads ranges of a stream's frame.
func rangesOf(field string, list []*weftv1.IndexRange) (pure.Ranges, *pure.Refusal) {
	if len(list) > rangesMax {
		return nil, badFrame(field, "must have at most 100000 items")
	}
	out := make(pure.Ranges, 0, len(list))
	for _, r := range list {
		if r.GetFirst() > r.GetLast() {
			return nil, badFrame(field, "must not end before it begins")
		}
		if n := len(out); n > 0 && r.GetFirst() <= out[n-1].Last {
			return nil, badFrame(field, "must be in order and apart from each other")
		}
		out = append(out, pure.Range{First: r.GetFirst(), Last: r.GetLast()})
	}
	return out, nil
}

const rangesMax = 100_000

// reportError checks an error that a worker reports.
func reportError(field string, e *weftv1.TaskError) (*queue.Error, *pure.Refusal) {
	switch {
	case e == nil:
		return nil, nil
	case len(e.GetReason()) > errorReasonBytesMax:
		return nil, invalid(field+".reason", "must have at most 256 bytes")
	case len(e.GetMessage()) > errorMessageBytesMax:
		return nil, invalid(field+".message", "must have at most 16384 bytes")
	case len(e.GetStack()) > errorStackBytesMax:
		return nil, invalid(field+".stack", "must have at most 32768 bytes")
	}
	return &queue.Error{Reason: e.GetReason(), Message: e.GetMessage(), Stack: e.GetStack(), Permanent: e.GetPermanent()}, nil
}

// commandResult checks and stores a command's result; spooled tells whether its output goes on elsewhere.
func commandResult(field string, r *weftv1.CommandResult) (p queue.Payload, spooled bool, err *pure.Refusal) {
	data, merr := proto.Marshal(r)
	if merr != nil {
		return p, false, invalid(field, merr.Error())
	}
	spooled = r.GetStdout().GetTruncated() || r.GetStderr().GetTruncated()
	return queue.Payload{Encoding: encodingCommandResult, Data: data}, spooled, tooLarge(field, len(data))
}
