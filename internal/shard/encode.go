package shard

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/schedule"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// floor is the one record that belongs to no core.
type floor struct{ Sequence uint64 }

// encoder appends records to an entry's body, each after its length as a varint. It implements pure.Sink.
// The frequent records are written by hand, the others through their messages.
type encoder struct {
	buf     []byte
	records int
	scratch []byte
}

func newEncoder() *encoder { return &encoder{} }

// Numbers of the frequent records in Record's oneof.
const (
	numberTaskPut        = 9
	numberTaskDispatched = 10
	numberTaskFinished   = 13
	numberGrantPut       = 60
	numberGrantDropped   = 62
	numberAnswered       = 74
)

// Record implements pure.Sink.
func (e *encoder) Record(rec any) int {
	before := len(e.buf)
	e.append(rec)
	return len(e.buf) - before
}

func (e *encoder) append(rec any) {
	e.records++
	b := e.scratch[:0]
	var at int
	switch r := rec.(type) {
	case *queue.TaskPut:
		if !plain(r.State) {
			e.message(taskPutMessage(r.State))
			return
		}
		b, at = wire.Open(b, numberTaskPut)
		b = appendTaskPut(b, r.State)
	case *queue.TaskDispatched:
		b, at = wire.Open(b, numberTaskDispatched)
		b = appendDispatched(b, r)
	case *queue.TaskFinished:
		b, at = wire.Open(b, numberTaskFinished)
		b = appendFinished(b, r)
	case *lockservice.GrantPut:
		b, at = wire.Open(b, numberGrantPut)
		b = appendGrant(b, &r.State)
	case *lockservice.GrantDropped:
		b, at = wire.Open(b, numberGrantDropped)
		b = wire.Uint(b, 1, r.Token)
	case *lockservice.Answered:
		b, at = wire.Open(b, numberAnswered)
		b = appendAnswered(b, r)
	default:
		e.message(rareMessage(rec))
		return
	}
	b = wire.Shut(b, at)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(b)))
	e.buf = append(e.buf, b...)
	e.scratch = b
}

// message appends a record through its message.
func (e *encoder) message(m *journalv1.Record) {
	e.buf = binary.AppendUvarint(e.buf, uint64(proto.Size(m)))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(e.buf, m)
	if err != nil {
		// Only text that is not UTF-8 can do this, and the edge refuses it.
		panic(fmt.Sprintf("shard: a record that cannot be encoded: %v", err))
	}
	e.buf = out
}

// plain tells whether a task is as most are when they are accepted.
func plain(t *queue.TaskState) bool {
	return t.Options == queue.DefaultOptions && t.Extra == queue.NoExtra && t.Attempts == 0 && t.Tries == 0 &&
		t.Outcome == nil && !t.Acknowledged
}

func appendTaskPut(b []byte, t *queue.TaskState) []byte {
	b = wire.Uint(b, 1, t.ID)
	b = wire.Uint(b, 2, t.Queue)
	b = wire.String(b, 3, t.Kind)
	b = appendPayload(b, 4, t.Payload)
	b = wire.Uint(b, 6, t.Call)
	b = wire.Uint(b, 7, t.Index)
	b = wire.Uint(b, 8, uint64(t.CreatedAt))
	b = wire.Uint(b, 9, uint64(t.RunAt))
	b = wire.Uint(b, 10, uint64(t.State))
	b = wire.String(b, 11, t.RequestID)
	return wire.Uint(b, 12, uint64(t.Next))
}

func appendDispatched(b []byte, r *queue.TaskDispatched) []byte {
	b = wire.Uint(b, 1, r.ID)
	b = wire.Uint(b, 2, r.Token)
	b = wire.Bytes(b, 3, r.Session[:])
	b = wire.Uint(b, 4, uint64(r.StartedAt))
	return wire.Uint(b, 5, uint64(r.Attempts))
}

func appendFinished(b []byte, r *queue.TaskFinished) []byte {
	o := r.Outcome
	b = wire.Uint(b, 1, r.ID)
	b = wire.Uint(b, 2, uint64(o.State))
	b = wire.Uint(b, 3, uint64(o.End))
	b = appendPayload(b, 4, o.Result)
	b = appendError(b, 5, o.Error)
	b = wire.Uint(b, 6, uint64(o.FinishedAt))
	if o.Spooled {
		b = wire.Uint(b, 7, 1)
	}
	b = wire.Uint(b, 8, uint64(r.Tries))
	b = wire.String(b, 9, o.Worker)
	b = wire.Uint(b, 10, r.Since)
	b = wire.Uint(b, 11, uint64(o.Attempts))
	b = wire.Uint(b, 12, o.Token)
	b = wire.Uint(b, 13, uint64(o.StartedAt))
	if o.Taken {
		b = wire.Uint(b, 14, 1)
	}
	return b
}

