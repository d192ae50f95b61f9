package client

import (
	"errors"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Field numbers of ExecuteResponse, ExecuteOutcome and Outcome.
const (
	responseAttached  protowire.Number = 1
	responseAccepted  protowire.Number = 2
	responseRejected  protowire.Number = 3
	responseUpdates   protowire.Number = 4
	responseOutcomes  protowire.Number = 5
	responseHeartbeat protowire.Number = 6
	responseAdvances  protowire.Number = 7
	responseInterrupt protowire.Number = 8

	entryIndex   protowire.Number = 1
	entryTaskID  protowire.Number = 2
	entryOutcome protowire.Number = 3

	outcomeState    protowire.Number = 1
	outcomeEnd      protowire.Number = 2
	outcomePayload  protowire.Number = 3
	outcomeCommand  protowire.Number = 4
	outcomeError    protowire.Number = 5
	outcomeAttempts protowire.Number = 6
	outcomeWorker   protowire.Number = 7
	outcomeToken    protowire.Number = 8
	outcomeStarted  protowire.Number = 9
	outcomeFinished protowire.Number = 10
)

// errFrame is a frame that is no message.
var errFrame = errors.New("client: a frame from the broker that cannot be read")

// inFrame is a frame from the broker. It is read into again and again: only what the outcomes point to
// is new each time.
type inFrame struct {
	attached  *weftv1.ExecuteAttached
	accepted  []indexRange
	rejected  []*weftv1.ExecuteRejection
	updates   []*weftv1.ExecuteUpdate
	outcomes  []inOutcome
	heartbeat uint64
	advances  []*weftv1.ExecuteAdvance
	interrupt *weftv1.ExecuteInterrupt

	raw    []byte // the frame's bytes, reused
	worker string // the last worker's name: most frames have one only
}

// inOutcome is the end of one task.
type inOutcome struct {
	index  uint64
	taskID string
	size   int // bytes of its result, as the window counts them
	Outcome
}

// fieldFunc takes one field: v is a varint's value, data a message's bytes.
type fieldFunc func(num protowire.Number, v uint64, data []byte) error

// eachField reads a message's fields in order and skips fixed-size ones, which none of ours is.
func eachField(b []byte, fn fieldFunc) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errFrame
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 {
				b = b[n:]
				continue
			}
		}
		if n < 0 {
			return errFrame
		}
		b = b[n:]
		if err := fn(num, v, data); err != nil {
			return err
		}
	}
	return nil
}

// decode reads f.raw.
func (f *inFrame) decode() error {
	f.attached, f.heartbeat = nil, 0
	f.accepted, f.outcomes = f.accepted[:0], f.outcomes[:0]
	f.rejected, f.updates = nil, nil
	f.advances, f.interrupt = nil, nil
	return eachField(f.raw, f.field)
}

// field reads one field of ExecuteResponse.
func (f *inFrame) field(num protowire.Number, v uint64, data []byte) error {
	switch num {
	case responseAttached:
		f.attached = &weftv1.ExecuteAttached{}
		return proto.Unmarshal(data, f.attached)
	case responseAccepted:
		r, err := decodeRange(data)
		f.accepted = append(f.accepted, r)
		return err
	case responseRejected:
		m := &weftv1.ExecuteRejection{}
		f.rejected = append(f.rejected, m)
		return proto.Unmarshal(data, m)
	case responseUpdates:
		m := &weftv1.ExecuteUpdate{}
		f.updates = append(f.updates, m)
		return proto.Unmarshal(data, m)
	case responseOutcomes:
		return f.entry(data)
	case responseAdvances:
		m := &weftv1.ExecuteAdvance{}
		f.advances = append(f.advances, m)
		return proto.Unmarshal(data, m)
	case responseInterrupt:
		f.interrupt = &weftv1.ExecuteInterrupt{}
		return proto.Unmarshal(data, f.interrupt)
	case responseHeartbeat:
		f.heartbeat = v
	}
	return nil
}

// decodeRange reads an IndexRange.
func decodeRange(b []byte) (r indexRange, err error) {
	err = eachField(b, func(num protowire.Number, v uint64, _ []byte) error {
		switch num {
		case 1:
			r.first = v
		case 2:
			r.last = v
		}
		return nil
	})
	return r, err
}

// entry reads an ExecuteOutcome.
func (f *inFrame) entry(b []byte) error {
	f.outcomes = append(f.outcomes, inOutcome{})
	o := &f.outcomes[len(f.outcomes)-1]
	return eachField(b, func(num protowire.Number, v uint64, data []byte) error {
		switch num {
		case entryIndex:
			o.index = v
		case entryTaskID:
			o.taskID = string(data)
		case entryOutcome:
			return f.outcome(o, data)
		}
		return nil
	})
}

// outcome reads an Outcome.
func (f *inFrame) outcome(o *inOutcome, b []byte) error {
	return eachField(b, func(num protowire.Number, v uint64, data []byte) (err error) {
		switch num {
		case outcomeState:
			o.State = weftv1.TaskState(int32(v)) //nolint:gosec // the wire's own conversion
		case outcomeEnd:
			o.End = weftv1.AttemptEnd(int32(v)) //nolint:gosec // the wire's own conversion
		case outcomePayload:
			o.Command, o.size = nil, len(data)
			o.Payload, err = decodePayload(data)
		case outcomeCommand:
			o.Payload, o.size = task.Payload{}, len(data)
			o.Command = &weftv1.CommandResult{}
			err = proto.Unmarshal(data, o.Command)
		case outcomeError:
			m := &weftv1.TaskError{}
			err = proto.Unmarshal(data, m)
			o.Error = task.ErrorFromProto(m)
		case outcomeAttempts:
			o.Attempts = int(uint32(v)) //nolint:gosec // the wire's own conversion
		case outcomeWorker:
			o.Worker = f.intern(data)
		case outcomeToken:
			o.Token = v
		case outcomeStarted:
			o.StartedAt, err = decodeTime(data)
		case outcomeFinished:
			o.FinishedAt, err = decodeTime(data)
		}
		return err
	})
}

// intern returns a worker's name, the string of the last outcome if it was the same.
func (f *inFrame) intern(name []byte) string {
	if f.worker != string(name) {
		f.worker = string(name)
	}
	return f.worker
}

// decodePayload reads a Payload. JSON takes the long way: only people send it.
func decodePayload(b []byte) (p task.Payload, err error) {
	err = eachField(b, func(num protowire.Number, _ uint64, data []byte) error {
		switch num {
		case payloadData:
			p = task.Bytes(append([]byte(nil), data...))
		case payloadText:
			p = task.Text(string(data))
		default:
			m := &weftv1.Payload{}
			if err := proto.Unmarshal(b, m); err != nil {
				return err
			}
			p, err = task.PayloadFromProto(m)
			return err
		}
		return nil
	})
	return p, err
}

// decodeTime reads a Timestamp.
func decodeTime(b []byte) (time.Time, error) {
	var sec, nsec int64
	err := eachField(b, func(num protowire.Number, v uint64, _ []byte) error {
		switch num {
		case 1:
			sec = int64(v) //nolint:gosec // the wire's own conversion
		case 2:
			nsec = int64(int32(v)) //nolint:gosec // the wire's own conversion
		}
		return nil
	})
	return time.Unix(sec, nsec).UTC(), err
}
