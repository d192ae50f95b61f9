package shard

import (
	"maps"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftq/weft/pkg/lockservice"
)

func init() {
	maps.Copy(recordGenerators, lockGenerators)
}

// The lock service's records. Names, numbers and flags are anything; what the schema joins (an actor and its acting, no
// answers and an empty list) is drawn as the cores have it.
var lockGenerators = map[string]func(*rapid.T) any{
	"grantPut": func(t *rapid.T) any { return &lockservice.GrantPut{State: drawGrant(t)} },
	"grantChanged": func(t *rapid.T) any {
		return &lockservice.GrantChanged{Token: drawID(t), Depth: drawCount(t), Published: drawText(t)}
	},
	"grantDropped": func(t *rapid.T) any { return &lockservice.GrantDropped{Token: drawID(t)} },
	"waiterPut":    func(t *rapid.T) any { return &lockservice.WaiterPut{State: drawWaiter(t)} },
	"waiterEnded":  func(t *rapid.T) any { return &lockservice.WaiterEnded{ID: drawID(t)} },
	"waiterMoved": func(t *rapid.T) any {
		return &lockservice.WaiterMoved{ID: drawID(t), Order: drawID(t), Notified: drawBool(t)}
	},
	"answered": func(t *rapid.T) any {
		return &lockservice.Answered{Namespace: drawText(t), Origin: drawOrigin(t), Answer: drawAnswer(t), Object: drawText(t)}
	},
	"windowPut": func(t *rapid.T) any { return &lockservice.WindowPut{State: drawWindow(t)} },
	"windowDropped": func(t *rapid.T) any {
		return &lockservice.WindowDropped{Channel: lockservice.Channel{Session: drawSession(t), Number: drawID(t)}}
	},
	"requestsDropped": func(t *rapid.T) any {
		r := &lockservice.RequestsDropped{Namespace: drawText(t)}
		for range rapid.IntRange(0, 3).Draw(t, "ids") {
			r.IDs = append(r.IDs, drawText(t))
		}
		return r
	},
	"semaphorePut": func(t *rapid.T) any {
		return &lockservice.SemaphorePut{State: lockservice.SemaphoreState{
			Namespace: drawText(t), Name: drawText(t), Available: drawInt(t),
			Spec: lockservice.SemaphoreSpec{Permits: drawInt(t), Free: drawBool(t), Bounded: drawBool(t)},
		}}
	},
	"semaphoreDropped": func(t *rapid.T) any {
		return &lockservice.SemaphoreDropped{Namespace: drawText(t), Name: drawText(t)}
	},
	"eventPut": func(t *rapid.T) any {
		return &lockservice.EventPut{State: lockservice.EventState{
			Namespace: drawText(t), Name: drawText(t), Set: drawBool(t), Generation: drawID(t),
		}}
	},
	"eventDropped": func(t *rapid.T) any { return &lockservice.EventDropped{Namespace: drawText(t), Name: drawText(t)} },
	"barrierPut":   func(t *rapid.T) any { return &lockservice.BarrierPut{State: drawBarrier(t)} },
	"barrierDropped": func(t *rapid.T) any {
		return &lockservice.BarrierDropped{Namespace: drawText(t), Name: drawText(t)}
	},
	"valuePut": func(t *rapid.T) any {
		return &lockservice.ValuePut{State: lockservice.ValueState{
			Namespace: drawText(t), Name: drawText(t), Data: drawData(t), Version: drawID(t),
		}}
	},
	"valueDropped": func(t *rapid.T) any { return &lockservice.ValueDropped{Namespace: drawText(t), Name: drawText(t)} },
}

func drawInt(t *rapid.T) int64 { return rapid.Int64().Draw(t, "int") }

func drawHolder(t *rapid.T) lockservice.HolderID {
	return lockservice.HolderID{Session: drawSession(t), Number: drawID(t)}
}

func drawMode(t *rapid.T) lockservice.Mode {
	return rapid.SampledFrom([]lockservice.Mode{0, lockservice.Exclusive, lockservice.Shared}).Draw(t, "mode")
}

func drawKind(t *rapid.T) lockservice.Kind {
	return lockservice.Kind(rapid.IntRange(int(lockservice.KindLock), int(lockservice.KindBarrier)).Draw(t, "kind"))
}

func drawGrant(t *rapid.T) lockservice.GrantState {
	return lockservice.GrantState{
		Token: drawID(t), Kind: drawKind(t), Namespace: drawText(t), Name: drawText(t), Holder: drawHolder(t), Label: drawText(t),
		Mode: drawMode(t), Depth: drawCount(t), Permits: drawInt(t), Published: drawText(t), Since: drawWall(t),
	}
}

