package shard

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/lockservice"
	"github.com/weftq/weft/pkg/session"
)

func init() {
	for name, op := range scriptLockOps {
		scriptCommands[name] = func(s *script, d *datadriven.TestData) { s.lockOp(d, op(s, words{d})) }
	}
	scriptCommands["lock-stream"] = (*script).lockStream
	scriptCommands["lock-frame"] = (*script).lockFrame
	scriptCommands["lock-drop"] = (*script).lockDrop
	scriptCommands["resend"] = (*script).lockResend
	scriptCommands["unheard"] = (*script).lockUnheard
	scriptCommands["give-back"] = (*script).lockGiveBack
	scriptCommands["locks"] = (*script).listLocks
	scriptCommands["graph"] = (*script).graph
	scriptCommands["check-token"] = (*script).checkToken
}

// scriptLocks are the clients of the lock service in a script. The first word of their commands is a session's name, and "-"
// is none; the second one is what they are about. A session with a stream says them there, unless "unary" is said.
type scriptLocks struct {
	clients map[string]*scriptLocker
	tickets uint64
	unheard map[uint64]GiveBackLock // answers to requests by ticket
	tokens  map[string]uint64       // told last: by client, holder and what they are of
}

type scriptLocker struct {
	session session.ID
	stream  *Outbox // nil after a cut
	number  uint64
	below   uint64
	said    map[uint64]LockCommand
}

var scriptLockOps = map[string]func(*script, words) LockOp{
	"acquire": func(_ *script, w words) LockOp {
		mode := lockservice.Exclusive
		if w.has("shared") {
			mode = lockservice.Shared
		}
		return &AcquireLock{Name: w.object(), Mode: mode, Reentrant: w.has("again"), Wait: w.wait(), Published: w.text("shows", "")}
	},
	"release": func(s *script, w words) LockOp {
		return &ReleaseLock{Name: w.object(), Token: s.tokenOf(w, w.object()), All: w.has("all")}
	},
	"publish": func(s *script, w words) LockOp {
		return &PublishLock{Name: w.object(), Token: s.tokenOf(w, w.object()), Published: w.text("shows", "")}
	},
	"wait": func(s *script, w words) LockOp {
		return &WaitCondition{Name: w.object(), Lock: w.text("lock", ""), Token: s.tokenOf(w, w.text("lock", "")), Wait: w.wait()}
	},
	"notify": func(s *script, w words) LockOp {
		return &NotifyCondition{Name: w.object(), Lock: w.text("lock", ""), Token: s.tokenOf(w, w.text("lock", "")), Count: int(w.number("n", 1))}
	},
	"take": func(_ *script, w words) LockOp {
		return &AcquireSemaphore{Name: w.object(), Spec: w.permitsOf(), Permits: int64(w.number("permits", 1)), Wait: w.wait()}
	},
	"give": func(s *script, w words) LockOp {
		return &ReleaseSemaphore{Name: w.object(), Spec: w.permitsOf(), Token: s.tokenOf(w, w.object()), Permits: int64(w.number("permits", 1))}
	},
	"set-event":   func(_ *script, w words) LockOp { return &SetEvent{Name: w.object(), Set: true} },
	"clear-event": func(_ *script, w words) LockOp { return &SetEvent{Name: w.object()} },
	"wait-event": func(_ *script, w words) LockOp {
		return &WaitEvent{Name: w.object(), Since: w.number("since", 0), Wait: w.wait()}
	},
	"meet": func(_ *script, w words) LockOp {
		return &WaitBarrier{Name: w.object(), Parties: uint32(w.number("parties", 2)), Action: w.has("action"), Wait: w.wait()}
	},
	"acted": func(s *script, w words) LockOp {
		return &CompleteBarrier{Name: w.object(), Generation: w.number("meeting", s.tokenOf(w, w.object()))}
	},
	"abort": func(_ *script, w words) LockOp { return &BreakBarrier{Name: w.object()} },
	"reset": func(_ *script, w words) LockOp { return &BreakBarrier{Name: w.object(), Reset: true} },
	"set-value": func(s *script, w words) LockOp {
		return &SetValue{Name: w.object(), Change: s.change(w), Data: w.data("to")}
	},
	"add-value": func(s *script, w words) LockOp {
		return &AddValue{Name: w.object(), Change: s.change(w), Delta: w.data("by")}
	},
	"delete-value": func(s *script, w words) LockOp { return &DeleteValue{Name: w.object(), Change: s.change(w)} },
	"wait-value": func(_ *script, w words) LockOp {
		u := lockservice.Until{Comparison: lockservice.Newer, Version: w.number("newer", 0)}
		for i, key := range []string{"equals", "at-least", "at-most"} {
			if w.has(key) {
				u = lockservice.Until{Comparison: lockservice.Comparison(i + 1), Data: w.data(key)}
			}
		}
		return &WaitValue{Name: w.object(), Until: u, Wait: w.wait()}
	},
}

