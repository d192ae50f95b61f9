package task

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protojson"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// PayloadBytesMax is the default limit of a payload or a result.
const PayloadBytesMax = 512 << 10

// Payload is what a task carries in or brings back. The zero Payload is empty.
type Payload struct {
	data []byte
	text bool
}

// Bytes is a payload of any bytes. The slice is the payload's from then on.
func Bytes(data []byte) Payload { return Payload{data: data} }

// Text is a payload of UTF-8 text. Text that is not valid UTF-8 becomes bytes, which lose nothing.
func Text(s string) Payload { return Payload{data: []byte(s), text: utf8.ValidString(s)} }

// JSON is a payload of v as JSON text, which people can read in the broker's listings.
func JSON(v any) (Payload, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Payload{}, fmt.Errorf("task: encode %T as JSON: %w", v, err)
	}
	return Payload{data: data, text: true}, nil
}

// Bytes returns the payload's bytes, which the caller must not change: they may be shared with a string.
func (p Payload) Bytes() []byte { return p.data }

// Len returns the payload's size in bytes.
func (p Payload) Len() int { return len(p.data) }

// IsText reports whether the payload is known to be UTF-8 text, and travels as such.
func (p Payload) IsText() bool { return p.text }

// String returns the payload's bytes as a string.
func (p Payload) String() string { return string(p.data) }

// Decode reads JSON into v.
func (p Payload) Decode(v any) error {
	if err := json.Unmarshal(p.data, v); err != nil {
		return fmt.Errorf("task: decode JSON into %T: %w", v, err)
	}
	return nil
}

// Proto returns the payload as a message, nil if it is empty.
func (p Payload) Proto() *weftv1.Payload {
	switch {
	case len(p.data) == 0:
		return nil
	case p.text:
		// The same bytes: nobody changes a payload's, as nobody can those of a string.
		return &weftv1.Payload{Value: &weftv1.Payload_Text{Text: unsafe.String(unsafe.SliceData(p.data), len(p.data))}}
	default:
		return &weftv1.Payload{Value: &weftv1.Payload_Data{Data: p.data}}
	}
}

// PayloadFromProto reads a message. A JSON value becomes JSON text.
func PayloadFromProto(m *weftv1.Payload) (Payload, error) {
	switch v := m.GetValue().(type) {
	case *weftv1.Payload_Text:
		data := unsafe.Slice(unsafe.StringData(v.Text), len(v.Text)) // likewise
		return Payload{data: data, text: utf8.ValidString(v.Text)}, nil
	case *weftv1.Payload_Json:
		data, err := protojson.Marshal(v.Json)
		if err != nil {
			return Payload{}, fmt.Errorf("task: a JSON payload that cannot be written: %w", err)
		}
		return Payload{data: data, text: true}, nil
	default:
		return Bytes(m.GetData()), nil
	}
}
