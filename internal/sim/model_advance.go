package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weftq/weft/pkg/queue"
	journalv1 "github.com/weftq/weft/proto/weft/journal/v1"
)

// modelAdvance is what the attempts of a task left and brought.
type modelAdvance struct {
	partials   []string
	checkpoint string // as the journal has it, "" if there is none
	number     uint64 // its
	savedBy    uint64 // token
}

func recordPayload(p *journalv1.Payload) string {
	return fmt.Sprintf("%d:%s", p.GetEncoding(), p.GetData())
}

func recordPayloads(list []*journalv1.Payload) (out []string) {
	for _, p := range list {
		out = append(out, recordPayload(p))
	}
	return out
}

func recordCheckpoint(p *journalv1.Checkpoint) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%s behind %d", recordPayload(p.State), p.PartialsCount)
}

func checkpointText(p *queue.Checkpoint) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%s behind %d", payloadText(p.State), p.Partials)
}

// advanced holds what an attempt brought to what its task does, and to its place.
func (m *model) advanced(r *journalv1.TaskAdvanced) {
	t := m.task(r.Id)
	if t == nil {
		return
	}
	if !t.state.Held() {
		m.fail("task %d is %v and comes further", t.id, t.state)
		return
	}
	b := &m.s.behaviours[t.payload]
	for _, text := range recordPayloads(r.Partials) {
		if want := payloadText(partialOf(t.id, len(t.partials))); text != want || len(t.partials) >= int(b.parts) {
			m.fail("task %d has %s as partial result %d of %d", t.id, text, len(t.partials), b.parts)
		}
		t.partials = append(t.partials, text)
	}
	if r.Checkpoint == nil {
		return
	}
	if int(r.Checkpoint.PartialsCount) > len(t.partials) || !b.saves {
		m.fail("task %d has a checkpoint behind %d of its %d partial results", t.id, r.Checkpoint.PartialsCount, len(t.partials))
	}
	t.checkpoint, t.number = recordCheckpoint(r.Checkpoint), checkpointNumber(r.Checkpoint.State.GetData())
	t.savedBy = t.token
}

// brought holds the success of an attempt to what it had brought before, and forgets what nobody goes on from.
func (m *model) brought(t *modelTask) {
	if want := m.s.advances.brought[t.token]; len(t.partials) < int(want) {
		m.fail("task %d succeeds with %d of %d partial results", t.id, len(t.partials), want)
	}
	t.checkpoint, t.number = "", 0
}

// begins holds what a new task has to nothing, or to what the one had for which it stands.
func (m *model) begins(t *modelTask, r *journalv1.TaskPut) {
	t.partials = recordPayloads(r.Partials)
	var want []string
	if of := m.tasks[t.joined]; of != nil && of != t && t.state.Final() {
		want = of.partials
	}
	if !slices.Equal(t.partials, want) || r.Checkpoint != nil {
		m.fail("task %d is new and has %v, %v", t.id, t.partials, r.Checkpoint)
	}
}

// goesOn tells whether a copy has what the attempts of a task left and brought.
func (t *modelTask) goesOn(r *journalv1.TaskPut) bool {
	return slices.Equal(t.partials, recordPayloads(r.Partials)) && t.checkpoint == recordCheckpoint(r.Checkpoint)
}

func (m *model) interrupted(r *journalv1.CallInterrupted) {
	k := m.calls[r.Id]
	if k == nil || k.dropped {
		m.fail("call %d is interrupted and not there", r.Id)
		return
	}
	i := r.Interrupt
	if i == nil {
		if k.interrupt == "" || !m.s.caller(k.name).got.taken[k.interrupt] {
			m.fail("call %s is told to have taken an interrupt: %q", k.name, k.interrupt)
		}
		k.interrupt = ""
		return
	}
	t := m.task(i.Task)
	switch {
	case k.interrupt != "":
		m.fail("call %s is interrupted by %s, and %s waits", k.name, i.Message, k.interrupt)
	case t == nil || !t.state.Held() || t.call != r.Id || t.index != i.Index || m.s.advances.asked[i.Message] != i.Task:
		m.fail("call %s is interrupted by task %d, which did not do that", k.name, i.Task)
	}
	k.interrupt = i.Message
}

// advanceAnswered holds what is said to be durable to the journal.
func (o *observer) advanceAnswered(st *stream, e *queue.AdvanceAnswered) {
	d, ok := o.m.dispatches[e.Token]
	if e.Reason != "" {
		return
	}
	if !ok || d.session != st.worker {
		o.fail("advance %d of attempt %d is accepted, and is another worker's", e.Sequence, e.Token)
		return
	}
	o.durable(d.task, o.s.advances.said[e.Sequence])
}

