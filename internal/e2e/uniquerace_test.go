//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// sharer is one of two who want the same work done, and perhaps do so no more later.
type sharer struct {
	future    *client.SpecFuture
	cancelled bool
	outcome   *client.Outcome
}

// sharing is two calls that ask for the same work by unique keys.
type sharing struct {
	calls [2]*client.Call
	pairs [][2]sharer
	ended milestones
	group *errgroup.Group
	ctx   context.Context
}

// Of two calls that ask for the same work mostly one joins the other's task. Who cancels takes nothing from the
// other, in whatever state the task is, and although the broker is killed meanwhile.
func TestUniqueKeyRaces(t *testing.T) {
	const kills = 3
	pairs := 1500
	if testing.Short() {
		pairs = 300
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	b, l := w.broker(), w.ledger()
	l.worker(workerConfig{Name: "north", Broker: b.addr, Slots: 50})
	c := w.client(b.addr)
	s := &sharing{calls: [2]*client.Call{c.NewCall(), c.NewCall()}, pairs: make([][2]sharer, pairs)}
	s.group, s.ctx = errgroup.WithContext(w.context())
	if err := s.submit(rng); err != nil {
		t.Fatal(err)
	}
	order := rng.Perm(pairs)
	s.group.Go(func() error {
		s.cancel(order)
		return nil
	})
	for k := range kills {
		s.reaches(2 * pairs * (k + 1) / (kills + 1))
		if err := b.restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.group.Wait(); err != nil {
		t.Fatal(err)
	}
	ctx := w.context()
	for _, call := range s.calls {
		call.Finish()
		if err := call.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	w.api(b.addr).drained("")
	checkSharers(t, s.pairs, l.await(ctx, 0, begins("")))
}

// submit submits everything to both calls, and has each outcome waited for.
func (s *sharing) submit(rng *rand.Rand) error {
	for i := range s.pairs {
		name := fmt.Sprintf("%dms/%d", rng.IntN(20), i)
		for k, call := range s.calls {
			f, err := call.Submit(s.ctx, client.Spec{Kind: "sleep", Payload: task.Text(name), UniqueKey: name})
			if err != nil {
				return err
			}
			x := &s.pairs[i][k]
			x.future, x.cancelled = f, rng.IntN(2) == 0
			s.group.Go(func() (err error) {
				x.outcome, err = f.Wait(s.ctx)
				s.ended.add()
				return err
			})
		}
	}
	return nil
}

// cancel cancels what is to be, in that order, while others end.
func (s *sharing) cancel(order []int) {
	for n, i := range order {
		s.reaches(n)
		for k := range s.calls {
			if x := &s.pairs[i][k]; x.cancelled {
				x.future.Cancel(0)
			}
		}
	}
}

// reaches waits until so many have their outcome.
func (s *sharing) reaches(n int) {
	s.ended.reaches(s.ctx, n)
}

// checkSharers holds what each was told against what was asked for and what ran.
func checkSharers(t *testing.T, sharers [][2]sharer, runs []event) {
	t.Helper()
	ran := make(map[string][]uint64)
	for _, e := range runs {
		ran[e.Task] = append(ran[e.Task], e.Token)
	}
	joined, left := 0, 0
	for i, pair := range sharers {
		for k, s := range pair {
			succeeded := s.outcome.State == weftv1.TaskState_TASK_STATE_SUCCEEDED
			switch {
			case succeeded && s.outcome.Token == 0 && len(ran[string(s.outcome.Payload.Bytes())]) > 0:
				joined++ // the attempt was the other task's
			case succeeded && !slices.Contains(ran[string(s.outcome.Payload.Bytes())], s.outcome.Token):
				t.Errorf("pair %d, call %d: no such run: %+v", i, k, s.outcome)
			case !succeeded && (!s.cancelled || s.outcome.State != weftv1.TaskState_TASK_STATE_CANCELLED):
				t.Errorf("pair %d, call %d: cancelled %v: %+v, %v", i, k, s.cancelled, s.outcome, s.outcome.Err())
			case !succeeded:
				left++
			}
		}
	}
	t.Logf("%d pairs: %d joined, %d cancelled their part; %d runs", len(sharers), joined, left, len(runs))
}
