package sim

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// waitsForOthers holds a new task to those that it waits for.
func (m *model) waitsForOthers(t *modelTask) {
	if t.state != queue.Blocked {
		return
	}
	if t.joined == 0 && len(t.waits) == 0 {
		m.fail("task %d is blocked by nothing", t.id)
	}
	for _, id := range t.blockers() {
		on := m.tasks[id]
		switch {
		case on == nil || on.dropped || on.state.Final():
			m.fail("task %d waits for task %d, which has ended", t.id, id)
		case t.joined != 0 && (on.joined != 0 || on.queue != t.queue || on.opts.GetUniqueKey() != t.opts.GetUniqueKey()):
			m.fail("task %d joins task %d, which is not of its unique key", t.id, id)
		}
	}
}

func (t *modelTask) blockers() []uint64 {
	if t.joined != 0 {
		return []uint64{t.joined}
	}
	return t.waits
}

// blockersIf is what a copy says that a task waits for.
func (t *modelTask) blockersIf() []uint64 {
	if t.state != queue.Blocked {
		return nil
	}
	return t.waits
}

// awaited tells whether others wait for a task.
func (m *model) awaited(id uint64) bool {
	for _, other := range m.order {
		if t := m.tasks[other]; t.state == queue.Blocked && slices.Contains(t.blockers(), id) {
			return true
		}
	}
	return false
}

func (m *model) unblocked(r *journalv1.TaskUnblocked) {
	t, on := m.task(r.Id), m.tasks[r.Dependency]
	if t == nil {
		return
	}
	state := queue.State(r.State)
	switch {
	case t.state != queue.Blocked || t.joined != 0 || !slices.Contains(t.waits, r.Dependency):
		m.fail("task %d is %v and does not wait for task %d", t.id, t.state, r.Dependency)
	case on == nil || !on.state.Final():
		m.fail("task %d goes on, and task %d has not ended", t.id, r.Dependency)
	case on.state != queue.Succeeded && !t.opts.GetRunOnFailure():
		m.fail("task %d goes on, and task %d %v", t.id, r.Dependency, on.state)
	case (len(t.waits) > 1) != (state == queue.Blocked):
		m.fail("task %d waits for %v and becomes %v", t.id, t.waits, state)
	}
	t.waits = slices.DeleteFunc(slices.Clone(t.waits), func(id uint64) bool { return id == r.Dependency })
	t.next = pure.Wall(r.Next)
	m.set(t, state)
}

// revive has a task begin anew.
func (m *model) revive(r *journalv1.TaskRevived) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if !t.state.Final() || t.state == queue.Succeeded || t.joined != 0 || t.call != 0 && !t.acked {
		m.fail("task %d is %v, of call %d, and tried again", t.id, t.state, t.call)
	}
	if r.RequestId != "" && r.RequestId == t.retriedBy {
		m.fail("task %d is tried again twice by request %s", t.id, r.RequestId)
	}
	t.retriedBy = r.RequestId
	if m.queues[t.queue].last.Closed {
		m.fail("task %d is tried again in a queue that is closed", t.id)
	}
	if k := m.calls[t.call]; k != nil {
		delete(k.accepted, t.index)
	}
	if r.Undue {
		if pure.Wall(t.opts.GetDeadline()) > m.wallHigh {
			m.fail("task %d loses a deadline that has not passed", t.id)
		}
		t.opts = proto.CloneOf(t.opts)
		t.opts.Deadline = 0
	}
	t.past = append(t.past, t.outcome)
	t.outcome, t.call, t.acked, t.tries, t.losses, t.next = "", 0, false, 0, 0, 0
	t.lostWith, t.waits, t.revived, t.since = map[session.ID]bool{}, r.Waits, true, m.token
	t.detached, t.expiring, t.purged, t.forsaken = false, false, false, false
	delete(m.s.observe.final, t.id)
	m.set(t, queue.State(r.State))
	m.waitsForOthers(t)
}

