package lockservice

import (
	"testing"

	"github.com/weftq/weft/internal/pure"
)

// Whoever saw a generation hears of the next one, also of the very first, and of an event that was cleared again.
func TestEventGenerationsRise(t *testing.T) {
	w := newWorld(t)
	last := uint64(0)
	for range 3 {
		w.do(func(step *pure.Step) {
			d, err := w.core.WaitEvent(step, "n", "e", last, Wait{}, Origin{}, sid(1))
			if err != nil || d.Waiter == 0 {
				t.Fatalf("%+v %v", d, err)
			}
			w.core.AbandonWaiter(step, d.Waiter)
			last = d.Since
		})
		w.do(func(step *pure.Step) {
			for _, set := range []bool{true, false} {
				if _, err := w.core.SetEvent(step, "n", "e", set, Origin{}); err != nil {
					t.Fatal(err)
				}
			}
		})
		w.do(func(step *pure.Step) {
			d, err := w.core.WaitEvent(step, "n", "e", last, Wait{}, Origin{}, sid(1))
			if err != nil || d.Waiter != 0 || d.Answer.Outcome != Done || d.Answer.Generation <= last {
				t.Fatalf("since %d: %+v %v", last, d, err)
			}
			last = d.Answer.Generation
		})
	}
}

// What is compared is of one type.
func TestUntil(t *testing.T) {
	number := func(n int64) Data { return Data{Type: Int64, Number: n} }
	for _, test := range []struct {
		until Until
		value Data
		want  bool
	}{
		{Until{Comparison: Equals, Data: number(1)}, number(1), true},
		{Until{Comparison: Equals, Data: number(1)}, number(2), false},
		{Until{Comparison: AtLeast, Data: number(1)}, number(2), true},
		{Until{Comparison: AtLeast, Data: number(2)}, number(1), false},
		{Until{Comparison: AtMost, Data: number(-1)}, number(-2), true},
		{Until{Comparison: AtMost, Data: number(-2)}, number(-1), false},
		{Until{Comparison: AtLeast, Data: Data{Type: Double, Double: 0.5}}, Data{Type: Double, Double: 0.5}, true},
		{Until{Comparison: Equals, Data: Data{Type: String, Text: "a"}}, Data{Type: String, Text: "a"}, true},
		{Until{Comparison: Equals, Data: Data{Type: String, Text: "a"}}, Data{Type: Bytes, Text: "a"}, false},
		{Until{Comparison: AtLeast, Data: Data{Type: String, Text: "a"}}, Data{Type: String, Text: "b"}, true},
		{Until{Comparison: Newer, Version: 6}, number(0), true},
		{Until{Comparison: Newer, Version: 7}, number(0), false},
	} {
		if got := test.until.holds(&ValueState{Data: test.value, Version: 7}); got != test.want {
			t.Errorf("%+v of %+v: %t", test.until, test.value, got)
		}
	}
}

// A channel that has ended is forgotten once its client has heard all of it, and not before.
func TestChannelsThatHaveEnded(t *testing.T) {
	w := newWorld(t)
	id := sid(1)
	w.alive[id] = true
	ch := Channel{id, 5}
	acquire := func(number uint64, lock string, wait Wait) (d Decision) {
		w.do(func(step *pure.Step) {
			var err error
			d, err = w.core.AcquireLock(step, &AcquireLock{Mode: Exclusive, Request: Request{
				Namespace: "n", Name: lock, Holder: HolderID{id, number}, Wait: wait,
				Origin: Origin{Session: id, Channel: ch.Number, Number: number, Below: w.core.Told(ch)},
			}})
			if err != nil {
				t.Fatal(err)
			}
			if d.Waiter != 0 {
				w.waits[d.Waiter] = lock
			}
		})
		return d
	}
	ended := func() bool {
		w.do(func(step *pure.Step) { w.core.Disconnect(step, ch) })
		_, known := w.core.Windows(ch)
		w.replayed(0)
		return !known
	}
	acquire(1, "l", Wait{})
	if ended() {
		t.Fatal("an answer that was not heard is forgotten")
	}
	if d := acquire(1, "l", Wait{}); d.Answer.Outcome != Done {
		t.Fatalf("the same command again: %+v", d)
	}
	acquire(2, "l", Wait{})
	w.core.Acknowledge(ch, 2)
	if ended() {
		t.Fatal("a command that waits is forgotten")
	}
	w.do(func(step *pure.Step) {
		w.core.Abandon(step, "n", Origin{Session: id, Channel: ch.Number, Number: 2})
	})
	w.core.Acknowledge(ch, 3)
	if !ended() {
		t.Fatal("it is kept")
	}
}
