package shard

import (
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// fromLockMessage reads a lock service's record, and returns nil for any other.
func fromLockMessage(m *journalv1.Record) any {
	switch c := m.Change.(type) {
	case *journalv1.Record_GrantPut:
		return &lockservice.GrantPut{State: toGrant(c.GrantPut)}
	case *journalv1.Record_GrantChanged:
		r := c.GrantChanged
		return &lockservice.GrantChanged{Token: r.Token, Depth: r.Depth, Published: r.Published}
	case *journalv1.Record_GrantDropped:
		return &lockservice.GrantDropped{Token: c.GrantDropped.Token}
	case *journalv1.Record_WaiterPut:
		return &lockservice.WaiterPut{State: toWaiter(c.WaiterPut)}
	case *journalv1.Record_WaiterEnded:
		return &lockservice.WaiterEnded{ID: c.WaiterEnded.Id}
	case *journalv1.Record_WaiterMoved:
		r := c.WaiterMoved
		return &lockservice.WaiterMoved{ID: r.Id, Order: r.Order, Notified: r.Notified}
	case *journalv1.Record_Answered:
		r := c.Answered
		return &lockservice.Answered{Namespace: r.Namespace, Origin: toOrigin(r.Origin), Answer: toAnswer(r.Answer), Object: r.Object}
	case *journalv1.Record_WindowPut:
		return &lockservice.WindowPut{State: toWindow(c.WindowPut)}
	case *journalv1.Record_WindowDropped:
		return &lockservice.WindowDropped{Channel: lockservice.Channel{
			Session: toSessionID(c.WindowDropped.SessionId), Number: c.WindowDropped.Channel,
		}}
	case *journalv1.Record_RequestsDropped:
		return &lockservice.RequestsDropped{Namespace: c.RequestsDropped.Namespace, IDs: c.RequestsDropped.Ids}
	}
	return fromLockObjectMessage(m)
}

// fromLockObjectMessage is [fromLockMessage] of what has a state of its own.
func fromLockObjectMessage(m *journalv1.Record) any {
	switch c := m.Change.(type) {
	case *journalv1.Record_SemaphorePut:
		r := c.SemaphorePut
		return &lockservice.SemaphorePut{State: lockservice.SemaphoreState{
			Namespace: r.Namespace, Name: r.Name, Available: r.Available,
			Spec: lockservice.SemaphoreSpec{Permits: r.Permits, Free: r.Free, Bounded: r.Bounded},
		}}
	case *journalv1.Record_SemaphoreDropped:
		return &lockservice.SemaphoreDropped{Namespace: c.SemaphoreDropped.Namespace, Name: c.SemaphoreDropped.Name}
	case *journalv1.Record_EventPut:
		r := c.EventPut
		return &lockservice.EventPut{State: lockservice.EventState{
			Namespace: r.Namespace, Name: r.Name, Set: r.Set, Generation: r.Generation,
		}}
	case *journalv1.Record_EventDropped:
		return &lockservice.EventDropped{Namespace: c.EventDropped.Namespace, Name: c.EventDropped.Name}
	case *journalv1.Record_BarrierPut:
		return &lockservice.BarrierPut{State: toBarrier(c.BarrierPut)}
	case *journalv1.Record_BarrierDropped:
		return &lockservice.BarrierDropped{Namespace: c.BarrierDropped.Namespace, Name: c.BarrierDropped.Name}
	case *journalv1.Record_ValuePut:
		r := c.ValuePut
		return &lockservice.ValuePut{State: lockservice.ValueState{
			Namespace: r.Namespace, Name: r.Name, Data: toData(r.Data), Version: r.Version,
		}}
	case *journalv1.Record_ValueDropped:
		return &lockservice.ValueDropped{Namespace: c.ValueDropped.Namespace, Name: c.ValueDropped.Name}
	}
	return nil
}

func toHolder(m *journalv1.HolderId) lockservice.HolderID {
	return lockservice.HolderID{Session: toSessionID(m.GetSessionId()), Number: m.GetNumber()}
}

func toGrant(m *journalv1.GrantPut) lockservice.GrantState {
	return lockservice.GrantState{
		Token: m.Token, Kind: lockservice.Kind(m.Kind), Namespace: m.Namespace, Name: m.Name, Holder: toHolder(m.Holder),
		Label: m.Label, Mode: lockservice.Mode(m.Mode), Depth: m.Depth, Permits: m.Permits, Published: m.Published,
		Since: pure.Wall(m.Since),
	}
}

func toWaiter(m *journalv1.WaiterPut) lockservice.WaiterState {
	return lockservice.WaiterState{
		ID: m.Id, Kind: lockservice.Kind(m.Kind), Namespace: m.Namespace, Name: m.Name, Lock: m.Lock, Holder: toHolder(m.Holder),
		Label: m.Label, Mode: lockservice.Mode(m.Mode), Depth: m.Depth, Permits: m.Permits, Action: m.Action,
		Published: m.Published, Wait: lockservice.Wait{Timed: m.Timed, For: time.Duration(m.Wait)}, Since: pure.Wall(m.Since),
		Origin: toOrigin(m.Origin), Order: m.Order, Back: m.Back, Notified: m.Notified,
	}
}

func toOrigin(m *journalv1.Origin) lockservice.Origin {
	o := lockservice.Origin{
		Session: toSessionID(m.GetSessionId()), Channel: m.GetChannel(), Number: m.GetNumber(), Below: m.GetBelow(),
		RequestID: m.GetRequestId(),
	}
	copy(o.Hash[:], m.GetHash())
	return o
}

func toAnswer(m *journalv1.Answer) lockservice.Answer {
	return lockservice.Answer{
		Outcome: lockservice.Outcome(m.GetOutcome()), Token: m.GetToken(), Permits: m.GetPermits(), Depth: m.GetDepth(),
		Index: m.GetIndex(), Act: m.GetAct(), Generation: m.GetGeneration(), Count: m.GetCount(), Set: m.GetSet(),
		Notified: m.GetNotified(), Version: m.GetVersion(), Data: toData(m.GetData()),
	}
}

func toData(m *journalv1.Data) lockservice.Data {
	return lockservice.Data{
		Type: lockservice.Type(m.GetType()), Number: m.GetNumber(), Double: m.GetDouble(), Text: string(m.GetText()),
	}
}

func toBarrier(m *journalv1.BarrierPut) lockservice.BarrierState {
	s := lockservice.BarrierState{
		Namespace: m.Namespace, Name: m.Name, Parties: m.Parties, Generation: m.Generation, Broken: m.Broken,
	}
	if m.Actor != nil {
		s.Acting, s.Actor = true, toHolder(m.Actor)
	}
	return s
}

func toWindow(m *journalv1.WindowPut) lockservice.WindowState {
	s := lockservice.WindowState{
		Namespace: m.Namespace, Channel: lockservice.Channel{Session: toSessionID(m.SessionId), Number: m.Channel}, Below: m.Below,
	}
	for _, k := range m.Answers {
		s.Answers = append(s.Answers, lockservice.Kept{Number: k.Number, Answer: toAnswer(k.Answer), Object: k.Object})
	}
	return s
}
