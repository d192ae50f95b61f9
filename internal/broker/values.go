package broker

import (
	"context"
	"math"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/lockservice"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// dataOf reads what a value is to be.
func dataOf(field string, m *weftv1.Data) (d lockservice.Data, refusal *pure.Refusal) {
	switch v := m.GetData().(type) {
	case *weftv1.Data_BoolValue:
		d.Type = lockservice.Bool
		if v.BoolValue {
			d.Number = 1
		}
	case *weftv1.Data_Int64Value:
		d.Type, d.Number = lockservice.Int64, v.Int64Value
	case *weftv1.Data_DoubleValue:
		if math.IsNaN(v.DoubleValue) {
			return d, invalid(field+".double_value", "must be a number")
		}
		d.Type, d.Double = lockservice.Double, v.DoubleValue
	case *weftv1.Data_StringValue:
		d.Type, d.Text = lockservice.String, v.StringValue
	case *weftv1.Data_BytesValue:
		d.Type, d.Text = lockservice.Bytes, string(v.BytesValue)
	default:
		return d, invalid(field, "must have a value of one type")
	}
	return d, nil
}

// valueMessage is a value; without its data if that is a text, unless whole says so.
func valueMessage(name string, d *lockservice.Data, version uint64, whole bool) *weftv1.Value {
	v := &weftv1.Value{Name: name, Version: version}
	if version == 0 {
		return v
	}
	switch d.Type {
	case lockservice.Bool:
		v.Data = &weftv1.Data{Data: &weftv1.Data_BoolValue{BoolValue: d.Number != 0}}
	case lockservice.Int64:
		v.Data = &weftv1.Data{Data: &weftv1.Data_Int64Value{Int64Value: d.Number}}
	case lockservice.Double:
		v.Data = &weftv1.Data{Data: &weftv1.Data_DoubleValue{DoubleValue: d.Double}}
	case lockservice.String:
		if whole {
			v.Data = &weftv1.Data{Data: &weftv1.Data_StringValue{StringValue: d.Text}}
		}
	case lockservice.Bytes:
		if whole {
			v.Data = &weftv1.Data{Data: &weftv1.Data_BytesValue{BytesValue: []byte(d.Text)}}
		}
	}
	return v
}

func guardOf(m *weftv1.Guard) lockservice.Guard {
	return lockservice.Guard{Lock: m.GetLock(), Token: m.GetToken()}
}

func setValue(req *weftv1.SetValueRequest) (shard.LockOp, *pure.Refusal) {
	data, refusal := dataOf("data", req.GetData())
	if refusal != nil {
		return nil, refusal
	}
	return &shard.SetValue{Name: req.GetName(), Data: data, Change: shard.ValueChange{
		IfVersion: req.GetIfVersion(), Conditional: req.IfVersion != nil, Guard: guardOf(req.GetGuard()),
	}}, nil
}

func addValue(req *weftv1.AddValueRequest) (shard.LockOp, *pure.Refusal) {
	op := &shard.AddValue{Name: req.GetName(), Change: shard.ValueChange{Guard: guardOf(req.GetGuard())}}
	switch d := req.GetDelta().(type) {
	case *weftv1.AddValueRequest_Int64Delta:
		op.Delta = lockservice.Data{Type: lockservice.Int64, Number: d.Int64Delta}
	case *weftv1.AddValueRequest_DoubleDelta:
		if math.IsNaN(d.DoubleDelta) {
			return nil, invalid("double_delta", "must be a number")
		}
		op.Delta = lockservice.Data{Type: lockservice.Double, Double: d.DoubleDelta}
	}
	return op, nil
}

func waitValue(req *weftv1.WaitValueRequest) (shard.LockOp, *pure.Refusal) {
	op := &shard.WaitValue{Name: req.GetName(), Wait: waitOf(req.GetWait())}
	var data *weftv1.Data
	field := ""
	switch u := req.GetUntil().(type) {
	case *weftv1.WaitValueRequest_Equals:
		op.Until.Comparison, data, field = lockservice.Equals, u.Equals, "equals"
	case *weftv1.WaitValueRequest_AtLeast:
		op.Until.Comparison, data, field = lockservice.AtLeast, u.AtLeast, "at_least"
	case *weftv1.WaitValueRequest_AtMost:
		op.Until.Comparison, data, field = lockservice.AtMost, u.AtMost, "at_most"
	case *weftv1.WaitValueRequest_NewerThan:
		op.Until.Comparison, op.Until.Version = lockservice.Newer, u.NewerThan
		return op, nil
	}
	var refusal *pure.Refusal
	if op.Until.Data, refusal = dataOf(field, data); refusal != nil {
		return nil, refusal
	}
	if t := op.Until.Data.Type; op.Until.Comparison != lockservice.Equals && t != lockservice.Int64 && t != lockservice.Double {
		return nil, invalid(field, "must be a number")
	}
	return op, nil
}

// GetValue implements LockService.
func (s *lockService) GetValue(ctx context.Context, req *weftv1.GetValueRequest) (*weftv1.GetValueResponse, error) {
	st, err := do[lockservice.ValueState](ctx, s.loop, &shard.GetValue{Namespace: orDefault(req.GetNamespace()), Name: req.GetName()})
	if err != nil {
		return nil, err
	}
	return &weftv1.GetValueResponse{Value: valueMessage(req.GetName(), &st.Data, st.Version, true)}, nil
}

// SetValue implements LockService.
func (s *lockService) SetValue(ctx context.Context, req *weftv1.SetValueRequest) (*weftv1.SetValueResponse, error) {
	op, refusal := setValue(req)
	if refusal != nil {
		return nil, statusError(refusal)
	}
	r, err := s.ask(ctx, req, op, false)
	if err != nil {
		return nil, err
	}
	return &weftv1.SetValueResponse{Value: valueMessage(req.GetName(), &r.Answer.Data, r.Answer.Version, false)}, nil
}

// AddValue implements LockService.
func (s *lockService) AddValue(ctx context.Context, req *weftv1.AddValueRequest) (*weftv1.AddValueResponse, error) {
	op, refusal := addValue(req)
	if refusal != nil {
		return nil, statusError(refusal)
	}
	r, err := s.ask(ctx, req, op, false)
	if err != nil {
		return nil, err
	}
	return &weftv1.AddValueResponse{Value: valueMessage(req.GetName(), &r.Answer.Data, r.Answer.Version, false)}, nil
}

// WaitValue implements LockService.
func (s *lockService) WaitValue(ctx context.Context, req *weftv1.WaitValueRequest) (*weftv1.WaitValueResponse, error) {
	op, refusal := waitValue(req)
	if refusal != nil {
		return nil, statusError(refusal)
	}
	r, err := s.ask(ctx, req, op, false)
	if err != nil {
		return nil, err
	}
	return waitValueMessage(req.GetName(), &r.Answer), nil
}

func waitValueMessage(name string, a *lockservice.Answer) *weftv1.WaitValueResponse {
	return &weftv1.WaitValueResponse{
		Reached: a.Outcome == lockservice.Done, Value: valueMessage(name, &a.Data, a.Version, true),
	}
}

// DeleteValue implements LockService.
func (s *lockService) DeleteValue(ctx context.Context, req *weftv1.DeleteValueRequest) (*weftv1.DeleteValueResponse, error) {
	op := &shard.DeleteValue{Name: req.GetName(), Change: shard.ValueChange{
		IfVersion: req.GetIfVersion(), Conditional: req.IfVersion != nil, Guard: guardOf(req.GetGuard()),
	}}
	if _, err := s.ask(ctx, req, op, false); err != nil {
		return nil, err
	}
	return &weftv1.DeleteValueResponse{}, nil
}
