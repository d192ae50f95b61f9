package client

import (
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// valueBytesMax bounds a text or bytes.
const valueBytesMax = 64 << 10

// toData turns a value into what the API has.
func toData[T ValueType](value T) (*weftv1.Data, error) {
	switch x := any(value).(type) {
	case bool:
		return &weftv1.Data{Data: &weftv1.Data_BoolValue{BoolValue: x}}, nil
	case int64:
		return &weftv1.Data{Data: &weftv1.Data_Int64Value{Int64Value: x}}, nil
	case float64:
		if math.IsNaN(x) {
			return nil, invalid("data.double_value", "must be a number")
		}
		return &weftv1.Data{Data: &weftv1.Data_DoubleValue{DoubleValue: x}}, nil
	case string:
		if len(x) > valueBytesMax {
			return nil, invalid("data.string_value", fmt.Sprintf("must have at most %d bytes: %d", valueBytesMax, len(x)))
		}
		return &weftv1.Data{Data: &weftv1.Data_StringValue{StringValue: x}}, nil
	case []byte:
		if len(x) > valueBytesMax {
			return nil, invalid("data.bytes_value", fmt.Sprintf("must have at most %d bytes: %d", valueBytesMax, len(x)))
		}
		return &weftv1.Data{Data: &weftv1.Data_BytesValue{BytesValue: x}}, nil
	}
	panic("client: a value of another type") // the constraint has no other
}

// fromData turns it back; false is another type.
func fromData[T ValueType](m *weftv1.Data) (value T, ok bool) {
	var x any
	switch d := m.GetData().(type) {
	case *weftv1.Data_BoolValue:
		x = d.BoolValue
	case *weftv1.Data_Int64Value:
		x = d.Int64Value
	case *weftv1.Data_DoubleValue:
		x = d.DoubleValue
	case *weftv1.Data_StringValue:
		x = d.StringValue
	case *weftv1.Data_BytesValue:
		x = d.BytesValue
	}
	value, ok = x.(T)
	return value, ok
}

// Wanted is what a value is waited for: [Equals], [AtLeast] or [AtMost].
type Wanted[T ValueType] struct {
	value T
	word  func(m *weftv1.WaitValueRequest, data *weftv1.Data)
}

// Equals is a value that is this.
func Equals[T ValueType](value T) Wanted[T] {
	return Wanted[T]{value, func(m *weftv1.WaitValueRequest, data *weftv1.Data) {
		m.Until = &weftv1.WaitValueRequest_Equals{Equals: data}
	}}
}

// AtLeast is a number that is this or more: a latch that counts up.
func AtLeast[T Number](value T) Wanted[T] {
	return Wanted[T]{value, func(m *weftv1.WaitValueRequest, data *weftv1.Data) {
		m.Until = &weftv1.WaitValueRequest_AtLeast{AtLeast: data}
	}}
}

// AtMost is a number that is this or less: a latch that counts down.
func AtMost[T Number](value T) Wanted[T] {
	return Wanted[T]{value, func(m *weftv1.WaitValueRequest, data *weftv1.Data) {
		m.Until = &weftv1.WaitValueRequest_AtMost{AtMost: data}
	}}
}

// WaitUntil waits until the value is as wanted, and returns what it was then. One that is not there is nothing that
// could be waited for: it has to be set first.
func (v *Value[T]) WaitUntil(ctx context.Context, until Wanted[T]) (T, error) {
	value, _, err := v.waitUntil(ctx, until, nil)
	return value, err
}

// WaitUntilWithin is WaitUntil that waits for d at most, 24 hours at most; false is that d was over first, and then
// the value is returned as it is.
func (v *Value[T]) WaitUntilWithin(ctx context.Context, d time.Duration, until Wanted[T]) (T, bool, error) {
	wait, err := waitOf(d)
	if err != nil {
		var none T
		return none, false, err
	}
	return v.waitUntil(ctx, until, wait)
}

func (v *Value[T]) waitUntil(ctx context.Context, until Wanted[T], wait *durationpb.Duration) (value T, ok bool, err error) {
	data, err := toData(until.value)
	if err != nil {
		return value, false, err
	}
	m := &weftv1.WaitValueRequest{Name: v.name, Wait: wait}
	until.word(m, data)
	answer, err := v.client.ownWait(ctx, &syncCommand{
		message: &weftv1.SynchronizeCommand{Command: &weftv1.SynchronizeCommand_WaitValue{WaitValue: m}},
	}, v.object(), wait)
	if err != nil {
		return value, false, err
	}
	value, _, err = v.read(answer.GetWaitValue().GetValue())
	return value, answer.GetWaitValue().GetReached() && err == nil, err
}
