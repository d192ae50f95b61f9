package schedule

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

const second = pure.Wall(time.Second)

// everyTen is a calendar whose lines fire every so many seconds.
func everyTen(line, _ string, after pure.Wall) (pure.Wall, bool) {
	var n int64
	if _, err := fmt.Sscan(line, &n); err != nil || n <= 0 {
		return 0, false
	}
	return (after/(pure.Wall(n)*second) + 1) * pure.Wall(n) * second, true
}

// tape keeps records as a journal would: with nothing that changes later.
type tape struct {
	seqs []uint64
	recs []any
	seq  uint64
}

// Record implements pure.Sink.
func (t *tape) Record(rec any) int {
	switch r := rec.(type) {
	case *Put:
		again := *r
		rec = &again
	case *Fired:
		again := *r
		rec = &again
	}
	t.seqs, t.recs = append(t.seqs, t.seq), append(t.recs, rec)
	return 0
}

// bench is a core and its journal.
type bench struct {
	*Core
	tape
	counter uint64
}

func newBench() *bench { return &bench{Core: New(Config{Next: everyTen})} }

func (b *bench) at(now pure.Wall) *pure.Step {
	b.seq++
	return &pure.Step{Wall: now, Seq: b.seq, Sink: &b.tape, Counter: &b.counter}
}

// advance fires what is due and returns the times of the runs.
func (b *bench) advance(now pure.Wall) (runs []int) {
	for s := b.Due(now); s != nil; s = b.Due(now) {
		p := b.Plan(s, now)
		if p.Run {
			runs = append(runs, int(p.Through/second))
		}
		b.Fire(b.at(now), s, p, 7, nil)
	}
	return runs
}

func definition(line string, c CatchUp) Definition {
	return Definition{Cron: line, CatchUp: c, Overlap: OverlapAllow, Task: queue.NewTask{Queue: "q", Spec: queue.Spec{Kind: "k"}}}
}

func TestMissedRuns(t *testing.T) {
	for name, test := range map[string]struct {
		line    string
		catchUp CatchUp
		window  time.Duration
		seen    []int // seconds at which the broker looks
		want    []int // and the times that run
	}{
		"on time":                          {"10", CatchUpSkip, 0, []int{10, 20, 30}, []int{10, 20, 30}},
		"a little late":                    {"100", CatchUpSkip, 0, []int{101, 260}, []int{100, 200}},
		"more than a minute late":          {"100", CatchUpSkip, 0, []int{161, 261}, nil},
		"overtaken, the last one is fresh": {"10", CatchUpSkip, 0, []int{55}, []int{50}},
		"overtaken, the last one is late":  {"100", CatchUpSkip, 0, []int{361}, nil},
		"latest":                           {"10", CatchUpLatest, 0, []int{10_005, 10_010}, []int{10_000, 10_010}},
		"latest within the window":         {"100", CatchUpLatest, 10 * time.Second, []int{305, 411, 500}, []int{300, 500}},
		"all":                              {"10", CatchUpAll, 0, []int{35, 40}, []int{10, 20, 30, 40}},
		"all within the window":            {"10", CatchUpAll, 15 * time.Second, []int{55}, []int{40, 50}},
		"all, none within the window":      {"100", CatchUpAll, 15 * time.Second, []int{350, 400}, []int{400}},
		"the window's edge":                {"10", CatchUpAll, 15 * time.Second, []int{45}, []int{30, 40}},
		"back":                             {"10", CatchUpAll, 0, []int{35, 5, 25, 39, 40}, []int{10, 20, 30, 40}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			d := definition(test.line, test.catchUp)
			d.Window = test.window
			if _, err := b.Create(b.at(0), "n", "s", d, false); err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, now := range test.seen {
				got = append(got, b.advance(pure.Wall(now)*second)...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("runs at %v, want %v", got, test.want)
			}
		})
	}
}

func TestSoManyAreMadeUp(t *testing.T) {
	b := newBench()
	if _, err := b.Create(b.at(0), "n", "s", definition("1", CatchUpAll), false); err != nil {
		t.Fatal(err)
	}
	const last = BehindMax * 3
	runs := b.advance(last * second)
	if len(runs) != BehindMax+1 || runs[0] != 1 || runs[BehindMax-1] != BehindMax || runs[BehindMax] != last {
		t.Errorf("%d runs, from %d to %d", len(runs), runs[0], runs[len(runs)-1])
	}
	if runs = b.advance((last + 2) * second); len(runs) != 2 {
		t.Errorf("later: %v", runs)
	}
}

