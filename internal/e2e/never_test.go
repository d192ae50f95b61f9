//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weftq/weft/internal/procs"
	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// neverWaits is how many futures are waited for, and neverPatience what all of them may take: it tells a hang from a
// busy machine.
const (
	neverWaits    = 1000
	neverPatience = 4 * time.Minute
)

// No future hangs, and each ends as it should, whatever happens meanwhile: the broker is killed, workers are killed,
// paths of clients and workers freeze or stall, clients come back.
func TestNoFutureHangs(t *testing.T) {
	waits := neverWaits
	if testing.Short() {
		waits = neverWaits / 10
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	n := &never{
		world: w, rng: rand.New(rand.NewPCG(seed, 0)), broker: w.broker(), ledger: w.ledger(), calm: make(chan struct{}),
	}
	n.clients, n.workers = w.proxy(n.broker.addr), w.proxy(n.broker.addr)
	for _, name := range []string{"north", "south"} {
		n.start(name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), neverPatience)
	defer cancel()
	var group sync.WaitGroup
	const clients = 4
	for i := range clients {
		c := w.client(n.clients.addr(), client.WithSessionTTL(frozenTTL))
		rng := rand.New(rand.NewPCG(seed, uint64(1+i)))
		group.Go(func() { n.waits(ctx, c, rng, waits/clients) })
	}
	go func() {
		group.Wait()
		close(n.calm)
	}()
	n.trouble()
	t.Logf("%d waits; troubles: %v", waits, n.done)
}

// never is the system under trouble.
type never struct {
	*world
	rng     *rand.Rand // of the troubles
	broker  *brokerProcess
	ledger  *ledger
	clients *proxy
	workers *proxy
	calm    chan struct{} // closed when nobody waits any more

	mu      sync.Mutex
	running map[string]*procs.Process
	done    map[string]int // troubles
}

func (n *never) start(name string) {
	p := n.ledger.worker(workerConfig{Name: name, Broker: n.workers.addr(), Slots: 16, TTL: frozenTTL})
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running == nil {
		n.running, n.done = map[string]*procs.Process{}, map[string]int{}
	}
	n.running[name] = p
}

// troubleRounds is how often each trouble comes at most: for as long as brokers and workers come and go every few
// seconds, output that went with a worker is not known to be gone, which takes 10 s of one broker's life.
const troubleRounds = 8

// trouble makes trouble until nobody waits any more.
func (n *never) trouble() {
	kinds := []struct {
		name string
		make func()
	}{
		{"broker killed", func() {
			if err := n.broker.restart(); err != nil {
				n.Error(err)
			}
		}},
		{"worker killed", func() {
			name := []string{"north", "south"}[n.rng.IntN(2)]
			n.running[name].Kill()
			n.start(name)
		}},
		{"clients frozen", n.clients.freeze},
		{"workers frozen", n.workers.freeze},
		{"clients stalled", func() { n.clients.stall(time.Duration(n.rng.IntN(1500)) * time.Millisecond) }},
		{"workers stalled", func() { n.workers.stall(time.Duration(n.rng.IntN(1500)) * time.Millisecond) }},
	}
	for range troubleRounds {
		n.rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, k := range kinds {
			select {
			case <-n.calm:
				return
			case <-time.After(time.Duration(200+n.rng.IntN(600)) * time.Millisecond):
			}
			k.make()
			n.done[k.name]++
		}
	}
	<-n.calm
}

// waits submits tasks of all sorts by one client and waits for each in one of the ways that there are.
func (n *never) waits(ctx context.Context, c *client.Client, rng *rand.Rand, tasks int) {
	var group sync.WaitGroup
	room := make(chan struct{}, 30) // waits at a time
	call := c.NewCall(client.ExplicitAck())
	defer call.Close()
	for i := range tasks {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			n.Errorf("task %d was never submitted", i)
			group.Wait()
			return
		}
		var wait func() error
		switch s := rng.IntN(10); {
		case s < 4:
			wait = n.echoed(ctx, call, fmt.Sprintf("%dms/%d", rng.IntN(1000), i))
		case s < 6:
			wait = n.failed(ctx, call, i)
		case s < 7:
			wait = n.attached(ctx, c, i)
		default:
			wait = n.stepped(ctx, call, stepsOf{Task: i, Steps: 1 + rng.IntN(20), Pause: time.Duration(rng.IntN(100)) * time.Millisecond})
		}
		group.Go(func() {
			if err := wait(); err != nil {
				n.Errorf("task %d: %v", i, err)
			}
			<-room
		})
	}
	group.Wait()
}

// retried is a task that may be lost with its worker more often than the poison guard likes.
var retried = client.With(client.Spec{Retry: client.Retry{Attempts: 3, Backoff: 10 * time.Millisecond}})

// lostTooOften tells whether a task had the bad luck of three workers that were killed.
func lostTooOften(err error) bool {
	failed, ok := errors.AsType[*task.Error](err)
	return ok && failed.Reason == task.ReasonWorkerLost
}

