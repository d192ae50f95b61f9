package shard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/internal/journal"
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
	"github.com/weftq/weft/pkg/session"
)

// TestScripts plays testdata/script: commands to a machine, and as output what it tells and to whom. After
// each command the machine checks itself, and a replay of its journal has to give the same state.
//
//	-rewrite writes the outputs anew.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		s := newScript(t, Config{})
		datadriven.RunTest(t, path, s.run)
	})
}

// script is a machine, its journal, and the streams that are open at it.
type script struct {
	t       *testing.T
	m       *Machine
	cfg     Config
	wall    pure.Wall
	first   uint64
	entries [][]byte // with their frames
	workers map[string]*Outbox
	calls   map[string]*scriptCall
	waits   map[string]uint64 // reservations by request
	watches map[uint64]*Outbox
	viewers map[string]*Outbox  // watchers of calls
	held    map[string][]uint64 // tokens that a worker was given and did not report
	tokens  map[uint64]uint64   // tasks by token
	last    uint64              // the task that was submitted last
	waiter  uint64
	beat    uint64
	only    bool
	locks   scriptLocks
	out     strings.Builder
}

type scriptCall struct {
	id     uint64
	stream *Outbox
	client string // its session
}

const scriptNamespace = "n"

func newScript(t *testing.T, cfg Config) *script {
	s := &script{
		t: t, cfg: cfg, wall: pure.Wall(1000 * time.Hour), first: 1,
		held: map[string][]uint64{}, tokens: map[uint64]uint64{},
	}
	s.start()
	return s
}

// start makes a machine out of the journal.
func (s *script) start() {
	s.cfg.NextRun = scriptCron.Next
	s.m = NewMachine(s.cfg)
	s.m.Tick(s.wall, 0)
	s.workers, s.calls = map[string]*Outbox{}, map[string]*scriptCall{}
	s.cutLockers()
	s.waits, s.watches, s.viewers = map[string]uint64{}, map[uint64]*Outbox{}, map[string]*Outbox{}
	s.replay(s.m)
}

func (s *script) replay(m *Machine) {
	m.Restart(s.first)
	for i, frame := range s.entries {
		counter := uint64(0)
		for k := 17; k >= 10; k-- {
			counter = counter<<8 | uint64(frame[k])
		}
		if err := m.Entry(s.first+uint64(i), counter, frame[journal.HeaderSize:]); err != nil {
			s.t.Fatalf("entry %d: %v", s.first+uint64(i), err)
		}
	}
	if err := m.Serve(s.first + uint64(len(s.entries)) - 1); err != nil {
		s.t.Fatal(err)
	}
}

// idOf makes a session's id out of its name, and nameOf gives it back.
func idOf(name string) (id session.ID) {
	copy(id[:], name)
	return id
}

func nameOf(id session.ID) string { return strings.TrimRight(string(id[:]), "\x00") }

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// decide decides a command and everything that follows, and makes it durable; with "only", all but one step of
// what follows is left undone.
func (s *script) decide(cmd Command, reply Reply) {
	s.m.Tick(s.wall, 0)
	s.m.Decide(cmd, reply)
	if s.only {
		s.store()
		return
	}
	s.settle()
}

func (s *script) settle() {
	for s.m.Advance(); ; s.m.Advance() {
		if !s.store() {
			return
		}
	}
}

// store makes what is decided durable, and tells whether there was anything.
func (s *script) store() bool {
	frame, counter := s.m.Flush()
	if frame == nil {
		return false
	}
	kept := slices.Clone(frame)
	for k := 10; k < 18; k++ {
		kept[k] = byte(counter >> (8 * (k - 10)))
	}
	s.entries = append(s.entries, kept)
	if below := s.m.Appended(frame); below != 0 {
		s.entries = s.entries[below-s.first:]
		s.first = below
	}
	return true
}

