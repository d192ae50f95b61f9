package wefttest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weftq/weft/pkg/client"
	"github.com/weftq/weft/pkg/task"
	"github.com/weftq/weft/pkg/wefttest"
	"github.com/weftq/weft/pkg/worker"
)

// endlessEnv has this program run a test that waits for what does not happen.
const endlessEnv = "WEFTTEST_ENDLESS"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The examples are tests, as users write them.
func TestExamples(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"retry": testRetry, "schedule": testSchedule, "timeout": testTimeout, "checkpoint": testCheckpoint,
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			test(t)
			t.Logf("it took %v", time.Since(begun))
		})
	}
}

// nap is a kind whose tasks take so long, unless their context ends.
var nap = task.Define[time.Duration, uint32]("nap")

func napping(w *worker.Worker) {
	worker.Handle(w, nap, func(ctx context.Context, d time.Duration) (uint32, error) {
		select {
		case <-time.After(d):
			return task.Current(ctx).Number, nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
}

func submitNap(t *testing.T, c *client.Client, d time.Duration) *client.Future[uint32] {
	t.Helper()
	future, err := client.Submit(t.Context(), c, nap, d)
	if err != nil {
		t.Fatal(err)
	}
	return future
}

func wantAttempt(t *testing.T, future *client.Future[uint32], want uint32) {
	t.Helper()
	if got, err := future.Wait(t.Context()); err != nil || got != want {
		t.Errorf("attempt %d, %v; want %d", got, err, want)
	}
}

// A task that runs, and one that waits, survive a broker that is killed and away for half an hour. So does a task that
// was accepted just before.
func TestRestart(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		b.Worker(worker.Config{Slots: 1}, napping)
		running, waiting := submitNap(t, c, 10*time.Hour), submitNap(t, c, time.Minute)
		b.Advance(8 * time.Hour)
		b.Kill()
		b.Advance(30 * time.Minute)
		b.Restart()
		b.Restart() // one that runs
		wantAttempt(t, running, 1)
		wantAttempt(t, waiting, 1)
	})
}

func TestDisconnect(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		c := b.Client()
		b.Worker(worker.Config{}, napping)
		future := submitNap(t, c, time.Hour)
		b.Advance(30 * time.Minute)
		b.Disconnect()
		wantAttempt(t, future, 1)
	})
}

// A worker whose network is down for too long loses its attempt, which another one gets; when it is back it works again.
func TestWorkerWithoutNetwork(t *testing.T) {
	for name, unplug := range map[string]func(*wefttest.Worker){
		"disconnected": (*wefttest.Worker).Disconnect, "stalled": (*wefttest.Worker).Stall,
	} {
		t.Run(name, func(t *testing.T) {
			wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
				causes := make(chan error, 1)
				w := b.Worker(worker.Config{Slots: 1, SessionTTL: time.Minute}, func(w *worker.Worker) {
					worker.Handle(w, nap, func(ctx context.Context, d time.Duration) (uint32, error) {
						if d < 0 {
							<-ctx.Done()
							causes <- context.Cause(ctx)
						}
						return task.Current(ctx).Number, nil
					})
				})
				c := b.Client()
				future := submitNap(t, c, -1)
				b.Advance(time.Hour)
				unplug(w)
				b.Advance(2 * time.Minute)
				if cause := <-causes; !errors.Is(cause, task.ErrLeaseLost) {
					t.Errorf("the handler ended by %v", cause)
				}
				other := b.Worker(worker.Config{}, napping)
				wantAttempt(t, future, 2)
				if err := other.Drain(); err != nil {
					t.Error(err)
				}
				w.Reconnect()
				wantAttempt(t, submitNap(t, c, 0), 1)
			})
		})
	}
}

// A worker that is killed has lost its attempt a second later, although its session lives for an hour.
func TestKilledWorker(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		w := b.Worker(worker.Config{}, napping)
		future := submitNap(t, b.Client(), time.Second)
		b.Advance(time.Second / 2)
		w.Kill()
		w.Kill() // again changes nothing
		begun := time.Now()
		b.Worker(worker.Config{}, napping)
		wantAttempt(t, future, 2)
		if took := time.Since(begun); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A test may end with a broker that is away, and with tasks that run.
func TestEndInDisorder(t *testing.T) {
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		b.Worker(worker.Config{}, napping)
		submitNap(t, b.Client(), time.Hour)
		b.Advance(time.Minute)
		b.Kill()
		b.Kill() // again changes nothing
	})
}

func TestAt(t *testing.T) {
	at := time.Date(2031, 5, 7, 1, 2, 3, 4, time.UTC)
	wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
		if now := time.Now(); !now.Equal(at) {
			t.Errorf("it is %v", now)
		}
		b.Advance(time.Hour)
		if now := time.Now(); !now.Equal(at.Add(time.Hour)) {
			t.Errorf("an hour later it is %v", now)
		}
	}, wefttest.At(at))
}

func TestRealTime(t *testing.T) {
	b := wefttest.Start(t)
	c := b.Client()
	w := b.Worker(worker.Config{}, napping)
	wantAttempt(t, submitNap(t, c, time.Millisecond), 1)
	b.Restart()
	wantAttempt(t, submitNap(t, c, time.Millisecond), 1)
	if err := w.Drain(); err != nil {
		t.Error(err)
	}
}

// A test that would go on for ever panics, and says why.
func TestLimit(t *testing.T) {
	if os.Getenv(endlessEnv) != "" {
		wefttest.Run(t, func(t *testing.T, b *wefttest.Broker) {
			_, err := submitNap(t, b.Client(), 0).Wait(t.Context()) // there is no worker
			t.Error(err)
		}, wefttest.Limit(30*24*time.Hour))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestLimit$")
	cmd.Env = append(os.Environ(), endlessEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "wefttest: the test has taken 720h0m0s of its time: it waits for what does not happen") {
		t.Errorf("%v: %.2000s", err, out)
	}
}
