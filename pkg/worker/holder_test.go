package worker

import (
	"testing"

	"github.com/weftq/weft/pkg/task"
)

// A handler's context is a holder in the worker's session, and always the same.
func TestHolder(t *testing.T) {
	attempting(t, payloadTask(1, "gate", ""), func(t *testing.T, b *fakeBroker, g *gate, s *fakeStream, a *attempt) {
		h := task.HolderOf(&a.ctx)
		if h == nil || h.SessionID == "" || h.SessionID != a.worker.sessionID() || h.Number != a.Token || h.Err() != nil {
			t.Errorf("holder %v", h)
		}
		if h != task.HolderOf(&a.ctx) {
			t.Error("another holder")
		}
		if task.HolderOf(t.Context()) != nil {
			t.Error("a holder outside of a worker")
		}
		g.end()
	})
}