func (o *observer) durable(id uint64, x said) {
	t := o.m.tasks[id]
	if t == nil || t.dropped {
		return
	}
	if len(t.partials) < int(x.brought) {
		o.fail("task %d is told to have %d partial results, the journal has %d", id, x.brought, len(t.partials))
	}
	if t.number < x.saved && t.state != queue.Succeeded {
		o.fail("checkpoint %d of task %d is told to be durable, the journal has %d", x.saved, id, t.number)
	}
}

// advanced holds what a call's client is told to the journal, and to what the stream was told before.
func (o *observer) advanced(st *stream, e *queue.Advanced) {
	t := o.m.tasks[e.ID]
	switch {
	case t == nil || t.call != e.Call && t.formerCall != e.Call || t.index != e.Index:
		o.fail("task %d comes further as index %d of call %d", e.ID, e.Index, e.Call)
		return
	case st.told[e.ID]:
		o.fail("task %d comes further after its end", e.ID)
	case len(e.Partials) > 0 && int(e.Offset) != st.brought[e.Index]:
		o.fail("a stream has %d partial results of index %d, and is told those from %d on", st.brought[e.Index], e.Index, e.Offset)
	}
	o.sameAs(t, int(e.Offset), e.Partials)
	st.brought[e.Index] += len(e.Partials)
	if e.Progress != nil {
		if e.Progress.Done < st.progress[e.Token] {
			o.fail("attempt %d is at %d, and was at %d", e.Token, e.Progress.Done, st.progress[e.Token])
		}
		st.progress[e.Token] = e.Progress.Done
	}
}

// sameAs holds partial results to those of the journal.
func (o *observer) sameAs(t *modelTask, from int, list []queue.Payload) {
	for i, p := range list {
		if from+i >= len(t.partials) || t.partials[from+i] != payloadText(p) {
			o.fail("task %d is told to have %s at %d, the journal has %v", t.id, payloadText(p), from+i, t.partials)
			return
		}
	}
}

// complete holds an outcome to what came before it on the same stream.
func (o *observer) complete(st *stream, e *queue.Finished) {
	t := o.m.tasks[e.ID]
	if t != nil && !t.revived && st.brought[e.Index] != len(t.partials) {
		o.fail("index %d of call %d is told to have ended, with %d of %d partial results", e.Index, e.Call, st.brought[e.Index], len(t.partials))
	}
}

// handed holds what an attempt begins with to the journal, and to what was said of the one before it.
func (o *observer) handed(a queue.Assignment) {
	t := o.m.tasks[a.ID]
	if t == nil || t.savedBy == a.Token { // a reservation that is answered again, and goes on already
		return
	}
	if got := checkpointText(a.Checkpoint); got != t.checkpoint {
		o.fail("attempt %d of task %d begins at %q, the journal has %q", a.Token, a.ID, got, t.checkpoint)
	}
	if number, _ := savedIn(a.Checkpoint); number < o.s.advances.saved[a.ID] {
		o.fail("attempt %d of task %d begins at checkpoint %d, and %d was durable", a.Token, a.ID, number, o.s.advances.saved[a.ID])
	}
	if a.Called != (t.call != 0) && t.formerCall == 0 { // it may have left in the same entry
		o.fail("attempt %d of task %d is of a call: %v", a.Token, a.ID, a.Called)
	}
}

func (o *observer) interrupted(st *stream, e *queue.Interrupted) {
	k := o.m.calls[e.Call]
	switch {
	case k == nil || k.interrupt != e.Message:
		o.fail("call %d is told to be interrupted by %s, which is not in the journal", e.Call, e.Message)
	case st.interrupted == e.Message:
		o.fail("a stream of call %d is interrupted twice by %s", e.Call, e.Message)
	}
	st.interrupted = e.Message
}

// abreast holds the open streams of calls to all that is durable: it has just been told, with nothing under way.
func (o *observer) abreast() {
	for _, st := range o.s.broker.streams {
		k := o.m.calls[st.call]
		if st.gone || !st.ready || k == nil || k.dropped || o.s.broker.attached[st.call] != st {
			continue
		}
		if k.interrupt != "" && st.interrupted != k.interrupt {
			o.fail("call %s is interrupted by %s, and its client does not know", k.name, k.interrupt)
		}
		for _, index := range slices.Sorted(maps.Keys(k.accepted)) {
			t := o.m.tasks[k.accepted[index]]
			if !t.dropped && !t.acked && st.brought[index] != len(t.partials) {
				o.fail("index %d of call %s has %d partial results, and its client was told %d", index, k.name, len(t.partials), st.brought[index])
			}
		}
	}
}