// object is what a command is about.
func (w words) object() string { return w.d.CmdArgs[1].Key }

func (w words) wait() lockservice.Wait {
	switch {
	case w.has("try"):
		return lockservice.Wait{Timed: true}
	case w.has("for"):
		return lockservice.Wait{Timed: true, For: w.span("for", 0)}
	}
	return lockservice.Wait{}
}

func (w words) permitsOf() lockservice.SemaphoreSpec {
	return lockservice.SemaphoreSpec{Permits: int64(w.number("of", 2)), Free: w.has("free"), Bounded: w.has("bounded")}
}

func (s *script) change(w words) ValueChange {
	c := ValueChange{IfVersion: w.number("version", 0), Conditional: w.has("version")}
	if guard := w.text("guard", ""); guard != "" {
		c.Guard = lockservice.Guard{Lock: guard, Token: s.tokenOf(w, guard)}
	}
	return c
}

// tokenOf is a token that is said, or the one that the holder was told last.
func (s *script) tokenOf(w words, of string) uint64 {
	return w.number("token", s.locks.tokens[fmt.Sprint(w.first(), w.number("holder", 0), of)])
}

// tookToken notes a token, or a meeting that waits for its action.
func (s *script) tookToken(name string, holder uint64, op LockOp, a lockservice.Answer) {
	switch op := op.(type) {
	case *AcquireLock:
		s.locks.tokens[fmt.Sprint(name, holder, op.Name)] = a.Token
	case *WaitCondition:
		s.locks.tokens[fmt.Sprint(name, holder, op.Lock)] = a.Token
	case *AcquireSemaphore:
		s.locks.tokens[fmt.Sprint(name, holder, op.Name)] = a.Token
	case *WaitBarrier:
		s.locks.tokens[fmt.Sprint(name, holder, op.Name)] = a.Generation
	}
}

// data reads a number, or a text.
func (w words) data(key string) lockservice.Data {
	text := w.text(key, "")
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return lockservice.Data{Type: lockservice.Int64, Number: n}
	}
	return lockservice.Data{Type: lockservice.String, Text: text}
}

// locker is a client by its session's name, "" if it has none.
func (s *script) locker(name string) *scriptLocker {
	if s.locks.clients == nil {
		s.locks = scriptLocks{clients: map[string]*scriptLocker{}, unheard: map[uint64]GiveBackLock{}, tokens: map[string]uint64{}}
	}
	l := s.locks.clients[name]
	if l == nil {
		l = &scriptLocker{session: idOf(name), said: map[uint64]LockCommand{}}
		if name != "-" {
			s.locks.clients[name] = l
		} else {
			l.session = session.ID{}
		}
	}
	return l
}

func (l *scriptLocker) channel() lockservice.Channel {
	return lockservice.Channel{Session: l.session, Number: 1}
}

// lockStream opens a stream, with a session of its own if there is none.
func (s *script) lockStream(d *datadriven.TestData) {
	w := words{d}
	l := s.locker(w.first())
	old := l.stream
	hello := &SynchronizeHello{
		Namespace: scriptNamespace, NewSession: l.session, TTL: w.span("ttl", 10*time.Second), Client: w.first(), Channel: 1, Stream: NewOutbox(),
	}
	if w.has("resume") {
		hello.Session = l.session
	}
	s.decide(hello, s.replyTo(func(any) string { l.stream = hello.Stream; return "" }))
	if old != nil {
		s.take(w.first()+" (old)", old)
	}
}

