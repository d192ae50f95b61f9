package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Codec turns values of a type into payloads and back. It is used by several goroutines.
type Codec[T any] interface {
	Encode(v T) (Payload, error)
	Decode(p Payload) (T, error)
}

// codec is a Codec of two functions.
type codec[T any] struct {
	encode func(T) (Payload, error)
	decode func(Payload) (T, error)
}

// Encode implements Codec.
func (c codec[T]) Encode(v T) (Payload, error) { return c.encode(v) }

// Decode implements Codec.
func (c codec[T]) Decode(p Payload) (T, error) { return c.decode(p) }

// JSONCodec is JSON by encoding/json, as text that people can read in listings. An empty payload is the zero
// value. Fields that the type does not have are passed over, and those that are missing are zero: programs of two versions
// understand one another, and so do two types that have nothing to do with each other. [StrictJSON] refuses the former.
func JSONCodec[T any]() Codec[T] {
	return codec[T]{
		encode: func(v T) (Payload, error) { return JSON(v) },
		decode: func(p Payload) (v T, err error) {
			if p.Len() > 0 {
				err = p.Decode(&v)
			}
			return v, err
		},
	}
}

// StrictJSON is [JSONCodec], but what is read must have no field that the type does not have, and nothing behind the
// value: a value of another type under the same kind is an error, with [ReasonPayload] for a handler's input, instead of
// a silent zero. With it a field can only be added once every reader has it: readers go first in a rolling upgrade.
func StrictJSON[T any]() Codec[T] {
	return codec[T]{
		encode: func(v T) (Payload, error) { return JSON(v) },
		decode: func(p Payload) (v T, err error) {
			if p.Len() == 0 {
				return v, nil
			}
			d := json.NewDecoder(bytes.NewReader(p.data))
			d.DisallowUnknownFields()
			if err = d.Decode(&v); err == nil {
				if _, end := d.Token(); !errors.Is(end, io.EOF) {
					err = errors.New("there is more behind the value")
				}
			}
			if err != nil {
				var zero T
				return zero, fmt.Errorf("task: decode JSON into %T: %w", v, err)
			}
			return v, nil
		},
	}
}

// ProtoCodec is protobuf's binary form of a message; M is a pointer to a generated type.
func ProtoCodec[M proto.Message]() Codec[M] {
	return codec[M]{
		encode: func(m M) (Payload, error) {
			data, err := proto.Marshal(m)
			if err != nil {
				return Payload{}, fmt.Errorf("encode %T: %w", m, err)
			}
			return Bytes(data), nil
		},
		decode: func(p Payload) (M, error) {
			var zero M
			m, _ := zero.ProtoReflect().New().Interface().(M)
			if err := proto.Unmarshal(p.Bytes(), m); err != nil {
				return zero, fmt.Errorf("decode %T: %w", m, err)
			}
			return m, nil
		},
	}
}

// TextCodec is text as it is. What is not UTF-8 travels as bytes and comes out the same.
func TextCodec() Codec[string] {
	return codec[string]{
		encode: func(s string) (Payload, error) { return Text(s), nil },
		decode: func(p Payload) (string, error) { return p.String(), nil },
	}
}

// BytesCodec is bytes as they are.
func BytesCodec() Codec[[]byte] {
	return codec[[]byte]{
		encode: func(b []byte) (Payload, error) { return Bytes(bytes.Clone(b)), nil },
		decode: func(p Payload) ([]byte, error) { return bytes.Clone(p.Bytes()), nil },
	}
}

// RawCodec is payloads themselves.
func RawCodec() Codec[Payload] {
	return codec[Payload]{
		encode: func(p Payload) (Payload, error) { return p, nil },
		decode: func(p Payload) (Payload, error) { return p, nil },
	}
}

// PayloadOf makes a value a payload by what it is: a payload, bytes, text and messages of protobuf as they are,
// everything else as JSON.
func PayloadOf(v any) (Payload, error) {
	switch v := v.(type) {
	case Payload:
		return v, nil
	case []byte:
		return Bytes(bytes.Clone(v)), nil
	case string:
		return Text(v), nil
	case proto.Message:
		data, err := proto.Marshal(v)
		if err != nil {
			return Payload{}, fmt.Errorf("task: encode %T: %w", v, err)
		}
		return Bytes(data), nil
	}
	return JSON(v)
}

// Into reads a payload that [PayloadOf] made into what v points to: a Payload, bytes, a string, a message of
// protobuf (v itself), everything else as JSON. After an error v is as it was.
func (p Payload) Into(v any) error {
	switch v := v.(type) {
	case *Payload:
		*v = p
	case *[]byte:
		*v = bytes.Clone(p.data)
	case *string:
		*v = p.String()
	case proto.Message:
		m := v.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(p.data, m); err != nil {
			return fmt.Errorf("task: decode %T: %w", v, err)
		}
		proto.Reset(v)
		proto.Merge(v, m)
	default:
		return p.intoJSON(v)
	}
	return nil
}

func (p Payload) intoJSON(v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return errors.New("task: a payload is read into a pointer")
	}
	fresh := reflect.New(target.Type().Elem())
	if err := p.Decode(fresh.Interface()); err != nil {
		return err
	}
	target.Elem().Set(fresh.Elem())
	return nil
}
