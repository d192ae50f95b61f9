// Package wire writes and reads protobuf's wire format by hand, for the few messages that are worth it.
// Tests of its users hold what they write and read against the generated code.
package wire

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Number is a field's number.
type Number = protowire.Number

// Uint appends a number, unless it is 0, as the generated code does.
func Uint(b []byte, field Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

// String appends text, unless it is empty.
func String(b []byte, field Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// Bytes appends a field that is there even when it is empty: a message, or a member of a oneof.
func Bytes(b []byte, field Number, data []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), data)
}

// Open begins a message within a message; Shut ends it. One byte is kept for its length, and its bytes are
// moved when that is not enough.
func Open(b []byte, field Number) (_ []byte, at int) {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return append(b, 0), len(b) + 1
}

// Shut ends a message that Open began.
func Shut(b []byte, at int) []byte {
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

// Packed appends a repeated number.
func Packed(b []byte, field Number, list []uint64) []byte {
	if len(list) == 0 {
		return b
	}
	b, at := Open(b, field)
	for _, v := range list {
		b = protowire.AppendVarint(b, v)
	}
	return Shut(b, at)
}

// Error says that bytes are no message.
var Error = errors.New("wire: the bytes are no protobuf message of the type")

// Field is one field of a message as it was read.
type Field struct {
	Number Number
	Type   protowire.Type
	Value  uint64 // of a varint
	Data   []byte // of bytes, within the message
}

// Next reads a field and returns what follows it.
func Next(b []byte) (f Field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, Error
	}
	f.Number, f.Type, b = number, kind, b[n:]
	switch kind {
	case protowire.VarintType:
		f.Value, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.Data, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return f, nil, Error
	}
	return f, b[n:], nil
}

// Is tells whether the field is of a number and type. A known number with another type is, to protobuf, an
// unknown field.
func (f *Field) Is(number Number, kind protowire.Type) bool {
	return f.Number == number && f.Type == kind
}
