package broker

import (
	"encoding/hex"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

func appendTime(b []byte, field protowire.Number, w pure.Wall) []byte {
	if w == 0 {
		return b
	}
	b, at := wire.Open(b, field)
	b = wire.Uint(b, 1, uint64(int64(w)/nanosPerSecond))
	b = wire.Uint(b, 2, uint64(int64(w)%nanosPerSecond))
	return wire.Shut(b, at)
}

// appendDuration appends a duration that is not negative, also when it is zero.
func appendDuration(b []byte, field protowire.Number, d time.Duration) []byte {
	b, at := wire.Open(b, field)
	b = wire.Uint(b, 1, uint64(d/time.Second))
	b = wire.Uint(b, 2, uint64(d%time.Second))
	return wire.Shut(b, at)
}

func appendTaskID(b []byte, field protowire.Number, id uint64) []byte {
	b, at := wire.Open(b, field)
	return wire.Shut(queue.AppendID(b, id), at)
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
		return wire.Bytes(b, command, p.Data)
	default:
		return b
	}
	size := protowire.SizeTag(spelled) + protowire.SizeBytes(len(p.Data))
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	return wire.Bytes(b, spelled, p.Data)
}

// appendPayloads appends payloads of a list, the empty ones too: they have their places.
func appendPayloads(b []byte, field protowire.Number, list []queue.Payload) []byte {
	for _, p := range list {
		before := len(b)
		if b = appendPayload(b, field, field, p); len(b) == before {
			b = wire.Bytes(b, field, nil)
		}
	}
	return b
}

func appendProgress(b []byte, field protowire.Number, p *queue.Progress) []byte {
	if p == nil {
		return b
	}
	b, at := wire.Open(b, field)
	b = wire.Uint(b, 1, uint64(p.Done))
	b = wire.Uint(b, 2, uint64(p.Total))
	b = wire.String(b, 3, p.Message)
	return wire.Shut(b, at)
}

func appendError(b []byte, field protowire.Number, e *queue.Error) []byte {
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

func appendRanges(b []byte, field protowire.Number, ranges pure.Ranges) []byte {
	for _, r := range ranges {
		var at int
		b, at = wire.Open(b, field)
		b = wire.Uint(b, 1, r.First)
		b = wire.Uint(b, 2, r.Last)
		b = wire.Shut(b, at)
	}
	return b
}

// readPayload reads a Payload whose value is bytes or text; plain is false for any other, which the
// generated code is to read.
func readPayload(b []byte) (p queue.Payload, plain bool, err error) {
	for len(b) > 0 {
		var f wire.Field
		if f, b, err = wire.Next(b); err != nil {
			return p, false, err
		}
		switch {
		case f.Is(1, protowire.BytesType):
			p = queue.Payload{Encoding: encodingBytes, Data: append([]byte(nil), f.Data...)}
		case f.Is(2, protowire.BytesType):
			if !utf8.Valid(f.Data) {
				return p, false, wire.Error
			}
			p = queue.Payload{Encoding: encodingText, Data: append([]byte(nil), f.Data...)}
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
