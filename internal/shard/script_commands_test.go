package shard

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// scriptCommands are what a script can say. Tasks and tokens are named by their numbers, sessions by names.
var scriptCommands map[string]func(*script, *datadriven.TestData)

func init() {
	scriptCommands = map[string]func(*script, *datadriven.TestData){
		"config": (*script).config, "restart": (*script).restart, "advance-time": (*script).advance, "wall": (*script).jump,
		"queue": (*script).queue, "disk": (*script).disk,
		"hello": (*script).hello, "report": (*script).report, "credit": (*script).frame, "drain": (*script).frame,
		"goodbye": (*script).frame, "drop": (*script).drop,
		"attach": (*script).attach, "enqueue": (*script).enqueue, "ack": (*script).ack, "cancel": (*script).cancel,
		"finish": (*script).finish, "cancel-call": (*script).cancelCall,
		"submit": (*script).submit, "cancel-task": (*script).cancelTask, "watch": (*script).watch,
		"watch-call": (*script).watchCall, "unwatch-call": (*script).unwatchCall,
		"reserve": (*script).reserve, "forget": (*script).forget, "complete": (*script).complete, "renew": (*script).renew,
		"open-session": (*script).openSession, "close-session": (*script).closeSession,
		"tasks": (*script).tasks, "sessions": (*script).sessions, "journal": (*script).journal,
	}
}

func sortedNames[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// words are a command's arguments.
type words struct{ d *datadriven.TestData }

func (w words) first() string {
	if len(w.d.CmdArgs) == 0 {
		return ""
	}
	return w.d.CmdArgs[0].Key
}

func (w words) has(key string) bool {
	return slices.ContainsFunc(w.d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == key })
}

func (w words) text(key, otherwise string) string {
	for _, a := range w.d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return otherwise
}

func (w words) list(key string, otherwise ...string) []string {
	for _, a := range w.d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return otherwise
}

