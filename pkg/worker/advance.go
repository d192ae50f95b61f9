package worker

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/weftq/weft/pkg/task"
	weftv1 "github.com/weftq/weft/proto/weft/v1"
)

// progressEvery lies between two tellings of an attempt's progress.
const progressEvery = 100 * time.Millisecond

// advance is what an attempt has to tell before its end. What is durable is one message at a time: while the
// broker has not answered, later checkpoints replace one another and partial results gather. It is sent again on
// a new stream until it is answered. Guarded by Worker.mu.
type advance struct {
	queued   bool   // in the outbox
	sequence uint64 // of the last message that wants an answer
	inFlight bool   // it has none yet
	err      error  // the broker refused one
	refused  bool   // one that had partial results
	answered chan struct{}

	progress *weftv1.Progress
	untold   bool // the progress is newer than what was sent
	toldAt   time.Time
	timer    *time.Timer

	state          task.Payload // the last checkpoint, of this attempt or of an earlier one
	stateAt        uint32       // the partial results before it
	hasState       bool
	own            bool               // this attempt has saved, emitted or loaded: what comes next has its place
	checkpoint     *weftv1.Checkpoint // this attempt's, until it is durable
	checkpointSent *weftv1.Checkpoint // the one that is in flight
	partials       []*weftv1.Payload  // that are not durable yet
	partialsAt     uint32             // the place of the first of them
	partialsSent   int                // how many of them are in flight
	next           uint32             // the place of the next one
	known          uint32             // the places that the task has, or will have once all of this is durable
	partialsBytes  int                // of those
}

// begin takes over what an assignment brings of earlier attempts.
func (v *advance) begin(asg *weftv1.Assignment) {
	v.known, v.partialsBytes = asg.GetPartialsCount(), int(asg.GetPartialsBytes())
	v.partialsAt = v.known
	if c := asg.GetCheckpoint(); c != nil {
		state, err := task.PayloadFromProto(c.GetState())
		if err == nil {
			v.state, v.stateAt, v.hasState = state, c.GetPartialsCount(), true
		}
	}
}

// pending reports whether something is not durable yet.
func (v *advance) pending() bool { return v.checkpoint != nil || len(v.partials) > 0 }

// unsent reports whether there is something to send now. In the end nothing waits for an answer.
func (v *advance) unsent(final bool) bool {
	return v.untold || (final || !v.inFlight) && v.err == nil &&
		(v.partialsSent < len(v.partials) || v.checkpoint != nil && v.checkpoint != v.checkpointSent)
}

// message is what there is to send; nil if nothing.
func (v *advance) message(a *attempt, final bool) *weftv1.AttemptAdvance {
	if !v.unsent(final) {
		return nil
	}
	m := &weftv1.AttemptAdvance{TaskId: a.TaskID, Token: a.Token}
	if v.untold {
		m.Progress, v.untold, v.toldAt = v.progress, false, time.Now()
	}
	if v.inFlight && !final || v.err != nil {
		return m
	}
	if v.checkpoint != v.checkpointSent {
		m.Checkpoint, v.checkpointSent = v.checkpoint, v.checkpoint
	}
	if v.partialsSent < len(v.partials) {
		m.Partials, m.PartialsOffset = slices.Clone(v.partials[v.partialsSent:]), v.partialsAt+uint32(v.partialsSent)
		v.partialsSent = len(v.partials)
	}
	if m.Checkpoint != nil || len(m.GetPartials()) > 0 {
		v.sequence++
		m.Sequence, v.inFlight = v.sequence, true
	}
	return m
}

// bytes is about what the next message takes in a frame.
func (v *advance) bytes() int {
	size := 64 + len(v.progress.GetMessage())
	if v.checkpoint != nil && v.checkpoint != v.checkpointSent {
		size += v.state.Len()
	}
	for _, p := range v.partials[v.partialsSent:] {
		size += len(p.GetText()) + len(p.GetData()) + 8
	}
	return size
}

// answer takes the broker's answer.
func (v *advance) answer(m *weftv1.AdvanceAnswer) {
	if m.GetReason() != weftv1.ErrorReason_ERROR_REASON_UNSPECIFIED && v.err == nil {
		v.err, v.refused = refusedAdvance(m), v.partialsSent > 0
	}
	sequence := m.GetSequence()
	if sequence != v.sequence || !v.inFlight {
		return
	}
	v.inFlight = false
	v.partials = slices.Delete(v.partials, 0, v.partialsSent)
	v.partialsAt += uint32(v.partialsSent)
	v.partialsSent = 0
	if v.checkpoint == v.checkpointSent {
		v.checkpoint = nil
	}
	v.checkpointSent = nil
	v.tellAnswered()
}

func (v *advance) tellAnswered() {
	if v.answered != nil {
		close(v.answered)
		v.answered = nil
	}
}

func refusedAdvance(m *weftv1.AdvanceAnswer) error {
	if m.GetReason() == weftv1.ErrorReason_ERROR_REASON_LEASE_LOST {
		return task.ErrLeaseLost
	}
	text := "the broker refused a checkpoint or partial results: " + strings.TrimPrefix(m.GetReason().String(), "ERROR_REASON_")
	if m.GetMessage() != "" {
		text += ": " + m.GetMessage()
	}
	return &task.Error{Reason: task.ReasonPayload, Message: text, Permanent: true}
}

// restart has everything sent again that was not answered, on a new stream.
func (v *advance) restart() {
	v.inFlight, v.partialsSent, v.checkpointSent = false, 0, nil
	v.untold = v.progress != nil
}

// end is the end of the attempt: what there is goes with the report.
func (v *advance) end() {
	if v.timer != nil {
		v.timer.Stop()
	}
	v.tellAnswered()
}

// emit takes a partial result at the next place, unless the task has it.
func (v *advance) emit(p task.Payload) error {
	v.own = true
	if v.next < v.known {
		v.next++
		return nil
	}
	switch {
	case v.next >= task.PartialsMax:
		return &task.LimitError{What: "the task", Unit: "partial results", Have: int(v.next) + 1, Limit: task.PartialsMax}
	case v.partialsBytes+p.Len() > task.PartialsBytesMax:
		return &task.LimitError{
			What: "the list of the task's partial results", Unit: "bytes", Have: v.partialsBytes + p.Len(), Limit: task.PartialsBytesMax,
		}
	}
	m := p.Proto()
	if m == nil {
		m = &weftv1.Payload{}
	}
	v.partials = append(v.partials, m)
	v.partialsBytes += p.Len()
	v.next++
	v.known = v.next
	return nil
}

var errOver = errors.New("task: the attempt is over")

// tellAdvance has the sender look at an attempt's news; the caller holds w.mu.
func (w *Worker) tellAdvance(a *attempt) {
	if !a.advance.queued && w.attempts[a.Token] == a {
		a.advance.queued = true
		w.outbox.news = append(w.outbox.news, a)
	}
}

// answerAdvances takes the broker's answers.
func (w *Worker) answerAdvances(answers []*weftv1.AdvanceAnswer) {
	if len(answers) == 0 {
		return
	}
	w.mu.Lock()
	for _, m := range answers {
		if a := w.attempts[m.GetToken()]; a != nil {
			a.advance.answer(m)
			if a.advance.unsent(false) {
				w.tellAdvance(a)
			}
		}
	}
	w.mu.Unlock()
	w.wakeSender()
}