// lockOp says a command.
func (s *script) lockOp(d *datadriven.TestData, op LockOp) {
	w := words{d}
	l := s.locker(w.first())
	if l.stream != nil && !w.has("unary") {
		l.number = w.number("number", l.number+1)
		l.said[l.number] = LockCommand{Number: l.number, Holder: w.number("holder", 0), Op: op}
		s.lockSays(l, &SynchronizeFrame{Commands: []LockCommand{l.said[l.number]}})
		return
	}
	s.locks.tickets++
	ticket := s.locks.tickets
	cmd := &Synchronize{
		Namespace: scriptNamespace, Op: op, Holder: lockservice.HolderID{Session: l.session, Number: w.number("holder", 0)}, Ticket: ticket,
		Opens: l.session.IsZero() && w.opens(), NewSession: idOf(fmt.Sprint("own", ticket)), Lease: w.span("lease", 10*time.Second),
	}
	if w.has("request") {
		cmd.Origin = lockservice.Origin{RequestID: w.text("request", ""), Hash: [16]byte{1, byte(len(w.object()))}}
	}
	s.decide(cmd, func(value any, err error) {
		r, _ := value.(LockReply)
		s.say("request %d: %s", ticket, answerText(op, r, err))
		if r.Answer.Token != 0 {
			s.tookToken(w.first(), cmd.Holder.Number, op, r.Answer)
		}
		s.locks.unheard[ticket] = GiveBackLock{Namespace: scriptNamespace, Op: op, Answer: r.Answer}
	})
}

func (w words) opens() bool { return w.d.Cmd == "acquire" || w.d.Cmd == "take" && !w.has("free") }

func (s *script) lockSays(l *scriptLocker, f *SynchronizeFrame) {
	f.Namespace, f.Channel, f.Stream, f.Below = scriptNamespace, l.channel(), l.stream, l.below
	s.decide(f, nil)
}

// lockFrame acknowledges, abandons or says goodbye.
func (s *script) lockFrame(d *datadriven.TestData) {
	w := words{d}
	l := s.locker(w.first())
	l.below = w.number("below", l.below)
	f := &SynchronizeFrame{Goodbye: w.has("goodbye"), Heartbeat: w.number("beat", 0)}
	for _, r := range w.ranges("abandon") {
		f.Abandoned = append(f.Abandoned, r.First)
	}
	s.lockSays(l, f)
}

// lockDrop cuts a stream.
func (s *script) lockDrop(d *datadriven.TestData) {
	l := s.locker(words{d}.first())
	s.decide(&SynchronizeGone{Channel: l.channel(), Stream: l.stream}, nil)
	l.stream = nil
}

// lockResend says commands again, with their numbers.
func (s *script) lockResend(d *datadriven.TestData) {
	w := words{d}
	l := s.locker(w.first())
	f := &SynchronizeFrame{}
	for _, n := range w.list("numbers") {
		number, _ := strconv.ParseUint(n, 10, 64)
		f.Commands = append(f.Commands, l.said[number])
	}
	s.lockSays(l, f)
}

// lockUnheard cuts a request that waits.
func (s *script) lockUnheard(d *datadriven.TestData) {
	s.decide(&AbandonLock{Ticket: s.ticket(d)}, nil)
}

// lockGiveBack says that a request's answer did not arrive.
func (s *script) lockGiveBack(d *datadriven.TestData) {
	cmd := s.locks.unheard[s.ticket(d)]
	s.decide(&cmd, nil)
}

func (s *script) ticket(d *datadriven.TestData) uint64 {
	n, err := strconv.ParseUint(words{d}.first(), 10, 64)
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	return n
}

