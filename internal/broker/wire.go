package broker

import (
	"encoding/hex"
	"errors"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// The wire format of protobuf, by hand. Appenders leave out what is zero, as the generated code does.

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// appendBytes appends a field that is there even when it is empty: a message, or a member of a oneof.
func appendBytes(b []byte, field protowire.Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
}

// open begins a message within a message; shut ends it. One byte is kept for its length, and its bytes are
// moved when that is not enough.
func openMessage(b []byte, field protowire.Number) (_ []byte, at int) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return append(b, 0), len(b) + 1
}

func shutMessage(b []byte, at int) []byte {
	size := uint64(len(b) - at)
	if size < 0x80 {
		b[at-1] = byte(size)
		return b
	}
	more := protowire.SizeVarint(size) - 1
	for range more {
		b = append(b, 0)
	}
	copy(b[at+more:], b[at:])
	protowire.AppendVarint(b[:at-1], size)
	return b
}

func appendTime(b []byte, field protowire.Number, w pure.Wall) []byte {
	if w == 0 {
		return b
	}
	b, at := openMessage(b, field)
	b = appendUint(b, 1, uint64(int64(w)/nanosPerSecond))
	b = appendUint(b, 2, uint64(int64(w)%nanosPerSecond))
	return shutMessage(b, at)
}

// appendDuration appends a duration that is not negative, also when it is zero.
func appendDuration(b []byte, field protowire.Number, d time.Duration) []byte {
	b, at := openMessage(b, field)
	b = appendUint(b, 1, uint64(d/time.Second))
	b = appendUint(b, 2, uint64(d%time.Second))
	return shutMessage(b, at)
}

func appendTaskID(b []byte, field protowire.Number, id uint64) []byte {
	b, at := openMessage(b, field)
	return shutMessage(queue.AppendID(b, id), at)
}

func appendSession(b []byte, field protowire.Number, id session.ID) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(hex.EncodedLen(len(id))))
	return hex.AppendEncode(b, id[:])
}

// appendPayload appends a Payload, or what stands for it if it is a command or its result.
func appendPayload(b []byte, field, command protowire.Number, p queue.Payload) []byte {
	var spelled protowire.Number
	switch p.Encoding {
	case encodingBytes:
		spelled = 1
	case encodingText:
		spelled = 2
	case encodingJSON:
		spelled = 3
	case encodingCommand, encodingCommandResult:
		return appendBytes(b, command, p.Data)
	default:
		return b
	}
	size := protowire.SizeTag(spelled) + protowire.SizeBytes(len(p.Data))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	return appendBytes(b, spelled, p.Data)
}

func appendError(b []byte, field protowire.Number, e *queue.Error) []byte {
	if e == nil {
		return b
	}
	b, at := openMessage(b, field)
	b = appendString(b, 1, e.Reason)
	b = appendString(b, 2, e.Message)
	b = appendString(b, 3, e.Stack)
	if e.Permanent {
		b = appendUint(b, 4, 1)
	}
	return shutMessage(b, at)
}

func appendRanges(b []byte, field protowire.Number, ranges pure.Ranges) []byte {
	for _, r := range ranges {
		var at int
		b, at = openMessage(b, field)
		b = appendUint(b, 1, r.First)
		b = appendUint(b, 2, r.Last)
		b = shutMessage(b, at)
	}
	return b
}

// appendPacked appends a repeated number.
func appendPacked(b []byte, field protowire.Number, list []uint64) []byte {
	if len(list) == 0 {
		return b
	}
	b, at := openMessage(b, field)
	for _, v := range list {
		b = protowire.AppendVarint(b, v)
	}
	return shutMessage(b, at)
}

var errWire = errors.New("broker: the frame is no protobuf message of its type")

// field is one field of a message as it was read.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a varint
	data   []byte // of bytes, within the message
}

// nextField reads a field and returns what follows it.
func nextField(b []byte) (f field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, errWire
	}
	f.number, f.kind, b = number, kind, b[n:]
	switch kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.data, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return f, nil, errWire
	}
	return f, b[n:], nil
}

// is tells whether the field is of a number and type. A known number with another type is, to protobuf, an
// unknown field.
func (f *field) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// readPayload reads a Payload whose value is bytes or text; plain is false for any other, which the
// generated code is to read.
func readPayload(b []byte) (p queue.Payload, plain bool, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = nextField(b); err != nil {
			return p, false, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			p = queue.Payload{Encoding: encodingBytes, Data: append([]byte(nil), f.data...)}
		case f.is(2, protowire.BytesType):
			if !utf8.Valid(f.data) {
				return p, false, errWire
			}
			p = queue.Payload{Encoding: encodingText, Data: append([]byte(nil), f.data...)}
		default:
			return p, false, nil
		}
	}
	return p, true, nil
}

// interned remembers the last few names of a stream, which are nearly always the same ones.
type interned struct {
	names [4]string
	next  int
}

// name returns a valid name as a string, or false.
func (n *interned) name(b []byte) (string, bool) {
	for i := range n.names {
		if n.names[i] == string(b) { // does not allocate
			return n.names[i], true
		}
	}
	s := string(b)
	if !nameOK(s, 0) {
		return "", false
	}
	n.names[n.next] = s
	n.next = (n.next + 1) % len(n.names)
	return s, true
}
