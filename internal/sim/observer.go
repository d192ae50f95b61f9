package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/internal/shard"
	"github.com/weftq/weft/pkg/queue"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// observer sees what the broker tells, at the moment when it leaves the broker, and holds it to what the
// journal has at that moment.
type observer struct {
	s     *sim
	m     *model
	final map[uint64]string // outcomes as told first, by task

	submitted map[uint64]bool // tasks that were told to be accepted
}

func newObserver(s *sim) *observer {
	return &observer{s: s, m: s.model, final: map[uint64]string{}, submitted: map[uint64]bool{}}
}

func (o *observer) fail(format string, args ...any) {
	o.s.fail("told too early, or wrongly: %s", fmt.Sprintf(format, args...))
}

// told sees an effect on a stream.
func (o *observer) told(st *stream, item any) {
	switch e := item.(type) {
	case *shard.Welcome:
		o.welcome(e)
	case *shard.Attached:
		if s := o.m.sessions[e.Session]; s == nil || o.m.calls[e.Call] == nil {
			o.fail("a call's stream is open, and its session or call is not in the journal")
		}
	case *queue.Assigned:
		o.assigned(e.Assignment)
		if o.m.dispatches[e.Token].session != st.worker {
			o.fail("attempt %d is told to session %x and belongs to another", e.Token, st.worker)
		}
	case *queue.Answered:
		o.answered(st, e)
	case *queue.Released:
		o.released(e)
	case *queue.Accepted:
		o.accepted(e)
	case *queue.Rejected:
		o.rejected(e)
	case *queue.Finished:
		if st.told[e.ID] {
			o.fail("a stream is told twice how task %d ended", e.ID)
		}
		st.told[e.ID] = true
		o.complete(st, e)
		o.outcome(e.ID, e.Outcome)
		if t := o.m.tasks[e.ID]; t != nil && (t.call != e.Call && t.formerCall != e.Call || t.index != e.Index) {
			o.fail("task %d is told as index %d of call %d", e.ID, e.Index, e.Call)
		}
	case *queue.Updated:
		if t := o.m.tasks[e.ID]; t == nil {
			o.fail("task %d changed and is not in the journal", e.ID)
		}
		if st.told[e.ID] {
			o.fail("task %d changed after its end", e.ID)
		}
	case *shard.LockAnswered:
		o.lockAnswered(st, e)
	case *queue.AdvanceAnswered:
		o.advanceAnswered(st, e)
	case *queue.Advanced:
		o.advanced(st, e)
	case *queue.Interrupted:
		o.interrupted(st, e)
	case *queue.Changed:
		o.snapshot(e.Task)
	case *queue.CallChange:
		o.callChange(st.view, e)
	case *queue.Stop:
		o.stop(e)
	}
}

// callChange holds the change of a task of a call to the journal, and to what the watcher was told before.
func (o *observer) callChange(v *queue.CallView, e *queue.CallChange) {
	if e.Before != 0 {
		if v.Counts[e.Before] == 0 {
			o.fail("a task of call %d was %v, and none was told to be", e.Call, e.Before)
		}
		v.Counts[e.Before]--
	}
	v.Counts[e.Task.State]++ // state 0 is of those that have left
	if e.Task.State == 0 {
		return
	}
	switch t := o.m.tasks[e.Task.ID]; {
	case t == nil:
		o.fail("task %d of call %d is told and not in the journal", e.Task.ID, e.Call)
	case e.Task.Attempts > t.attempts:
		o.fail("task %d of call %d is told at attempt %d, the journal has %d", e.Task.ID, e.Call, e.Task.Attempts, t.attempts)
	case e.Task.State.Final() && t.outcome == "" && len(t.past) == 0: // it may be tried again by now
		o.fail("task %d of call %d is told as %v, and has no outcome in the journal", e.Task.ID, e.Call, e.Task.State)
	}
}

// callOver holds the end of a call to what its watcher was told.
func (o *observer) callOver(v *queue.CallView) {
	for state := queue.Scheduled; state < queue.Succeeded; state++ {
		if v.Counts[state] != 0 {
			o.fail("call %d is over, with %d tasks that are %v", v.ID, v.Counts[state], state)
		}
	}
}

func (o *observer) welcome(e *shard.Welcome) {
	if o.m.sessions[e.Session] == nil {
		o.fail("session %x is welcome and not in the journal", e.Session)
	}
	for _, id := range slices.Sorted(maps.Keys(o.m.tasks)) {
		if t := o.m.tasks[id]; !t.dropped && slices.Contains(t.suspects, e.Session) {
			o.fail("session %x came back, and task %d still suspects it", e.Session, id)
		}
	}
}