func appendPayload(b []byte, field wire.Number, p queue.Payload) []byte {
	if p.Encoding == 0 && len(p.Data) == 0 {
		return b
	}
	b, at := wire.Open(b, field)
	b = wire.Uint(b, 1, uint64(p.Encoding))
	if len(p.Data) > 0 {
		b = wire.Bytes(b, 2, p.Data)
	}
	return wire.Shut(b, at)
}

func appendError(b []byte, field wire.Number, e *queue.Error) []byte {
	if e == nil {
		return b
	}
	b, at := wire.Open(b, field)
	b = wire.String(b, 1, e.Reason)
	b = wire.String(b, 2, e.Message)
	b = wire.String(b, 3, e.Stack)
	if e.Permanent {
		b = wire.Uint(b, 4, 1)
	}
	return wire.Shut(b, at)
}

func taskPutMessage(t *queue.TaskState) *journalv1.Record {
	m := &journalv1.TaskPut{
		Id: t.ID, Queue: t.Queue, Kind: t.Kind, Payload: payloadMessage(t.Payload), Options: optionsMessage(t.Options),
		Call: t.Call, Index: t.Index, CreatedAt: int64(t.CreatedAt), RunAt: int64(t.RunAt), State: uint32(t.State),
		RequestId: t.RequestID, Next: int64(t.Next), Attempts: t.Attempts, Tries: t.Tries, Losses: t.Losses,
		Suspects: sessionIDs(t.Suspects), Token: t.Token, SessionId: sessionID(t.Session),
		StartedAt: int64(t.StartedAt), LastError: errorMessage(t.LastError), CancelGrace: int64(t.CancelGrace),
		Acknowledged: t.Acknowledged, Expiring: t.Expiring, Waits: t.Waits, Joined: t.Joined, Detached: t.Detached,
		Joiners: t.Joiners, Since: t.Since, RetriedBy: t.RetriedBy, RetriedWith: t.RetriedWith,
		Checkpoint: checkpointMessage(t.Checkpoint), Partials: payloadMessages(t.Partials),
	}
	for i := range t.History {
		m.History = append(m.History, attemptMessage(&t.History[i]))
	}
	if o := t.Outcome; o != nil {
		m.Outcome = &journalv1.TaskFinished{
			State: uint32(o.State), End: uint32(o.End), Result: payloadMessage(o.Result), Error: errorMessage(o.Error),
			FinishedAt: int64(o.FinishedAt), Spooled: o.Spooled, Worker: o.Worker, Taken: o.Taken,
		}
	}
	return &journalv1.Record{Change: &journalv1.Record_TaskPut{TaskPut: m}}
}

func checkpointMessage(p *queue.Checkpoint) *journalv1.Checkpoint {
	if p == nil {
		return nil
	}
	return &journalv1.Checkpoint{State: payloadMessage(p.State), PartialsCount: p.Partials}
}

// payloadMessages keeps the place of an empty payload.
func payloadMessages(list []queue.Payload) []*journalv1.Payload {
	if len(list) == 0 {
		return nil
	}
	out := make([]*journalv1.Payload, len(list))
	for i, p := range list {
		out[i] = &journalv1.Payload{Encoding: uint32(p.Encoding), Data: p.Data}
	}
	return out
}

func interruptMessage(i *queue.Interrupt) *journalv1.Interrupt {
	if i == nil {
		return nil
	}
	return &journalv1.Interrupt{Task: i.Task, Index: i.Index, Message: i.Message, Number: i.Number}
}

func payloadMessage(p queue.Payload) *journalv1.Payload {
	if p.Encoding == 0 && len(p.Data) == 0 {
		return nil
	}
	return &journalv1.Payload{Encoding: uint32(p.Encoding), Data: p.Data}
}

