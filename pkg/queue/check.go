package queue

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Check returns every invariant that does not hold. It looks at everything, so it is for tests and for the
// simulator.
func (c *Core) Check() error {
	k := &checker{Core: c, tokens: map[uint64]uint64{}}
	k.checkTasks()
	k.checkHeaps()
	k.checkQueues()
	k.checkCalls()
	k.checkPeers()
	k.checkWaiters()
	k.checkAges()
	k.checkMatch()
	k.checkBlocked()
	k.checkSpaces()
	slices.SortFunc(k.broken, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(k.broken...) // in the same order each time
}

// checker counts what it meets, to be held against what the core keeps.
type checker struct {
	*Core
	broken []error

	tokens              map[uint64]uint64 // task by the token that holds it
	wallLen, leaseLen   int
	requestsLen, bagLen int
	readyLen            int
	bytesSum            int64
	after               map[uint64]int32 // see waitingAfter
}

func (k *checker) expect(ok bool, format string, args ...any) {
	if !ok {
		k.broken = append(k.broken, fmt.Errorf(format, args...))
	}
}

func (k *checker) checkTasks() {
	for id, t := range k.tasks {
		k.expect(t.ID == id, "task %d is known as %d", t.ID, id)
		k.expect(k.queues[t.Queue] == t.queue, "task %d is in another queue than its own", id)
		k.expect(t.State.Final() == (t.Outcome != nil), "task %d is %v and its outcome does not fit", id, t.State)
		k.expect(!t.Acknowledged || t.State.Final(), "task %d is acknowledged and %v", id, t.State)
		k.expect(len(t.Suspects) == 0 || !t.State.Final(), "task %d is final and has suspects", id)
		k.expect((t.Next != 0) == (t.State == Scheduled), "task %d is %v until %d", id, t.State, t.Next)
		k.bytesSum += weight(&t.TaskState)
		k.checkPlaces(t)
		k.checkHeld(t)
		k.checkAdvance(t)
		if t.RequestID != "" {
			k.requestsLen++
			k.expect(k.requests[name{t.queue.Namespace, t.RequestID}] == t, "task %d is not known by its request", id)
		}
		for _, request := range t.Joiners {
			if request == "" {
				continue
			}
			k.requestsLen++
			k.expect(k.requests[name{t.queue.Namespace, request}] == t, "task %d is not known by a request that joined it", id)
		}
		if t.Call != 0 {
			k.expect(t.call != nil && t.call == k.calls[t.Call], "task %d is in another call than its own", id)
		}
		k.expect(k.order.Has(id), "task %d is not listed", id)
	}
	k.expect(k.bytesSum == k.bytes, "the tasks have %d bytes, counted are %d", k.bytesSum, k.bytes)
	k.expect(k.requestsLen == len(k.requests), "%d tasks with requests, known are %d", k.requestsLen, len(k.requests))
}

// checkPlaces holds a task to exactly the indexes of its state.
func (k *checker) checkPlaces(t *task) {
	waits := t.State == Ready && !t.poisonous()
	k.expect((t.readyPlace != 0) == waits, "task %d is %v, losses %d, %d suspects: among the ready ones %v",
		t.ID, t.State, t.Losses, len(t.Suspects), t.readyPlace != 0)
	k.expect((t.group != nil) == waits, "task %d is %v and its group is set %v", t.ID, t.State, t.group != nil)
	if waits {
		k.readyLen++
		k.expect(t.group.lane == t.queue.lanes[laneOf(t)] && t.group.lane.groups[t.group.key] == t.group,
			"task %d is in a lane that its queue does not know", t.ID)
	}
	key := t.Options.UniqueKey
	leads := key != "" && t.Joined == 0 && !t.State.Final()
	k.expect(!leads || t.queue.unique[key] == t, "task %d is not known by its unique key", t.ID)
	k.checkDependencies(t)
	_, timed := t.wallAt()
	k.expect((t.wallPlace != 0) == timed, "task %d is %v: on the wall clock %v", t.ID, t.State, t.wallPlace != 0)
	if timed {
		k.wallLen++
	}
	impatient := t.timeoutAt != 0 || t.graceAt != 0
	k.expect((t.leasePlace != 0) == impatient, "task %d has patience until %d, %d: in the heap %v",
		t.ID, t.timeoutAt, t.graceAt, t.leasePlace != 0)
	k.expect(!impatient || t.State.Held(), "task %d is %v and the broker waits for its worker", t.ID, t.State)
	if impatient {
		k.leaseLen++
	}
}

func (k *checker) checkHeld(t *task) {
	held := t.State.Held()
	k.expect((t.peer != nil) == held, "task %d is %v: held %v", t.ID, t.State, t.peer != nil)
	k.expect((t.peerPlace != 0) == held, "task %d is %v: in a bag %v", t.ID, t.State, t.peerPlace != 0)
	if !held {
		return
	}
	k.bagLen++
	k.expect(t.peer == nil || t.peer.id == t.Session && k.peers[t.Session] == t.peer,
		"task %d is held by another session than its own", t.ID)
	k.expect(t.Token != 0, "task %d is held without a token", t.ID)
	k.expect(t.State != Cancelling || t.timeoutAt != 0 || t.Options.Exclusive, "task %d is cancelled and nobody sees to its end", t.ID)
	other, taken := k.tokens[t.Token]
	k.expect(!taken, "tasks %d and %d are held by the token %d", other, t.ID, t.Token)
	k.tokens[t.Token] = t.ID
}

// checkAdvance holds what attempts left and brought to its limits, and to where it may be.
func (k *checker) checkAdvance(t *task) {
	k.expect(t.progress == nil || t.State.Held(), "task %d is %v and has progress", t.ID, t.State)
	n, size := len(t.Partials), payloadBytes(t.Partials)
	k.expect(n <= PartialsMax && size <= PartialsBytesMax, "task %d has %d partial results of %d bytes", t.ID, n, size)
	k.expect(n == 0 || t.Attempts > 0 || t.Joined != 0, "task %d has partial results and was never tried", t.ID)
	k.expect(t.Joined == 0 || n == 0 || t.State.Final(), "task %d has joined another and has partial results", t.ID)
	p := t.Checkpoint
	if p == nil {
		return
	}
	k.expect(t.Attempts > 0 && t.Joined == 0, "task %d has a checkpoint and was never tried", t.ID)
	k.expect(t.State != Succeeded, "task %d succeeded and has a checkpoint", t.ID)
	k.expect(int(p.Partials) <= n, "task %d has %d partial results, its checkpoint %d", t.ID, n, p.Partials)
}

func (k *checker) checkHeaps() {
	k.expect(k.wall.Len() == k.wallLen, "%d tasks on the wall clock, counted are %d", k.wall.Len(), k.wallLen)
	k.expect(k.leases.Len() == k.leaseLen, "%d tasks by patience, counted are %d", k.leases.Len(), k.leaseLen)
	for _, h := range []*pure.Heap[*task]{&k.wall, &k.leases} {
		if err := h.Check(); err != nil {
			k.broken = append(k.broken, err)
		}
		h.Each(func(t *task, _ pure.Key) {
			k.expect(k.tasks[t.ID] == t, "task %d is dropped and in a heap", t.ID)
		})
	}
	k.leases.Each(func(t *task, key pure.Key) {
		at := t.timeoutAt
		if t.graceAt != 0 && (at == 0 || t.graceAt < at) {
			at = t.graceAt
		}
		k.expect(key.A == int64(at), "task %d: patience until %d, key %d", t.ID, at, key.A)
	})
	k.wall.Each(func(t *task, key pure.Key) {
		at, _ := t.wallAt()
		if t.State.Final() { // later than that if its client is slow
			k.expect(key.A >= int64(at) || t.early, "task %d is kept until %d, key %d", t.ID, at, key.A)
		} else {
			k.expect(key.A == int64(at), "task %d is due at %d, key %d", t.ID, at, key.A)
		}
	})
}

func (k *checker) checkCalls() {
	named := 0
	for id, call := range k.calls {
		k.expect(call.ID == id, "call %d is known as %d", call.ID, id)
		if call.Name != "" {
			named++
			k.expect(k.callNames[name{call.Namespace, call.Name}] == call, "call %d is not known by its name", id)
		}
		open, bytes := 0, int64(0)
		for i, t := range call.tasks {
			k.expect(k.tasks[t.ID] == t && t.call == call, "call %d has task %d, which is not there", id, t.ID)
			k.expect(int(t.callPlace) == i+1, "call %d: task %d is at %d, its place is %d", id, t.ID, i+1, t.callPlace)
			k.expect(call.byIndex[t.Index] == t, "call %d: task %d is not at its index", id, t.ID)
			k.expect(call.Accepted.Contains(t.Index), "call %d did not accept task %d", id, t.ID)
			k.expect(call.Acknowledged.Contains(t.Index) == t.Acknowledged, "call %d: task %d is acknowledged %v", id, t.ID, t.Acknowledged)
			if !t.Acknowledged {
				open, bytes = open+1, bytes+weight(&t.TaskState)
			}
		}
		k.expect(len(call.byIndex) == len(call.tasks), "call %d: %d tasks, %d indexes", id, len(call.tasks), len(call.byIndex))
		k.expect(open == call.open && bytes == call.bytes, "call %d: open %d with %d bytes, counted are %d with %d",
			id, open, bytes, call.open, call.bytes)
		if i := call.Interrupt; i != nil {
			t := k.tasks[i.Task]
			k.expect(t == nil || t.call != call || t.Index == i.Index, "call %d: task %d interrupts it as index %d", id, i.Task, i.Index)
		}
		for _, r := range call.Acknowledged {
			call.Accepted.Gaps(r.First, r.Last, func(gap pure.Range) {
				k.expect(false, "call %d: %v is acknowledged and was not accepted", id, gap)
			})
		}
		if !call.Session.IsZero() {
			p := k.peers[call.Session]
			k.expect(p != nil && slices.Contains(p.calls, call), "call %d: its session does not know it", id)
		}
		k.expect(len(call.tasks) > 0 || !call.Finished && !call.Session.IsZero() || k.swept(call),
			"call %d is over and still there", id)
	}
	k.expect(named == len(k.callNames), "%d named calls, %d names", named, len(k.callNames))
}

// swept tells whether bulk work will come to a call.
func (k *checker) swept(call *call) bool {
	for i := range k.sweeps {
		if k.sweeps[i].call == call || k.sweeps[i].peer != nil && k.sweeps[i].peer.id == call.Session {
			return true
		}
	}
	return false
}

func (k *checker) checkPeers() {
	bag := 0
	for id, p := range k.peers {
		k.expect(p.id == id && !id.IsZero(), "session %x is known as %x", p.id, id)
		used := p.worker != nil || len(p.attempts)+len(p.calls)+len(p.suspects)+len(p.waiters) > 0
		k.expect(used || k.sweeping(p), "session %x has nothing and is known", id)
		k.expect(!p.dead || k.sweeping(p), "session %x is over and known", id)
		k.expect(!p.dead || p.worker == nil && len(p.waiters) == 0, "session %x is over and has a worker or waits", id)
		bag += len(p.attempts)
		for i, t := range p.attempts {
			k.expect(k.tasks[t.ID] == t && t.peer == p, "session %x has task %d, which is not its own", id, t.ID)
			k.expect(int(t.peerPlace) == i+1, "session %x: task %d is at %d, its place is %d", id, t.ID, i+1, t.peerPlace)
			k.expect(t.graceAt == 0 || p.worker == nil, "session %x is here and task %d waits for it", id, t.ID)
		}
		for i, call := range p.calls {
			k.expect(k.calls[call.ID] == call && call.Session == id, "session %x has call %d, which is not its own", id, call.ID)
			k.expect(!slices.Contains(p.calls[i+1:], call), "session %x has call %d twice", id, call.ID)
		}
		for w := range p.waiters {
			k.expect(k.waiters[w.id] == w && w.peer == p, "session %x waits for %d, which is over", id, w.id)
		}
		k.checkWorker(p)
	}
	k.expect(bag == k.bagLen, "%d tasks in bags, %d are held", bag, k.bagLen)
	for _, t := range k.tasks {
		for _, id := range t.Suspects {
			_, known := k.suspectsOf(id)[t]
			k.expect(known || k.convicting(id, t), "task %d suspects session %x, which does not know", t.ID, id)
		}
	}
}

func (k *checker) suspectsOf(id session.ID) map[*task]struct{} {
	if p := k.peers[id]; p != nil {
		return p.suspects
	}
	return nil
}

func (k *checker) sweeping(p *peer) bool {
	return slices.ContainsFunc(k.sweeps, func(s *sweep) bool { return s.peer == p })
}

func (k *checker) convicting(id session.ID, t *task) bool {
	return slices.ContainsFunc(k.sweeps, func(s *sweep) bool {
		return s.peer != nil && s.peer.id == id && slices.Contains(s.suspects, t)
	})
}

func (k *checker) checkWorker(p *peer) {
	w := p.worker
	if w == nil {
		return
	}
	k.expect(w.peer == p && !w.gone, "session %x: its worker is gone or another's", p.id)
	k.expect(w.credits <= w.slots, "session %x: %d credits of %d slots", p.id, w.credits, w.slots)
	k.expect(!w.draining || w.credits == 0, "session %x drains and has %d credits", p.id, w.credits)
	k.expect(w.dirty == slices.Contains(k.dirtyWorkers, w), "session %x: its worker's dirty flag is %v", p.id, w.dirty)
	for _, s := range w.subs {
		k.expect(s.worker == w && slices.Contains(s.profile.workers, s), "session %x has a profile that does not know", p.id)
		k.expect(s.profile.queue.profiles[s.profile.name] == s.profile, "session %x has a profile that its queue does not know", p.id)
	}
}

func (k *checker) checkAges() {
	checkAge(k, "queue", &k.queueAges, len(k.queues), func(q *queue) bool { return k.queues[q.ID] == q })
	checkAge(k, "call", &k.callAges, len(k.calls), func(c *call) bool { return k.calls[c.ID] == c })
	checkAge(k, "task", &k.taskAges, len(k.tasks), func(t *task) bool { return k.tasks[t.ID] == t })
}

func checkAge[T any](k *checker, what string, ages *pure.Ages[T], want int, lives func(*T) bool) {
	n, base := 0, uint64(0)
	for e := ages.Oldest(); e != nil; e = ages.Next(e) {
		n++
		k.expect(lives(e), "a %s is listed by age and does not live", what)
		k.expect(ages.Base(e) >= base, "a %s: base %d after %d", what, ages.Base(e), base)
		base = ages.Base(e)
	}
	k.expect(n == want, "%d of %d %ss are listed by age", n, want, what)
}

// Waiting is the number of reservations that wait.
func (c *Core) Waiting() int { return len(c.waiters) }

// Awaiting is the number of submissions of their own and of joins that wait.
func (c *Core) Awaiting() (submits, joins int) { return len(c.putters), len(c.joiners) }

// Holders returns the sessions that hold something and are not known to have ended.
func (c *Core) Holders() []session.ID {
	var out []session.ID
	for _, id := range c.peerIDs() {
		if p := c.peers[id]; !p.dead && len(p.attempts)+len(p.calls)+len(p.suspects) > 0 {
			out = append(out, id)
		}
	}
	return out
}

// Leftovers names what is in memory beside queues; "" is nothing.
func (c *Core) Leftovers() string {
	lanes := 0
	for _, q := range c.queues {
		lanes += len(q.lanes) - q.emptyLanes + q.putters.Len() + len(q.joiners) + len(q.unique) + q.activeKeys
	}
	if len(c.calls)+len(c.tasks)+len(c.requests)+len(c.peers)+len(c.waiters)+len(c.callNames)+lanes+
		c.wall.Len()+c.leases.Len()+len(c.sweeps) == 0 {
		return ""
	}
	return fmt.Sprintf("%d calls, %d tasks, %d requests, %d sessions, %d reservations, %d in queues, %d and %d timers, %d sweeps",
		len(c.calls), len(c.tasks), len(c.requests), len(c.peers), len(c.waiters), lanes, c.wall.Len(), c.leases.Len(), len(c.sweeps))
}
