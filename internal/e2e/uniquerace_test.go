//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// sharer is one of two who want the same work done, and perhaps do so no more later.
type sharer struct {
	future    *client.Future
	cancelled bool
	outcome   *client.Outcome
}

// Two calls ask for the same work by unique keys, so that mostly one of them joins the other's task. Who cancels
// takes nothing from the other, in whatever state the task is, and although the broker is killed meanwhile.
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
	group, ctx := errgroup.WithContext(w.context())
	var ended atomic.Int64
	reaches := func(n int64) bool { return ended.Load() >= n || ctx.Err() != nil }
	sharers := make([][2]sharer, pairs)
	calls := [2]*client.Call{c.NewCall(), c.NewCall()}
	for i := range sharers {
		name := fmt.Sprintf("%dms/%d", rng.IntN(20), i)
		for k, call := range calls {
			f, err := call.Submit(ctx, client.Spec{Kind: "sleep", Payload: task.Text(name), UniqueKey: name})
			if err != nil {
				t.Fatal(err)
			}
			s := &sharers[i][k]
			s.future, s.cancelled = f, rng.IntN(2) == 0
			group.Go(func() (err error) {
				s.outcome, err = f.Wait(ctx)
				ended.Add(1)
				return err
			})
		}
	}
	group.Go(func() error {
		at := rng.Perm(pairs)
		for n, i := range at { // in any order, all the time
			for !reaches(int64(n)) {
				time.Sleep(time.Millisecond) // the next look
			}
			for k := range calls {
				if s := &sharers[i][k]; s.cancelled {
					s.future.Cancel(0)
				}
			}
		}
		return nil
	})
	for k := range kills {
		w.until("it goes on", func() bool { return reaches(int64(2*pairs*(k+1)) / (kills + 1)) })
		if err := b.restart(); err != nil {
			t.Fatal(err)
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls {
		call.Finish()
		if err := call.Wait(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	w.api(b.addr).drained("")
	checkSharers(t, sharers, l.await(w.context(), 0, begins("")))
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