func (w words) number(key string, otherwise uint64) uint64 {
	n, err := strconv.ParseUint(w.text(key, fmt.Sprint(otherwise)), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (w words) span(key string, otherwise time.Duration) time.Duration {
	d, err := time.ParseDuration(w.text(key, otherwise.String()))
	if err != nil {
		panic(err)
	}
	return d
}

// ranges reads 0-3 or 5 out of every value.
func (w words) ranges(key string) (out pure.Ranges) {
	for _, v := range w.list(key) {
		a, b, two := strings.Cut(v, "-")
		first, _ := strconv.ParseUint(a, 10, 64)
		last := first
		if two {
			last, _ = strconv.ParseUint(b, 10, 64)
		}
		out.Add(first, last)
	}
	return out
}

// id reads a task's id; the last one is called last.
func (s *script) id(d *datadriven.TestData) uint64 {
	w := words{d}
	if w.first() == "last" {
		return s.last
	}
	return w.id("")
}

// id reads a task's id.
func (w words) id(key string) uint64 {
	id, ok := queue.ParseID(w.text(key, w.first()))
	if !ok {
		panic("no task id: " + w.text(key, w.first()))
	}
	return id
}

func refusalText(err error) string {
	if r, ok := errors.AsType[*pure.Refusal](err); ok {
		return "refused, " + string(r.Reason)
	}
	return "error: " + err.Error()
}

func (s *script) config(d *datadriven.TestData) {
	w := words{d}
	s.cfg = Config{
		CompactAfter: w.number("compact-after", 0), PurgeStep: w.number("purge-step", 0),
		Limits: queue.Limits{
			Bytes: int64(w.number("state-bytes", 0)), NamespaceBytes: int64(w.number("namespace-bytes", 0)),
			Tasks: int(w.number("state-tasks", 0)), NamespaceTasks: int(w.number("namespace-tasks", 0)),
		},
		StepRecordsMax: int(w.number("step-records", 0)),
	}
	s.start()
}

func (s *script) restart(*datadriven.TestData) { s.start() }

// advance lets both clocks run, in passes of the loop as long as one may be.
func (s *script) advance(d *datadriven.TestData) {
	total, err := time.ParseDuration(words{d}.first())
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	for total > 0 {
		pass := min(total, leaseStepMax)
		total -= pass
		s.wall = s.wall.Add(pass)
		for _, name := range sortedNames(s.workers) { // those that are here are heard
			if !(words{d}).has("silent") {
				s.m.Decide(&WorkerFrame{Session: idOf(name), Stream: s.workers[name]}, nil)
			}
		}
		for _, name := range sortedNames(s.calls) {
			if !(words{d}).has("silent") {
				s.m.Decide(&CallFrame{Call: s.calls[name].id, Stream: s.calls[name].stream}, nil)
			}
		}
		if !(words{d}).has("silent") {
			s.heardLockers()
		}
		s.m.Tick(s.wall, pass)
		s.settle()
	}
}

// jump moves the wall clock alone.
func (s *script) jump(d *datadriven.TestData) {
	by, err := time.ParseDuration(words{d}.first())
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	s.wall = s.wall.Add(by)
	s.m.Tick(s.wall, 0)
	s.settle()
}

func (s *script) queue(d *datadriven.TestData) {
	settings, _ := words{d}.settings()
	s.decide(&CreateQueue{Namespace: scriptNamespace, Name: words{d}.first(), Settings: settings},
		s.replyTo(func(any) string { return "made" }))
}

func (s *script) disk(d *datadriven.TestData) { s.m.SetDiskLow(words{d}.first() == "low") }

// replyTo writes a reply.
func (s *script) replyTo(text func(any) string) Reply {
	return func(value any, err error) {
		if err != nil {
			s.say("%s", refusalText(err))
			return
		}
		if line := text(value); line != "" {
			s.say("%s", line)
		}
	}
}

func (s *script) hello(d *datadriven.TestData) {
	w := words{d}
	name := w.first()
	slots := w.number("slots", 2)
	h := &WorkerHello{NewSession: idOf(w.text("session", name)), TTL: w.span("ttl", 10*time.Second), Stream: NewOutbox(), Hello: queue.Hello{
		Namespace: scriptNamespace, Session: idOf(name), Name: name, Queues: w.list("queues", ""), Kinds: w.list("kinds", "k"), Labels: w.list("labels"),
		Slots: uint32(slots), Credits: uint32(w.number("credits", slots)),
	}}
	for _, weight := range w.list("weights") {
		n, _ := strconv.ParseUint(weight, 10, 32)
		h.Hello.Weights = append(h.Hello.Weights, uint32(n))
	}
	for _, held := range w.list("holds") {
		n, _ := strconv.ParseUint(held, 10, 64)
		h.Hello.Attempts = append(h.Hello.Attempts, queue.Held{ID: s.tokens[n], Token: n})
	}
	old := s.workers[name]
	s.decide(h, s.replyTo(func(v any) string {
		delete(s.workers, name)
		s.workers[nameOf(v.(session.ID))] = h.Stream
		return ""
	}))
	if old != nil {
		s.take(name+" (old)", old)
	}
}

// reportOf reads a report, of a token or of the oldest attempt that somebody holds.
func (s *script) reportOf(w words, who string) queue.Report {
	token := w.number("token", 0)
	if held := s.held[who]; token == 0 && len(held) > 0 {
		token = held[0]
	}
	s.held[who] = slices.DeleteFunc(s.held[who], func(x uint64) bool { return x == token })
	end := slices.Index(endNames, w.text("end", "success"))
	r := queue.Report{ID: s.tokens[token], Token: token, End: queue.End(end), Spooled: w.has("spooled")}
	if w.has("task") {
		r.ID = w.id("task")
	}
	switch r.End {
	case queue.EndSucceeded:
		r.Result = queue.Payload{Encoding: 2, Data: []byte(w.text("result", "ok"))}
	case queue.EndError, queue.EndTimeout:
		r.Error = &queue.Error{Reason: endNames[end], Message: w.text("message", "no luck"), Permanent: w.has("permanent")}
	}
	return r
}

// report says that a worker's attempt ended, and that its slot is free.
func (s *script) report(d *datadriven.TestData) {
	w := words{d}
	s.decide(&WorkerFrame{
		Session: idOf(w.first()), Stream: s.workers[w.first()], Reports: []queue.Report{s.reportOf(w, w.first())},
		Credits: uint32(w.number("credits", 1)), Goodbye: w.has("goodbye"),
	}, nil)
}

func (s *script) frame(d *datadriven.TestData) {
	w := words{d}
	s.beat++
	s.decide(&WorkerFrame{
		Session: idOf(w.first()), Stream: s.workers[w.first()], Credits: uint32(w.number("n", 0)),
		Draining: d.Cmd == "drain", Goodbye: d.Cmd == "goodbye", Heartbeat: s.beat,
	}, nil)
}

// drop cuts a stream.
func (s *script) drop(d *datadriven.TestData) {
	name := words{d}.first()
	if o := s.workers[name]; o != nil {
		delete(s.workers, name)
		s.decide(&WorkerGone{Session: idOf(name), Stream: o}, nil)
		return
	}
	c := s.calls[name]
	delete(s.calls, name)
	s.decide(&CallGone{Call: c.id, Stream: c.stream}, nil)
}

func (s *script) attach(d *datadriven.TestData) {
	w := words{d}
	name, client := w.first(), w.text("client", "c")
	a := &CallAttach{
		Namespace: scriptNamespace, Call: name, Session: idOf(client), NewSession: idOf(client), TTL: w.span("ttl", 10*time.Second),
		Client: client, Acknowledged: w.ranges("acked"), Updates: w.has("updates"), Rejects: w.has("rejects"), Stream: NewOutbox(),
	}
	old := s.calls[name]
	s.decide(a, s.replyTo(func(v any) string {
		s.calls[name] = &scriptCall{v.(*Attached).Call, a.Stream, client}
		return ""
	}))
	if old != nil {
		s.take(name+" (old)", old.stream)
	}
}

func (w words) spec(s *script) queue.Spec {
	spec := queue.Spec{Kind: w.text("kind", "k"), Payload: queue.Payload{Encoding: 2, Data: []byte(w.text("payload", "p"))}}
	if w.has("run-at") {
		spec.RunAt = s.wall.Add(w.span("run-at", 0))
	}
	o := *queue.DefaultOptions
	o.Timeout, o.Grace, o.Retention = w.span("timeout", 0), w.span("grace", o.Grace), w.span("retention", o.Retention)
	o.FailedRetention = w.span("failed-retention", o.FailedRetention)
	o.AttemptsMax, o.InitialBackoff = uint32(w.number("attempts", 0)), w.span("backoff", 0)
	o.BackoffMax = w.span("backoff-max", 0)
	o.Daemon, o.FailOnWorkerLost = w.has("daemon"), w.has("at-most-once")
	w.more(s, &o)
	spec.Options = &o
	return spec
}

func (s *script) callFrame(name string, f *CallFrame) {
	c := s.calls[name]
	f.Call, f.Stream = c.id, c.stream
	s.decide(f, nil)
}

func (s *script) enqueue(d *datadriven.TestData) {
	w := words{d}
	f := &CallFrame{}
	for _, r := range w.ranges("index") {
		for i := r.First; i <= r.Last; i++ {
			f.Tasks = append(f.Tasks, queue.NewTask{Index: i, Queue: w.text("queue", ""), Spec: w.spec(s), AfterIndexes: w.indexes("after-index")})
		}
	}
	s.callFrame(w.first(), f)
}

func (s *script) ack(d *datadriven.TestData) {
	w := words{d}
	s.callFrame(w.first(), &CallFrame{Acknowledged: w.ranges("index")})
}

func (s *script) cancel(d *datadriven.TestData) {
	w := words{d}
	x := CallCancel{All: !w.has("index"), Grace: w.span("grace", -1)}
	if r := w.ranges("index"); len(r) > 0 {
		x.Range = r[0]
	}
	s.callFrame(w.first(), &CallFrame{Cancels: []CallCancel{x}})
}

func (s *script) finish(d *datadriven.TestData) {
	s.beat++
	s.callFrame(words{d}.first(), &CallFrame{Finish: true, Heartbeat: s.beat})
}

func (s *script) cancelCall(d *datadriven.TestData) {
	w := words{d}
	s.decide(&CancelCall{Namespace: scriptNamespace, Call: w.first(), Grace: w.span("grace", -1)},
		s.replyTo(func(v any) string { return fmt.Sprintf("%d tasks", v) }))
}

func (s *script) submit(d *datadriven.TestData) {
	w := words{d}
	waiter := uint64(0)
	if w.has("wait") {
		s.waiter++
		waiter = s.waiter
	}
	s.decide(&SubmitTask{
		Namespace: scriptNamespace, Waiter: waiter, RequestID: w.text("request", ""), Task: queue.NewTask{Queue: w.text("queue", ""), Spec: w.spec(s)},
	}, s.replyTo(func(v any) string {
		made := v.(queue.Submitted)
		s.last = made.ID
		if made.Joined {
			return queue.FormatID(s.last) + " joined"
		}
		return queue.FormatID(s.last)
	}))
}

func (s *script) cancelTask(d *datadriven.TestData) {
	w := words{d}
	s.decide(&CancelTask{Namespace: scriptNamespace, ID: s.id(d), Grace: w.span("grace", -1)},
		s.replyTo(func(v any) string { return v.(queue.State).String() }))
}

func (s *script) reserve(d *datadriven.TestData) {
	w := words{d}
	s.waiter++
	number := s.waiter
	name := w.text("session", fmt.Sprintf("r%d", number))
	c := &ReserveTasks{
		Reservation: queue.Reservation{
			Waiter: number, Namespace: scriptNamespace, Queue: w.text("queue", ""), Kinds: w.list("kinds"), Labels: w.list("labels"),
			TasksMax: int(w.number("n", 1)),
		},
		NewSession: idOf(name), Lease: w.span("lease", time.Minute), RequestID: w.text("request", ""), Wait: w.has("wait"),
	}
	c.RequestHash = [16]byte(sha256.New().Sum([]byte(fmt.Sprint(c.Reservation.Queue, c.Reservation.TasksMax, c.Lease)))[:16])
	if w.has("session") {
		c.Reservation.Session = idOf(name)
	}
	s.decide(c, s.replyTo(func(v any) string {
		r := v.(Reservation)
		if len(r.Tasks) == 0 {
			return fmt.Sprintf("reservation %d: none", number)
		}
		text := fmt.Sprintf("reservation %d: session %s", number, nameOf(r.Session))
		for _, a := range r.Tasks {
			text += fmt.Sprintf(", %s token %d", queue.FormatID(a.ID), a.Token)
			s.tokens[a.Token] = a.ID
		}
		return text
	}))
}

func (s *script) forget(d *datadriven.TestData) {
	n, _ := strconv.ParseUint(words{d}.first(), 10, 64)
	s.decide(&ForgetReservation{Waiter: n}, nil)
}

// complete reports by the token alone.
func (s *script) complete(d *datadriven.TestData) {
	s.decide(&ReportTask{Namespace: scriptNamespace, Report: s.reportOf(words{d}, "")},
		s.replyTo(func(v any) string { return v.(queue.State).String() }))
}

func (s *script) renew(d *datadriven.TestData) {
	token := words{d}.number("token", 0)
	s.decide(&RenewTask{Namespace: scriptNamespace, ID: s.tokens[token], Token: token},
		s.replyTo(func(v any) string { return fmt.Sprintf("for %v", v) }))
}

func (s *script) openSession(d *datadriven.TestData) {
	w := words{d}
	s.decide(&OpenSession{State: session.State{
		ID: idOf(w.first()), Namespace: scriptNamespace, Kind: session.Client, Name: w.first(), TTL: w.span("ttl", 10*time.Second),
		RequestID: w.text("request", ""), RequestHash: [16]byte{byte(w.number("hash", 0))},
	}}, s.replyTo(func(v any) string { return nameOf(v.(session.State).ID) }))
}

func (s *script) closeSession(d *datadriven.TestData) {
	s.decide(&CloseSession{Namespace: scriptNamespace, ID: idOf(words{d}.first())}, nil)
}

// tasks writes what every task is.
func (s *script) tasks(*datadriven.TestData) {
	page := TaskPage{}
	s.decide(&ListTasks{Filter: queue.Filter{Namespace: scriptNamespace}, Max: 1000}, func(v any, _ error) { page = v.(TaskPage) })
	for _, t := range page.Tasks {
		text := fmt.Sprintf("%s %v, attempts %d, tries %d", queue.FormatID(t.ID), t.State, t.Attempts, t.Tries)
		if t.State.Held() {
			text += fmt.Sprintf(", held by %s with %d", nameOf(t.Session), t.Token)
		}
		if t.State == queue.Scheduled {
			text += fmt.Sprintf(", in %v", time.Duration(t.Next-s.wall))
		}
		if t.Losses > 0 || len(t.Suspects) > 0 {
			text += fmt.Sprintf(", lost %d", t.Losses)
			for _, id := range t.Suspects {
				text += ", suspect " + nameOf(id)
			}
		}
		if t.Outcome != nil {
			text += ", " + outcomeName(t.Outcome)
		}
		s.say("%s", text)
	}
}

func (s *script) sessions(*datadriven.TestData) {
	for _, st := range s.m.sessions.States() {
		s.say("%s", nameOf(st.ID))
	}
	if left := s.m.Leftovers(); left != "" {
		s.say("memory: %s", left)
	}
}

// journal writes how the journal lies.
func (s *script) journal(*datadriven.TestData) {
	size := 0
	for _, e := range s.entries {
		size += len(e)
	}
	s.say("from %d to %d, %d bytes", s.first, s.first+uint64(len(s.entries))-1, size)
}