func (o *observer) assigned(a queue.Assignment) {
	d, ok := o.m.dispatches[a.Token]
	if !ok || d.task != a.ID || d.attempt != a.Attempt {
		o.fail("attempt %d of task %d is not in the journal", a.Token, a.ID)
	}
	o.handed(a)
	if t := o.m.tasks[a.ID]; o.final[a.ID] != "" && t.token != a.Token { // both may be of one entry
		o.fail("task %d runs again, and its outcome was told", a.ID)
	}
}

// answered holds the answer to a report to what the journal says of that attempt.
func (o *observer) answered(st *stream, e *queue.Answered) {
	w := o.s.workerOf(st.worker)
	if w == nil || !e.Accepted {
		return
	}
	end, ok := o.m.ends[e.Token]
	reported, known := w.reports[e.Token]
	switch {
	case !ok:
		o.fail("the report of attempt %d is accepted and not in the journal", e.Token)
	case !known:
		o.fail("the report of attempt %d is accepted, and there was none", e.Token)
	case end.finished && reported.End != end.end, end.finished && string(reported.Result.Data) != end.result:
		o.fail("the report of attempt %d is accepted, end %d with %q; recorded is %d with %q",
			e.Token, reported.End, reported.Result.Data, end.end, end.result)
	case !end.finished && reported.End != end.end && end.end != queue.EndReleased:
		o.fail("the report of attempt %d is accepted, end %d; recorded is %d", e.Token, reported.End, end.end)
	}
}

func (o *observer) released(e *queue.Released) {
	d, ok := o.m.dispatches[e.Token]
	if t := o.m.tasks[d.task]; !ok || t == nil || !t.acked && !t.dropped && !t.revived {
		o.fail("the output of attempt %d is released, and its task may be asked for", e.Token)
	}
}

func (o *observer) accepted(e *queue.Accepted) {
	k := o.m.calls[e.Call]
	if k == nil {
		o.fail("call %d accepts and is not in the journal", e.Call)
		return
	}
	for _, r := range e.Ranges {
		for i := r.First; i <= r.Last; i++ {
			if k.accepted[i] == 0 && !k.acked[i] {
				o.fail("index %d of call %s is accepted and not in the journal", i, k.name)
			}
		}
	}
}

func (o *observer) rejected(e *queue.Rejected) {
	k := o.m.calls[e.Call]
	switch {
	case k == nil, len(e.Reason.Meta) > 0 && e.Reason.Meta[0] == "field":
	case e.Reason.Reason == pure.TaskNotFound:
		if t := o.m.tasks[k.accepted[e.Index]]; t == nil || !t.dropped {
			o.fail("index %d of call %s is told to be gone", e.Index, k.name)
		}
	case e.Reason.Reason == pure.CallFinished && !k.finished:
		o.fail("call %s is told to be finished", k.name)
	}
}

// outcome holds an outcome to the journal, and to what was told before.
func (o *observer) outcome(id uint64, out *queue.Outcome) {
	t := o.m.tasks[id]
	text := outcomeText(out)
	if t != nil && slices.Contains(t.past, text) {
		return // it was tried again meanwhile
	}
	switch before := o.final[id]; {
	case t == nil || t.outcome == "":
		o.fail("the outcome of task %d is not in the journal", id)
	case t.outcome != text:
		o.fail("task %d ended as %s, told is %s", id, t.outcome, text)
	case before != "" && before != text:
		o.fail("task %d ended as %s, told before was %s", id, text, before)
	}
	o.final[id] = text
}

func (o *observer) stop(e *queue.Stop) {
	d, ok := o.m.dispatches[e.Token]
	if !ok {
		o.fail("attempt %d is to stop and not in the journal", e.Token)
		return
	}
	t := o.m.tasks[d.task]
	if _, ended := o.m.ends[e.Token]; !ended && t.state != queue.Cancelling {
		o.fail("attempt %d is to stop, and its task is %v", e.Token, t.state)
	}
}

// snapshot holds a read to the journal: it may be late, but not early.
func (o *observer) snapshot(t queue.Snapshot) {
	mt := o.m.tasks[t.ID]
	switch {
	case mt == nil:
		o.fail("task %d is read and not in the journal", t.ID)
	case t.Attempts > mt.attempts || t.Tries > mt.tries && !mt.revived:
		o.fail("task %d is read at attempt %d, the journal has %d", t.ID, t.Attempts, mt.attempts)
	case t.State.Final():
		o.outcome(t.ID, t.Outcome)
	}
	if mt != nil {
		o.sameAs(mt, 0, t.Partials)
	}
}

