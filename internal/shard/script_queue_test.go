package shard

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

func init() {
	maps.Copy(scriptCommands, map[string]func(*script, *datadriven.TestData){
		"update": (*script).updateQueue, "pause": (*script).switchQueue, "resume": (*script).switchQueue,
		"close": (*script).switchQueue, "close-now": (*script).switchQueue, "reopen": (*script).switchQueue,
		"purge": (*script).purgeQueue, "delete": (*script).deleteQueue, "show": (*script).showQueue,
		"join": (*script).join, "forget-join": (*script).forgetJoin, "forget-submit": (*script).forgetSubmit,
		"peek": (*script).peek, "retry": (*script).retry, "retry-queue": (*script).retryQueue,
		"explain": (*script).explain, "history": (*script).history,
	})
}

var orderNames = []string{"", "priority", "fifo", "lifo"}

// settings reads a queue's settings, and which were said.
func (w words) settings() (s queue.Settings, which []Setting) {
	for i, name := range orderNames {
		if i > 0 && w.text("order", "") == name {
			s.Order, which = queue.Order(i), append(which, SettingOrder)
		}
	}
	if w.has("maxsize") {
		s.MaxSize, which = w.number("maxsize", 0), append(which, SettingMaxSize)
	}
	if w.has("max-running") {
		s.MaxRunning, which = uint32(w.number("max-running", 0)), append(which, SettingMaxRunning)
	}
	if w.has("max-per-key") {
		s.MaxRunningPerKey, which = uint32(w.number("max-per-key", 0)), append(which, SettingMaxRunningPerKey)
	}
	if w.has("rate") {
		rate, err := strconv.ParseFloat(w.text("rate", ""), 64)
		if err != nil {
			panic(err)
		}
		s.Rate, s.Burst, which = rate, uint32(w.number("burst", 0)), append(which, SettingRate)
	}
	if w.has("attempts") || w.has("timeout") || w.has("retention") || w.has("failed-retention") {
		o := *queue.DefaultOptions
		o.Timeout, o.Retention, o.AttemptsMax = w.span("timeout", 0), w.span("retention", -1), uint32(w.number("attempts", 0))
		o.FailedRetention = w.span("failed-retention", -1)
		s.Defaults, which = &o, append(which, SettingDefaults)
	}
	return s, which
}

// more reads a task's options that concern its queue and other tasks.
func (w words) more(s *script, o *queue.Options) {
	priority, err := strconv.ParseInt(w.text("priority", "0"), 10, 16)
	if err != nil {
		panic(err)
	}
	o.Priority, o.UniqueKey, o.FairnessKey = int16(priority), w.text("unique", ""), w.text("key", "")
	if w.has("deadline") {
		o.Deadline = s.wall.Add(w.span("deadline", 0))
	}
	o.WorkerLabels, o.Exclusive, o.RunOnFailure = w.list("needs"), w.has("exclusive"), w.has("run-on-failure")
	for _, text := range w.list("after") {
		id, ok := queue.ParseID(text)
		if !ok {
			panic("no task id: " + text)
		}
		o.After = append(o.After, id)
	}
}

func (w words) indexes(key string) (out []uint64) {
	for _, r := range w.ranges(key) {
		for i := r.First; i <= r.Last; i++ {
			out = append(out, i)
		}
	}
	return out
}

func queueText(v any) string {
	q := v.(queue.QueueView)
	text := fmt.Sprintf("%s: %s", q.Name, orderNames[q.Order])
	for _, x := range []struct {
		name string
		n    uint64
	}{{"maxsize", q.MaxSize}, {"max running", uint64(q.MaxRunning)}, {"max running per key", uint64(q.MaxRunningPerKey)}} {
		if x.n > 0 {
			text += fmt.Sprintf(", %s %d", x.name, x.n)
		}
	}
	if q.Rate > 0 {
		text += fmt.Sprintf(", rate %g burst %d", q.Rate, q.Burst)
	}
	for _, x := range []struct {
		name string
		is   bool
	}{{"paused", q.Paused}, {"closed", q.Closed}, {"deleting", q.Deleting}} {
		if x.is {
			text += ", " + x.name
		}
	}
	for s, n := range q.Counts {
		if n > 0 {
			text += fmt.Sprintf(", %d %v", n, queue.State(s))
		}
	}
	return text
}

func (s *script) updateQueue(d *datadriven.TestData) {
	w := words{d}
	settings, which := w.settings()
	s.decide(&UpdateQueue{Namespace: scriptNamespace, Name: w.first(), Settings: settings, Which: which}, s.replyTo(queueText))
}

