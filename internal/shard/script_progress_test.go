package shard

import (
	"fmt"
	"maps"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/pkg/queue"
)

func init() {
	maps.Copy(scriptCommands, map[string]func(*script, *datadriven.TestData){
		"advance": (*script).advanceFrame, "advance-task": (*script).advanceTask, "brought": (*script).brought,
		"interrupt": (*script).interrupt, "take-interrupt": (*script).takeInterrupt, "bytes": (*script).bytes,
	})
}

func data(text string) queue.Payload { return queue.Payload{Encoding: 2, Data: []byte(text)} }

// advanceOf reads what an attempt says of itself. Partial results of one name may be many (n) and large (size).
func (s *script) advanceOf(w words) (a queue.Advance) {
	a.Token = w.number("token", 0)
	a.ID, a.Sequence = s.tokens[a.Token], w.number("seq", 1)
	if w.has("task") {
		a.ID = w.id("task")
	}
	if w.has("done") {
		a.Progress = &queue.Progress{Done: int64(w.number("done", 0)), Total: int64(w.number("total", 0)), Message: w.text("note", "")}
	}
	if w.has("state") {
		a.Checkpoint = &queue.Checkpoint{State: data(w.text("state", "")), Partials: uint32(w.number("behind", 0))}
	}
	for _, text := range w.list("partials") {
		text += strings.Repeat(".", max(0, int(w.number("size", 0))-len(text)))
		for range w.number("n", 1) {
			a.Partials = append(a.Partials, data(text))
		}
	}
	a.Offset = uint32(w.number("from", 0))
	return a
}

// advanceFrame says it on a worker's stream; with an end, that one's report is in the same frame.
func (s *script) advanceFrame(d *datadriven.TestData) {
	w := words{d}
	f := &WorkerFrame{Session: idOf(w.first()), Stream: s.workers[w.first()], Advances: []queue.Advance{s.advanceOf(w)}}
	if w.has("end") {
		f.Reports = []queue.Report{s.reportOf(w, w.first())}
	}
	s.decide(f, nil)
}

// advanceTask says it by the token alone.
func (s *script) advanceTask(d *datadriven.TestData) {
	s.decide(&AdvanceTask{Namespace: scriptNamespace, Advance: s.advanceOf(words{d})}, s.replyTo(func(any) string { return "done" }))
}

// brought writes what the attempts of a task left and brought.
func (s *script) brought(d *datadriven.TestData) {
	s.decide(&GetTask{Namespace: scriptNamespace, ID: s.id(d)}, s.replyTo(func(v any) string {
		t := v.(queue.Snapshot)
		return t.State.String() + checkpointText(t.Checkpoint) + broughtText(&t)
	}))
}

func (s *script) interrupt(d *datadriven.TestData) {
	w := words{d}
	token := w.number("token", 0)
	id := s.tokens[token]
	if w.has("task") {
		id = w.id("task")
	}
	s.decide(&InterruptSubmitter{Namespace: scriptNamespace, ID: id, Token: token, Message: w.text("message", "stop")},
		s.replyTo(func(any) string { return "done" }))
}

func (s *script) takeInterrupt(d *datadriven.TestData) {
	w := words{d}
	s.callFrame(w.first(), &CallFrame{InterruptTaken: w.number("number", 0)})
}

// bytes writes how large all tasks are.
func (s *script) bytes(*datadriven.TestData) { s.say("%d bytes", s.m.queue.Bytes()) }

func checkpointText(p *queue.Checkpoint) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(", from %s behind %d", p.State.Data, p.Partials)
}

func progressText(p *queue.Progress) string {
	if p == nil {
		return ""
	}
	text := fmt.Sprintf(", %d of %d", p.Done, p.Total)
	if p.Message != "" {
		text += " " + p.Message
	}
	return text
}

// partialsText writes partial results from a place on, and counts those that are many.
func partialsText(from int, list []queue.Payload) string {
	if len(list) == 0 {
		return ""
	}
	text := fmt.Sprintf(", from %d on", from)
	if len(list) > 5 {
		return text + fmt.Sprintf(" %d partials", len(list))
	}
	for _, p := range list {
		text += fmt.Sprintf(" %.10s", p.Data)
	}
	return text
}

func broughtText(t *queue.Snapshot) string {
	return progressText(t.Progress) + partialsText(0, t.Partials)
}
