//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// Neither more tasks of a queue nor more of one key run at a time than may, also when the broker was killed
// meanwhile.
func TestMaxRunning(t *testing.T) {
	const tasks, atOnce, ofKey = 600, 5, 2
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a := w.api(b.addr)
	a.create(&weftv1.Queue{Name: "narrow", MaxRunning: atOnce, MaxRunningPerKey: ofKey})
	var specs []*weftv1.TaskSpec
	for i := range tasks {
		key := fmt.Sprint("key", i%4)
		s := text("sleep", fmt.Sprintf("3ms/%s/%d", key, i))
		s.Queue, s.FairnessKey = "narrow", key
		specs = append(specs, s)
	}
	a.submitAll("all", specs...)
	for _, name := range []string{"north", "south"} {
		l.worker(workerConfig{Name: name, Broker: b.addr, Slots: 50, Queues: []string{"narrow"}})
	}
	l.await(a.ctx, tasks/3, begins(""))
	if err := b.restart(); err != nil {
		t.Fatal(err)
	}
	a.drained("narrow")
	counts := a.queue("narrow").GetCounts()
	if counts.GetSucceeded() != tasks {
		t.Errorf("all ended: %v", counts)
	}
	most := mostAtOnce(l.await(a.ctx, 2*tasks, func(*event) bool { return true }))
	if most[""] > atOnce || most[""] == 0 {
		t.Errorf("%d tasks ran at a time, allowed are %d", most[""], atOnce)
	}
	for key, n := range most {
		if key != "" && n > ofKey {
			t.Errorf("%d tasks of %s ran at a time, allowed are %d", n, key, ofKey)
		}
	}
	t.Logf("at a time: %v", most)
}

// mostAtOnce is how many tasks ran at a time, by key; "" is all of them. What a worker saw lies within what
// the broker counts.
func mostAtOnce(events []event) map[string]int {
	slices.SortStableFunc(events, func(a, b event) int { return a.At.Compare(b.At) })
	now, most := make(map[string]int), make(map[string]int)
	for _, e := range events {
		key := strings.Split(e.Task, "/")[1]
		for _, k := range []string{"", key} {
			if e.Phase == begin {
				now[k]++
			} else {
				now[k]--
			}
			most[k] = max(most[k], now[k])
		}
	}
	return most
}

// A queue's rate bounds how many attempts begin: at any time no more than it has let through since the first
// could begin, and a burst; and one more, as what is decided in one pass of the broker's loop has one time.
func TestRateLimit(t *testing.T) {
	const perSecond, burst = 50.0, 10
	span := 3 * time.Second
	if testing.Short() {
		span = time.Second
	}
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	a := w.api(b.addr)
	a.create(&weftv1.Queue{Name: "slow", RateLimit: &weftv1.RateLimit{PerSecond: perSecond, Burst: burst}})
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 50, Queues: []string{"slow"}})
	var specs []*weftv1.TaskSpec
	for i := range 1000 {
		s := text("echo", fmt.Sprint(i))
		s.Queue = "slow"
		specs = append(specs, s)
	}
	since := time.Now()
	ids := a.submitAll("", specs...)
	begun := l.await(a.ctx, int(perSecond*span.Seconds()), begins("")) // it is not slower than it has to be for ever
	slices.SortFunc(begun, func(a, b event) int { return cmp.Compare(a.Token, b.Token) })
	for i, e := range begun {
		if allowed := perSecond*e.At.Sub(since).Seconds() + burst + 1; float64(i+1) > allowed {
			t.Fatalf("%d attempts began within %v, allowed are %.1f", i+1, e.At.Sub(since), allowed)
		}
	}
	a.why(ids[len(ids)-1], "rate_limit")
	t.Logf("%d attempts began within %v", len(begun), begun[len(begun)-1].At.Sub(since))
}