func (s *script) switchQueue(d *datadriven.TestData) {
	to := map[string]QueueSwitch{
		"pause": QueuePaused, "resume": QueueResumed, "close": QueueClosed, "close-now": QueueClosedAtOnce, "reopen": QueueReopened,
	}
	s.decide(&SwitchQueue{Namespace: scriptNamespace, Name: words{d}.first(), To: to[d.Cmd]}, s.replyTo(queueText))
}

func (s *script) purgeQueue(d *datadriven.TestData) {
	w := words{d}
	c := &PurgeQueue{Namespace: scriptNamespace, Name: w.first()}
	for _, name := range w.list("states") {
		for state := queue.Scheduled; state <= queue.Expired; state++ {
			if state.String() == name {
				c.States = append(c.States, state)
			}
		}
	}
	s.decide(c, s.replyTo(func(v any) string { return fmt.Sprintf("%d tasks", v) }))
}

func (s *script) deleteQueue(d *datadriven.TestData) {
	w := words{d}
	s.decide(&DeleteQueue{Namespace: scriptNamespace, Name: w.first(), Force: w.has("force")},
		s.replyTo(func(any) string { return "deleted" }))
}

func (s *script) showQueue(d *datadriven.TestData) {
	s.decide(&GetQueue{Namespace: scriptNamespace, Name: words{d}.first()}, s.replyTo(queueText))
}

func (s *script) join(d *datadriven.TestData) {
	s.waiter++
	number := s.waiter
	s.decide(&JoinQueue{Namespace: scriptNamespace, Name: words{d}.first(), Waiter: number},
		s.replyTo(func(v any) string { return fmt.Sprintf("join %d: %s", number, queueText(v)) }))
}

func (s *script) forgetJoin(d *datadriven.TestData) {
	s.decide(&ForgetJoin{Waiter: words{d}.number("waiter", 0)}, nil)
}

func (s *script) forgetSubmit(d *datadriven.TestData) {
	s.decide(&ForgetSubmit{
		Waiter: words{d}.number("waiter", 0), Err: pure.Refuse(pure.QueueFull, "it waited long enough"),
	}, nil)
}

func (s *script) peek(d *datadriven.TestData) {
	w := words{d}
	s.decide(&PeekQueue{Namespace: scriptNamespace, Name: w.first(), Max: int(w.number("n", 100))}, s.replyTo(func(v any) string {
		var out []string
		for _, t := range v.([]queue.Snapshot) {
			out = append(out, queue.FormatID(t.ID))
		}
		return "next: " + strings.Join(out, " ")
	}))
}

func (s *script) retry(d *datadriven.TestData) {
	c := &RetryTasks{Namespace: scriptNamespace, RequestID: words{d}.text("request", "")}
	for _, a := range d.CmdArgs {
		if a.Key != "only" && a.Key != "request" {
			id, _ := queue.ParseID(a.Key)
			c.IDs = append(c.IDs, id)
		}
	}
	s.decide(c, s.replyTo(func(v any) string { return fmt.Sprintf("%d tasks", v.(RetryPage).Tasks) }))
}

func (s *script) retryQueue(d *datadriven.TestData) {
	w := words{d}
	s.decide(&RetryTasks{Namespace: scriptNamespace, Queue: w.first(), Kind: w.text("kind", "")}, s.replyTo(func(v any) string {
		return fmt.Sprintf("%d tasks, next %d", v.(RetryPage).Tasks, v.(RetryPage).Next)
	}))
}

func (s *script) explain(d *datadriven.TestData) {
	s.decide(&ExplainTask{Namespace: scriptNamespace, ID: s.id(d)}, s.replyTo(func(v any) string {
		e := v.(queue.Explanation)
		text := fmt.Sprintf("%s: %s", e.Reason, e.Message)
		if e.Advice != "" {
			text += " [" + e.Advice + "]"
		}
		return text
	}))
}

// history writes the attempts of a task that ended.
func (s *script) history(d *datadriven.TestData) {
	s.decide(&GetTask{Namespace: scriptNamespace, ID: s.id(d)}, s.replyTo(func(v any) string {
		var out []string
		t := v.(queue.Snapshot)
		for _, a := range t.History {
			line := fmt.Sprintf("token %d on %s for %v: %s", a.Token, a.Worker, time.Duration(a.EndedAt-a.StartedAt), endName(a.End))
			if a.Error != nil {
				line += ", " + a.Error.Message
			}
			out = append(out, line)
		}
		if t.LastError != nil {
			out = append(out, "last error: "+t.LastError.Message)
		}
		return strings.Join(out, "\n")
	}))
}
