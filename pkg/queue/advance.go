package queue

import (
	"bytes"
	"slices"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/session"
)

// Limits of a task's partial results.
const (
	PartialsMax      = 1000
	PartialsBytesMax = 1 << 20
)

// Progress is how far an attempt has come, by its own word. It is volatile, and never changed once made.
type Progress struct {
	Done, Total int64
	Message     string
}

// Checkpoint is what an attempt leaves to the next one. It is never changed once made.
type Checkpoint struct {
	State    Payload
	Partials uint32 // partial results that the task had then
}

// Advance says how far an attempt has come, by the word of the one who holds it.
type Advance struct {
	ID         uint64
	Token      uint64
	Sequence   uint64    // 0 wants no answer
	Progress   *Progress // nil is as it was, as with the others
	Checkpoint *Checkpoint
	Partials   []Payload
	Offset     uint32 // the place of the first of them

	Refused *pure.Refusal // by whoever read it: it changes nothing, and is answered all the same
}

// AdvanceAttempts takes news of attempts that a session holds. Those that have a sequence are answered.
func (c *Core) AdvanceAttempts(step *pure.Step, id session.ID, advances []Advance) {
	for i := range advances {
		a := &advances[i]
		answer := AdvanceAnswered{Session: id, Token: a.Token, Sequence: a.Sequence}
		if t := c.tasks[a.ID]; t == nil || t.Session != id || t.heldBy(a.Token) != nil {
			answer.Reason = pure.LeaseLost
		} else if refusal := c.advance(step, t, a); refusal != nil {
			answer.Reason, answer.Message = refusal.Reason, refusal.Message
		}
		if a.Sequence != 0 {
			step.Tell(&answer)
		}
	}
}

// AdvanceAttempt takes news of an attempt from whoever knows its token.
func (c *Core) AdvanceAttempt(step *pure.Step, namespace string, a *Advance) error {
	t, err := c.find(namespace, a.ID)
	if err != nil {
		return err
	}
	if err := t.heldBy(a.Token); err != nil {
		return err
	}
	if refusal := c.advance(step, t, a); refusal != nil {
		return refusal
	}
	return nil
}

// advance takes all of an attempt's news, or none of them.
func (c *Core) advance(step *pure.Step, t *task, a *Advance) *pure.Refusal {
	if a.Refused != nil {
		return a.Refused
	}
	offset := uint32(len(t.Partials))
	fresh, refusal := t.newPartials(a)
	if refusal != nil {
		return refusal
	}
	rec := &TaskAdvanced{ID: t.ID, Partials: fresh}
	if a.Checkpoint != nil && !a.Checkpoint.equal(t.Checkpoint) {
		rec.Checkpoint = a.Checkpoint
	}
	if len(fresh) > 0 || rec.Checkpoint != nil {
		c.emit(step, rec)
	}
	if a.Progress != nil {
		t.progress = a.Progress
	}
	k := t.call
	if k != nil && k.attached && (len(fresh) > 0 || a.Progress != nil) {
		step.Tell(&Advanced{
			Call: k.ID, Index: t.Index, ID: t.ID, Token: t.Token, Progress: a.Progress, Partials: fresh, Offset: offset,
		})
	}
	if len(fresh) > 0 || a.Progress != nil { // watchers are told no checkpoints
		c.tellWatchers(step, t)
		c.noteTask(t, t.State)
	}
	return nil
}

// newPartials returns those partial results that the task does not have yet.
func (t *task) newPartials(a *Advance) ([]Payload, *pure.Refusal) {
	had := uint32(len(t.Partials))
	if a.Offset > had && len(a.Partials) > 0 {
		return nil, t.gap(had)
	}
	var fresh []Payload
	if known := had - min(a.Offset, had); int(known) < len(a.Partials) {
		fresh = a.Partials[known:]
	}
	if int(had)+len(fresh) > PartialsMax {
		return nil, pure.Refuse(pure.PartialsFull, "the task has as many partial results as it may",
			"task_id", FormatID(t.ID), "limit", PartialsMax)
	}
	if payloadBytes(t.Partials)+payloadBytes(fresh) > PartialsBytesMax {
		return nil, pure.Refuse(pure.PartialsFull, "the task has as many bytes of partial results as it may",
			"task_id", FormatID(t.ID), "limit", PartialsBytesMax)
	}
	if a.Checkpoint != nil && int(a.Checkpoint.Partials) > int(had)+len(fresh) {
		return nil, t.gap(had)
	}
	return fresh, nil
}

