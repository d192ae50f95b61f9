//go:build linux

package e2e

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

const mapTasks = 10_000

// The broker is killed again and again under one client's maps, and comes back on its directory and port.
func TestBrokerKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for first := 0; first < rounds; first += 5 { // a journal that grows longer only takes longer
		t.Run(fmt.Sprint("rounds from ", first), func(t *testing.T) {
			killBroker(t, rng, first, min(first+5, rounds))
		})
	}
}

// killBroker runs some rounds on one broker, client and two workers.
func killBroker(t *testing.T, rng *rand.Rand, from, to int) {
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	workers := []*procs.Process{
		l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 50}),
		l.worker(workerConfig{Name: "south", Broker: b.addr, Slots: 50}),
	}
	c := w.client(b.addr)
	tokens := make(map[string]uint64) // of the outcome, by task
	for round := from; round < to; round++ {
		newKiller(b, killMoments(rng, round)).run(t, c, round, tokens)
	}
	// A client that ends while there is no broker leaves outcomes behind, and nothing else.
	for left, err := range c.List(w.context(), client.Filter{}) {
		if err != nil || left.GetState() != weftv1.TaskState_TASK_STATE_SUCCEEDED {
			t.Fatalf("a task is left: %v, %v", left, err)
		}
	}
	for _, p := range workers {
		if err := p.Stop(stopPatience); err != nil {
			t.Error(err)
		}
	}
	l.checkRuns(tokens)
}

// moment is when the broker is killed: after so many inputs were read, or results given.
type moment struct {
	ofInputs bool
	count    int
}

// killMoments spreads the kills of the rounds over the whole map.
func killMoments(rng *rand.Rand, round int) []moment {
	var ms []moment
	switch round % 3 {
	case 0: // while the first tasks are submitted
		ms = append(ms, moment{true, 1 + rng.IntN(1000)})
	case 1:
		ms = append(ms, moment{false, 1 + rng.IntN(mapTasks)})
	case 2: // the last outcomes and their acknowledgements
		ms = append(ms, moment{false, mapTasks - rng.IntN(500)})
	}
	if round%4 == 1 {
		ms = append(ms, moment{false, ms[0].count + rng.IntN(mapTasks-ms[0].count+1)})
	}
	return ms
}

// killer kills and restarts a broker at the given moments of a map.
type killer struct {
	broker  *brokerProcess
	moments []moment
	reached []chan struct{}
	over    chan struct{} // the map was given up
	down    time.Duration // how long there was no broker
}

func newKiller(b *brokerProcess, moments []moment) *killer {
	k := &killer{broker: b, moments: moments, over: make(chan struct{})}
	for range moments {
		k.reached = append(k.reached, make(chan struct{}))
	}
	return k
}

// count notes how far the map is. Inputs and results are counted from 1, each once.
func (k *killer) count(ofInputs bool, n int) {
	for i, m := range k.moments {
		if m == (moment{ofInputs, n}) {
			close(k.reached[i])
		}
	}
}

// kill does the deed at each moment.
func (k *killer) kill() error {
	for _, reached := range k.reached { // all of them, if the map runs to its end
		select {
		case <-reached:
		case <-k.over:
			return nil
		}
		killed := time.Now()
		k.broker.Kill()
		if err := k.broker.start(); err != nil {
			return err
		}
		k.down += time.Since(killed)
	}
	return nil
}

// run runs a map while the broker is being killed, and checks its results.
func (k *killer) run(t *testing.T, c *client.Client, round int, tokens map[string]uint64) {
	began := time.Now()
	var killed sync.WaitGroup
	killed.Go(func() {
		if err := k.kill(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	})
	defer killed.Wait()
	defer close(k.over)
	ordered := round%2 == 0
	var opts []client.MapOption
	if !ordered {
		opts = append(opts, client.Unordered())
	}
	n := 0
	for r := range client.MapSpecs(k.broker.world.context(), c, k.inputs(round), opts...) {
		name := taskName(round, int(r.Index))
		switch {
		case r.Err != nil:
			t.Fatalf("round %d %+v: result %d: %v", round, k.moments, n, r.Err)
		case ordered && int(r.Index) != n:
			t.Fatalf("round %d %+v: result %d comes as number %d", round, k.moments, r.Index, n)
		case string(r.Outcome.Payload.Bytes()) != name:
			t.Fatalf("round %d %+v: result %d is %q", round, k.moments, r.Index, r.Outcome.Payload.Bytes())
		case tokens[name] != 0:
			t.Fatalf("round %d %+v: result %d comes twice", round, k.moments, r.Index)
		}
		tokens[name] = r.Outcome.Token
		n++
		k.count(false, n)
	}
	if n != mapTasks {
		t.Fatalf("round %d %+v: %d results of %d", round, k.moments, n, mapTasks)
	}
	killed.Wait()
	t.Logf("round %d: killed at %+v, took %v, of that %v without a broker", round, k.moments,
		time.Since(began).Round(time.Millisecond), k.down.Round(time.Millisecond))
}

func (k *killer) inputs(round int) iter.Seq[client.Spec] {
	return func(yield func(client.Spec) bool) {
		for i := range mapTasks {
			k.count(true, i+1)
			if !yield(client.Spec{Kind: "echo", Payload: task.Text(taskName(round, i))}) {
				return
			}
		}
	}
}

func taskName(round, index int) string { return fmt.Sprintf("%d/%d", round, index) }

// checkRuns compares what ran with the outcomes: the outcome is that of the last run, which was the only one
// with its token. So nothing ran again once its outcome was told. The workers have to be gone.
func (l *ledger) checkRuns(tokens map[string]uint64) {
	l.world.Helper()
	runs := make(map[string][]uint64)
	for _, e := range l.all() {
		if e.Phase == begin {
			runs[e.Task] = append(runs[e.Task], e.Token)
		}
	}
	again := 0
	for name, token := range tokens {
		ran := slices.Sorted(slices.Values(runs[name]))
		if n := len(ran); n == 0 || ran[n-1] != token || len(slices.Compact(slices.Clone(ran))) != n {
			l.world.Errorf("task %s: its outcome has token %d, it ran with tokens %v", name, token, ran)
		}
		again += max(len(ran)-1, 0)
	}
	if len(runs) != len(tokens) {
		l.world.Errorf("%d tasks ran, %d have an outcome", len(runs), len(tokens))
	}
	l.world.Logf("%d tasks, %d runs more than one each", len(tokens), again)
}
