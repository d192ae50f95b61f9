package shard

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// TestFrequentRecordsByHand holds the records that are written by hand against their messages.
func TestFrequentRecordsByHand(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for _, rec := range []any{randomPut(rng), randomDispatched(rng), randomFinished(rng)} {
			e := newEncoder()
			e.Record(rec)
			n := 0
			err := decode(e.buf, func(got any) error {
				n++
				if !reflect.DeepEqual(got, rec) {
					t.Errorf("seed %d: wrote %+v, read %+v", seed, rec, got)
				}
				return nil
			})
			if err != nil || n != 1 {
				t.Fatalf("seed %d: %d records, %v", seed, n, err)
			}
		}
		put := randomPut(rng)
		byHand, byMessage := newEncoder(), newEncoder()
		byHand.Record(put)
		byMessage.message(taskPutMessage(put.State))
		var a, b journalv1.Record
		if proto.Unmarshal(byHand.buf[2:], &a) == nil && proto.Unmarshal(byMessage.buf[2:], &b) == nil && !proto.Equal(&a, &b) {
			t.Fatalf("seed %d: %v by hand, %v by message", seed, &a, &b)
		}
	}
}

func randomData(rng *rand.Rand) queue.Payload {
	if rng.IntN(4) == 0 {
		return queue.Payload{}
	}
	p := queue.Payload{Encoding: uint8(1 + rng.IntN(5))}
	if n := rng.IntN(3) * rng.IntN(20_000); n > 0 {
		p.Data = make([]byte, n)
		for i := range p.Data {
			p.Data[i] = byte(rng.Uint32())
		}
	}
	return p
}

func randomPut(rng *rand.Rand) *queue.TaskPut {
	t := &queue.TaskState{
		Spec: queue.Spec{Kind: "k", Payload: randomData(rng), Options: queue.DefaultOptions, RunAt: pure.Wall(rng.Uint64N(3) * 1e18)},
		ID:   rng.Uint64(), Queue: rng.Uint64(), Call: rng.Uint64N(3), Index: rng.Uint64N(300),
		CreatedAt: pure.Wall(rng.Int64()), State: queue.Ready, Extra: queue.NoExtra,
	}
	if rng.IntN(3) == 0 {
		t.State, t.Next, t.RequestID = queue.Scheduled, t.RunAt, "r"
	}
	return &queue.TaskPut{State: t}
}

func randomDispatched(rng *rand.Rand) *queue.TaskDispatched {
	r := &queue.TaskDispatched{ID: rng.Uint64(), Token: rng.Uint64(), StartedAt: pure.Wall(rng.Int64()), Attempts: rng.Uint32N(4)}
	for i := range r.Session {
		r.Session[i] = byte(rng.Uint32())
	}
	return r
}

func randomFinished(rng *rand.Rand) *queue.TaskFinished {
	o := &queue.Outcome{
		State: queue.Succeeded + queue.State(rng.IntN(4)), End: queue.End(rng.IntN(7)), Result: randomData(rng),
		FinishedAt: pure.Wall(rng.Int64()), Spooled: rng.IntN(2) == 0,
	}
	if rng.IntN(2) == 0 {
		o.Worker = "worker"
		o.Error = &queue.Error{Reason: "r", Message: "m", Stack: "s", Permanent: rng.IntN(2) == 0}
	}
	return &queue.TaskFinished{ID: rng.Uint64(), Tries: rng.Uint32N(3), Outcome: o}
}