func (t *task) gap(had uint32) *pure.Refusal {
	return pure.Refuse(pure.PartialsGap, "partial results are missing before these",
		"task_id", FormatID(t.ID), "partials_count", had)
}

func (p *Checkpoint) equal(o *Checkpoint) bool {
	return o != nil && p.Partials == o.Partials && p.State.Encoding == o.State.Encoding &&
		bytes.Equal(p.State.Data, o.State.Data)
}

func (p *Checkpoint) weight() int64 {
	if p == nil {
		return 0
	}
	return int64(len(p.State.Data)) + 16
}

func payloadBytes(list []Payload) (n int64) {
	for i := range list {
		n += int64(len(list[i].Data))
	}
	return n
}

// partialsWeight is the share of partial results in a task's weight.
func partialsWeight(list []Payload) int64 { return payloadBytes(list) + 16*int64(len(list)) }

func (c *Core) applyAdvanced(rec *TaskAdvanced) {
	t := c.known(rec.ID)
	if t == nil {
		return
	}
	by := partialsWeight(rec.Partials)
	if rec.Checkpoint != nil {
		by += rec.Checkpoint.weight() - t.Checkpoint.weight()
	}
	t.with(func(x *Extra) {
		if rec.Checkpoint != nil {
			x.Checkpoint = rec.Checkpoint
		}
		// Snapshots share what is there already; one list grows from another, never two from the same.
		x.Partials = append(x.Partials, rec.Partials...)
	})
	c.grow(t, by)
}

// Interrupt is what waits for a call's client: a task wants it to stop.
type Interrupt struct {
	Number  uint64 // by which its client says that it has taken it
	Task    uint64
	Index   uint64
	Message string
}

// Interrupt interrupts the client of a task's call. While one waits there, others change nothing.
func (c *Core) Interrupt(step *pure.Step, namespace string, id, token uint64, message string) error {
	t, err := c.find(namespace, id)
	if err != nil {
		return err
	}
	if err := t.heldBy(token); err != nil {
		return err
	}
	k := t.call
	switch {
	case k == nil:
		return pure.Refuse(pure.NoSubmitter, "the task belongs to no call, so there is nobody to interrupt", "task_id", FormatID(id))
	case k.Interrupt != nil:
		return nil
	}
	c.emit(step, &CallInterrupted{ID: k.ID, Interrupt: &Interrupt{
		Number: step.Next(), Task: t.ID, Index: t.Index, Message: message,
	}})
	c.tellInterrupt(step, k)
	return nil
}

func (c *Core) tellInterrupt(step *pure.Step, k *call) {
	if k.attached && k.Interrupt != nil {
		step.Tell(&Interrupted{Call: k.ID, Interrupt: *k.Interrupt})
	}
}

// TakeInterrupt says that a call's client was interrupted. It names the interrupt: what is said late, or twice, must not
// be taken for the word on the next one.
func (c *Core) TakeInterrupt(step *pure.Step, id, number uint64) {
	if k := c.calls[id]; k != nil && k.Interrupt != nil && k.Interrupt.Number == number {
		c.emit(step, &CallInterrupted{ID: id})
	}
}

func (c *Core) applyInterrupted(rec *CallInterrupted) {
	if k := c.knownCall(rec.ID); k != nil {
		k.Interrupt = rec.Interrupt
	}
}

// resumeAdvanced tells a call's client what an open task has brought so far.
func (c *Core) resumeAdvanced(step *pure.Step, t *task) {
	k := t.call
	progress := t.progress
	if !t.State.Held() {
		progress = nil
	}
	if progress == nil && len(t.Partials) == 0 {
		return
	}
	step.Tell(&Advanced{
		Call: k.ID, Index: t.Index, ID: t.ID, Token: t.Token, Progress: progress, Partials: slices.Clip(t.Partials),
	})
}
