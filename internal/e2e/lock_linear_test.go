//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Sizes of the histories: each of a kind, in which so many clients make so many steps.
const (
	historyClients = 4
	historySteps   = 30
	historyTTL     = time.Second
	historyPatient = 20 * time.Second // of the check
)

// What processes see of locks, semaphores, values and events is what one after the other could have seen, while some of them
// and the broker are killed.
func TestLockHistories(t *testing.T) {
	rounds := 14 // of four histories each
	if testing.Short() {
		rounds = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := newWorld(t).lockBook()
	var clients []*lockProcess
	for i := range historyClients {
		clients = append(clients, b.process(fmt.Sprintf("client%d", i), historyTTL, 0))
	}
	sum := &historySum{}
	for round := range rounds {
		b.playRound(t, rng, round, clients, sum)
	}
	t.Logf("%d histories, %d steps, of which %d have an unknown end, in %d sessions that were lost", sum.histories, sum.steps, sum.unknown, sum.lost)
}

// historySum is what the histories were.
type historySum struct{ histories, steps, unknown, lost int }

// playRound has all clients play on an object of each kind, kills some of them, or the broker, or both on the way, and checks what they
// say. Killed clients are replaced.
func (b *lockBook) playRound(t *testing.T, rng *rand.Rand, round int, clients []*lockProcess, sum *historySum) {
	kinds := []string{historyLock, historySemaphore, historyValue, historyEvent}
	played := make(map[string][]*errand) // by object
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = fmt.Sprintf("%s.%d", kind, round)
		for _, p := range clients {
			o := lockOrder{Do: doHistory, Name: names[i], Kind: kind, N: historySteps, Seed: rng.Uint64()}
			played[names[i]] = append(played[names[i]], p.do(o))
		}
	}
	killed := make(map[*lockProcess]int64) // when it was still alive
	kills := 1 + rng.IntN(2)
	for kill := range kills {
		n := rng.IntN(historyClients*historySteps*len(kinds)/2) * (kill + 1) / kills
		b.await("steps", n, func(n *note) bool { return n.Step != nil && n.Phase == noteDone && slices.Contains(names, n.Name) })
		if (round+kill)%2 == 0 {
			if err := b.broker.restart(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		i := rng.IntN(len(clients))
		killed[clients[i]] = sharedClock()
		clients[i].Kill()
		clients[i] = b.process(fmt.Sprintf("client%d.%d.%d", i, round, kill), historyTTL, 0)
	}
	for _, name := range names {
		for _, e := range played[name] {
			if killed[e.process] == 0 {
				b.await("the end of "+name, 1, func(n *note) bool { return e.in(noteDone)(n) && n.Step == nil })
			}
		}
	}
	for i, name := range names {
		b.checkHistory(t, kinds[i], played[name], sum)
	}
}

// checkHistory checks what was said of an object.
func (b *lockBook) checkHistory(t *testing.T, kind string, played []*errand, sum *historySum) {
	var history []porcupine.Operation
	for i, e := range played {
		history = append(history, b.operations(i, e, sum)...)
	}
	sum.histories++
	if got := porcupine.CheckOperationsTimeout(lockModels()[kind], history, historyPatient); got != porcupine.Ok {
		t.Errorf("%s: %s:", played[0].order.Name, got)
		slices.SortFunc(history, func(x, y porcupine.Operation) int { return cmp.Compare(x.Call, y.Call) })
		for _, o := range history {
			t.Logf("%d to %d: %+v: %+v", o.Call, o.Return, o.Input, o.Output)
		}
	}
}

// open is the end of what may have its effect at any time.
const open = math.MaxInt64

// operations are what one process did on an object, and the ends of its sessions, which may be at any time after the last
// answer.
func (b *lockBook) operations(number int, e *errand, sum *historySum) (ops []porcupine.Operation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last, called int64 // answer; question that has none
	var current asked
	expire := func() {
		end := asked{current.who, step{Kind: stepExpire}}
		ops = append(ops, porcupine.Operation{ClientId: number, Input: end, Call: last, Output: step{}, Return: open})
		sum.lost++
	}
	add := func(out step, end int64) {
		ops = append(ops, porcupine.Operation{ClientId: number, Input: current, Call: called, Output: out, Return: end})
		sum.steps++
		called = 0
		if out.Unknown {
			sum.unknown++
			expire()
		}
	}
	ended := false
	for i := range b.notes {
		n := &b.notes[i]
		switch {
		case n.Process != e.process.name || n.Order != e.order.ID:
		case n.Step == nil:
			ended = true
		case n.Phase == noteCalled:
			current, called = asked{who{n.Process, n.Step.Epoch}, *n.Step}, n.At
		case n.Step.Unknown:
			add(*n.Step, open)
		default:
			add(*n.Step, n.At)
			last = n.At
		}
	}
	switch {
	case called != 0:
		add(step{Unknown: true}, open)
	case !ended:
		expire()
	}
	return ops
}
