package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// decode calls fn for each record of an entry's body, in order.
func decode(body []byte, fn func(rec any) error) error {
	for len(body) > 0 {
		size, n := binary.Uvarint(body)
		if n <= 0 || size > uint64(len(body)-n) {
			return errors.New("a record's length goes beyond the entry")
		}
		var m journalv1.Record
		if err := proto.Unmarshal(body[n:n+int(size)], &m); err != nil {
			return fmt.Errorf("a record cannot be read: %w", err)
		}
		rec, err := fromMessage(&m)
		if err != nil {
			return err
		}
		if err := fn(rec); err != nil {
			return err
		}
		body = body[n+int(size):]
	}
	return nil
}

func fromMessage(m *journalv1.Record) (any, error) {
	switch c := m.Change.(type) {
	case *journalv1.Record_TaskPut:
		return taskPutRecord(c.TaskPut)
	case *journalv1.Record_TaskDispatched:
		r := c.TaskDispatched
		return &queue.TaskDispatched{
			ID: r.Id, Token: r.Token, Session: toSessionID(r.SessionId),
			StartedAt: pure.Wall(r.StartedAt), Attempts: r.Attempts,
		}, nil
	case *journalv1.Record_TaskFinished:
		return finishedRecord(c.TaskFinished)
	case *journalv1.Record_TaskRetried:
		r := c.TaskRetried
		return &queue.TaskRetried{
			ID: r.Id, End: queue.End(r.End), Next: pure.Wall(r.RunAt), Tries: r.Tries, Error: toError(r.Error),
			EndedAt: pure.Wall(r.EndedAt), Worker: r.Worker, Since: r.Since,
		}, nil
	case *journalv1.Record_TaskReady:
		return &queue.TaskReady{ID: c.TaskReady.Id, Since: c.TaskReady.Since}, nil
	case *journalv1.Record_TaskLosses:
		r := c.TaskLosses
		return &queue.TaskLosses{ID: r.Id, Losses: r.Losses, Suspects: toSessionIDs(r.Suspects)}, nil
	case *journalv1.Record_TaskCancelling:
		return &queue.TaskCancelling{ID: c.TaskCancelling.Id, Grace: time.Duration(c.TaskCancelling.Grace), Expiring: c.TaskCancelling.Expiring}, nil
	case *journalv1.Record_TaskDropped:
		return &queue.TaskDropped{ID: c.TaskDropped.Id}, nil
	default:
		return fromRareMessage(m)
	}
}

func fromRareMessage(m *journalv1.Record) (any, error) {
	switch c := m.Change.(type) {
	case *journalv1.Record_QueuePut:
		return queuePutRecord(c.QueuePut), nil
	case *journalv1.Record_QueueDropped:
		return &queue.QueueDropped{ID: c.QueueDropped.Id}, nil
	case *journalv1.Record_TaskUnblocked:
		r := c.TaskUnblocked
		if s := queue.State(r.State); r.State > uint32(queue.Ready) || !s.Waits() {
			return nil, fmt.Errorf("task %d is unblocked to the state %d", r.Id, r.State)
		}
		return &queue.TaskUnblocked{
			ID: r.Id, Dependency: r.Dependency, State: queue.State(r.State), Next: pure.Wall(r.Next), Since: r.Since,
		}, nil
	case *journalv1.Record_TaskRevived:
		return revivedRecord(c.TaskRevived)
	case *journalv1.Record_TaskJoined:
		return &queue.TaskJoined{ID: c.TaskJoined.Id, RequestID: c.TaskJoined.RequestId}, nil
	case *journalv1.Record_TaskAdvanced:
		r := c.TaskAdvanced
		return &queue.TaskAdvanced{ID: r.Id, Checkpoint: toCheckpoint(r.Checkpoint), Partials: toPayloads(r.Partials)}, nil
	case *journalv1.Record_CallInterrupted:
		return &queue.CallInterrupted{ID: c.CallInterrupted.Id, Interrupt: toInterrupt(c.CallInterrupted.Interrupt)}, nil
	case *journalv1.Record_TaskDetached:
		return &queue.TaskDetached{ID: c.TaskDetached.Id}, nil
	case *journalv1.Record_CallPut:
		return callPutRecord(c.CallPut), nil
	case *journalv1.Record_CallAcknowledged:
		return &queue.CallAcknowledged{ID: c.CallAcknowledged.Id, Ranges: toRanges(c.CallAcknowledged.Ranges), Kept: c.CallAcknowledged.Kept}, nil
	case *journalv1.Record_CallChanged:
		r := c.CallChanged
		return &queue.CallChanged{
			ID: r.Id, Session: toSessionID(r.SessionId), Finished: r.Finished, CancelledTo: r.CancelledTo,
			DaemonsOnly: r.DaemonsOnly, CancelGrace: time.Duration(r.CancelGrace),
		}, nil
	case *journalv1.Record_CallDropped:
		return &queue.CallDropped{ID: c.CallDropped.Id}, nil
	case *journalv1.Record_SessionPut:
		return sessionPutRecord(c.SessionPut), nil
	case *journalv1.Record_SessionEnded:
		return &session.Ended{ID: toSessionID(c.SessionEnded.Id), Reason: session.EndReason(c.SessionEnded.Reason)}, nil
	case *journalv1.Record_Floor:
		return &floor{c.Floor.Sequence}, nil
	}
	if rec, err := fromScheduleMessage(m); rec != nil || err != nil {
		return rec, err
	}
	if rec := fromLockMessage(m); rec != nil {
		return rec, nil
	}
	return nil, errors.New("a record of a kind that this version does not know")
}

