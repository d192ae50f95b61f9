package queue

import (
	"fmt"
	"slices"

	"github.com/weftq/weft/internal/pure"
)

func (k *checker) checkQueues() {
	ready := 0
	for id, q := range k.queues {
		k.expect(q.ID == id, "queue %d is known as %d", q.ID, id)
		k.expect(q.Name == "" || (k.queueNames[name{q.Namespace, q.Name}] == q) == !q.Deleting, "queue %d is known by its name, or not", id)
		var counts, gone [states]uint64
		running := map[string]int{}
		for _, t := range k.tasks {
			if t.queue == q {
				counts[t.State]++
				if t.State.Waits() && q.purges(t) {
					gone[t.State]++
				}
				if t.State.Held() && t.Options.FairnessKey != "" {
					running[t.Options.FairnessKey]++
				}
			}
		}
		k.expect(counts == q.counts, "queue %d has %v, counted are %v", id, counts, q.counts)
		k.expect(gone == q.gone, "queue %d: gone are %v, counted are %v", id, gone, q.gone)
		empty := 0
		for n, l := range q.lanes {
			k.expect(l.name == n && l.queue == q, "lane %v of queue %d is %v of %d", n, id, l.name, l.queue.ID)
			if l.active == 0 {
				empty++
			}
			ready += k.checkLane(l)
		}
		k.expect(empty == q.emptyLanes && empty <= emptyLanesMax, "queue %d has %d empty lanes, counted are %d", id, q.emptyLanes, empty)
		k.checkKeys(q, running)
		k.expect(q.total == int(q.tasks()), "queue %d has %d tasks, counted are %d", id, q.total, q.tasks())
		k.checkProfiles(q)
		for key, t := range q.unique {
			k.expect(k.tasks[t.ID] == t && t.Options.UniqueKey == key && !t.State.Final(), "queue %d: unique key %q is of task %d", id, key, t.ID)
		}
	}
	k.expect(ready == k.readyLen, "%d tasks in lanes, %d are ready", ready, k.readyLen)
	k.expect(len(k.queueNames) <= len(k.queues), "%d names of %d queues", len(k.queueNames), len(k.queues))
	k.expect(len(k.byName) == len(k.queueNames), "%d queues in order, %d names", len(k.byName), len(k.queueNames))
}

func (k *checker) checkLane(l *lane) (ready int) {
	where := fmt.Sprintf("lane %v of queue %d", l.name, l.queue.ID)
	active := 0
	for key, g := range l.groups {
		k.expect(g.key == key && g.lane == l && l.queue.keys[key.name] == key, "%s has a group of another key", where)
		if err := g.ready.Check(); err != nil {
			k.broken = append(k.broken, fmt.Errorf("%s: %w", where, err))
		}
		n := g.ready.Len()
		ready += n
		k.expect(n > 0 || key.name == "", "%s has an empty group", where)
		if n > 0 {
			active++
			k.expect(g.keyPlace < len(key.groups) && key.groups[g.keyPlace] == g, "%s: key %q does not know its group", where, key.name)
			_, first, _ := g.ready.Min()
			k.expect((g.place != 0) == !key.parked(), "%s: key %q is parked %v", where, key.name, key.parked())
			l.heads.Each(func(h *group, at pure.Key) {
				if h == g {
					k.expect(at == pure.Key{A: key.turn, B: first.B}, "%s: the group of key %q is at %v", where, key.name, at)
				}
			})
		} else {
			k.expect(g.place == 0, "%s: an empty group has its turn", where)
		}
		g.ready.Each(func(t *task, at pure.Key) {
			k.expect(k.tasks[t.ID] == t && t.group == g, "%s has task %d, which is not there", where, t.ID)
			k.expect(at.B == l.queue.order(t) && at.A == 0, "%s: task %d is at %v", where, t.ID, at)
		})
	}
	k.expect(active == l.active, "%s has %d active groups, counted are %d", where, l.active, active)
	if err := l.heads.Check(); err != nil {
		k.broken = append(k.broken, fmt.Errorf("%s: %w", where, err))
	}
	_, first, shown := l.heads.Min()
	for _, x := range l.links {
		k.expect(x.lane == l && x.profile.links[l] == x, "%s is linked to a profile that does not know", where)
		k.expect((x.place != 0) == shown, "%s has tasks %v and its profile %q shows it %v", where, shown, x.profile.name, x.place != 0)
		x.profile.lanes.Each(func(y *link, at pure.Key) {
			k.expect(y != x || at == first, "%s is at %v in profile %q, and should be at %v", where, at, x.profile.name, first)
		})
	}
	return ready
}

