package sim

import (
	"slices"
	"time"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

func (m *model) callDropped(r *journalv1.CallDropped) {
	k := m.calls[r.Id]
	if k == nil || k.dropped {
		m.fail("call %d is dropped and not there", r.Id)
		return
	}
	k.dropped = true
	if !k.finished && !k.session.IsZero() {
		m.fail("call %d is dropped while its client may go on", r.Id)
	}
	for i, id := range k.accepted {
		if !m.tasks[id].dropped {
			m.fail("call %d is dropped with index %d", r.Id, i)
		}
	}
}

func (m *model) taskPut(r *journalv1.TaskPut) {
	if t := m.tasks[r.Id]; t != nil {
		m.taskCopied(t, r)
		return
	}
	t := &modelTask{
		id: r.Id, call: r.Call, index: r.Index, request: r.RequestId, opts: r.Options, state: queue.State(r.State),
		queue: r.Queue, waits: r.Waits, joined: r.Joined, attempts: r.Attempts, tries: r.Tries, token: r.Token,
		created: pure.Wall(r.CreatedAt), next: pure.Wall(r.Next), lostWith: map[session.ID]bool{},
		payload: payloadNumber(r.Payload.GetData()),
	}
	m.tasks[r.Id] = t
	m.order = append(m.order, r.Id)
	m.admitted(t)
	m.waitsForOthers(t)
	m.begins(t, r)
	if t.state.Held() {
		m.fail("task %d is new and %v", t.id, t.state)
	}
	if t.state.Final() {
		m.stands(t, r)
	}
	m.count(t, 1)
	if r.Call == 0 {
		return
	}
	k := m.calls[r.Call]
	switch {
	case k == nil || k.dropped || k.finished && !t.state.Final():
		m.fail("task %d is accepted by a call that takes none", t.id)
	case k.accepted[r.Index] != 0:
		m.fail("task %d is accepted at index %d of call %s, where task %d was", t.id, r.Index, k.name, k.accepted[r.Index])
	default:
		k.accepted[r.Index], k.last = t.id, max(k.last, r.Index)
	}
}

func (m *model) taskCopied(t *modelTask, r *journalv1.TaskPut) {
	same := !t.dropped && t.state == queue.State(r.State) && t.attempts == r.Attempts && t.tries == r.Tries &&
		t.losses == r.Losses && t.token == r.Token && t.next == pure.Wall(r.Next) && t.acked == r.Acknowledged &&
		slices.Equal(t.suspects, sids(r.Suspects)) && (r.Outcome == nil) == (t.outcome == "") &&
		slices.Equal(t.blockersIf(), r.Waits) && t.joined == r.Joined && t.call == r.Call && t.detached == r.Detached &&
		t.goesOn(r)
	if same && r.Outcome != nil {
		same = recordText(r.Outcome) == t.outcome
	}
	if !same {
		m.fail("task %d is copied and not as it was: %+v, copied is %v", t.id, *t, r)
	}
}

func (m *model) dispatched(r *journalv1.TaskDispatched) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if r.Token <= m.token {
		m.fail("token %d after %d", r.Token, m.token)
	}
	m.token = r.Token
	if t.state != queue.Ready {
		m.fail("task %d is %v and dispatched", t.id, t.state)
	}
	if r.Attempts != t.attempts+1 {
		m.fail("attempt %d of task %d after %d", r.Attempts, t.id, t.attempts)
	}
	if s := m.sessions[sid(r.SessionId)]; s != nil && s.ended {
		m.fail("task %d is dispatched to session %x, which has ended", t.id, r.SessionId)
	}
	if int(t.losses)+len(t.suspects) >= queue.LossesMax {
		m.fail("task %d is dispatched, and %d workers may have died of it", t.id, int(t.losses)+len(t.suspects))
	}
	if m.cancelled(t) {
		m.fail("task %d is cancelled and dispatched", t.id)
	}
	m.allowed(t, r)
	m.set(t, queue.Running)
	t.token, t.session, t.attempts = r.Token, sid(r.SessionId), r.Attempts
	m.dispatches[r.Token] = dispatch{t.id, t.session, r.Attempts}
}

// cancelled tells whether a task's call was cancelled, or its session ended and it is a daemon.
func (m *model) cancelled(t *modelTask) bool {
	return m.calls[t.call].cancels(t)
}