func revivedRecord(r *journalv1.TaskRevived) (any, error) {
	state := queue.Ready
	if r.State != 0 {
		state = queue.State(r.State)
	}
	if blocked := len(r.Waits) > 0; r.State > uint32(queue.Ready) || blocked != (state == queue.Blocked) || !blocked && state != queue.Ready {
		return nil, fmt.Errorf("task %d is revived to the state %d, waiting for %d", r.Id, r.State, len(r.Waits))
	}
	return &queue.TaskRevived{
		ID: r.Id, State: state, Waits: r.Waits, Undue: r.Undue, Since: r.Since, RequestID: r.RequestId, With: r.With,
	}, nil
}

func taskPutRecord(r *journalv1.TaskPut) (any, error) {
	t := &queue.TaskState{
		Spec: queue.Spec{
			Kind: r.Kind, Payload: toPayload(r.Payload), Options: toOptions(r.Options), RunAt: pure.Wall(r.RunAt),
		},
		ID: r.Id, Queue: r.Queue, Call: r.Call, Index: r.Index, RequestID: r.RequestId,
		CreatedAt: pure.Wall(r.CreatedAt), State: queue.State(r.State), Next: pure.Wall(r.Next),
		Attempts: r.Attempts, Tries: r.Tries, Extra: extraOf(r),
		Token: r.Token, Session: toSessionID(r.SessionId), StartedAt: pure.Wall(r.StartedAt),
		Acknowledged: r.Acknowledged,
	}
	if r.State < uint32(queue.Scheduled) || r.State > uint32(queue.Expired) {
		return nil, fmt.Errorf("task %d has the unknown state %d", r.Id, r.State)
	}
	if r.Outcome != nil {
		t.Outcome = toOutcome(r.Outcome)
		t.Outcome.Attempts, t.Outcome.Token, t.Outcome.StartedAt = t.Attempts, t.Token, t.StartedAt
	}
	if t.State.Final() != (t.Outcome != nil) {
		return nil, fmt.Errorf("task %d is %v and its outcome does not fit that", r.Id, t.State)
	}
	return &queue.TaskPut{State: t}, nil
}

func extraOf(r *journalv1.TaskPut) *queue.Extra {
	if r.Losses == 0 && len(r.Suspects) == 0 && r.LastError == nil && r.CancelGrace == 0 && !r.Expiring &&
		len(r.Waits) == 0 && r.Joined == 0 && len(r.Joiners) == 0 && !r.Detached && len(r.History) == 0 && r.Since == 0 &&
		r.RetriedBy == "" && r.Checkpoint == nil && len(r.Partials) == 0 {
		return queue.NoExtra
	}
	x := &queue.Extra{
		Losses: r.Losses, Suspects: toSessionIDs(r.Suspects), LastError: toError(r.LastError),
		CancelGrace: time.Duration(r.CancelGrace), Expiring: r.Expiring, Waits: r.Waits, Joined: r.Joined, Detached: r.Detached,
		Joiners: r.Joiners, Since: r.Since, RetriedBy: r.RetriedBy, RetriedWith: r.RetriedWith,
		Checkpoint: toCheckpoint(r.Checkpoint), Partials: toPayloads(r.Partials),
	}
	for _, a := range r.History {
		x.History = append(x.History, queue.Attempt{
			Token: a.Token, Worker: a.Worker, StartedAt: pure.Wall(a.StartedAt), EndedAt: pure.Wall(a.EndedAt),
			End: queue.End(a.End), Error: toError(a.Error),
		})
	}
	return x
}

func finishedRecord(r *journalv1.TaskFinished) (any, error) {
	if r.State < uint32(queue.Succeeded) || r.State > uint32(queue.Expired) {
		return nil, fmt.Errorf("task %d finished in the unknown state %d", r.Id, r.State)
	}
	return &queue.TaskFinished{ID: r.Id, Tries: r.Tries, Outcome: toOutcome(r), Since: r.Since}, nil
}

func toOutcome(r *journalv1.TaskFinished) *queue.Outcome {
	return &queue.Outcome{
		State: queue.State(r.State), End: queue.End(r.End), Result: toPayload(r.Result), Error: toError(r.Error),
		FinishedAt: pure.Wall(r.FinishedAt), Spooled: r.Spooled, Worker: r.Worker, Taken: r.Taken,
		Attempts: r.Attempts, Token: r.Token, StartedAt: pure.Wall(r.StartedAt),
	}
}

