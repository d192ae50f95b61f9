//go:build linux

package e2e

import (
	"context"
	"sync"
)

// milestones counts what has been done, and lets others wait until it is so much: a clock for all of a test's
// parts.
type milestones struct {
	mu    sync.Mutex
	done  int
	moved chan struct{} // closed when done changes; nil while nobody waits
}

func (m *milestones) add() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done++
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// reaches waits until so much is done, or ctx ends.
func (m *milestones) reaches(ctx context.Context, n int) {
	for {
		m.mu.Lock()
		if m.done >= n {
			m.mu.Unlock()
			return
		}
		if m.moved == nil {
			m.moved = make(chan struct{})
		}
		moved := m.moved
		m.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}
