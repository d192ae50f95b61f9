package shard

import (
	"github.com/weftq/weft/internal/pure"
	"github.com/weftq/weft/pkg/queue"
)

// CreateQueue makes a queue. The reply is a queue.QueueView.
type CreateQueue struct{ Namespace, Name string }

func (c *CreateQueue) run(m *Machine, step *pure.Step) (any, error) {
	if m.diskLow {
		return nil, diskLow()
	}
	m.queue.CreateQueue(step, c.Namespace, c.Name)
	return m.queue.Queue(c.Namespace, c.Name)
}

// GetQueue returns a queue (queue.QueueView).
type GetQueue struct{ Namespace, Name string }

func (c *GetQueue) run(m *Machine, _ *pure.Step) (any, error) {
	return m.queue.Queue(c.Namespace, c.Name)
}

// ListQueues returns a page of queues ([QueuePage]).
type ListQueues struct {
	Namespace string
	After     string
	Max       int
}

// QueuePage is a page of queues, and whether there are more.
type QueuePage struct {
	Queues []queue.QueueView
	More   bool
}

func (c *ListQueues) run(m *Machine, _ *pure.Step) (any, error) {
	queues, more := m.queue.Queues(c.Namespace, c.After, c.Max)
	return QueuePage{queues, more}, nil
}
