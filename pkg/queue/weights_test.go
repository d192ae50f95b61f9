package queue

import (
	"slices"
	"strings"
	"testing"

	"github.com/weftq/weft/pkg/session"
)

// share is a queue with so many tasks, and its weight for the worker.
type share struct {
	queue  string
	tasks  int
	weight uint32
}

var weighing = session.ID{7}

// weighed is a core with queues, and a worker of them that has no credit yet.
func weighed(t *testing.T, shares ...share) *bench {
	t.Helper()
	b := newBench(Config{})
	h := Hello{Namespace: "n", Session: weighing, Name: "w", Kinds: []string{"k"}, Slots: 100}
	for _, s := range shares {
		if err := b.core.CreateQueue(b.step(), "n", s.queue, Settings{}); err != nil {
			t.Fatal(err)
		}
		h.Queues = append(h.Queues, s.queue)
		if s.weight > 0 {
			h.Weights = append(h.Weights, s.weight)
		}
		b.fillQueue(t, s.queue, s.tasks)
	}
	if _, err := b.core.Connect(b.step(), h); err != nil {
		t.Fatal(err)
	}
	b.goOn()
	return b
}

func (b *bench) fillQueue(t *testing.T, queueName string, n int) {
	t.Helper()
	for range n {
		if _, _, err := b.core.Submit(b.step(), "n", "", NewTask{Queue: queueName, Spec: Spec{Kind: "k"}}, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// served has the worker run so many tasks, with so many credits at a time, and returns their queues, in order.
func (b *bench) served(t *testing.T, n, credits int) string {
	t.Helper()
	var order []string
	for len(order) < n {
		b.core.Credit(weighing, uint32(min(credits, n-len(order))))
		b.goOn()
		held := b.core.HeldBy(weighing)
		if len(held) == 0 {
			break
		}
		slices.SortFunc(held, func(a, b Assignment) int { return int(a.Token) - int(b.Token) })
		for _, a := range held {
			order = append(order, b.core.queues[b.core.tasks[a.ID].Queue].Name)
			b.core.Report(b.step(), weighing, []Report{{ID: a.ID, Token: a.Token, End: EndSucceeded}})
		}
	}
	if err := b.core.Check(); err != nil {
		t.Error(err)
	}
	return strings.Join(order, "")
}

func TestWeights(t *testing.T) {
	for _, test := range []struct {
		name   string
		shares []share
		n      int
		want   string
	}{
		{"none", []share{{"a", 9, 0}, {"b", 9, 0}}, 8, "abababab"},
		{"three of four", []share{{"a", 99, 3}, {"b", 99, 1}}, 12, "aabaaabaaaba"},
		{"smoothly", []share{{"a", 99, 5}, {"b", 99, 1}, {"c", 99, 1}}, 14, "aabacaaaabacaa"},
		{"three queues", []share{{"a", 99, 3}, {"b", 99, 2}, {"c", 99, 1}}, 12, "abacbaabacba"},
		{"one is empty", []share{{"a", 0, 100}, {"b", 99, 1}, {"c", 99, 1}}, 6, "bcbcbc"},
		{"one empties", []share{{"a", 4, 3}, {"b", 99, 1}, {"c", 99, 1}}, 12, "abacaabcbcbc"},
		{"all empty", []share{{"a", 3, 3}, {"b", 1, 1}}, 9, "aaba"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, credits := range []int{1, 4, 100} { // one task at a time, or all at once: the shares are the same
				if got := weighed(t, test.shares...).served(t, test.n, credits); got != test.want {
					t.Errorf("with %d credits: %s, want %s", credits, got, test.want)
				}
			}
		})
	}
}

// A queue that was paused, or empty, has no arrears: what it missed is not made up for.
func TestWeightsWithoutArrears(t *testing.T) {
	pause := func(t *testing.T, b *bench, paused bool) {
		t.Helper()
		if err := b.core.PauseQueue(b.step(), "n", "a", paused); err != nil {
			t.Fatal(err)
		}
	}
	b := weighed(t, share{"a", 99, 3}, share{"b", 99, 1}, share{"c", 99, 1})
	first := b.served(t, 5, 1)
	if strings.Count(first, "a") != 3 {
		t.Errorf("before: %s", first)
	}
	pause(t, b, true)
	if got := b.served(t, 20, 1); strings.Count(got, "b") != 10 || strings.Count(got, "c") != 10 {
		t.Errorf("paused: %s", got)
	}
	pause(t, b, false)
	if got := b.served(t, 5, 1); strings.Count(got, "a") != 3 {
		t.Errorf("resumed: %s", got)
	}

	b = weighed(t, share{"a", 0, 3}, share{"b", 99, 1})
	b.served(t, 20, 1)
	b.fillQueue(t, "a", 20)
	if got := b.served(t, 8, 1); strings.Count(got, "a") != 6 {
		t.Errorf("after it was empty: %s", got)
	}
}

// A queue that the worker names twice counts once, with its first weight.
func TestWeightsOfAQueueNamedTwice(t *testing.T) {
	b := weighed(t, share{"a", 99, 1}, share{"b", 99, 1})
	h := Hello{
		Namespace: "n", Session: weighing, Name: "w", Kinds: []string{"k"}, Slots: 9,
		Queues: []string{"a", "b", "a"}, Weights: []uint32{3, 1, 3},
	}
	if _, err := b.core.Connect(b.step(), h); err != nil {
		t.Fatal(err)
	}
	if got := b.served(t, 8, 1); strings.Count(got, "a") != 6 {
		t.Errorf("got %s", got)
	}
}