func TestDefinitionsAreCompared(t *testing.T) {
	b := newBench()
	d := definition("10", CatchUpLatest)
	d.Task.Spec.Payload = queue.Payload{Encoding: 2, Data: []byte{}}
	first, err := b.Create(b.at(1), "n", "s", d, false)
	if err != nil {
		t.Fatal(err)
	}
	d.Task.Spec.Payload.Data = nil
	d.Task.Spec.Options = &queue.Options{Grace: queue.GraceDefault, Retention: -1, FailedRetention: -1}
	if again, err := b.Create(b.at(2), "n", "s", d, true); again != first || err != nil || again.Paused {
		t.Errorf("an equal one: %v, %v", again, err)
	}
	if other, err := b.Create(b.at(2), "m", "s", d, false); other == first || err != nil {
		t.Errorf("in another namespace: %v, %v", other, err)
	}
	for name, change := range map[string]func(*Definition){
		"cron":     func(d *Definition) { d.Cron = "11" },
		"zone":     func(d *Definition) { d.Zone = "z" },
		"catch up": func(d *Definition) { d.CatchUp = CatchUpAll },
		"overlap":  func(d *Definition) { d.Overlap = OverlapSkip },
		"window":   func(d *Definition) { d.Window = 1 },
		"queue":    func(d *Definition) { d.Task.Queue = "r" },
		"payload":  func(d *Definition) { d.Task.Spec.Payload.Data = []byte("x") },
		"options":  func(d *Definition) { d.Task.Spec.Options = &queue.Options{} },
	} {
		other := d
		change(&other)
		if _, err := b.Create(b.at(3), "n", "s", other, false); !refusedAs(err, pure.ScheduleExists) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := b.Create(b.at(3), "n", "new", definition("never", CatchUpSkip), false); !refusedAs(err, pure.InvalidField) {
		t.Errorf("one without a next time: %v", err)
	}
	if b.Len() != 2 {
		t.Errorf("%d schedules", b.Len())
	}
}

func refusedAs(err error, reason pure.Reason) bool {
	r, ok := errors.AsType[*pure.Refusal](err)
	return ok && r.Reason == reason
}

// A change that was made of one task is refused once the schedule has another.
func TestAnUpdateOfWhatWasRead(t *testing.T) {
	b := newBench()
	s, err := b.Create(b.at(1), "n", "s", definition("10", CatchUpSkip), false)
	if err != nil {
		t.Fatal(err)
	}
	was, other := s.Task, s.Task
	other.Queue = "other"
	for i, want := range []pure.Reason{"", pure.Superseded} {
		_, err := b.Update(b.at(2), "n", "s", &Change{Task: &other, Was: &was})
		if refused := refusedAs(err, pure.Superseded); refused != (want != "") || s.Task.Queue != "other" {
			t.Errorf("update %d: %v", i, err)
		}
	}
}

func TestANamespaceIsBounded(t *testing.T) {
	b := newBench()
	for i := range SchedulesMax {
		if _, err := b.Create(b.at(0), "n", fmt.Sprint(i), definition("10", CatchUpSkip), true); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Create(b.at(0), "n", "more", definition("10", CatchUpSkip), true)
	if r, _ := errors.AsType[*pure.Refusal](err); r == nil || r.Reason != pure.StateFull || !slices.Equal(r.Meta, []string{"field", "schedule", "limit", fmt.Sprint(SchedulesMax), "namespace", "n"}) {
		t.Errorf("one more: %v", err)
	}
	if _, err := b.Create(b.at(0), "m", "more", definition("10", CatchUpSkip), true); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
	if err := b.Drop(b.at(0), "n", "0"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Create(b.at(0), "n", "more", definition("10", CatchUpSkip), true); err != nil {
		t.Errorf("after one went: %v", err)
	}
}

func TestANamespacesBytesAreBounded(t *testing.T) {
	b := newBench()
	const large = 1 << 20
	of := func(bytes int) Definition {
		d := definition("10", CatchUpSkip)
		d.Task.Spec.Payload = queue.Payload{Encoding: 1, Data: make([]byte, bytes)}
		return d
	}
	full := func(err error) {
		t.Helper()
		r, _ := errors.AsType[*pure.Refusal](err)
		if r == nil || r.Reason != pure.StateFull || !strings.HasPrefix(r.Message, "schedule.task: ") || !strings.Contains(r.Message, "67108864") {
			t.Errorf("a schedule too much: %v", err)
		}
	}
	names := 0
	for ; names < BytesMax/large-1; names++ {
		if _, err := b.Create(b.at(0), "n", fmt.Sprint(names), of(large), true); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Create(b.at(0), "n", "more", of(large), true)
	full(err)
	if _, err := b.Create(b.at(0), "n", "small", of(1), true); err != nil {
		t.Errorf("a small one: %v", err)
	}
	task := of(large).Task
	counter, bytes := b.counter, b.Bytes()
	_, err = b.Update(b.at(0), "n", "small", &Change{Task: &task})
	full(err)
	if b.counter != counter || b.Bytes() != bytes {
		t.Error("what is refused changes something")
	}
	if _, err := b.Create(b.at(0), "m", "more", of(large), true); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
	line := "20"
	if _, err := b.Update(b.at(0), "n", "0", &Change{Cron: &line}); err != nil {
		t.Errorf("one that does not grow: %v", err)
	}
	if err := b.Drop(b.at(0), "n", "0"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(b.at(0), "n", "small", &Change{Task: &task}); err != nil {
		t.Errorf("after one went: %v", err)
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}

func TestALineThatEnds(t *testing.T) {
	b := newBench()
	s, err := b.Create(b.at(0), "n", "s", definition("10", CatchUpSkip), false)
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.Next = func(string, string, pure.Wall) (pure.Wall, bool) { return 0, false } // a zone that is no more
	if runs := b.advance(10 * second); len(runs) != 1 || s.Failure.Reason == "" || b.Due(1<<60) != nil {
		t.Errorf("runs %v, then %+v", runs, s.Progress)
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}

func TestTheTaskOfARun(t *testing.T) {
	b := newBench()
	d := definition("10", CatchUpSkip)
	d.Task.Spec.Options = &queue.Options{Labels: []string{"a", "1", "z", "2"}}
	s, err := b.Create(b.at(0), "n", "s", d, false)
	if err != nil {
		t.Fatal(err)
	}
	n := s.TaskAt(10 * second)
	want := []string{"a", "1", LabelName, "s", LabelAt, "1970-01-01T00:00:10Z", "z", "2"}
	if !slices.Equal(n.Spec.Options.Labels, want) || len(d.Task.Spec.Options.Labels) != 4 {
		t.Errorf("labels %q", n.Spec.Options.Labels)
	}
	if name := RunOf(&queue.TaskState{Spec: n.Spec}); name != "s" {
		t.Errorf("a run of %q", name)
	}
}

// TestAgainstTheClock plays random clocks and changes, and holds the core to what was promised: no time runs
// twice, a replay has the same state, and the invariants hold.
func TestAgainstTheClock(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		b := newBench()
		now := pure.Wall(0)
		ran := map[string]int{} // the last time that ran, by name and creation
		for range 200 {
			name := fmt.Sprint(r.IntN(4))
			switch op := r.IntN(10); {
			case op < 2:
				d := definition(fmt.Sprint(1+r.IntN(100)), CatchUp(1+r.IntN(3)))
				if d.CatchUp != CatchUpSkip && r.IntN(2) == 0 {
					d.Window = time.Duration(1+r.IntN(300)) * time.Second
				}
				_, _ = b.Create(b.at(now), "n", name, d, r.IntN(3) == 0)
			case op == 2:
				if b.Drop(b.at(now), "n", name) == nil {
					delete(ran, name)
				}
			case op == 3:
				line, paused := fmt.Sprint(1+r.IntN(100)), r.IntN(2) == 0
				change := &Change{Paused: &paused}
				if r.IntN(2) == 0 {
					change.Cron = &line
				}
				_, _ = b.Update(b.at(now), "n", name, change)
			case op == 4 && b.Len() > 0:
				b.CopyOldest(b.at(now))
			case op == 5:
				now = max(0, now-pure.Wall(r.IntN(500))*second)
			default:
				now += pure.Wall(r.IntN(500)) * second
			}
			for s := b.Due(now); s != nil; s = b.Due(now) {
				p := b.Plan(s, now)
				if at := int(p.Through / second); p.Run && at <= ran[s.Name] || p.Through > now {
					t.Fatalf("seed %d: %s runs at %d, after %d, it is %d", seed, s.Name, at, ran[s.Name], now/second)
				} else if p.Run {
					ran[s.Name] = at
				}
				b.Fire(b.at(now), s, p, 7, nil)
			}
			if err := b.Check(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		replayed := New(Config{}) // it has no calendar
		for i, rec := range b.recs {
			replayed.Apply(rec, b.seqs[i])
		}
		if !slices.Equal(replayed.Dump(), b.Dump()) || replayed.Strangers != 0 {
			t.Fatalf("seed %d: a replay has other schedules", seed)
		}
	}
}

func TestList(t *testing.T) {
	b := newBench()
	for _, name := range []string{"c", "a", "b"} {
		for _, namespace := range []string{"n", "m"} {
			if _, err := b.Create(b.at(0), namespace, name, definition("10", CatchUpSkip), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	names := func(list []*Schedule) (out []string) {
		for _, s := range list {
			out = append(out, s.Namespace+s.Name)
		}
		return out
	}
	if page, more := b.List("m", "", 2); !slices.Equal(names(page), []string{"ma", "mb"}) || !more {
		t.Errorf("%v, %v", names(page), more)
	}
	if page, more := b.List("m", "b", 2); !slices.Equal(names(page), []string{"mc"}) || more {
		t.Errorf("%v, %v", names(page), more)
	}
	if page, more := b.List("x", "", 2); len(page) != 0 || more {
		t.Errorf("%v, %v", names(page), more)
	}
}