// cancels tells whether the cancellation of a call covers a task of it.
func (k *modelCall) cancels(t *modelTask) bool {
	return k != nil && t.id <= k.to && (!k.daemons || t.opts.GetDaemon())
}

func (m *model) endAttempt(t *modelTask, e attemptEnd) {
	if _, ok := m.ends[t.token]; ok {
		m.fail("attempt %d of task %d ends twice", t.token, t.id)
	}
	m.ends[t.token] = e
	if e.end == queue.EndWorkerLost {
		t.lostWith[t.session] = true
	}
}

func (m *model) retried(r *journalv1.TaskRetried) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if t.state != queue.Running {
		m.fail("task %d is %v and tried again", t.id, t.state)
	}
	end := queue.End(r.End)
	m.endAttempt(t, attemptEnd{end: end})
	charged := end == queue.EndError || end == queue.EndTimeout
	switch {
	case charged && (r.Tries != t.tries+1 || r.Tries >= t.opts.GetAttemptsMax() || r.Error.GetPermanent()):
		m.fail("task %d is tried again after %d of %d attempts, %v", t.id, r.Tries, t.opts.GetAttemptsMax(), r.Error)
	case !charged && (r.Tries != t.tries || r.RunAt != 0):
		m.fail("task %d is charged %d for an end %d, from %d, until %d", t.id, r.Tries, end, t.tries, r.RunAt)
	case charged:
		m.checkBackoff(t, r)
	}
	t.tries, t.next = r.Tries, pure.Wall(r.RunAt)
	if r.RunAt != 0 {
		m.set(t, queue.Scheduled)
	} else {
		m.set(t, queue.Ready)
	}
}

func (m *model) checkBackoff(t *modelTask, r *journalv1.TaskRetried) {
	o := t.opts
	pause := time.Duration(o.InitialBackoff)
	for range r.Tries - 1 {
		pause = time.Duration(float64(pause) * o.Multiplier)
	}
	pause = min(pause, time.Duration(o.BackoffMax))
	low := m.wallLow.Add(time.Duration(float64(pause)*(1-o.Jitter)) - time.Microsecond)
	if at := pure.Wall(r.RunAt); at < low || at > m.wallHigh.Add(pause+time.Microsecond) {
		m.fail("task %d waits until %d after try %d, a pause of %v from %d to %d", t.id, at, r.Tries, pause, m.wallLow, m.wallHigh)
	}
}

func (m *model) ready(r *journalv1.TaskReady) {
	if t := m.task(r.Id); t != nil {
		if t.state != queue.Scheduled || t.next > m.wallHigh {
			m.fail("task %d is %v until %d and made ready at %d", t.id, t.state, t.next, m.wallHigh)
		}
		t.next = 0
		m.set(t, queue.Ready)
	}
}

func (m *model) cancelling(r *journalv1.TaskCancelling) {
	if t := m.task(r.Id); t != nil {
		if !t.state.Held() {
			m.fail("task %d is %v and to be stopped", t.id, t.state)
		}
		switch {
		case r.Expiring && t.expiring: // it is to stop sooner, and the clock may be behind its deadline by now
		case r.Expiring:
			m.expires(t)
			t.expiring = true
		default:
			m.asked(t)
		}
		m.set(t, queue.Cancelling)
	}
}

// asked holds a cancellation to somebody's wish.
func (m *model) asked(t *modelTask) {
	if !m.asksCancel(t) {
		m.fail("task %d is cancelled and nobody asked for it", t.id)
	}
}