// verify holds the state to its invariants and to its journal.
func (s *script) verify(d *datadriven.TestData) {
	if err := s.m.Check(); err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	again := NewMachine(s.cfg)
	s.replay(again)
	if got, want := again.Dump(), s.m.Dump(); !slices.Equal(got, want) {
		d.Fatalf(s.t, "a replay gives\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.t, s.only = t, words{d}.has("only")
	s.out.Reset()
	do, ok := scriptCommands[d.Cmd]
	if !ok {
		d.Fatalf(t, "no command %s", d.Cmd)
	}
	do(s, d)
	s.listen()
	s.verify(d)
	if s.out.Len() == 0 {
		return "(nothing)\n"
	}
	return s.out.String()
}

// listen writes what the streams were told.
func (s *script) listen() {
	for _, name := range sortedNames(s.workers) {
		s.take(name, s.workers[name])
	}
	for _, name := range sortedNames(s.calls) {
		s.take(name, s.calls[name].stream)
	}
	for _, id := range sortedNames(s.watches) {
		s.take("watcher of "+queue.FormatID(id), s.watches[id])
	}
	s.lockTold()
	for _, call := range sortedNames(s.viewers) {
		s.take("watcher of call "+call, s.viewers[call])
	}
}

func (s *script) take(who string, o *Outbox) {
	for {
		items, err := o.Take(nil)
		for _, item := range items {
			s.say("%s: %s", who, tellText(item))
			if l := s.locks.clients[who]; l != nil && l.stream == o {
				if a, ok := item.(*LockAnswered); ok && (a.Reply.Answer.Token != 0 || a.Reply.Answer.Act) {
					s.tookToken(who, l.said[a.Number].Holder, a.Op, a.Reply.Answer)
				}
			}
			if a, ok := item.(*queue.Assigned); ok {
				s.held[who] = append(s.held[who], a.Token)
				s.tokens[a.Token] = a.ID
			}
		}
		if len(items) == 0 {
			if err != nil {
				s.say("%s: closed, %v", who, err)
				s.leave(o)
			}
			return
		}
	}
}

// leave forgets a stream that was closed.
func (s *script) leave(o *Outbox) {
	for name, w := range s.workers {
		if w == o {
			delete(s.workers, name)
		}
	}
	for name, c := range s.calls {
		if c.stream == o {
			delete(s.calls, name)
		}
	}
	for id, w := range s.watches {
		if w == o {
			delete(s.watches, id)
		}
	}
	for _, l := range s.locks.clients {
		if l.stream == o {
			l.stream = nil
		}
	}
	for call, w := range s.viewers {
		if w == o {
			delete(s.viewers, call)
		}
	}
}

func tellText(item any) string {
	switch e := item.(type) {
	case *Welcome:
		return fmt.Sprintf("welcome as %s, superseded %v", nameOf(e.Session), e.Superseded)
	case *Attached:
		return fmt.Sprintf("attached, session %s, accepted %s", nameOf(e.Session), rangesText(e.Accepted))
	case *queue.Assigned:
		return fmt.Sprintf("run %s token %d attempt %d", queue.FormatID(e.ID), e.Token, e.Attempt) + checkpointText(e.Checkpoint)
	case *queue.AdvanceAnswered:
		return fmt.Sprintf("advance %d of token %d %s", e.Sequence, e.Token, cmp.Or(string(e.Reason), "is durable"))
	case *queue.Advanced:
		return fmt.Sprintf("%d advances%s%s", e.Index, progressText(e.Progress), partialsText(int(e.Offset), e.Partials))
	case *queue.Interrupted:
		return fmt.Sprintf("interrupt %d by %d, task %s: %s", e.Number, e.Index, queue.FormatID(e.Task), e.Message)
	case *queue.Answered:
		return fmt.Sprintf("report of token %d accepted %v", e.Token, e.Accepted)
	case *queue.Stop:
		return fmt.Sprintf("stop token %d, %s, grace %v", e.Token, endName(e.Reason), e.Grace)
	case *queue.Released:
		return fmt.Sprintf("output of token %d released", e.Token)
	case *queue.Accepted:
		return "accepted " + rangesText(e.Ranges)
	case *queue.Rejected:
		return fmt.Sprintf("rejected %d, %s", e.Index, e.Reason.Reason)
	case *queue.Updated:
		return fmt.Sprintf("%d is %v, attempt %d on %s", e.Index, e.State, e.Attempts, e.Worker)
	case *queue.Finished:
		return fmt.Sprintf("%d %s", e.Index, outcomeName(e.Outcome))
	case *queue.CallChange:
		if e.Task.State == 0 {
			return fmt.Sprintf("one that was %v has left", e.Before)
		}
		return fmt.Sprintf("%s was %v, is %v, attempt %d", queue.FormatID(e.Task.ID), e.Before, e.Task.State, e.Task.Attempts)
	case *queue.CallOver:
		return "over"
	case *queue.Changed:
		return fmt.Sprintf("%v, attempt %d", e.Task.State, e.Task.Attempts) + broughtText(&e.Task)
	case *LockAnswered:
		if e.Since != 0 {
			return fmt.Sprintf("%d waits since %d", e.Number, e.Since)
		}
		return fmt.Sprintf("%d %s", e.Number, answerText(e.Op, e.Reply, e.Err))
	case *Synchronized:
		return fmt.Sprintf("session %s", nameOf(e.Session))
	case *LeaseBeat:
		return fmt.Sprintf("beat %d, lease %v", e.Number, e.Lease)
	case *Beat:
		return fmt.Sprintf("beat %d", e.Number)
	}
	return fmt.Sprintf("%T", item)
}

var endNames = []string{"none", "success", "error", "timeout", "lost", "released", "killed"}

func endName(e queue.End) string { return endNames[e] }

func outcomeName(o *queue.Outcome) string {
	text := fmt.Sprintf("%v, %s", o.State, endName(o.End))
	if len(o.Result.Data) > 0 {
		text += fmt.Sprintf(", result %s", o.Result.Data)
	}
	if o.Error != nil {
		text += fmt.Sprintf(", %s: %s", o.Error.Reason, o.Error.Message)
	}
	return text
}

func rangesText(ranges pure.Ranges) string {
	var parts []string
	for _, r := range ranges {
		if r.First == r.Last {
			parts = append(parts, strconv.FormatUint(r.First, 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}