func toPayload(m *journalv1.Payload) queue.Payload {
	return queue.Payload{Encoding: uint8(m.GetEncoding()), Data: m.GetData()}
}

func toPayloads(list []*journalv1.Payload) []queue.Payload {
	if len(list) == 0 {
		return nil
	}
	out := make([]queue.Payload, len(list))
	for i, m := range list {
		out[i] = toPayload(m)
	}
	return out
}

func toCheckpoint(m *journalv1.Checkpoint) *queue.Checkpoint {
	if m == nil {
		return nil
	}
	return &queue.Checkpoint{State: toPayload(m.State), Partials: m.PartialsCount}
}

func toInterrupt(m *journalv1.Interrupt) *queue.Interrupt {
	if m == nil {
		return nil
	}
	return &queue.Interrupt{Number: m.Number, Task: m.Task, Index: m.Index, Message: m.Message}
}

func toOptions(m *journalv1.Options) *queue.Options {
	if m == nil {
		return queue.DefaultOptions
	}
	return &queue.Options{
		Timeout: time.Duration(m.Timeout), Grace: time.Duration(m.Grace), AttemptsMax: m.AttemptsMax,
		InitialBackoff: time.Duration(m.InitialBackoff), Multiplier: m.Multiplier,
		BackoffMax: time.Duration(m.BackoffMax), Jitter: m.Jitter, Retention: time.Duration(m.Retention), FailedRetention: time.Duration(m.FailedRetention),
		Daemon: m.Daemon, FailOnWorkerLost: m.FailOnWorkerLost, Labels: m.Labels,
		Priority: int16(m.Priority), Deadline: pure.Wall(m.Deadline), UniqueKey: m.UniqueKey, FairnessKey: m.FairnessKey,
		WorkerLabels: m.WorkerLabels, Exclusive: m.Exclusive, After: m.After, RunOnFailure: m.RunOnFailure,
	}
}

func queuePutRecord(r *journalv1.QueuePut) *queue.QueuePut {
	s := queue.QueueState{
		ID: r.Id, Namespace: r.Namespace, Name: r.Name, CreatedAt: pure.Wall(r.CreatedAt),
		Settings: queue.Settings{
			Order: queue.Order(r.Order), MaxSize: r.MaxSize, MaxRunning: r.MaxRunning, MaxRunningPerKey: r.MaxRunningPerKey,
			Rate: r.Rate, Burst: r.Burst,
		},
		Paused: r.Paused, Closed: r.Closed, AtOnce: r.AtOnce, Deleting: r.Deleting,
	}
	copy(s.Purged[:], r.Purged)
	if r.Defaults != nil {
		s.Defaults = toOptions(r.Defaults)
	}
	return &queue.QueuePut{State: s}
}

func toError(m *journalv1.Error) *queue.Error {
	if m == nil {
		return nil
	}
	return &queue.Error{Reason: m.Reason, Message: m.Message, Stack: m.Stack, Permanent: m.Permanent}
}

func toSessionID(b []byte) (id session.ID) {
	copy(id[:], b)
	return id
}

func toSessionIDs(b [][]byte) []session.ID {
	if len(b) == 0 {
		return nil
	}
	out := make([]session.ID, len(b))
	for i := range b {
		out[i] = toSessionID(b[i])
	}
	return out
}

func toRanges(m []*journalv1.IndexRange) pure.Ranges {
	if len(m) == 0 {
		return nil
	}
	out := make(pure.Ranges, len(m))
	for i, r := range m {
		out[i] = pure.Range{First: r.First, Last: r.Last}
	}
	return out
}

func callPutRecord(r *journalv1.CallPut) *queue.CallPut {
	return &queue.CallPut{State: queue.CallState{
		ID: r.Id, Namespace: r.Namespace, Name: r.Name, OpenedAt: pure.Wall(r.OpenedAt),
		Session: toSessionID(r.SessionId), Finished: r.Finished, Accepted: toRanges(r.Accepted),
		Acknowledged: toRanges(r.Acknowledged), CancelledTo: r.CancelledTo, DaemonsOnly: r.DaemonsOnly,
		CancelGrace: time.Duration(r.CancelGrace), Interrupt: toInterrupt(r.Interrupt),
	}}
}

func sessionPutRecord(r *journalv1.SessionPut) *session.Put {
	s := session.State{
		ID: toSessionID(r.Id), Namespace: r.Namespace, Kind: session.Kind(r.Kind), Name: r.Name,
		TTL: time.Duration(r.Ttl), OpenedAt: pure.Wall(r.OpenedAt), RequestID: r.RequestId,
	}
	copy(s.RequestHash[:], r.RequestHash)
	return &session.Put{State: s}
}
