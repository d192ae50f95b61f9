package queue

import (
	"errors"
	"testing"

	"github.com/weftq/weft/internal/pure"
)

// putResults are the answers to submissions that waited.
func putResults(step *pure.Step) map[uint64]*Put {
	out := map[uint64]*Put{}
	for _, e := range step.Effects {
		if p, ok := e.(*Put); ok {
			out[p.Waiter] = p
		}
	}
	return out
}

// A submission that waits for room and is asked for again, by a client that was cut off or has given up, is not
// put twice, nor after its client was told that it was not.
func TestPutIsTakenOver(t *testing.T) {
	b := newBench(Config{})
	if err := b.core.CreateQueue(b.step(), "n", "q", Settings{MaxSize: 1}); err != nil {
		t.Fatal(err)
	}
	submit := func(request string, waiter uint64) (Submitted, bool, map[uint64]*Put, error) {
		step := b.step()
		s, waits, err := b.core.Submit(step, "n", request, NewTask{Queue: "q", Spec: Spec{Kind: "k", Payload: Payload{Data: []byte(request)}}}, waiter)
		return s, waits, putResults(step), err
	}
	first, _, _, err := submit("first", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, request := range []string{"a", "b", "c"} {
		if _, waits, _, err := submit(request, uint64(i+1)); err != nil || !waits {
			t.Fatal(request, err)
		}
	}
	_, waits, told, err := submit("a", 11) // asked again: it keeps its place
	if err != nil || !waits || told[1] == nil || told[1].Err == nil {
		t.Fatal(waits, err, told)
	}
	_, waits, told, err = submit("b", 0) // given up
	if r, ok := errors.AsType[*pure.Refusal](err); !ok || r.Reason != pure.QueueFull || waits || told[2] == nil {
		t.Fatal(waits, err, told)
	}
	if _, _, err := b.core.Submit(b.step(), "n", "c", NewTask{Queue: "q", Spec: Spec{Kind: "other"}}, 0); err == nil {
		t.Error("another task with the id of one that waits")
	}
	step := b.step()
	if _, err := b.core.Cancel(step, "n", first.ID, -1); err != nil {
		t.Fatal(err)
	}
	for b.core.Pending() {
		b.core.Work(step)
	}
	if told = putResults(step); len(told) != 1 || told[11] == nil || told[11].Err != nil {
		t.Fatalf("told %v", told)
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
}