func answerText(op LockOp, r LockReply, err error) string {
	_, meets := op.(*WaitBarrier)
	if err != nil {
		text := refusalText(err)
		if strings.HasSuffix(text, string(pure.Deadlock)) {
			text += ", " + err.Error()
		}
		return text
	}
	a := r.Answer
	text := []string{"no outcome", "done", "timed out", "broken", "abandoned"}[a.Outcome]
	for _, field := range []struct {
		name  string
		value any
		there bool
	}{
		{"token", a.Token, a.Token != 0},
		{"depth", a.Depth, a.Depth != 0},
		{"permits", a.Permits, a.Permits != 0},
		{"notified", a.Notified, a.Notified},
		{"count", a.Count, a.Count != 0},
		{"index", a.Index, meets && a.Outcome == lockservice.Done},
		{"acts", a.Act, a.Act},
		{"generation", a.Generation, a.Generation != 0},
		{"set", a.Set, a.Set},
		{"version", a.Version, a.Version != 0},
		{"number", a.Data.Number, a.Data.Type == lockservice.Int64},
		{"text", a.Data.Text, a.Data.Type == lockservice.String},
		{"session", nameOf(r.Session), strings.HasPrefix(nameOf(r.Session), "own")},
	} {
		if field.there {
			text += fmt.Sprintf(", %s %v", field.name, field.value)
		}
	}
	return text
}

// lockTold writes what the streams of the lock service were told.
func (s *script) lockTold() {
	for _, name := range sortedNames(s.locks.clients) {
		if o := s.locks.clients[name].stream; o != nil {
			s.take(name, o)
		}
	}
}

func (s *script) listLocks(*datadriven.TestData) {
	views, _ := s.m.locks.Locks(scriptNamespace, 0, 100)
	semaphores, _ := s.m.locks.Semaphores(scriptNamespace, 0, 100)
	barriers, _ := s.m.locks.Barriers(scriptNamespace, 0, 100)
	for _, v := range views {
		s.say("lock %s", viewText(&v))
	}
	for _, v := range semaphores {
		s.say("semaphore %s, %d of %d left", viewText(&v.LockView), v.Available, v.Spec.Permits)
	}
	for _, v := range barriers {
		s.say("barrier %s, broken %v, acting %v", viewText(&v.LockView), v.State.Broken, v.State.Acting)
	}
}

func viewText(v *lockservice.LockView) string {
	var has, waits []string
	for _, h := range v.Holders {
		text := fmt.Sprintf("%s by %d", h.Name, h.Token)
		if h.Mode == lockservice.Shared {
			text += " shared"
		}
		if h.Depth > 1 {
			text += fmt.Sprintf(" %d times", h.Depth)
		}
		if h.Published != "" {
			text += " showing " + h.Published
		}
		has = append(has, text)
	}
	for _, w := range v.Waiters {
		waits = append(waits, w.Name)
	}
	return fmt.Sprintf("%s: has %s; waits %s", v.Name, listText(has), listText(waits))
}

func listText(of []string) string {
	if len(of) == 0 {
		return "nobody"
	}
	return strings.Join(of, ", ")
}

func (s *script) graph(*datadriven.TestData) {
	edges, _ := s.m.locks.Graph(scriptNamespace, 100)
	for _, e := range edges {
		s.say("%s waits for %s of %s, timed %v", e.Waiter, e.Object, e.Holder, e.Timed)
	}
}

func (s *script) checkToken(d *datadriven.TestData) {
	w := words{d}
	s.decide(&CheckLock{Namespace: scriptNamespace, Guard: lockservice.Guard{Lock: w.first(), Token: w.number("token", 0)}},
		s.replyTo(func(any) string { return "live" }))
}

// heardLockers has those that are here be heard.
func (s *script) heardLockers() {
	for _, name := range sortedNames(s.locks.clients) {
		if l := s.locks.clients[name]; l.stream != nil {
			s.m.Decide(&SynchronizeFrame{Namespace: scriptNamespace, Channel: l.channel(), Stream: l.stream, Below: l.below}, nil)
		}
	}
}

// cutLockers is the end of a term.
func (s *script) cutLockers() {
	for _, l := range s.locks.clients {
		l.stream = nil
	}
}
