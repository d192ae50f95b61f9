package shard

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// floor is the one record that belongs to no core.
type floor struct{ Sequence uint64 }

// encoder appends records to an entry's body, each after its length as a varint. It implements pure.Sink.
// The messages of the frequent records are used again for each.
type encoder struct {
	buf     []byte
	records int

	dispatched    journalv1.TaskDispatched
	dispatchedRec journalv1.Record
	finished      journalv1.TaskFinished
	finishedRec   journalv1.Record
	result        journalv1.Payload
	put           journalv1.TaskPut
	putRec        journalv1.Record
	payload       journalv1.Payload
}

func newEncoder() *encoder {
	e := &encoder{}
	e.dispatchedRec.Change = &journalv1.Record_TaskDispatched{TaskDispatched: &e.dispatched}
	e.finishedRec.Change = &journalv1.Record_TaskFinished{TaskFinished: &e.finished}
	e.putRec.Change = &journalv1.Record_TaskPut{TaskPut: &e.put}
	return e
}

// Record implements pure.Sink.
func (e *encoder) Record(rec any) {
	e.records++
	m := e.message(rec)
	size := proto.Size(m)
	e.buf = binary.AppendUvarint(e.buf, uint64(size))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(e.buf, m)
	if err != nil {
		// Only text that is not UTF-8 can do this, and the edge refuses it.
		panic(fmt.Sprintf("shard: a record that cannot be encoded: %v", err))
	}
	e.buf = out
}

func (e *encoder) message(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *queue.TaskPut:
		e.taskPut(r.State)
		return &e.putRec
	case *queue.TaskDispatched:
		e.dispatched.Id, e.dispatched.Token, e.dispatched.SessionId = r.ID, r.Token, r.Session[:]
		e.dispatched.StartedAt, e.dispatched.Attempts = int64(r.StartedAt), r.Attempts
		return &e.dispatchedRec
	case *queue.TaskFinished:
		e.outcome(&e.finished, r.Outcome)
		e.finished.Id, e.finished.Tries = r.ID, r.Tries
		return &e.finishedRec
	default:
		return rareMessage(rec)
	}
}

func (e *encoder) taskPut(t *queue.TaskState) {
	m := &e.put
	m.Id, m.Queue, m.Kind, m.Call, m.Index = t.ID, t.Queue, t.Kind, t.Call, t.Index
	m.Payload = payloadTo(&e.payload, t.Payload)
	m.Options = optionsMessage(t.Options)
	m.CreatedAt, m.RunAt, m.State, m.RequestId = int64(t.CreatedAt), int64(t.RunAt), uint32(t.State), t.RequestID
	m.Next, m.Attempts, m.Tries, m.Losses = int64(t.Next), t.Attempts, t.Tries, t.Losses
	m.Suspects = sessionIDs(t.Suspects)
	m.Token, m.SessionId, m.StartedAt = t.Token, sessionID(t.Session), int64(t.StartedAt)
	m.LastError = errorMessage(t.LastError)
	m.CancelGrace, m.Acknowledged = int64(t.CancelGrace), t.Acknowledged
	m.Outcome = nil
	if t.Outcome != nil {
		m.Outcome = &journalv1.TaskFinished{}
		e.outcome(m.Outcome, t.Outcome)
	}
}

func (e *encoder) outcome(m *journalv1.TaskFinished, o *queue.Outcome) {
	m.State, m.End = uint32(o.State), uint32(o.End)
	m.Result = payloadTo(&e.result, o.Result)
	m.Error, m.FinishedAt, m.Spooled, m.Worker = errorMessage(o.Error), int64(o.FinishedAt), o.Spooled, o.Worker
}

func payloadTo(m *journalv1.Payload, p queue.Payload) *journalv1.Payload {
	if p.Encoding == 0 && len(p.Data) == 0 {
		return nil
	}
	m.Encoding, m.Data = uint32(p.Encoding), p.Data
	return m
}