func (m *model) finished(r *journalv1.TaskFinished) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if t.state.Final() {
		m.fail("task %d is finished twice", t.id)
		return
	}
	state, end := queue.State(r.State), queue.End(r.End)
	if t.state.Held() {
		m.endAttempt(t, attemptEnd{end: end, finished: true, result: string(r.Result.GetData())})
	}
	switch {
	case t.joined != 0 && (state == queue.Succeeded || state == queue.Failed):
		m.endsAs(t, r)
	case state == queue.Cancelled && m.blockedByFailure(t):
	case state == queue.Cancelled && t.joined != 0 && m.tasks[t.joined].state == state:
	case state == queue.Cancelled && t.state != queue.Cancelling:
		m.asked(t)
	case state == queue.Cancelled:
	case state == queue.Expired && t.joined != 0 && m.tasks[t.joined].state == state:
	case state == queue.Expired && !t.expiring:
		m.expires(t)
	case state == queue.Succeeded && string(r.Result.GetData()) != resultOf(t.token):
		m.fail("task %d has the result %q by token %d", t.id, r.Result.GetData(), t.token)
	case state == queue.Succeeded && !t.state.Held(), state == queue.Succeeded && end != queue.EndSucceeded:
		m.fail("task %d is %v and succeeds, end %d", t.id, t.state, end)
	case state == queue.Failed && end == queue.EndWorkerLost:
		m.poisoned(t)
	case state == queue.Failed && end == queue.EndKilled && t.opts.GetFailOnWorkerLost():
	case state == queue.Failed && !t.state.Held():
		m.fail("task %d is %v and fails", t.id, t.state)
	case state == queue.Failed && (r.Tries != t.tries+1 || r.Tries < t.opts.GetAttemptsMax() && !r.Error.GetPermanent()):
		m.fail("task %d fails after %d of %d attempts, %v", t.id, r.Tries, t.opts.GetAttemptsMax(), r.Error)
	}
	if s := m.sessions[t.session]; r.Taken && (!t.state.Held() || s == nil || s.kind == session.Worker) {
		m.fail("task %d is ended by whoever got it, and nobody did", t.id)
	}
	if state == queue.Succeeded {
		m.brought(t)
	}
	m.set(t, state)
	t.taken = r.Taken
	t.forsaken = state == queue.Cancelled && end == 0 && t.joined == 0 && r.Error.GetReason() == "dependency_failed"
	t.outcome, t.outcomeEnd, t.finishedAt, t.result = recordText(r), end, pure.Wall(r.FinishedAt), string(r.Result.GetData())
	t.tries, t.suspects, t.next, t.waits = r.Tries, nil, 0, nil
	switch {
	case t.joined != 0:
		t.attempts, t.token = r.Attempts, r.Token
	case r.Attempts != 0 || r.Token != 0:
		m.fail("task %d joined none, and ends with attempts of another", t.id)
	}
}

// poisoned holds the poison guard to three workers that were lost with a task for good.
func (m *model) poisoned(t *modelTask) {
	if t.opts.GetFailOnWorkerLost() {
		return
	}
	n := 0
	for id := range t.lostWith {
		if s := m.sessions[id]; s != nil && s.expired {
			n++
		}
	}
	if n < queue.LossesMax {
		m.fail("task %d fails of %d lost workers", t.id, n)
	}
}

func (m *model) taskDropped(r *journalv1.TaskDropped) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if m.awaited(t.id) {
		m.fail("task %d is dropped, and others wait for it", t.id)
	}
	t.dropped = true
	if !t.state.Final() {
		m.fail("task %d is dropped and %v", t.id, t.state)
		return
	}
	heard := t.acked || t.call == 0 && t.state != queue.Failed
	if heard && m.s.limited {
		return // to make room
	}
	if at := t.keptUntil(); at > m.wallHigh && !m.purges(t) && !(t.acked && t.retention() < 0) {
		m.fail("task %d is dropped at %d and to be kept until %d", t.id, m.wallHigh, at)
	}
	if k := m.calls[t.call]; k != nil && !t.acked && !k.session.IsZero() {
		m.fail("task %d is dropped, and its client lives and does not have it", t.id)
	}
}

// keptUntil is how long an outcome is promised to stay.
func (t *modelTask) keptUntil() pure.Wall {
	keep := time.Hour
	asked := t.retention()
	switch {
	case asked >= 0 && (t.call == 0 || t.acked):
		keep = asked
	case asked >= 0:
		keep = max(keep, asked)
	case t.state == queue.Failed || t.forsaken:
		keep = 7 * 24 * time.Hour
	case t.call == 0 && t.taken:
		keep = time.Minute
	case t.call == 0:
		keep = 24 * time.Hour
	}
	return t.finishedAt.Add(keep)
}

// retention is how long an outcome was asked to stay, below 0 if nobody said.
func (t *modelTask) retention() time.Duration {
	switch {
	case t.opts == nil:
		return -1
	case t.state == queue.Failed || t.forsaken:
		return time.Duration(t.opts.FailedRetention)
	}
	return time.Duration(t.opts.Retention)
}