func (k *checker) checkKeys(q *queue, running map[string]int) {
	active := 0
	for n, key := range q.keys {
		k.expect(key.name == n && key.queue == q, "queue %d: key %q is known as %q", q.ID, key.name, n)
		k.expect(key.running == running[n], "queue %d: key %q runs %d tasks, counted are %d", q.ID, n, key.running, running[n])
		if len(key.groups) > 0 {
			active++
		}
		idle := len(key.groups) == 0 && key.running == 0 && n != ""
		k.expect((key.place != 0) == idle, "queue %d: key %q is idle %v", q.ID, n, idle)
		delete(running, n)
	}
	k.expect(q.late == nil || active == 1 && len(q.late.groups) > 0, "queue %d: the turn of key %+v is not settled, and %d are active", q.ID, q.late, active)
	k.expect(len(running) == 0, "queue %d does not know the keys of %v", q.ID, running)
	k.expect(active == q.activeKeys, "queue %d has %d active keys, counted are %d", q.ID, q.activeKeys, active)
}

func (k *checker) checkProfiles(q *queue) {
	k.expect(len(q.profiles) == len(q.inOrder), "queue %d has %d profiles, %d in order", q.ID, len(q.profiles), len(q.inOrder))
	waiting := 0
	for n, p := range q.profiles {
		where := fmt.Sprintf("profile %q of queue %d", n, q.ID)
		k.expect(p.name == n && slices.Contains(q.inOrder, p), "%s is known otherwise", where)
		k.expect(len(p.workers) > 0 || p.waiters.Len() > 0 || n == anyProfile, "%s is nobody's", where)
		k.expect(p.dirty == slices.Contains(k.dirtyProfiles, p), "%s: its dirty flag is %v", where, p.dirty)
		waiting += p.waiters.Len()
		for _, s := range p.workers {
			w := s.worker
			k.expect(s.profile == p && !w.gone && w.peer.worker == w, "%s is served by a worker that is gone", where)
			k.expect(slices.Contains(w.subs, s), "%s is served by a worker that does not know", where)
			k.expect(s.idle == slices.Contains(p.idle, s), "%s: a worker's idle flag is %v", where, s.idle)
			k.expect(s.idle || w.credits == 0, "%s: a worker has %d credits and is not idle", where, w.credits)
		}
		for i, s := range p.idle {
			k.expect(slices.Contains(p.workers, s), "%s: a worker that does not serve it is idle", where)
			k.expect(!slices.Contains(p.idle[i+1:], s), "%s: a worker is idle twice", where)
		}
		for _, l := range q.lanes {
			takes := (len(p.kinds) == 0 || slices.Contains(p.kinds, l.name.kind)) && hasLabels(p.labels, l.labels)
			k.expect((p.links[l] != nil) == takes, "%s takes from lane %v: %v", where, l.name, !takes)
		}
	}
	k.expect(waiting == q.waiting, "queue %d has %d reservations, counted are %d", q.ID, q.waiting, waiting)
}

func (k *checker) checkWaiters() {
	n, asking, waited := 0, 0, int64(0)
	for _, q := range k.queues {
		for _, p := range q.inOrder {
			p.waiters.Each(func(w *waiter, _ pure.Key) {
				n++
				k.expect(k.waiters[w.id] == w && w.queue == q && w.profile == p, "reservation %d waits at queue %d and is over", w.id, q.ID)
				_, known := w.peer.waiters[w]
				k.expect(k.peers[w.peer.id] == w.peer && known, "reservation %d is unknown to its session", w.id)
			})
		}
		q.putters.Each(func(p *putter, _ pure.Key) {
			k.expect(p.queue == q, "a submission waits at queue %d and is for %d", q.ID, p.queue.ID)
			k.expect(p.call != nil && p.call.waiting[p.task.Index] == p || p.call == nil && k.putters[p.id] == p,
				"a submission waits at queue %d and is over", q.ID)
			if p.requestID != "" {
				asking++
				k.expect(k.asking[name{p.namespace, p.requestID}] == p, "request %s waits at queue %d and is unknown", p.requestID, q.ID)
			}
		})
		for _, id := range q.joiners {
			k.expect(k.joiners[id] == q, "queue %d: %d waits for its end and is over", q.ID, id)
		}
	}
	for _, p := range k.putters {
		waited += specWeight(&p.task.Spec)
	}
	for _, call := range k.calls {
		for i, p := range call.waiting {
			waited += specWeight(&p.task.Spec)
			k.expect(p.call == call && p.task.Index == i && (p.queue == nil || p.place != 0), "call %d: index %d waits nowhere", call.ID, i)
		}
	}
	k.expect(n == len(k.waiters), "%d reservations at queues, known are %d", n, len(k.waiters))
	k.expect(asking == len(k.asking), "%d requests wait for room, known are %d", asking, len(k.asking))
	k.expect(waited == k.waitedBytes, "%d bytes wait for room, counted are %d", waited, k.waitedBytes)
}