func optionsMessage(o *queue.Options) *journalv1.Options {
	if o == queue.DefaultOptions {
		return nil
	}
	return &journalv1.Options{
		Timeout: int64(o.Timeout), Grace: int64(o.Grace), AttemptsMax: o.AttemptsMax,
		InitialBackoff: int64(o.InitialBackoff), Multiplier: o.Multiplier, BackoffMax: int64(o.BackoffMax),
		Jitter: o.Jitter, Retention: int64(o.Retention), FailedRetention: int64(o.FailedRetention), Daemon: o.Daemon,
		FailOnWorkerLost: o.FailOnWorkerLost, Labels: o.Labels,
		Priority: int32(o.Priority), Deadline: int64(o.Deadline), UniqueKey: o.UniqueKey, FairnessKey: o.FairnessKey,
		WorkerLabels: o.WorkerLabels, Exclusive: o.Exclusive, After: o.After, RunOnFailure: o.RunOnFailure,
	}
}

func attemptMessage(a *queue.Attempt) *journalv1.Attempt {
	return &journalv1.Attempt{
		Token: a.Token, Worker: a.Worker, StartedAt: int64(a.StartedAt), EndedAt: int64(a.EndedAt),
		End: uint32(a.End), Error: errorMessage(a.Error),
	}
}

func errorMessage(e *queue.Error) *journalv1.Error {
	if e == nil {
		return nil
	}
	return &journalv1.Error{Reason: e.Reason, Message: e.Message, Stack: e.Stack, Permanent: e.Permanent}
}

func sessionID(id session.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func sessionIDs(ids []session.ID) [][]byte {
	if len(ids) == 0 {
		return nil
	}
	out := make([][]byte, len(ids))
	for i := range ids {
		out[i] = ids[i][:]
	}
	return out
}

func rangeMessages(ranges pure.Ranges) []*journalv1.IndexRange {
	out := make([]*journalv1.IndexRange, len(ranges))
	for i, r := range ranges {
		out[i] = &journalv1.IndexRange{First: r.First, Last: r.Last}
	}
	return out
}

func rareMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *queue.TaskRetried:
		return &journalv1.Record{Change: &journalv1.Record_TaskRetried{TaskRetried: &journalv1.TaskRetried{
			Id: r.ID, End: uint32(r.End), RunAt: int64(r.Next), Tries: r.Tries, Error: errorMessage(r.Error),
			EndedAt: int64(r.EndedAt), Worker: r.Worker, Since: r.Since,
		}}}
	case *queue.TaskUnblocked:
		return &journalv1.Record{Change: &journalv1.Record_TaskUnblocked{TaskUnblocked: &journalv1.TaskUnblocked{
			Id: r.ID, Dependency: r.Dependency, State: uint32(r.State), Next: int64(r.Next), Since: r.Since,
		}}}
	case *queue.TaskRevived:
		return &journalv1.Record{Change: &journalv1.Record_TaskRevived{TaskRevived: &journalv1.TaskRevived{
			Id: r.ID, State: uint32(r.State), Waits: r.Waits, Undue: r.Undue, Since: r.Since,
			RequestId: r.RequestID, With: r.With,
		}}}
	case *queue.TaskJoined:
		return &journalv1.Record{Change: &journalv1.Record_TaskJoined{TaskJoined: &journalv1.TaskJoined{
			Id: r.ID, RequestId: r.RequestID,
		}}}
	case *queue.TaskAdvanced:
		return &journalv1.Record{Change: &journalv1.Record_TaskAdvanced{TaskAdvanced: &journalv1.TaskAdvanced{
			Id: r.ID, Checkpoint: checkpointMessage(r.Checkpoint), Partials: payloadMessages(r.Partials),
		}}}
	case *queue.TaskDetached:
		return &journalv1.Record{Change: &journalv1.Record_TaskDetached{TaskDetached: &journalv1.TaskDetached{Id: r.ID}}}
	case *queue.TaskReady:
		return &journalv1.Record{Change: &journalv1.Record_TaskReady{TaskReady: &journalv1.TaskReady{Id: r.ID, Since: r.Since}}}
	case *queue.TaskLosses:
		return &journalv1.Record{Change: &journalv1.Record_TaskLosses{TaskLosses: &journalv1.TaskLosses{
			Id: r.ID, Losses: r.Losses, Suspects: sessionIDs(r.Suspects),
		}}}
	case *queue.TaskCancelling:
		return &journalv1.Record{Change: &journalv1.Record_TaskCancelling{TaskCancelling: &journalv1.TaskCancelling{
			Id: r.ID, Grace: int64(r.Grace), Expiring: r.Expiring,
		}}}
	case *queue.TaskDropped:
		return &journalv1.Record{Change: &journalv1.Record_TaskDropped{TaskDropped: &journalv1.TaskDropped{Id: r.ID}}}
	case *session.Put:
		return sessionPutMessage(&r.State)
	case *session.Ended:
		return &journalv1.Record{Change: &journalv1.Record_SessionEnded{SessionEnded: &journalv1.SessionEnded{
			Id: r.ID[:], Reason: uint32(r.Reason),
		}}}
	case *schedule.Put, *schedule.Fired, *schedule.Dropped:
		return scheduleMessage(rec)
	case *floor:
		return &journalv1.Record{Change: &journalv1.Record_Floor{Floor: &journalv1.Floor{Sequence: r.Sequence}}}
	default:
		if m := lockMessage(rec); m != nil {
			return m
		}
		return callMessage(rec)
	}
}

func callMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *queue.QueuePut:
		return queuePutMessage(&r.State)
	case *queue.QueueDropped:
		return &journalv1.Record{Change: &journalv1.Record_QueueDropped{QueueDropped: &journalv1.QueueDropped{Id: r.ID}}}
	case *queue.CallPut:
		return callPutMessage(&r.State)
	case *queue.CallAcknowledged:
		return &journalv1.Record{Change: &journalv1.Record_CallAcknowledged{CallAcknowledged: &journalv1.CallAcknowledged{
			Id: r.ID, Ranges: rangeMessages(r.Ranges), Kept: r.Kept,
		}}}
	case *queue.CallChanged:
		return &journalv1.Record{Change: &journalv1.Record_CallChanged{CallChanged: &journalv1.CallChanged{
			Id: r.ID, SessionId: sessionID(r.Session), Finished: r.Finished, CancelledTo: r.CancelledTo,
			CancelGrace: int64(r.CancelGrace), DaemonsOnly: r.DaemonsOnly,
		}}}
	case *queue.CallInterrupted:
		return &journalv1.Record{Change: &journalv1.Record_CallInterrupted{CallInterrupted: &journalv1.CallInterrupted{
			Id: r.ID, Interrupt: interruptMessage(r.Interrupt),
		}}}
	case *queue.CallDropped:
		return &journalv1.Record{Change: &journalv1.Record_CallDropped{CallDropped: &journalv1.CallDropped{Id: r.ID}}}
	}
	panic(fmt.Sprintf("shard: no encoding for a %T", rec))
}

func queuePutMessage(s *queue.QueueState) *journalv1.Record {
	m := &journalv1.QueuePut{
		Id: s.ID, Namespace: s.Namespace, Name: s.Name, CreatedAt: int64(s.CreatedAt), Order: uint32(s.Order),
		MaxSize: s.MaxSize, MaxRunning: s.MaxRunning, MaxRunningPerKey: s.MaxRunningPerKey, Rate: s.Rate, Burst: s.Burst,
		Paused: s.Paused, Closed: s.Closed, AtOnce: s.AtOnce, Deleting: s.Deleting,
	}
	if s.Purged != (queue.Purged{}) {
		m.Purged = s.Purged[:]
	}
	if s.Defaults != nil {
		m.Defaults = optionsMessage(s.Defaults)
	}
	return &journalv1.Record{Change: &journalv1.Record_QueuePut{QueuePut: m}}
}

func callPutMessage(s *queue.CallState) *journalv1.Record {
	return &journalv1.Record{Change: &journalv1.Record_CallPut{CallPut: &journalv1.CallPut{
		Id: s.ID, Namespace: s.Namespace, Name: s.Name, SessionId: sessionID(s.Session), Finished: s.Finished,
		Accepted: rangeMessages(s.Accepted), Acknowledged: rangeMessages(s.Acknowledged),
		OpenedAt: int64(s.OpenedAt), CancelledTo: s.CancelledTo, CancelGrace: int64(s.CancelGrace),
		DaemonsOnly: s.DaemonsOnly, Interrupt: interruptMessage(s.Interrupt),
	}}}
}

func sessionPutMessage(s *session.State) *journalv1.Record {
	return &journalv1.Record{Change: &journalv1.Record_SessionPut{SessionPut: &journalv1.SessionPut{
		Id: s.ID[:], Namespace: s.Namespace, Kind: uint32(s.Kind), Name: s.Name, Ttl: int64(s.TTL),
		OpenedAt: int64(s.OpenedAt), RequestId: s.RequestID, RequestHash: s.RequestHash[:],
	}}}
}