func drawWaiter(t *rapid.T) lockservice.WaiterState {
	return lockservice.WaiterState{
		ID: drawID(t), Kind: drawKind(t), Namespace: drawText(t), Name: drawText(t), Lock: drawText(t), Holder: drawHolder(t),
		Label: drawText(t), Mode: drawMode(t), Depth: drawCount(t), Permits: drawInt(t), Action: drawBool(t),
		Published: drawText(t), Wait: lockservice.Wait{Timed: drawBool(t), For: drawDuration(t)}, Since: drawWall(t),
		Origin: drawOrigin(t), Order: drawID(t), Back: drawBool(t), Notified: drawBool(t),
	}
}

func drawOrigin(t *rapid.T) (o lockservice.Origin) {
	if drawBool(t) {
		o.Session, o.Channel, o.Number, o.Below = drawSession(t), drawID(t), drawID(t), drawID(t)
	}
	if drawBool(t) {
		o.RequestID = drawText(t)
		copy(o.Hash[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))
	}
	return o
}

func drawAnswer(t *rapid.T) lockservice.Answer {
	return lockservice.Answer{
		Outcome: lockservice.Outcome(rapid.IntRange(0, int(lockservice.Abandoned)).Draw(t, "outcome")), Token: drawID(t),
		Permits: drawInt(t), Depth: drawCount(t), Index: drawCount(t), Act: drawBool(t), Generation: drawID(t),
		Count: drawID(t), Set: drawBool(t), Notified: drawBool(t), Version: drawID(t), Data: drawData(t),
	}
}

// drawData draws no double that is not equal to itself: see [TestNotANumberRoundTrips].
func drawData(t *rapid.T) lockservice.Data {
	if drawBool(t) {
		return lockservice.Data{}
	}
	return lockservice.Data{
		Type: lockservice.Type(rapid.IntRange(int(lockservice.Bool), int(lockservice.Bytes)).Draw(t, "type")), Number: drawInt(t),
		Double: rapid.Float64().Draw(t, "double"), Text: string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")),
	}
}

func drawBarrier(t *rapid.T) lockservice.BarrierState {
	s := lockservice.BarrierState{
		Namespace: drawText(t), Name: drawText(t), Parties: drawCount(t), Generation: drawID(t), Broken: drawBool(t),
	}
	if drawBool(t) {
		s.Acting, s.Actor = true, drawHolder(t)
	}
	return s
}

func drawWindow(t *rapid.T) lockservice.WindowState {
	s := lockservice.WindowState{
		Namespace: drawText(t), Channel: lockservice.Channel{Session: drawSession(t), Number: drawID(t)}, Below: drawID(t),
	}
	for range rapid.IntRange(0, 3).Draw(t, "answers") {
		s.Answers = append(s.Answers, lockservice.Kept{Number: drawID(t), Answer: drawAnswer(t), Object: drawText(t)})
	}
	return s
}

// What is not equal to itself is written and read as the bits that it has, and so is the zero with a sign.
func TestNotANumberRoundTrips(t *testing.T) {
	for _, double := range []float64{math.NaN(), math.Float64frombits(0xfff0_0000_0000_0001), math.Copysign(0, -1), math.Inf(-1)} {
		e := newEncoder()
		e.Record(&lockservice.ValuePut{State: lockservice.ValueState{
			Name: "v", Data: lockservice.Data{Type: lockservice.Double, Double: double}, Version: 1,
		}})
		if err := decode(e.buf, func(rec any) error {
			got := rec.(*lockservice.ValuePut).State.Data
			if got.Type != lockservice.Double || math.Float64bits(got.Double) != math.Float64bits(double) {
				t.Errorf("wrote %x, read %x of type %v", math.Float64bits(double), math.Float64bits(got.Double), got.Type)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A field that a generator leaves at zero for ever would be written by nobody and not be missed.
func TestGeneratorsFillEveryField(t *testing.T) {
	for kind, draw := range lockGenerators {
		filled := map[string]bool{}
		for seed := range 200 {
			fill(filled, "", reflect.ValueOf(rapid.Custom(draw).Example(seed)).Elem())
		}
		for field, ok := range filled {
			if !ok {
				t.Errorf("%s: %s is never set", kind, field)
			}
		}
	}
}

// fill notes which fields of a record are set.
func fill(filled map[string]bool, path string, v reflect.Value) {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			fill(filled, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
		return
	}
	filled[path] = filled[path] || !v.IsZero()
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		fill(filled, path+"[]", v.Index(0))
	}
}