// replied sees the answer to a unary request.
func (o *observer) replied(cmd shard.Command, value any, err error) {
	if c, ok := cmd.(*shard.SubmitTask); ok {
		made, _ := value.(queue.Submitted)
		o.putOut(c, made, err)
	}
	if c, ok := cmd.(*shard.ReserveTasks); ok && reasonOf(err) == pure.QueueClosed {
		o.refused(c)
	}
	if err != nil {
		return
	}
	o.m.plans.replied(cmd, value)
	switch c := cmd.(type) {
	case *shard.SubmitTask:
		made := value.(queue.Submitted)
		if t := o.m.tasks[made.ID]; t == nil || t.request != c.RequestID && !made.Joined {
			o.fail("task %d of request %s is accepted and not in the journal", made.ID, c.RequestID)
		}
	case *shard.JoinQueue:
		if v := value.(queue.QueueView); v.Unfinished() > 0 && !o.s.broker.hungUp[c.Waiter] {
			o.fail("queue %s is joined with %d tasks", v.Name, v.Unfinished())
		}
	case *shard.PeekQueue:
		for _, t := range value.([]queue.Snapshot) {
			if t.State != queue.Ready {
				o.fail("task %d is %v and next", t.ID, t.State)
			}
			o.snapshot(t)
		}
	case *shard.GetTask:
		o.snapshot(value.(queue.Snapshot))
	case *shard.AdvanceTask:
		o.durable(c.Advance.ID, o.s.advances.said[c.Advance.Sequence])
	case *shard.ReportTask:
		o.reported(c, value.(queue.State))
	case *shard.ReserveTasks:
		o.reserved(value.(shard.Reservation))
	case *shard.CancelTask:
		if state, t := value.(queue.State), o.m.tasks[c.ID]; t.state != state && !t.state.Final() && !t.revived {
			o.fail("task %d is cancelled to %v, the journal has %v", c.ID, state, o.m.tasks[c.ID].state)
		}
	case *shard.CloseSession:
		if s := o.m.sessions[c.ID]; s != nil && !s.ended {
			o.fail("session %x is closed and lives in the journal", c.ID)
		}
	case *shard.ListTasks:
		for _, t := range value.(shard.TaskPage).Tasks {
			o.snapshot(t)
		}
	}
}

func (o *observer) reported(c *shard.ReportTask, state queue.State) {
	end, ok := o.m.ends[c.Report.Token]
	switch {
	case !ok:
		o.fail("the report of attempt %d is accepted and not in the journal", c.Report.Token)
	case end.finished != state.Final() && end.finished:
		o.fail("attempt %d finished its task, which is told to be %v", c.Report.Token, state)
	case end.finished && (end.end != c.Report.End || end.result != string(c.Report.Result.Data)):
		o.fail("attempt %d ended as %d with %q, accepted is %d with %q",
			c.Report.Token, end.end, end.result, c.Report.End, c.Report.Result.Data)
	}
}

func (o *observer) reserved(r shard.Reservation) {
	if len(r.Tasks) > 0 && o.m.sessions[r.Session] == nil {
		o.fail("session %x holds tasks and is not in the journal", r.Session)
	}
	for _, a := range r.Tasks {
		o.assigned(a)
	}
}

// outcomeText writes an outcome so that two of them can be compared.
func outcomeText(o *queue.Outcome) string {
	text := fmt.Sprintf("%v end %d %q worker %s at %d spooled %v", o.State, o.End, o.Result.Data, o.Worker, o.FinishedAt, o.Spooled)
	if o.Error != nil {
		text += fmt.Sprintf(" %s: %s", o.Error.Reason, o.Error.Message)
	}
	return text
}

func recordText(r *journalv1.TaskFinished) string {
	text := fmt.Sprintf("%v end %d %q worker %s at %d spooled %v", queue.State(r.State), r.End, r.Result.GetData(), r.Worker, r.FinishedAt, r.Spooled)
	if r.Error != nil {
		text += fmt.Sprintf(" %s: %s", r.Error.Reason, r.Error.Message)
	}
	return text
}

// reasonOf returns a refusal's reason, "" for any other error.
func reasonOf(err error) pure.Reason {
	if r, ok := errors.AsType[*pure.Refusal](err); ok {
		return r.Reason
	}
	return ""
}