func optionsMessage(o *queue.Options) *journalv1.Options {
	if o == queue.DefaultOptions {
		return nil
	}
	return &journalv1.Options{
		Timeout: int64(o.Timeout), Grace: int64(o.Grace), AttemptsMax: o.AttemptsMax,
		InitialBackoff: int64(o.InitialBackoff), Multiplier: o.Multiplier, BackoffMax: int64(o.BackoffMax),
		Jitter: o.Jitter, Retention: int64(o.Retention), Daemon: o.Daemon,
		FailOnWorkerLost: o.FailOnWorkerLost, Labels: o.Labels,
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
		}}}
	case *queue.TaskReady:
		return &journalv1.Record{Change: &journalv1.Record_TaskReady{TaskReady: &journalv1.TaskReady{Id: r.ID}}}
	case *queue.TaskLosses:
		return &journalv1.Record{Change: &journalv1.Record_TaskLosses{TaskLosses: &journalv1.TaskLosses{
			Id: r.ID, Losses: r.Losses, Suspects: sessionIDs(r.Suspects),
		}}}
	case *queue.TaskCancelling:
		return &journalv1.Record{Change: &journalv1.Record_TaskCancelling{TaskCancelling: &journalv1.TaskCancelling{
			Id: r.ID, Grace: int64(r.Grace),
		}}}
	case *queue.TaskDropped:
		return &journalv1.Record{Change: &journalv1.Record_TaskDropped{TaskDropped: &journalv1.TaskDropped{Id: r.ID}}}
	case *session.Put:
		return sessionPutMessage(&r.State)
	case *session.Ended:
		return &journalv1.Record{Change: &journalv1.Record_SessionEnded{SessionEnded: &journalv1.SessionEnded{
			Id: r.ID[:], Reason: uint32(r.Reason),
		}}}
	case *floor:
		return &journalv1.Record{Change: &journalv1.Record_Floor{Floor: &journalv1.Floor{Sequence: r.Sequence}}}
	default:
		return callMessage(rec)
	}
}

func callMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *queue.QueuePut:
		return &journalv1.Record{Change: &journalv1.Record_QueuePut{QueuePut: &journalv1.QueuePut{
			Id: r.State.ID, Namespace: r.State.Namespace, Name: r.State.Name, CreatedAt: int64(r.State.CreatedAt),
		}}}
	case *queue.CallPut:
		return callPutMessage(&r.State)
	case *queue.CallAcknowledged:
		return &journalv1.Record{Change: &journalv1.Record_CallAcknowledged{CallAcknowledged: &journalv1.CallAcknowledged{
			Id: r.ID, Ranges: rangeMessages(r.Ranges),
		}}}
	case *queue.CallChanged:
		return &journalv1.Record{Change: &journalv1.Record_CallChanged{CallChanged: &journalv1.CallChanged{
			Id: r.ID, SessionId: sessionID(r.Session), Finished: r.Finished, CancelledTo: r.CancelledTo,
			CancelGrace: int64(r.CancelGrace), DaemonsOnly: r.DaemonsOnly,
		}}}
	case *queue.CallDropped:
		return &journalv1.Record{Change: &journalv1.Record_CallDropped{CallDropped: &journalv1.CallDropped{Id: r.ID}}}
	}
	panic(fmt.Sprintf("shard: no encoding for a %T", rec))
}

func callPutMessage(s *queue.CallState) *journalv1.Record {
	return &journalv1.Record{Change: &journalv1.Record_CallPut{CallPut: &journalv1.CallPut{
		Id: s.ID, Namespace: s.Namespace, Name: s.Name, SessionId: sessionID(s.Session), Finished: s.Finished,
		Accepted: rangeMessages(s.Accepted), Acknowledged: rangeMessages(s.Acknowledged),
		OpenedAt: int64(s.OpenedAt), CancelledTo: s.CancelledTo, CancelGrace: int64(s.CancelGrace),
		DaemonsOnly: s.DaemonsOnly,
	}}}
}

func sessionPutMessage(s *session.State) *journalv1.Record {
	return &journalv1.Record{Change: &journalv1.Record_SessionPut{SessionPut: &journalv1.SessionPut{
		Id: s.ID[:], Namespace: s.Namespace, Kind: uint32(s.Kind), Name: s.Name, Ttl: int64(s.TTL),
		OpenedAt: int64(s.OpenedAt), RequestId: s.RequestID, RequestHash: s.RequestHash[:],
	}}}
}
