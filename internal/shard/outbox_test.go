package shard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// BenchmarkOutbox measures an effect's way through an outbox, in batches as a busy loop has them.
func BenchmarkOutbox(b *testing.B) {
	const n = 1000
	effects := make([]any, 0, n)
	for i := range uint64(n) {
		switch i % 4 {
		case 0:
			effects = append(effects, &queue.Assigned{Assignment: queue.Assignment{ID: i}})
		case 1:
			effects = append(effects, &queue.Answered{Token: i})
		case 2:
			effects = append(effects, &queue.Finished{Index: i})
		default:
			effects = append(effects, &queue.Updated{Index: i})
		}
	}
	o := NewOutbox()
	var into []any
	for i := 0; i < b.N; i += n {
		o.staged = append(o.staged, effects...)
		o.flush()
		var err error
		if into, err = o.Take(into); err != nil || len(into) != n {
			b.Fatal(len(into), err)
		}
	}
}

// filled returns an outbox to which so many effects were told that nobody has taken.
func filled(n int, effect any) *Outbox {
	o := NewOutbox()
	for n > 0 {
		for range min(n, 1000) {
			o.staged = append(o.staged, effect)
			n--
		}
		o.flush()
	}
	return o
}

func TestOutboxIsBoundedInNumber(t *testing.T) {
	beat := &Beat{1}
	o := filled(outboxMax, beat)
	if err := o.Err(); err != nil {
		t.Fatal(err)
	}
	o.Push(beat)
	<-o.Done()
	wantLimit(t, o, "limit", outboxMax)
}

func TestOutboxIsBoundedInBytes(t *testing.T) {
	long := func(n int) *queue.Rejected {
		return &queue.Rejected{Reason: pure.Refuse(pure.QueueNotFound, strings.Repeat("x", n), "queue", strings.Repeat("y", n))}
	}
	for name, effect := range map[string]any{
		"refusals":      long(1 << 10),
		"ranges":        &queue.Accepted{Ranges: make(pure.Ranges, 1<<10)},
		"states":        &queue.Changed{},
		"many refusals": long(100),
		"progress":      &queue.Advanced{Progress: &queue.Progress{Message: strings.Repeat("x", 1<<10)}},
		"its watchers":  &queue.Changed{Task: queue.Snapshot{Progress: &queue.Progress{Message: strings.Repeat("x", 1<<10)}}},
		"interrupts":    &queue.Interrupted{Interrupt: queue.Interrupt{Message: strings.Repeat("x", 1<<10)}},
	} {
		t.Run(name, func(t *testing.T) {
			each := weigh([]any{effect})
			fit := min(outboxBytesMax/each, outboxMax)
			o := filled(fit, effect)
			if err := o.Err(); err != nil {
				t.Fatalf("%d of %d bytes: %v", fit, each, err)
			}
			items, err := o.Take(nil)
			if err != nil || len(items) != fit {
				t.Fatalf("%d items, %v", len(items), err)
			}
			o.staged = append(o.staged, items...) // what was taken has made room
			o.flush()
			if err := o.Err(); err != nil {
				t.Fatal(err)
			}
			o.Push(effect)
			<-o.Done()
			wantLimit(t, o, "limit_bytes", outboxBytesMax)
			if items, err := o.Take(nil); len(items) != 0 || err == nil {
				t.Errorf("%d items, %v: it is to be forgotten", len(items), err)
			}
		})
	}
}

func wantLimit(t *testing.T, o *Outbox, name string, limit int) {
	t.Helper()
	wantReason(t, o.Err(), pure.SlowStream)
	r, _ := errors.AsType[*pure.Refusal](o.Err())
	if !slices.Equal(r.Meta, []string{name, fmt.Sprint(limit)}) {
		t.Errorf("%q", r.Meta)
	}
}

// Results are the state's: a client that comes back is told all of them, however large they are.
func TestOutboxTakesLargeResults(t *testing.T) {
	finished := &queue.Finished{Outcome: &queue.Outcome{Result: queue.Payload{Data: make([]byte, 512<<10)}}}
	assigned := &queue.Assigned{Assignment: queue.Assignment{Payload: finished.Outcome.Result}}
	advanced := &queue.Advanced{Partials: []queue.Payload{finished.Outcome.Result, finished.Outcome.Result}}
	assigned.Checkpoint = &queue.Checkpoint{State: finished.Outcome.Result}
	for _, effect := range []any{finished, assigned, advanced} {
		if err := filled(queue.CallTasksMax, effect).Err(); err != nil {
			t.Errorf("%T: %v", effect, err)
		}
	}
}