// checkMatch finds a task that waits beside someone who would run it, and a submission beside room for it,
// with nothing under way.
func (k *checker) checkMatch() {
	if k.Pending() {
		return
	}
	for _, q := range k.queues {
		k.expect(q.putters.Len() == 0 || (q.full() || k.held) && !q.Closed, "queue %d has room, and a submission waits", q.ID)
		k.expect(len(q.joiners) == 0 || q.unfinished() > 0, "queue %d has no task left, and its end is awaited", q.ID)
		k.expect(!q.spent() || q.waiting == 0, "queue %d has nothing more to hand out, and reservations wait", q.ID)
		k.expect(!q.Deleting || q.tasks() > 0, "queue %d is to be deleted, and is empty", q.ID)
		k.expect(q.Purged == Purged{}, "queue %d is purged, and that is not done", q.ID)
		if q.Paused || q.limited() || k.stuffed(q) || q.Rate > 0 && q.ratePlace != 0 {
			continue
		}
		for _, p := range q.inOrder {
			if p.next() == nil {
				continue
			}
			k.expect(p.waiters.Len() == 0, "queue %d: a task waits beside a reservation of profile %q", q.ID, p.name)
			for _, s := range p.workers {
				k.expect(s.worker.credits == 0, "queue %d: a task waits beside a worker with %d credits", q.ID, s.worker.credits)
			}
		}
	}
}

func (k *checker) checkDependencies(t *task) {
	awaited, joined := int32(0), int32(0)
	for _, d := range k.tasks {
		if d.State == Blocked && slices.Contains(d.awaits(), t.ID) {
			awaited++
			if d.Joined != 0 {
				joined++
			}
			k.expect(t.awaited() && slices.Contains(t.waits.dependents, d) || k.telling(t), "task %d waits for %d, which does not know", d.ID, t.ID)
		}
	}
	awaited += k.waitingAfter()[t.ID]
	k.expect(t.awaited() == (awaited > 0) && (t.waits == nil || t.waits.live == awaited && t.waits.joined == joined),
		"task %d is awaited by %d, of which %d joined", t.ID, awaited, joined)
	if t.State != Blocked {
		k.expect(len(t.Waits) == 0, "task %d is %v and waits for %v", t.ID, t.State, t.Waits)
		return
	}
	k.expect(len(t.awaits()) > 0, "task %d is blocked by nothing", t.ID)
}

// waitingAfter counts the submissions that wait for room and are after each task.
func (k *checker) waitingAfter() map[uint64]int32 {
	if k.after != nil {
		return k.after
	}
	k.after = map[uint64]int32{}
	count := func(p *putter) {
		if o := p.task.Spec.Options; o != nil {
			for _, id := range o.After {
				k.after[id]++
			}
		}
	}
	for _, p := range k.putters {
		count(p)
	}
	for _, call := range k.calls {
		for _, p := range call.waiting {
			count(p)
		}
	}
	return k.after
}

// checkBlocked finds a task that waits for one which has ended, with nothing under way.
func (k *checker) checkBlocked() {
	for _, t := range k.tasks {
		if t.State != Blocked {
			continue
		}
		for _, id := range t.awaits() {
			on := k.tasks[id]
			k.expect(on != nil, "task %d waits for task %d, which is not there", t.ID, id)
			k.expect(on == nil || !on.State.Final() || k.telling(on), "task %d waits for task %d, which has ended", t.ID, id)
		}
	}
}

// telling tells whether a task's dependents are being told of its end.
func (k *checker) telling(t *task) bool {
	return slices.ContainsFunc(k.sweeps, func(s *sweep) bool { return s.ended == t })
}

func (k *checker) checkSpaces() {
	for n, s := range k.spaces {
		counted := space{name: n}
		for _, q := range k.queues {
			if q.Namespace == n && q.Name != "" {
				counted.queues++
				counted.bytes += q.bytes
				counted.tasks += q.total
			}
		}
		for _, call := range k.calls {
			if call.Namespace == n && call.Name != "" {
				counted.calls++
				for _, p := range call.waiting {
					counted.waited += specWeight(&p.task.Spec)
				}
			}
		}
		for _, p := range k.putters {
			if p.namespace == n {
				counted.waited += specWeight(&p.task.Spec)
			}
		}
		k.expect(s.name == n && s.bytes == counted.bytes && s.tasks == counted.tasks && s.waited == counted.waited &&
			s.queues == counted.queues && s.calls == counted.calls, "namespace %s: %d bytes, %d tasks, %d waited, %d queues, %d calls, counted are %+v",
			n, s.bytes, s.tasks, s.waited, s.queues, s.calls, counted)
		retained := int64(0)
		s.retained.Each(func(t *task, _ pure.Key) {
			retained += weight(&t.TaskState)
			k.expect(k.tasks[t.ID] == t && t.State.Final() && !t.awaited(), "namespace %s: task %d is retained and not ended", n, t.ID)
		})
		_, oldest, some := s.retained.Min()
		k.expect(retained == s.retainedBytes, "namespace %s: %d bytes retained, counted are %d", n, s.retainedBytes, retained)
		k.expect((s.place != 0) == some && (!some || s.oldest == oldest), "namespace %s: its oldest task is %v", n, s.oldest)
	}
	if err := k.oldest.Check(); err != nil {
		k.broken = append(k.broken, err)
	}
}
