package sim

import (
	"math/rand/v2"
	"time"

	"github.com/weftq/weft/internal/shard"
)

// swarm is what a seed draws: who is there, what goes wrong and how often. A fault that a seed does not
// have has the rate 0: runs with everything at once hide what runs with two things find.
type swarm struct {
	callers, workers, reservers, submitters, operators int

	tasks   int           // of a call, at most
	chaos   time.Duration // how long faults go on
	ttl     time.Duration // of sessions, about
	latency time.Duration // of a message, at most
	append  time.Duration // of an append, at most
	pass    time.Duration // of a pass of the loop, at most

	machine    shard.Config
	checkEvery int // passes

	// How often, on average; 0 is never.
	cut, halfCut, crash, appendFault, killWorker, killCaller, pause, stall, wallJump, diskLow time.Duration

	impatient time.Duration // a client or worker hangs up and dials again

	killers, hangers, slow, overdue, daemons, retention, cancels, once int // per mille of tasks

	operate time.Duration // how often an operator does something, about

	priorities, deadlines, keys, labels, exclusive, after, uniques int // per mille of tasks
	settings                                                       int // per mille of settings of queues

	advances, interrupts int // per mille of tasks that come further before their end, and interrupt their client

	lockers, smiths int // clients of the lock service
	killLocker      time.Duration

	away int // per mille of a worker's reconnects that take long
}

func draw(r *rand.Rand) swarm {
	w := swarm{
		callers: 1 + r.IntN(3), workers: 1 + r.IntN(4), reservers: r.IntN(3), submitters: r.IntN(3),
		tasks:      1 + r.IntN(40),
		chaos:      time.Duration(10+r.IntN(50)*(1+r.IntN(2))) * time.Second,
		ttl:        []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}[r.IntN(3)],
		latency:    []time.Duration{time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond}[r.IntN(3)],
		append:     []time.Duration{time.Millisecond, 20 * time.Millisecond, 500 * time.Millisecond}[r.IntN(3)],
		pass:       []time.Duration{0, time.Millisecond, 50 * time.Millisecond}[r.IntN(3)],
		checkEvery: 1 + r.IntN(8),
	}
	w.machine = shard.Config{
		Seed:           r.Uint64(),
		CompactAfter:   []uint64{1, 500, 5000, 1 << 20}[r.IntN(4)],
		PurgeStep:      []uint64{1, 500, 5000, 1 << 20}[r.IntN(4)],
		BatchBytesMax:  []int{0, 0, 200, 1000, 5000}[r.IntN(5)],
		StepRecordsMax: []int{0, 0, 1, 2, 10}[r.IntN(5)],
	}
	if r.IntN(10) == 0 {
		limit := int64(1000 + r.IntN(10000))
		switch r.IntN(4) {
		case 0:
			w.machine.Limits.Bytes = limit
		case 1:
			w.machine.Limits.Tasks = 1 + r.IntN(20)
		case 2:
			w.machine.Limits.NamespaceBytes = limit
		default:
			w.machine.Limits.NamespaceTasks = 1 + r.IntN(20)
		}
	}
	w.faults(r)
	w.features(r)
	if r.IntN(2) == 0 {
		w.lockers, w.smiths = 1+r.IntN(4), r.IntN(3)
		if r.IntN(2) == 0 {
			w.killLocker = 20 * time.Second >> r.IntN(5)
		}
	}
	return w
}

func (w *swarm) faults(r *rand.Rand) {
	rate := func(chance int, most time.Duration) time.Duration {
		if r.IntN(100) >= chance {
			return 0
		}
		return most >> r.IntN(6) // from seldom to all the time
	}
	w.cut = rate(60, 20*time.Second)
	w.halfCut = rate(30, 20*time.Second)
	w.crash = rate(50, 40*time.Second)
	w.appendFault = rate(40, 30*time.Second)
	w.killWorker = rate(40, 30*time.Second)
	w.killCaller = rate(30, 30*time.Second)
	w.pause = rate(30, 30*time.Second)
	w.stall = rate(30, 30*time.Second)
	w.wallJump = rate(30, 30*time.Second)
	w.diskLow = rate(20, 30*time.Second)
	w.impatient = rate(30, 20*time.Second)
	share := sharing(r)
	w.killers, w.hangers, w.slow = share(40, 300), share(40, 200), share(50, 500)
	w.daemons, w.retention, w.cancels = share(40, 800), share(40, 600), share(40, 300)
	w.overdue, w.once, w.away = share(20, 300), share(40, 500), share(50, 1000)
}

// features draws what tasks and queues ask for beyond the plain.
func (w *swarm) features(r *rand.Rand) {
	share := sharing(r)
	w.priorities, w.deadlines, w.keys = share(40, 800), share(30, 400), share(40, 900)
	w.labels, w.exclusive, w.after, w.uniques = share(30, 700), share(30, 500), share(40, 500), share(40, 500)
	w.settings = share(50, 1000)
	w.advances, w.interrupts = share(60, 1000), share(40, 500)
	if r.IntN(2) == 0 {
		w.operators, w.operate = 1, 10*time.Second>>r.IntN(5)
	}
}

// sharing returns what draws a share, per mille: with some chance one below a bound, else none.
func sharing(r *rand.Rand) func(chance, most int) int {
	return func(chance, most int) int {
		if r.IntN(100) >= chance {
			return 0
		}
		return r.IntN(most)
	}
}
