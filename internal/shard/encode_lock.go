package shard

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weftq/weft/internal/wire"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// lockMessage is the message of a lock service's record, nil of any other.
func lockMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *lockservice.GrantChanged:
		return &journalv1.Record{Change: &journalv1.Record_GrantChanged{GrantChanged: &journalv1.GrantChanged{
			Token: r.Token, Depth: r.Depth, Published: r.Published,
		}}}
	case *lockservice.WaiterPut:
		return &journalv1.Record{Change: &journalv1.Record_WaiterPut{WaiterPut: waiterMessage(&r.State)}}
	case *lockservice.WaiterEnded:
		return &journalv1.Record{Change: &journalv1.Record_WaiterEnded{WaiterEnded: &journalv1.WaiterEnded{Id: r.ID}}}
	case *lockservice.WaiterMoved:
		return &journalv1.Record{Change: &journalv1.Record_WaiterMoved{WaiterMoved: &journalv1.WaiterMoved{
			Id: r.ID, Order: r.Order, Notified: r.Notified,
		}}}
	case *lockservice.WindowPut:
		return windowMessage(&r.State)
	case *lockservice.WindowDropped:
		return &journalv1.Record{Change: &journalv1.Record_WindowDropped{WindowDropped: &journalv1.WindowDropped{
			SessionId: r.Channel.Session[:], Channel: r.Channel.Number,
		}}}
	case *lockservice.RequestsDropped:
		return &journalv1.Record{Change: &journalv1.Record_RequestsDropped{RequestsDropped: &journalv1.RequestsDropped{
			Namespace: r.Namespace, Ids: r.IDs,
		}}}
	}
	return lockObjectMessage(rec)
}

// lockObjectMessage is [lockMessage] of what has a state of its own.
func lockObjectMessage(rec any) *journalv1.Record {
	switch r := rec.(type) {
	case *lockservice.SemaphorePut:
		s := &r.State
		return &journalv1.Record{Change: &journalv1.Record_SemaphorePut{SemaphorePut: &journalv1.SemaphorePut{
			Namespace: s.Namespace, Name: s.Name, Permits: s.Spec.Permits, Free: s.Spec.Free, Bounded: s.Spec.Bounded,
			Available: s.Available,
		}}}
	case *lockservice.SemaphoreDropped:
		return &journalv1.Record{Change: &journalv1.Record_SemaphoreDropped{SemaphoreDropped: &journalv1.SemaphoreDropped{
			Namespace: r.Namespace, Name: r.Name,
		}}}
	case *lockservice.EventPut:
		s := &r.State
		return &journalv1.Record{Change: &journalv1.Record_EventPut{EventPut: &journalv1.EventPut{
			Namespace: s.Namespace, Name: s.Name, Set: s.Set, Generation: s.Generation,
		}}}
	case *lockservice.EventDropped:
		return &journalv1.Record{Change: &journalv1.Record_EventDropped{EventDropped: &journalv1.EventDropped{
			Namespace: r.Namespace, Name: r.Name,
		}}}
	case *lockservice.BarrierPut:
		return barrierMessage(&r.State)
	case *lockservice.BarrierDropped:
		return &journalv1.Record{Change: &journalv1.Record_BarrierDropped{BarrierDropped: &journalv1.BarrierDropped{
			Namespace: r.Namespace, Name: r.Name,
		}}}
	case *lockservice.ValuePut:
		s := &r.State
		return &journalv1.Record{Change: &journalv1.Record_ValuePut{ValuePut: &journalv1.ValuePut{
			Namespace: s.Namespace, Name: s.Name, Data: dataMessage(&s.Data), Version: s.Version,
		}}}
	case *lockservice.ValueDropped:
		return &journalv1.Record{Change: &journalv1.Record_ValueDropped{ValueDropped: &journalv1.ValueDropped{
			Namespace: r.Namespace, Name: r.Name,
		}}}
	}
	return nil
}

func holderMessage(h *lockservice.HolderID) *journalv1.HolderId {
	return &journalv1.HolderId{SessionId: h.Session[:], Number: h.Number}
}

// appendGrant writes a GrantPut, which is as frequent as tasks are elsewhere.
func appendGrant(b []byte, s *lockservice.GrantState) []byte {
	b = wire.Uint(b, 1, s.Token)
	b = wire.Uint(b, 2, uint64(s.Kind))
	b = wire.String(b, 3, s.Namespace)
	b = wire.String(b, 4, s.Name)
	b, at := wire.Open(b, 5)
	b = wire.Bytes(b, 1, s.Holder.Session[:])
	b = wire.Uint(b, 2, s.Holder.Number)
	b = wire.Shut(b, at)
	b = wire.String(b, 6, s.Label)
	b = wire.Uint(b, 7, uint64(s.Mode))
	b = wire.Uint(b, 8, uint64(s.Depth))
	b = wire.Uint(b, 9, uint64(s.Permits))
	b = wire.String(b, 10, s.Published)
	return wire.Uint(b, 11, uint64(s.Since))
}