// detached takes a task from its call; the next record puts another one in its place.
func (m *model) detached(r *journalv1.TaskDetached) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	k := m.calls[t.call]
	if k == nil || k.accepted[t.index] != t.id || t.acked {
		m.fail("task %d leaves a call that it is not in", t.id)
		return
	}
	delete(k.accepted, t.index)
	m.left = modelLeft{call: t.call, index: t.index, task: t.id}
	t.detached, t.formerCall, t.call = !t.state.Final(), t.call, 0
}

// modelLeft is a place in a call that a task has just left.
type modelLeft struct{ call, index, task uint64 }

// stands holds a new task that is final already to what it stands for: one that has left its call, or one that
// waited for room and was cancelled.
func (m *model) stands(t *modelTask, r *journalv1.TaskPut) {
	left := m.left
	m.left = modelLeft{}
	t.outcome, t.finishedAt = recordText(r.Outcome), pure.Wall(r.Outcome.FinishedAt)
	if t.joined == t.id {
		if t.state != queue.Cancelled || !m.asksCancel(t) {
			m.fail("task %d is new and %v", t.id, t.state)
		}
		return
	}
	of := m.tasks[t.joined]
	switch {
	case left != modelLeft{t.call, t.index, t.joined}:
		m.fail("task %d stands for task %d, which has not left index %d of call %d", t.id, t.joined, t.index, t.call)
	case of.state.Final() && of.state != t.state:
		m.fail("task %d is %v and stands for task %d, which is %v", t.id, t.state, of.id, of.state)
	case !of.state.Final() && (t.state != queue.Cancelled || !m.asksCancel(t) && !m.calls[t.call].cancels(of)):
		m.fail("task %d is left by its call, and nobody asked for that", of.id)
	case !of.state.Final() && !m.followed(of):
		m.fail("task %d is left by its call, and nobody else has it", of.id)
	}
}

// followed tells whether others have joined a task.
func (m *model) followed(t *modelTask) bool {
	if t.requested {
		return true
	}
	for _, id := range m.order {
		if f := m.tasks[id]; f.state == queue.Blocked && f.joined == t.id {
			return true
		}
	}
	return false
}

// endsAs holds the end of a task that joined another to that one's.
func (m *model) endsAs(t *modelTask, r *journalv1.TaskFinished) {
	on := m.tasks[t.joined]
	if on == nil || !on.state.Final() || queue.State(r.State) != on.state || queue.End(r.End) != on.outcomeEnd ||
		string(r.Result.GetData()) != on.result || r.Attempts != on.attempts || r.Token != on.token {
		m.fail("task %d ends as %v, and has joined task %d", t.id, queue.State(r.State), t.joined)
	}
}

// blockedByFailure tells whether a task is after one that failed.
func (m *model) blockedByFailure(t *modelTask) bool {
	if t.opts.GetRunOnFailure() {
		return false
	}
	for _, id := range t.opts.GetAfter() {
		if on := m.tasks[id]; on != nil && (on.state.Final() && on.state != queue.Succeeded || len(on.past) > 0) {
			return true
		}
	}
	return false
}

// expires holds an end by a deadline to it.
func (m *model) expires(t *modelTask) {
	if at := t.opts.GetDeadline(); at == 0 || pure.Wall(at) > m.wallHigh {
		m.fail("task %d expires at %d, its deadline is %d", t.id, m.wallHigh, at)
	}
}

// asksCancel tells whether somebody asked for the end of a task.
func (m *model) asksCancel(t *modelTask) bool {
	switch {
	case m.cancelled(t), m.s.cancelAsked(t), m.purges(t):
		return true
	case t.detached:
		return !m.followed(t)
	}
	return false
}

// wait is the end of an entry: nothing stands open.
func (m *model) settled() {
	if m.left != (modelLeft{}) {
		m.fail("task %d has left its call, and nothing stands there", m.left.task)
	}
	for _, id := range slices.Sorted(maps.Keys(m.queues)) {
		if q := m.queues[id]; q.waiting > 1<<60 || q.running > 1<<60 {
			m.fail("queue %d is counted wrongly", id)
		}
	}
}