func (n *never) echoed(ctx context.Context, call *client.Call, text string) func() error {
	kind := task.DefineWith("sleep", task.TextCodec(), task.TextCodec())
	f, err := client.Submit(ctx, call, kind, text)
	return func() error {
		if err != nil {
			return err
		}
		defer f.Ack()
		for _, err := range client.AsCompleted(ctx, f) {
			if err != nil {
				return err
			}
		}
		if out, err := f.Wait(ctx); !lostTooOften(err) && (err != nil || out != text) {
			return fmt.Errorf("result %q, %w", out, err)
		}
		return nil
	}
}

func (n *never) failed(ctx context.Context, call *client.Call, i int) func() error {
	kind := task.DefineWith("fail", task.TextCodec(), task.TextCodec())
	f, err := client.Submit(ctx, call, kind, fmt.Sprint("f", i))
	return func() error {
		if err != nil {
			return err
		}
		defer f.Ack()
		_, err := f.Wait(ctx)
		if failed, ok := errors.AsType[*task.Error](err); !lostTooOften(err) && (!ok || failed.Message != errFails.Error()) {
			return fmt.Errorf("it ended with %w", err)
		}
		return nil
	}
}

// attached is a task of no call, waited for by its name.
func (n *never) attached(ctx context.Context, c *client.Client, i int) func() error {
	text := fmt.Sprintf("1ms/a%d", i)
	id, err := c.Enqueue(ctx, client.Spec{Kind: "sleep", Payload: task.Text(text)})
	return func() error {
		if err != nil {
			return err
		}
		f := client.Attach(ctx, c, task.DefineWith("sleep", task.TextCodec(), task.TextCodec()), id)
		if out, err := f.Wait(ctx); !lostTooOften(err) && (err != nil || out != text) {
			return fmt.Errorf("result %q, %w", out, err)
		}
		return nil
	}
}

// stepped is a task whose partial results, progress and output are followed.
func (n *never) stepped(ctx context.Context, call *client.Call, s stepsOf) func() error {
	f, err := client.Submit(ctx, call, stepsKind, s, retried)
	return func() error {
		if err != nil {
			return err
		}
		defer f.Ack()
		var group sync.WaitGroup
		errs := make([]error, 3)
		group.Go(func() { errs[0] = n.partials(ctx, f, s) })
		group.Go(func() { errs[1] = n.progress(ctx, f, s) })
		group.Go(func() { errs[2] = n.output(ctx, f, s) })
		group.Wait()
		out, err := f.Wait(ctx)
		if lostTooOften(err) {
			return nil
		}
		if err != nil || out != s.Steps {
			return fmt.Errorf("result %d, %w", out, err)
		}
		return errors.Join(errs...)
	}
}

func (n *never) partials(ctx context.Context, f *client.Future[int], s stepsOf) error {
	next := 0
	for p, err := range client.Partials[string](ctx, f) {
		if err != nil {
			return fmt.Errorf("partial result %d: %w", next, err)
		}
		if p != s.partial(next) {
			return fmt.Errorf("partial result %d is %s", next, p)
		}
		next++
	}
	if next != s.Steps {
		return fmt.Errorf("%d partial results of %d", next, s.Steps)
	}
	return nil
}

// progress never goes back within an attempt, and never to an earlier attempt.
func (n *never) progress(ctx context.Context, f *client.Future[int], s stepsOf) error {
	var last client.Progress
	for p, err := range f.Progress(ctx) {
		if err != nil || p.Done < 1 || p.Done > int64(s.Steps) || p.Total != int64(s.Steps) {
			return fmt.Errorf("progress %+v, %w", p, err)
		}
		if p.Attempt == 0 || p.Attempt < last.Attempt || p.Attempt == last.Attempt && p.Done < last.Done {
			return fmt.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	}
	return nil
}

// output is each attempt's lines, in order, each once; the last attempt's to the end. It may be gone with a worker.
func (n *never) output(ctx context.Context, f *client.Future[int], s stepsOf) error {
	var attempt uint64
	var text strings.Builder
	for chunk, err := range f.Output(ctx) {
		switch {
		case client.HasReason(err, weftv1.ErrorReason_ERROR_REASON_OUTPUT_GONE):
			return nil
		case err != nil:
			return fmt.Errorf("output: %w", err)
		case chunk.Attempt != attempt:
			attempt = chunk.Attempt
			text.Reset()
		}
		text.Write(chunk.Data)
	}
	all := ""
	for step := range s.Steps {
		all += s.line(step)
	}
	// The last attempt may have begun behind the first step, and may have been the one that found nothing left to do.
	if outcome, err := f.SpecFuture.Wait(ctx); err == nil && outcome.Token == attempt && !strings.HasSuffix(all, text.String()) {
		return fmt.Errorf("output of attempt %d: %q", attempt, text.String())
	}
	return nil
}