// appendAnswered writes an Answered, likewise.
func appendAnswered(b []byte, r *lockservice.Answered) []byte {
	b = wire.String(b, 1, r.Namespace)
	b, at := wire.Open(b, 2)
	o := &r.Origin
	if !o.Session.IsZero() {
		b = wire.Bytes(b, 1, o.Session[:])
	}
	b = wire.Uint(b, 2, o.Channel)
	b = wire.Uint(b, 3, o.Number)
	b = wire.Uint(b, 4, o.Below)
	b = wire.String(b, 5, o.RequestID)
	if o.Hash != [16]byte{} {
		b = wire.Bytes(b, 6, o.Hash[:])
	}
	b = wire.Shut(b, at)
	b, at = wire.Open(b, 3)
	b = appendAnswer(b, &r.Answer)
	b = wire.Shut(b, at)
	return wire.String(b, 4, r.Object)
}

func appendAnswer(b []byte, a *lockservice.Answer) []byte {
	b = wire.Uint(b, 1, uint64(a.Outcome))
	b = wire.Uint(b, 2, a.Token)
	b = wire.Uint(b, 3, uint64(a.Permits))
	b = wire.Uint(b, 4, uint64(a.Depth))
	b = wire.Uint(b, 5, uint64(a.Index))
	b = appendFlag(b, 6, a.Act)
	b = wire.Uint(b, 7, a.Generation)
	b = wire.Uint(b, 8, a.Count)
	b = appendFlag(b, 9, a.Set)
	b = appendFlag(b, 10, a.Notified)
	b = wire.Uint(b, 11, a.Version)
	d := &a.Data
	if d.Type == 0 {
		return b
	}
	b, at := wire.Open(b, 12)
	b = wire.Uint(b, 1, uint64(d.Type))
	b = wire.Uint(b, 2, uint64(d.Number))
	if d.Double != 0 {
		b = protowire.AppendTag(b, 3, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, math.Float64bits(d.Double))
	}
	b = wire.String(b, 4, d.Text)
	return wire.Shut(b, at)
}

func appendFlag(b []byte, field wire.Number, on bool) []byte {
	if on {
		return wire.Uint(b, field, 1)
	}
	return b
}

func waiterMessage(s *lockservice.WaiterState) *journalv1.WaiterPut {
	return &journalv1.WaiterPut{
		Id: s.ID, Kind: uint32(s.Kind), Namespace: s.Namespace, Name: s.Name, Lock: s.Lock, Holder: holderMessage(&s.Holder),
		Label: s.Label, Mode: uint32(s.Mode), Depth: s.Depth, Permits: s.Permits, Action: s.Action, Published: s.Published,
		Timed: s.Wait.Timed, Wait: int64(s.Wait.For), Since: int64(s.Since), Origin: originMessage(&s.Origin), Order: s.Order,
		Back: s.Back, Notified: s.Notified,
	}
}

func originMessage(o *lockservice.Origin) *journalv1.Origin {
	if *o == (lockservice.Origin{}) {
		return nil
	}
	m := &journalv1.Origin{Channel: o.Channel, Number: o.Number, Below: o.Below, RequestId: o.RequestID}
	if o.Session != (session.ID{}) {
		m.SessionId = o.Session[:]
	}
	if o.Hash != [16]byte{} {
		m.Hash = o.Hash[:]
	}
	return m
}

func answerMessage(a *lockservice.Answer) *journalv1.Answer {
	return &journalv1.Answer{
		Outcome: uint32(a.Outcome), Token: a.Token, Permits: a.Permits, Depth: a.Depth, Index: a.Index, Act: a.Act,
		Generation: a.Generation, Count: a.Count, Set: a.Set, Notified: a.Notified, Version: a.Version, Data: dataMessage(&a.Data),
	}
}

func dataMessage(d *lockservice.Data) *journalv1.Data {
	if *d == (lockservice.Data{}) {
		return nil
	}
	return &journalv1.Data{Type: uint32(d.Type), Number: d.Number, Double: d.Double, Text: []byte(d.Text)}
}

func barrierMessage(s *lockservice.BarrierState) *journalv1.Record {
	m := &journalv1.BarrierPut{
		Namespace: s.Namespace, Name: s.Name, Parties: s.Parties, Generation: s.Generation, Broken: s.Broken,
	}
	if s.Acting {
		m.Actor = holderMessage(&s.Actor)
	}
	return &journalv1.Record{Change: &journalv1.Record_BarrierPut{BarrierPut: m}}
}

func windowMessage(s *lockservice.WindowState) *journalv1.Record {
	m := &journalv1.WindowPut{
		Namespace: s.Namespace, SessionId: s.Channel.Session[:], Channel: s.Channel.Number, Below: s.Below,
	}
	for i := range s.Answers {
		k := &s.Answers[i]
		m.Answers = append(m.Answers, &journalv1.KeptAnswer{Number: k.Number, Answer: answerMessage(&k.Answer), Object: k.Object})
	}
	return &journalv1.Record{Change: &journalv1.Record_WindowPut{WindowPut: m}}
}
