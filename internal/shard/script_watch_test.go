package shard

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/weftq/weft/pkg/queue"
)

func (s *script) watchCall(d *datadriven.TestData) {
	call := words{d}.first()
	o := NewOutbox()
	s.viewers[call] = o
	s.decide(&WatchCall{Namespace: scriptNamespace, Call: call, Stream: o}, s.replyTo(func(v any) string {
		view := v.(queue.CallView)
		if view.Over {
			return "over"
		}
		var counts []string
		for state, n := range view.Counts {
			if n > 0 {
				counts = append(counts, fmt.Sprintf("%d %v", n, queue.State(state)))
			}
		}
		return strings.Join(append(counts, "not over"), ", ")
	}))
}

func (s *script) unwatchCall(d *datadriven.TestData) {
	call := words{d}.first()
	s.decide(&UnwatchCall{ID: s.calls[call].id, Stream: s.viewers[call]}, nil)
	delete(s.viewers, call)
}

func (s *script) watch(d *datadriven.TestData) {
	id := s.id(d)
	o := NewOutbox()
	s.watches[id] = o
	s.decide(&WatchTask{Namespace: scriptNamespace, ID: id, Stream: o},
		s.replyTo(func(v any) string {
			t := v.(queue.Snapshot)
			return t.State.String() + broughtText(&t)
		}))
}
